"""The life of one `anyike connect`: log in, carry traffic, come back when the tunnel is lost, undo. It knows all the rooms."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections import deque
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from anyike import assembly
from anyike.backoff import Backoff
from anyike.config import Settings
from anyike.errors import AnyikeError, ExitCode, GatewayRefused, Redirected, TunnelEnded, TunnelLost, Unreachable
from anyike.host_tunnel import HostTunnel, load_host_network
from anyike.ikev2.events import Address
from anyike.login.respondent import Respondent
from anyike.net.resolve import Candidate
from anyike.session import Interrupted, Session
from anyike.summary import summarize
from anyike.tun.userspace import UserspaceDataPath
from anyike.ui import Stage, UserInterface

log = logging.getLogger(__name__)

MAX_REFUSALS = 5
"""In a row, while coming back; the gateway will not change its mind for ever."""
MAX_REDIRECTS = 5
REDIRECT_PERIOD = 300.0
"""Specification: RFC 5685 4 gives these numbers and seconds against redirects in a circle."""
STEADY = 60.0
"""Seconds that make a tunnel a lasting one: those that are lost sooner come back ever more slowly, and none is renewed sooner."""
OWN_ECHO = 3.0
"""Seconds in which a change of the network may be our own release of routes, which is no reason to try again."""
EARLY = 0.9
"""At this part of the time that a login is good for (AUTH_LIFETIME) the next one begins."""


async def connect(
    settings: Settings, profile: str, ui: UserInterface, make_respondent: Callable[[], Respondent]
) -> ExitCode:
    """Bring the tunnel up and keep it until a signal or the gateway ends it; everything is undone then.

    INT and TERM log off; HUP leaves without logging off; USR1 writes statistics to the log; USR2 logs in anew. Each login
    has a respondent of its own, which answers what the gateway asks.

    INTERRUPTED when the user ended it before the tunnel was up.

    Raises:
        AnyikeError: what ended it, other than the user.
    """
    client = _Client(settings, profile, ui, make_respondent)
    running = asyncio.ensure_future(client.run())
    client.running = running
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(client.fault)
    handlers: dict[signal.Signals, Callable[[], None]] = {
        signal.SIGINT: client.stop,
        signal.SIGTERM: client.stop,
        signal.SIGHUP: client.drop,
        signal.SIGUSR1: client.show_statistics,
        signal.SIGUSR2: client.log_in_anew,
    }
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        reason = await running
    except (asyncio.CancelledError, Interrupted):
        reason = "interrupted"
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
    ui.ended(reason)
    return ExitCode.OK if client.was_up else ExitCode.INTERRUPTED


class _Anew(TunnelLost):
    """Nothing was lost: somebody wants another login."""


class _Client:
    """Sessions one after the other over one data path and one host."""

    def __init__(
        self, settings: Settings, profile: str, ui: UserInterface, make_respondent: Callable[[], Respondent]
    ) -> None:
        self._settings = settings
        self._ui = ui
        self._make_respondent = make_respondent
        self._failure: asyncio.Future[AnyikeError] = asyncio.get_running_loop().create_future()
        self._data_path = UserspaceDataPath(
            self._send_esp,
            self._fail,
            settings.tunnel.interface,
            limits=assembly.key_limits(settings),
            on_worn=self._renew_child,
        )
        self._host = HostTunnel(settings, profile)
        self._session: Session | None = None
        self._wanted_anew = False
        self._log_off = True
        self._wake = asyncio.Event()
        self._watching = AsyncExitStack()
        self._reauthentication: asyncio.TimerHandle | None = None
        self._is_up = False
        self._deaf_until = 0.0
        self._known: dict[str, list[Candidate]] = {}
        self._refusals = 0
        self._redirects: deque[float] = deque(maxlen=MAX_REDIRECTS)
        self._inner: frozenset[IPv4Address | IPv6Address] = frozenset()
        self.was_up = False
        self.running: asyncio.Future[str] | None = None

    async def run(self) -> str:
        """Connect and stay; the reason of an end that the user wanted."""
        policy = assembly.trust_policy(self._settings, self._settings.gateway.host)
        ike = assembly.ike_settings(
            self._settings, policy.roots, force_encapsulation=self._data_path.needs_udp_encapsulation
        )
        weak = assembly.weak_algorithms(ike)
        if weak:
            self._ui.warning(f"the configuration allows weak algorithms: {', '.join(weak)}")
        backoff = Backoff(self._settings.reconnect.first_delay, self._settings.reconnect.longest_delay, os.urandom)
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self._data_path.close)
            await self._data_path.open()
            undo.callback(self._host.take_back)
            undo.push_async_callback(self._watching.aclose)
            loading = asyncio.ensure_future(load_host_network())
            undo.callback(loading.cancel)
            redirected: tuple[str, str] | None = None
            while True:
                session = self._session = Session(
                    self._settings,
                    ike,
                    policy,
                    self._data_path,
                    self._data_path.receive_esp,
                    self._make_respondent(),
                    self._ui,
                    self._failure,
                    self._fail,
                    self._known,
                    redirected,
                )
                error = await self._live(session, backoff)
                redirected = self._follow(error, session.host) if isinstance(error, Redirected) else None
                if redirected is not None:
                    continue
                if error is None:
                    return "logged off" if self._log_off else "left without logging off"
                self._wanted_anew = False
                if not isinstance(error, _Anew):
                    await self._wait_to_come_back(error, backoff)

    async def _live(self, session: Session, backoff: Backoff) -> AnyikeError | None:
        """One session from its login to its end: why it was lost, or None when the user ended it."""
        try:
            try:
                await self._set_up(session)
                self._refusals = 0
                since = asyncio.get_running_loop().time()
                error = await session.stay()
                if asyncio.get_running_loop().time() - since >= STEADY:
                    backoff.reset()
            finally:
                self._is_up = False
                if self._reauthentication is not None:
                    self._reauthentication.cancel()
                await session.end(log_off=self._log_off)
                self._session = None
                await self._data_path.remove_all()
        except Redirected as elsewhere:
            return elsewhere
        except (Unreachable, TunnelEnded, GatewayRefused) as lost:
            if not self._comes_back(lost):
                raise
            return lost
        if error is not None and not isinstance(error, Redirected) and not self._comes_back(error):
            raise error
        if error is None and self._wanted_anew:
            return _Anew("logging in anew")
        return error

    def _follow(self, redirected: Redirected, from_host: str) -> tuple[str, str]:
        """Where to go now, and where we come from. GatewayRefused when they send us in circles (RFC 5685 4)."""
        now = asyncio.get_running_loop().time()
        if len(self._redirects) == MAX_REDIRECTS and now - self._redirects[0] < REDIRECT_PERIOD:
            raise GatewayRefused(f"the gateways sent us from one to another {MAX_REDIRECTS} times: {redirected}")
        self._redirects.append(now)
        self._ui.stage(Stage.RESOLVE, f"{from_host} sends us to {redirected.host}")
        return redirected.host, from_host

    def _comes_back(self, error: AnyikeError) -> bool:
        """Only a tunnel that was up and got lost. A login that was rejected is never tried again, since accounts get locked."""
        reconnect = self._settings.reconnect
        if isinstance(error, GatewayRefused):  # not of the login: an address still in use, or somebody's garbage
            self._refusals += 1
        lost = (
            isinstance(error, TunnelLost | Unreachable)
            or (reconnect.after_delete and isinstance(error, TunnelEnded))
            or (isinstance(error, GatewayRefused) and self._refusals <= MAX_REFUSALS)
        )
        return self.was_up and reconnect.enabled and lost

    async def _set_up(self, session: Session) -> None:
        """Data path first, then addresses and routes: a packet that is routed into the tunnel finds it ready."""
        established = await session.establish()
        attempt, child = session.up, established.child
        await session.have_banner_accepted(established.configuration.banner.strip())
        await self._data_path.install(child, attempt.local, attempt.remote)
        await self._data_path.switch_outbound(child.outbound_spi)
        plan = self._host.set_up(established, attempt.local, attempt.remote, self._data_path.interface)
        if plan.mtu_raised:
            self._ui.warning(f"the MTU is {plan.mtu} bytes, which IPv6 inside the tunnel needs at least")
        attempt.driver.traffic = lambda: self._data_path.counters()["packets_in"]
        attempt.driver.pump()
        session.on_lifetime = self._limit_authentication
        if established.auth_lifetime is not None:
            self._limit_authentication(established.auth_lifetime)
        self._is_up = True
        self._inner = frozenset(address.ip for address in established.configuration.addresses)
        if not self.was_up:
            self._watch()
            self._limit_time()
        self.was_up = True
        self._ui.stage(Stage.TUNNEL, f"{plan.interface} is up")
        session.notice(established.configuration.banner)
        self._ui.established(summarize(session.host, attempt.remote, attempt.algorithms, established, plan))

    def _watch(self) -> None:
        """Hear of changes of the network, and of sleep: reasons to look after the tunnel before its schedule does."""
        from anyike.net.monitor import NetworkMonitor
        from anyike.sleep import SleepWatch

        monitor = NetworkMonitor.open(self._data_path.interface, self._network_changed)
        self._watching.callback(monitor.close)
        self._watching.push_async_callback(SleepWatch(self._look_after).stop)

    def _limit_time(self) -> None:
        limit = self._settings.tunnel.max_time
        if limit:
            timer = asyncio.get_running_loop().call_later(limit, self._time_is_over)
            self._watching.callback(timer.cancel)

    def _limit_authentication(self, seconds: int) -> None:
        """The gateway wants another login within this time (RFC 4478): a little earlier is in time."""
        if self._reauthentication is not None:
            self._reauthentication.cancel()
        when = max(seconds * EARLY, STEADY)
        self._reauthentication = asyncio.get_running_loop().call_later(when, self.log_in_anew)

    def _time_is_over(self) -> None:
        self._ui.warning(f"the time of this tunnel is over (tunnel.max_time = {self._settings.tunnel.max_time:g} s)")
        self.stop()

    def _network_changed(self) -> None:
        """Another local address: the gateway believes in a NAT, and follows the next authentic packet (RFC 7296 2.23)."""
        from anyike.net.path import current_path

        if asyncio.get_running_loop().time() < self._deaf_until:
            return
        self._wake.set()
        if self._session is None or self._session.leaving:
            return
        attempt = self._session.up
        others = attempt.driver.connection.other_addresses if self._session.mobike else ()
        for host in (attempt.remote[0], *others):
            try:
                path = current_path(host, self._settings.tunnel.mark, self._inner)
            except AnyikeError as error:
                log.warning("the network changed, and the way to the gateway cannot be asked for: %s", error)
                self._look_after()
                return
            if path is None:
                continue
            if (host, path.local) != (attempt.remote[0], attempt.local[0]):
                log.info("the local address changed from %s to %s", attempt.local[0], path.local)
                self._session.move(host, path.local)
            return
        log.info("the network is away")

    def _look_after(self) -> None:
        """Ask the gateway at once whether it is there, or do not wait any longer to come back."""
        self._wake.set()
        if self._session is not None:
            self._session.act(lambda connection, now: connection.check_liveness(now))

    async def _wait_to_come_back(self, error: AnyikeError, backoff: Backoff) -> None:
        """Until another attempt is due, or somebody wants it now. What is sent meanwhile is dropped, and never leaks."""
        if self._settings.reconnect.on_disconnect == "release":
            self._host.take_back()
            self._deaf_until = asyncio.get_running_loop().time() + OWN_ECHO
        wait = backoff.next()
        self._ui.warning(f"{error}; connecting again in {wait:.0f} s")
        self._wake.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._wake.wait()

    # --- signals ---------------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """INT or TERM: log off, or give up whatever is under way. A second signal does not wait for the gateway."""
        self._wanted_anew = False
        if self._session is None or self._session.leaving:
            self._cancel()
        else:
            self._session.close()

    def drop(self) -> None:
        """HUP: leave at once and let the gateway find out."""
        self._log_off = False
        self._cancel()

    def _cancel(self) -> None:
        assert self.running is not None
        self.running.cancel()

    def show_statistics(self) -> None:
        """USR1."""
        if self._session is not None:
            self._session.log_statistics(self._data_path.counters(), logging.WARNING)

    def log_in_anew(self) -> None:
        """USR2: end this session and begin another, or do not wait any longer for one."""
        self._wake.set()
        if self._session is not None and self._is_up and not self._session.leaving:
            self._wanted_anew = True
            self._session.close()

    # --- what else can happen --------------------------------------------------------------------------------------------

    def fault(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback of the event loop (a timer, the tunnel interface) failed: rather no tunnel than a dark one."""
        fault = context.get("exception")
        log.error("%s", context.get("message"), exc_info=fault)
        self._fail(AnyikeError(f"a fault of anyike itself: {fault or context.get('message')!r}"))

    def _send_esp(self, packet: bytes, remote: Address) -> None:
        if self._session is not None:
            self._session.send_esp(packet, remote)

    def _renew_child(self, inbound_spi: int) -> None:
        if self._session is not None:
            loop = asyncio.get_running_loop()
            loop.call_soon(self._session.act, lambda connection, now: connection.child_expiring(inbound_spi, now))

    def _fail(self, error: AnyikeError) -> None:
        """Something on our side failed: for this session only, if another one may do better."""
        if isinstance(error, TunnelLost):
            if self._session is not None:
                self._session.lose(error)
            return
        if not self._failure.done():
            self._failure.set_result(error)
