"""The life of one `anyike connect`: resolve, log in, carry traffic, undo. The one place that knows all the rooms."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any

from anyike import assembly, paths
from anyike.config import Settings
from anyike.driver import Driver
from anyike.eap.form import BANNER, Answers, Form, acceptance_of, is_accepted
from anyike.eap.question import Answer, Question
from anyike.eap_anyconnect.method import AnyConnectEap
from anyike.errors import AnyikeError, ExitCode, HostSetupFailed, LoginFailed, Unreachable
from anyike.esp.overhead import inner_mtu
from anyike.gateway_trust import judge
from anyike.ikev2.connection import Connection
from anyike.ikev2.events import (
    Address,
    ChildAdded,
    ChildRemoved,
    ChildSpiNeeded,
    Established,
    Event,
    GatewayProof,
    IkeSaInitDone,
    LoginAccepted,
    LoginQuestion,
    Notice,
    OutboundSwitched,
    Terminated,
)
from anyike.ikev2.settings import IkeSettings
from anyike.login.respondent import Respondent
from anyike.net.plan import Plan, Wishes, make_plan
from anyike.net.resolve import Candidate, resolve
from anyike.net.udp import UdpChannel
from anyike.summary import summarize
from anyike.text import printable
from anyike.tun.userspace import UserspaceDataPath
from anyike.ui import Stage, UserInterface

log = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""All log off and undo everything; HUP is what a closed terminal sends."""

LOG_OFF_LIMIT = 10.0
"""Seconds for DELETE and its retransmissions, when it is not the user who waits."""

FIRST_ROUND_TRIES = 1
"""With several addresses each is first tried this briefly, so that a dead one (often IPv6) costs seconds, not a minute."""


async def connect(settings: Settings, profile: str, ui: UserInterface, respondent: Respondent) -> ExitCode:
    """Bring the tunnel up and keep it until INT, TERM, HUP or the gateway ends it; everything is undone then.

    `respondent` answers what the gateway asks.

    INTERRUPTED when the user ended it before the tunnel was up.

    Raises:
        AnyikeError: what ended it, other than the user.
    """
    client = _Client(settings, profile, ui, respondent)
    running = asyncio.ensure_future(client.run())
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(client.fault)
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, client.stop, running)
    try:
        reason = await running
    except asyncio.CancelledError:
        reason = "interrupted"
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)
    ui.ended(reason)
    return ExitCode.OK if client.was_up else ExitCode.INTERRUPTED


@dataclass(slots=True)
class _Attempt:
    """One address of the gateway being talked to."""

    driver: Driver
    udp: UdpChannel
    local: Address
    method: AnyConnectEap
    algorithms: str = ""

    @property
    def remote(self) -> Address:
        return self.driver.connection.remote


def _show_vendor_id(vendor_id: bytes) -> str:
    text = vendor_id.decode("ascii", "replace")
    return text if text.isprintable() and "\ufffd" not in text else vendor_id.hex()


class _Client:
    def __init__(self, settings: Settings, profile: str, ui: UserInterface, respondent: Respondent) -> None:
        self._settings = settings
        self._profile = profile
        self._ui = ui
        self._respondent = respondent
        self._noticed: set[str] = set()
        self.was_up = False
        self._attempt: _Attempt | None = None
        self._asked = False
        self._failure: asyncio.Future[AnyikeError] = asyncio.get_running_loop().create_future()
        self._data_path = UserspaceDataPath(
            self._send_esp,
            self._fail,
            settings.tunnel.interface,
            worn_after=settings.esp.rekey_packets,
            on_worn=self._renew_child,
        )
        self._host = settings.gateway.host
        self._policy = assembly.trust_policy(settings, self._host)

    async def run(self) -> str:
        """Connect and stay; the reason of an end that the user wanted."""
        ike = assembly.ike_settings(
            self._settings, self._policy.roots, force_encapsulation=self._data_path.needs_udp_encapsulation
        )
        weak = assembly.weak_algorithms(ike)
        if weak:
            self._ui.warning(f"the configuration allows weak algorithms: {', '.join(weak)}")
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self._data_path.close)
            await self._data_path.open()
            established = await self._reach(ike, undo)
            await self._set_up(established, undo)
            return await self._stay()

    def stop(self, running: asyncio.Future[str]) -> None:
        """INT, TERM or HUP: log off, or give up whatever is under way. A second signal does not wait for the gateway."""
        if self._attempt is None or self._attempt.driver.connection.leaving:
            running.cancel()
            return
        self._attempt.driver.connection.close(self._attempt.driver.now)
        self._attempt.driver.pump()

    # --- login -----------------------------------------------------------------------------------------------------------

    async def _reach(self, ike: IkeSettings, undo: AsyncExitStack) -> Established:
        """Log in to the gateway, or to the first of its backup servers that can be reached."""
        failures = []
        hosts = (self._settings.gateway.host, *self._settings.gateway.backup_servers)
        try:
            for host in dict.fromkeys(hosts):
                self._host = host
                self._policy = replace(self._policy, names=assembly.trusted_names(self._settings, host))
                try:
                    return await self._log_in(ike, await self._resolve(host), undo)
                except Unreachable as error:
                    if self._asked:
                        raise
                    failures.append(str(error))
                    if host != hosts[-1]:
                        self._ui.warning(f"{error}; trying the next backup server")
        finally:
            await self._respondent.close()
        raise Unreachable("; ".join(failures))

    async def _resolve(self, host: str) -> list[Candidate]:
        self._ui.stage(Stage.RESOLVE, host)
        candidates = await resolve(host)
        self._ui.stage(Stage.RESOLVE, ", ".join(candidate.host for candidate in candidates))
        return candidates

    async def _log_in(self, ike: IkeSettings, candidates: list[Candidate], undo: AsyncExitStack) -> Established:
        """Try every address in turn; final are all failures but silence, and silence after the user answered."""
        brief = replace(ike, init_tries=min(FIRST_ROUND_TRIES, ike.retransmission.tries))
        rounds = [(ike, candidates)] if len(candidates) == 1 else [(brief, candidates), (ike, candidates)]
        failures: dict[str, str] = {}
        for settings, round_candidates in rounds:
            for candidate in round_candidates:
                try:
                    return await self._try(settings, candidate, undo)
                except Unreachable as error:
                    if self._asked:
                        raise
                    log.info("%s", error)
                    failures[candidate.host] = str(error)
        raise Unreachable("; ".join(failures.values()))

    async def _try(self, ike: IkeSettings, candidate: Candidate, undo: AsyncExitStack) -> Established:
        method = AnyConnectEap(assembly.login_settings(self._settings, self._host))
        driver = Driver(Connection(ike, method, os.urandom), ike.nat_port)
        driver.on_esp = self._data_path.receive_esp
        gateway = self._settings.gateway
        udp = await UdpChannel.open(
            candidate.family, gateway.local_port, self._settings.tunnel.mark, driver.receive, driver.network_error
        )
        async with AsyncExitStack() as failed:
            failed.callback(udp.close)
            udp.reader.add_done_callback(self._reader_ended)
            failed.callback(driver.stop)
            local = udp.local_address_for((candidate.host, gateway.port))
            self._attempt = _Attempt(driver, udp, local, method)
            self._ui.stage(Stage.IKE_SA_INIT, f"to {candidate.host}")
            driver.start(udp, local, (candidate.host, gateway.port))
            loading = asyncio.ensure_future(_load_host_network())
            failed.callback(loading.cancel)
            established = await self._follow(self._attempt)
            undo.push_async_exit(failed.pop_all())
            return established
        raise AssertionError  # an AsyncExitStack of plain closers swallows nothing

    async def _follow(self, attempt: _Attempt) -> Established:
        """Answer the core's questions until the tunnel is established."""
        while True:
            event = await self._next_event(attempt.driver)
            match event:
                case Established():
                    return event
                case Terminated(error):
                    self._attempt = None
                    raise error or asyncio.CancelledError
                case _:
                    await self._handle(attempt, event)
                    attempt.driver.pump()

    async def _handle(self, attempt: _Attempt, event: Event) -> None:
        connection, now = attempt.driver.connection, attempt.driver.now
        match event:
            case IkeSaInitDone():
                attempt.algorithms = event.algorithms
                log.info("Vendor IDs of the gateway: %s", ", ".join(map(_show_vendor_id, event.vendor_ids)) or "none")
                self._ui.stage(Stage.IKE_SA_INIT, event.algorithms)
            case ChildSpiNeeded():
                connection.supply_child_spi(await self._data_path.allocate_spi(), now)
            case GatewayProof():
                connection.supply_verdict(self._verdict(event), now)
            case LoginQuestion(question):
                await self._ask(attempt, question)
            case Notice(text):
                self._notice(text)
            case LoginAccepted():
                self._ui.stage(Stage.LOGIN, "accepted")

    def _verdict(self, proof: GatewayProof) -> AnyikeError | None:
        gateway = self._settings.gateway
        try:
            verified = judge(
                proof,
                self._policy,
                allow_sha1=gateway.allow_sha1_signature,
                strict_id=gateway.strict_id,
                asked_for=None if gateway.idr is None else (gateway.idr.number, gateway.idr.data),
            )
        except AnyikeError as error:
            return error
        certificate = verified.certificate
        how = "by its pin" if certificate.verified_by == "pin" else f"issued by {certificate.issuer}"
        self._ui.stage(Stage.VERIFIED, f"{certificate.subject}, {how}, signed with {verified.signature}")
        self._ui.stage(Stage.LOGIN, "AnyConnect EAP")
        self._respondent.meet(self._host, proof.chain[0])
        return None

    async def _ask(self, attempt: _Attempt, question: Question) -> None:
        self._asked = True
        try:
            answer = await self._answer(attempt, question)
        except AnyikeError:
            attempt.driver.connection.close(attempt.driver.now)
            attempt.driver.pump()
            raise
        if answer is not None:
            if isinstance(question, Form) and question.id == BANNER:
                self._noticed.add(question.message.strip())  # read, and not shown again by the configuration
            attempt.driver.connection.supply_answer(answer, attempt.driver.now)

    async def _answer(self, attempt: _Attempt, question: Question) -> Answer | None:
        """The user may think for minutes: should the gateway end the attempt meanwhile, the question is taken back (None)."""
        answering = asyncio.ensure_future(self._respondent.answer(question))
        ended = asyncio.ensure_future(attempt.driver.ended.wait())
        try:
            await asyncio.wait((answering, ended), return_when=asyncio.FIRST_COMPLETED)
            return answering.result() if answering.done() else None
        finally:
            for task in (answering, ended):
                task.cancel()
                with suppress(asyncio.CancelledError, AnyikeError):
                    await task

    # --- tunnel ----------------------------------------------------------------------------------------------------------

    async def _set_up(self, established: Established, undo: AsyncExitStack) -> None:
        """Data path first, then addresses and routes: a packet that is routed into the tunnel finds it ready."""
        from anyike.net import host  # noqa: PLC0415  needed only now, and loading netlink takes a while
        from anyike.net import undo as journals  # noqa: PLC0415

        attempt = self._attempt
        assert attempt is not None
        undo.push_async_callback(self._log_off, attempt)
        await self._have_banner_accepted(attempt, established.configuration.banner.strip())
        child, mark = established.child, self._settings.tunnel.mark
        await self._data_path.install(child, attempt.local, attempt.remote)
        await self._data_path.switch_outbound(child.outbound_spi)
        configuration = established.configuration
        wishes = Wishes(
            interface=self._data_path.interface,
            addresses=configuration.addresses,
            remote_selectors=child.remote_selectors,
            outer_local=ip_address(attempt.local[0].partition("%")[0]),
            gateway=ip_address(attempt.remote[0].partition("%")[0]),
            mtu=self._mtu(established, host.outer_mtu(attempt.remote[0], mark)),
            split_include=configuration.included(),
            split_exclude=configuration.split_exclude,
            ipv6_enabled=host.ipv6_enabled(self._data_path.interface),
        )
        journal = journals.claim(paths.RUNTIME / f"{self._profile}.undo", self._data_path.interface)
        plan: Plan | None = None
        undo.callback(lambda: journals.take_back(plan, journal))
        plan = make_plan(wishes, journal.table, mark)
        host.apply(plan)
        if plan.mtu_raised:
            self._ui.warning(f"the MTU is {plan.mtu} bytes, which IPv6 inside the tunnel needs at least")
        attempt.driver.traffic = lambda: self._data_path.counters()["packets_in"]
        attempt.driver.pump()
        self.was_up = True
        self._ui.stage(Stage.TUNNEL, f"{plan.interface} is up")
        self._notice(configuration.banner)
        self._ui.established(summarize(self._host, attempt.remote, attempt.algorithms, established, plan))

    async def _have_banner_accepted(self, attempt: _Attempt, banner: str) -> None:
        """The configuration's banner, before anything of this machine changes; the login's own came through the method."""
        if not banner or banner in self._noticed or not self._settings.login.accept_banner:
            return
        answer = await self._answer(attempt, acceptance_of(printable(banner)))
        if answer is None:  # the tunnel ended meanwhile, or the user ended it
            await self._stay()
            raise asyncio.CancelledError
        if not isinstance(answer, Answers) or not is_accepted(answer):
            raise LoginFailed("the gateway's banner was not accepted: logged off")
        self._noticed.add(banner)

    def _mtu(self, established: Established, outer_mtu: int) -> int:
        """What fits the path; less where the gateway or the user says so."""
        assert self._attempt is not None
        if self._settings.tunnel.mtu is not None:
            return self._settings.tunnel.mtu
        version = ip_address(self._attempt.remote[0].partition("%")[0]).version
        fits = inner_mtu(outer_mtu, established.child.suite, version, udp=established.child.udp_encapsulation)
        return min(fits, established.configuration.mtu or fits)

    async def _stay(self) -> str:
        """Until the tunnel ends; errors are why, when the user did not want it."""
        assert self._attempt is not None
        driver = self._attempt.driver
        while True:
            match await self._next_event(driver):
                case Terminated(error):
                    if error is not None:
                        raise error
                    return "logged off"
                case Notice(text):
                    self._notice(text)
                case event:
                    await self._rekey(event)
                    driver.pump()

    async def _rekey(self, event: Event) -> None:
        """Carry out what the core wants of the data path; what it asks is answered when that is done."""
        assert self._attempt is not None
        attempt, connection = self._attempt, self._attempt.driver.connection
        match event:
            case ChildSpiNeeded():
                connection.supply_child_spi(await self._data_path.allocate_spi(), attempt.driver.now)
            case ChildAdded(child):
                await self._data_path.install(child, attempt.local, attempt.remote)
                connection.child_installed(child.inbound_spi, attempt.driver.now)
            case OutboundSwitched(outbound_spi):
                await self._data_path.switch_outbound(outbound_spi)
            case ChildRemoved(inbound_spi):
                await self._data_path.remove(inbound_spi)
            case other:
                log.debug("%s is of no interest now", type(other).__name__)

    async def _next_event(self, driver: Driver) -> Event:
        """The core's next event, or the error by which the data path or the socket failed."""
        event = asyncio.ensure_future(driver.next_event())
        try:
            await asyncio.wait((event, self._failure), return_when=asyncio.FIRST_COMPLETED)
            if event.done():
                return event.result()
            raise self._failure.result()
        finally:
            event.cancel()

    async def _log_off(self, attempt: _Attempt) -> None:
        """Tell the gateway when something on our side ended the tunnel.

        A tunnel that ended already needs nothing; one whose end has begun gets here by a second signal, which waits no more.
        """
        connection, driver = attempt.driver.connection, attempt.driver
        if not connection.leaving:
            connection.close(driver.now)
            driver.pump()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOG_OFF_LIMIT):
                    await driver.ended.wait()
        log.info("IKE counters: %s", {str(name): count for name, count in sorted(connection.counters.items())})
        log.info("ESP counters: %s", dict(self._data_path.counters()))
        log.info(
            "datagrams that the socket had no room for: %d, that it refused: %d",
            attempt.udp.dropped,
            attempt.udp.failed,
        )

    def _notice(self, text: str) -> None:
        """The gateway's words, once: the login and the configuration mostly carry the same banner."""
        text = text.strip()
        if text and text not in self._noticed:
            self._noticed.add(text)
            self._ui.notice(text)

    def fault(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A callback of the event loop (a timer, the tunnel interface) failed: rather no tunnel than a dark one."""
        fault = context.get("exception")
        log.error("%s", context.get("message"), exc_info=fault)
        self._fail(AnyikeError(f"a fault of anyike itself: {fault or context.get('message')!r}"))

    def _send_esp(self, packet: bytes, remote: Address) -> None:
        if self._attempt is not None:
            self._attempt.udp.send(packet, remote)

    def _renew_child(self, inbound_spi: int) -> None:
        if self._attempt is not None:
            driver = self._attempt.driver
            asyncio.get_running_loop().call_soon(driver.act, lambda now: driver.connection.child_expiring(inbound_spi, now))

    def _reader_ended(self, reader: asyncio.Task[None]) -> None:
        """Nobody reads the socket any more: rather no tunnel than a dark one."""
        if not reader.cancelled() and (fault := reader.exception()) is not None:
            log.error("receiving failed", exc_info=fault)
            self._fail(AnyikeError(f"a fault of anyike itself while receiving: {fault!r}"))

    def _fail(self, error: AnyikeError) -> None:
        if not self._failure.done():
            self._failure.set_result(error)


async def _load_host_network() -> None:
    """Load what only an established tunnel needs while the gateway thinks; in pieces, so that no answer waits for all."""
    from anyike.net import host, requests, undo  # noqa: F401, PLC0415
    from anyike.net.netlink import message_class  # noqa: PLC0415

    with suppress(HostSetupFailed):  # who needs it will say so
        for name in requests.MESSAGES:
            await asyncio.sleep(0)
            message_class(name)
