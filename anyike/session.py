"""One login at a gateway and the tunnel that comes of it, until that ends."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from ipaddress import ip_address

from anyike import assembly
from anyike.config import Settings
from anyike.crypto.x509 import TrustPolicy
from anyike.driver import Driver
from anyike.eap.form import BANNER, Answers, Form, acceptance_of, is_accepted
from anyike.eap.question import Answer, Question
from anyike.eap_anyconnect.method import AnyConnectEap
from anyike.errors import AnyikeError, LoginFailed, TunnelLost, Unreachable
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
    Moved,
    MoveRefused,
    Notice,
    OutboundSwitched,
    Reauthenticate,
    Terminated,
)
from anyike.ikev2.settings import IkeSettings
from anyike.login.respondent import Respondent
from anyike.net.resolve import Candidate, resolve
from anyike.net.udp import UdpChannel
from anyike.text import printable
from anyike.tun.base import DataPath
from anyike.ui import Stage, UserInterface

log = logging.getLogger(__name__)

LOG_OFF_LIMIT = 10.0
"""Seconds for DELETE and its retransmissions, when it is not the user who waits."""

IPV6 = 6
FIRST_ROUND_TRIES = 1
"""With several addresses each is first tried this briefly, so that a dead one (often IPv6) costs seconds, not a minute."""


class Interrupted(Exception):
    """The user ended a login before its tunnel was up."""


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


class Session:
    """A login, and its tunnel.

    Args:
        settings: what the user wants.
        ike: the same for the core.
        policy: what the gateway is measured against, for the host of the settings.
        data_path: encrypts the packets; several sessions use it one after the other.
        receive_esp: takes ESP datagrams.
        respondent: answers what the gateway asks in this login.
        ui: shows what happens.
        failure: is done when something that the tunnel needs has failed.
        fail: makes it so.
        known: addresses of hosts as they were resolved last, for when they cannot be any more: the resolver may be one that
            is reached through the tunnel only. This session adds its own.
        redirected: host and the one that sent us to it, when a gateway did.
    """

    def __init__(
        self,
        settings: Settings,
        ike: IkeSettings,
        policy: TrustPolicy,
        data_path: DataPath,
        receive_esp: Callable[[bytes, Address], None],
        respondent: Respondent,
        ui: UserInterface,
        failure: asyncio.Future[AnyikeError],
        fail: Callable[[AnyikeError], None],
        known: dict[str, list[Candidate]],
        redirected: tuple[str, str] | None = None,
    ) -> None:
        self._settings = settings
        self._ike = ike
        self._policy = policy
        self._data_path = data_path
        self._receive_esp = receive_esp
        self._respondent = respondent
        self._ui = ui
        self._failure = failure
        self._fail = fail
        self._known = known
        self._redirected = redirected
        self._attempt: _Attempt | None = None
        self._open = AsyncExitStack()
        self._moving: asyncio.Task[None] | None = None
        self._sockets: dict[socket.AddressFamily, UdpChannel] = {}
        self._asked = False
        self._noticed: set[str] = set()
        self._lost: asyncio.Future[AnyikeError] = asyncio.get_running_loop().create_future()
        self.mobike = False
        self.on_lifetime: Callable[[int], None] = lambda _seconds: None
        self.host = settings.gateway.host

    # --- what the owner may know and want -------------------------------------------------------------------------------

    @property
    def up(self) -> _Attempt:
        """The attempt that came through; only after `establish`."""
        assert self._attempt is not None
        return self._attempt

    @property
    def leaving(self) -> bool:
        """Whether there is nothing that could be closed, or closing has begun."""
        return self._attempt is None or self._attempt.driver.connection.leaving

    def close(self) -> None:
        """Log off: `stay` ends when the gateway has answered, or does not."""
        if self._attempt is not None:
            self._attempt.driver.act(self._attempt.driver.connection.close)

    def act(self, what: Callable[[Connection, float], None]) -> None:
        """Have the core do something, if there is one."""
        if self._attempt is not None:
            attempt = self._attempt
            attempt.driver.act(lambda now: what(attempt.driver.connection, now))

    def send_esp(self, packet: bytes, remote: Address) -> None:
        """Put an ESP packet on the wire."""
        if self._attempt is not None:
            self._attempt.udp.send(packet, remote)

    # --- login -----------------------------------------------------------------------------------------------------------

    async def establish(self) -> Established:
        """Log in to the gateway, or to the first of its backup servers that can be reached.

        Raises:
            Interrupted: the user did not want it any more.
            AnyikeError: why there is no tunnel.
        """
        failures = []
        hosts = tuple(dict.fromkeys((self._settings.gateway.host, *self._settings.gateway.backup_servers)))
        if self._redirected is not None:
            hosts = (self._redirected[0],)
            self._ike = replace(self._ike, redirected_from=self._redirected[1])
        try:
            for host in hosts:
                self.host = host
                self._policy = replace(self._policy, names=self._trusted_names(host))
                try:
                    return await self._log_in(await self._resolve(host))
                except Unreachable as error:
                    if self._asked:
                        raise
                    failures.append(str(error))
                    if host != hosts[-1]:
                        self._ui.warning(f"{error}; trying the next backup server")
        finally:
            await self._respondent.close()
        raise Unreachable("; ".join(failures))

    def _trusted_names(self, host: str) -> tuple[str, ...]:
        """A redirect decides whom we talk to, not whom we trust: the name that was asked for still counts (RFC 5685 8)."""
        gateway = self._settings.gateway
        by_its_own = self._redirected is None or host in gateway.redirect_hosts
        return assembly.trusted_names(self._settings, host if by_its_own else gateway.host)

    async def _resolve(self, host: str) -> list[Candidate]:
        self._ui.stage(Stage.RESOLVE, host)
        try:
            candidates = self._known[host] = await resolve(host)
        except Unreachable as error:
            if host not in self._known:
                raise
            log.warning("%s; taking the addresses of the last time", error)
            candidates = self._known[host]
        self._ui.stage(Stage.RESOLVE, ", ".join(candidate.host for candidate in candidates))
        return candidates

    async def _log_in(self, candidates: list[Candidate]) -> Established:
        """Try every address in turn; final are all failures but silence, and silence after the user answered."""
        brief = replace(self._ike, init_tries=min(FIRST_ROUND_TRIES, self._ike.retransmission.tries))
        rounds = [(self._ike, candidates)] if len(candidates) == 1 else [(brief, candidates), (self._ike, candidates)]
        failures: dict[str, str] = {}
        for settings, round_candidates in rounds:
            for candidate in round_candidates:
                try:
                    return await self._try(settings, candidate)
                except Unreachable as error:
                    if self._asked:
                        raise
                    log.info("%s", error)
                    failures[candidate.host] = str(error)
        raise Unreachable("; ".join(failures.values()))

    async def _try(self, ike: IkeSettings, candidate: Candidate) -> Established:
        method = AnyConnectEap(assembly.login_settings(self._settings, self.host))
        driver = Driver(Connection(ike, method, os.urandom), ike.nat_port)
        driver.on_esp = self._receive_esp
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
            established = await self._follow(self._attempt)
            self._open.push_async_exit(failed.pop_all())
            return established
        raise AssertionError  # an AsyncExitStack of plain closers swallows nothing

    async def _follow(self, attempt: _Attempt) -> Established:
        """Answer the core's questions until the tunnel is established."""
        while True:
            event = await self._next_event(attempt.driver)
            match event:
                case Established():
                    self.mobike = event.mobike
                    return event
                case None:
                    raise self._lost.result()
                case Terminated(error):
                    self._attempt = None
                    raise error or Interrupted
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
                self.notice(text)
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
        self._respondent.meet(self.host, proof.chain[0])
        return None

    async def _ask(self, attempt: _Attempt, question: Question) -> None:
        self._asked = True
        try:
            answer = await self._answer(attempt, question)
        except AnyikeError:
            attempt.driver.act(attempt.driver.connection.close)
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
            answering.cancel()
            ended.cancel()
            # Not awaited one by one: that would take a cancellation of ours for one of theirs.
            await asyncio.wait((answering, ended))
            if not answering.cancelled():
                answering.exception()

    # --- tunnel ----------------------------------------------------------------------------------------------------------

    async def have_banner_accepted(self, banner: str) -> None:
        """The configuration's banner, before anything of this machine changes; the login's own came through the method.

        Raises:
            LoginFailed: it was declined.
            Interrupted: the user ended it. Other errors: the gateway did.
        """
        if not banner or banner in self._noticed or not self._settings.login.accept_banner:
            return
        answer = await self._answer(self.up, acceptance_of(printable(banner)))
        if answer is None:
            error = await self.stay()
            raise error or Interrupted
        if not isinstance(answer, Answers) or not is_accepted(answer):
            raise LoginFailed("the gateway's banner was not accepted: logged off")
        self._noticed.add(banner)

    def lose(self, error: AnyikeError) -> None:
        """Give this tunnel up: `stay` ends with this error, and nobody is told."""
        if not self._lost.done():
            self._lost.set_result(error)

    async def stay(self) -> AnyikeError | None:
        """Until the tunnel ends: why, or None when our side wanted it. Raises what failed on our side."""
        driver = self.up.driver
        while True:
            match await self._next_event(driver):
                case None:
                    return self._lost.result()
                case Terminated(error):
                    return error
                case Notice(text):
                    self.notice(text)
                case event:
                    await self._rekey(event)
                    driver.pump()

    def move(self, host: str, local: str) -> None:
        """This machine is at another address: have the tunnel run from there, if the gateway can (MOBIKE).

        Where it cannot, it may follow by itself, since it believes in a NAT (RFC 7296 2.23): so it is asked at once. The last
        move is the one that counts.
        """
        if self._moving is not None:
            self._moving.cancel()
        self._moving = asyncio.ensure_future(self._move(self.up, host, local))

    async def _move(self, attempt: _Attempt, host: str, local: str) -> None:
        try:
            udp = await self._socket_for(attempt, host)
        except AnyikeError as error:
            self.lose(TunnelLost(f"the tunnel cannot move with this machine: {error}"))
            return
        port = udp.local_address_for((host, attempt.remote[1]))[1]
        attempt.udp = udp
        attempt.driver.use(udp)
        attempt.local = (local, port)
        if self.mobike:
            attempt.driver.act(
                lambda now: attempt.driver.connection.move((local, port), (host, attempt.remote[1]), now)
            )
        else:
            attempt.driver.act(attempt.driver.connection.check_liveness)

    async def _socket_for(self, attempt: _Attempt, host: str) -> UdpChannel:
        """The session has one socket for each IP version, at most."""
        family = _family_of(host)
        self._sockets.setdefault(_family_of(attempt.remote[0]), attempt.udp)
        if family not in self._sockets:
            gateway, driver = self._settings.gateway, attempt.driver
            udp = await UdpChannel.open(
                family, gateway.local_port, self._settings.tunnel.mark, driver.receive, driver.network_error
            )
            udp.reader.add_done_callback(self._reader_ended)
            self._open.callback(udp.close)
            self._sockets[family] = udp
        return self._sockets[family]

    async def _rekey(self, event: Event) -> None:
        """Carry out what the core wants of the data path; what it asks is answered when that is done."""
        attempt = self.up
        connection = attempt.driver.connection
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
            case Moved(local, remote):
                log.info("the tunnel moved: %s to %s", local[0], remote[0])
                await self._data_path.update_addresses(local, remote)
            case MoveRefused(_, _, reason):
                self.lose(TunnelLost(f"the tunnel cannot move with this machine: {reason}"))
            case Reauthenticate(seconds):
                self.on_lifetime(seconds)
            case other:
                log.debug("%s is of no interest now", type(other).__name__)

    async def _next_event(self, driver: Driver) -> Event | None:
        """The core's next event, None when the tunnel was given up, or the error by which something on our side failed."""
        event = asyncio.ensure_future(driver.next_event())
        try:
            await asyncio.wait((event, self._failure, self._lost), return_when=asyncio.FIRST_COMPLETED)
            if event.done():
                return event.result()
            if self._failure.done():
                raise self._failure.result()
            return None
        finally:
            event.cancel()

    async def end(self, *, log_off: bool) -> None:
        """Let go of the socket; with `log_off` tell the gateway first, unless the tunnel has ended already."""
        attempt = self._attempt
        try:
            if self._moving is not None:
                self._moving.cancel()
                await asyncio.wait([self._moving])
            if attempt is not None:
                connection, driver = attempt.driver.connection, attempt.driver
                if log_off and not connection.leaving:
                    driver.act(connection.close)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(LOG_OFF_LIMIT):
                            await driver.ended.wait()
                self.log_statistics(self._data_path.counters())
        finally:
            self._attempt = None
            await self._open.aclose()
            self._lost.cancel()

    def log_statistics(self, esp: Mapping[str, int], level: int = logging.INFO) -> None:
        """The counters of IKE, ESP and the socket."""
        if self._attempt is None:
            return
        counters = self._attempt.driver.connection.counters
        log.log(level, "IKE counters: %s", {str(name): count for name, count in sorted(counters.items())})
        log.log(level, "ESP counters: %s", dict(esp))
        log.log(
            level,
            "datagrams that the socket had no room for: %d, that it refused: %d",
            self._attempt.udp.dropped,
            self._attempt.udp.failed,
        )

    def notice(self, text: str) -> None:
        """The gateway's words, once: the login and the configuration mostly carry the same banner."""
        text = text.strip()
        if text and text not in self._noticed:
            self._noticed.add(text)
            self._ui.notice(text)

    def _reader_ended(self, reader: asyncio.Task[None]) -> None:
        """Nobody reads the socket any more: rather no tunnel than a dark one."""
        if not reader.cancelled() and (fault := reader.exception()) is not None:
            log.error("receiving failed", exc_info=fault)
            self._fail(AnyikeError(f"a fault of anyike itself while receiving: {fault!r}"))


def _family_of(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ip_address(host.partition("%")[0]).version == IPV6 else socket.AF_INET


def _show_vendor_id(vendor_id: bytes) -> str:
    text = vendor_id.decode("ascii", "replace")
    return text if text.isprintable() and "\ufffd" not in text else vendor_id.hex()
