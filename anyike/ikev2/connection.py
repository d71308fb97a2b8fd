"""The IKE SA of one connection attempt behind six verbs: no socket, no clock, no randomness of its own.

`connect`, `receive_datagram`, `datagrams_to_send`, `get_timer`, `handle_timer`, `next_event`; questions among the events are
answered by `supply_*`. Whoever drives it sends what `datagrams_to_send` gives after every call.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Sequence

from anyike.eap.method import EapMethod
from anyike.eap.peer import EapPeer
from anyike.eap.question import Answer
from anyike.errors import AnyikeError, GatewayRefused, ProtocolError, Unreachable
from anyike.ikev2 import responder, rules
from anyike.ikev2.channel import Channel, Inbound, MessageTooLarge
from anyike.ikev2.child_sa import ChildSa
from anyike.ikev2.constants import ExchangeType, NotifyType
from anyike.ikev2.counters import Count, Counters
from anyike.ikev2.events import (
    Address,
    ChildSpiNeeded,
    Datagram,
    Established,
    Event,
    IkeSaInitDone,
    Terminated,
)
from anyike.ikev2.exchanges.ike_auth import IkeAuth
from anyike.ikev2.exchanges.ike_sa_init import IkeSaInit, describe_algorithms
from anyike.ikev2.exchanges.outcome import Again, Done, Failed, Goodbye, Noted, Outcome, Restart, Stale, Wait
from anyike.ikev2.exchanges.refusals import is_error
from anyike.ikev2.ike_sa import IkeSa
from anyike.ikev2.message import UnsupportedCriticalPayload
from anyike.ikev2.mobility import Mobility
from anyike.ikev2.payloads import Notify, Payload
from anyike.ikev2.settings import IkeSettings
from anyike.ikev2.states import CONNECTION, Input, State, after
from anyike.ikev2.tunnel import Tunnel
from anyike.ikev2.window import Due, RequestWindow, ResponseCache
from anyike.wire import DecodeError

log = logging.getLogger(__name__)


class Connection:
    """One attempt at one gateway address, from IKE_SA_INIT to the end of the tunnel."""

    def __init__(self, settings: IkeSettings, method: EapMethod, random: Callable[[int], bytes]) -> None:
        self.counters = Counters()
        self.state = State.IDLE
        self._local: Address = ("", 0)
        self._settings = settings
        self._random = random
        self._method = method
        self._channel = Channel(settings, random, self.counters)
        self._window = RequestWindow(settings.retransmission, random)
        self._cache = ResponseCache()
        self._events: deque[Event] = deque()
        self._outbox: deque[Datagram] = deque()
        self._init: IkeSaInit | None = None
        self._auth: IkeAuth | None = None
        self._tunnel: Tunnel | None = None
        self._noted: tuple[AnyikeError, float] | None = None

    @property
    def remote(self) -> Address:
        """Where the gateway is talked to now: the NAT port after the float."""
        return self._channel.remote if self._tunnel is None else self._tunnel.remote

    @property
    def other_addresses(self) -> tuple[str, ...]:
        """Where else the gateway says it can be talked to, for `move`; none before the tunnel is up (RFC 4555 3.6)."""
        return () if self._tunnel is None else self._tunnel.other_addresses

    @property
    def leaving(self) -> bool:
        """Whether the end has begun."""
        return self.state in (State.DELETING, State.CLOSED)

    # --- the six verbs -------------------------------------------------------------------------------------------------

    def connect(self, local: Address, remote: Address, now: float) -> None:
        """Begin. `local` and `remote` are (numeric address, port); the remote port follows the settings."""
        self._local = local
        port = self._settings.nat_port if self._settings.start_on_nat_port else self._settings.port
        self._channel.open((remote[0], port), on_nat_port=self._settings.start_on_nat_port)
        self._init = IkeSaInit(self._settings, self._channel.spi_i, local, self._channel.remote, self._random)
        self._happen(Input.CONNECT)
        self._send_init(now)

    def receive_datagram(self, datagram: bytes, source: Address, now: float) -> None:
        """One IKE datagram, without the non-ESP marker. Nothing in it can raise."""
        if self.state in (State.IDLE, State.CLOSED):
            self.counters[Count.DROPPED_AFTER_END] += 1
            return
        if self._tunnel is not None:
            self._tunnel.receive(datagram, source, now)
            return
        repeated = self._channel.peek_request(datagram)
        if repeated is not None:
            response = self._cache.response_to(repeated, datagram)
            if response:
                self.counters[Count.RETRANSMISSIONS_IN] += 1
                self._queue(response)
                return
        inbound = self._channel.decode(datagram, source, self._window, self._cache.expected, now)
        if inbound is None:
            return
        self.counters[Count.MESSAGES_IN] += 1
        log.debug("received %s", inbound)
        if inbound.header.is_response:
            self._handle_response(inbound, now)
        else:
            self._handle_request(inbound)

    def datagrams_to_send(self) -> list[Datagram]:
        """Everything that is to go out now, in order."""
        ready = list(self._outbox)
        self._outbox.clear()
        return ready

    def get_timer(self) -> float | None:
        """When `handle_timer` wants to be called."""
        if self._tunnel is not None:
            return None if self._tunnel.over else self._tunnel.get_timer()
        deadlines = [self._window.deadline, self._noted[1] if self._noted and self._noted[1] < math.inf else None]
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        if self._tunnel is not None:
            if not self._tunnel.over:
                self._tunnel.handle_timer(now)
            return
        if self._noted is not None and now >= self._noted[1]:
            self._terminate(self._noted[0])
            return
        match self._window.handle_timer(now):
            case Due.RETRANSMIT:
                self.counters[Count.RETRANSMISSIONS_OUT] += 1
                self._queue(self._window.datagrams)
            case Due.GIVE_UP:
                self._terminate(self._silence())
            case Due.NOTHING:
                pass

    def next_event(self) -> Event | None:
        """The oldest event not taken yet."""
        return self._events.popleft() if self._events else None

    # --- answers from outside ------------------------------------------------------------------------------------------

    def supply_child_spi(self, spi: int, now: float) -> None:
        """Answer to ChildSpiNeeded: IKE_AUTH begins, or a rekeying goes on."""
        if self._tunnel is not None:
            self._tunnel.supply_child_spi(spi, now)
        elif self.state is State.AUTH and self._auth is not None:
            self._request(ExchangeType.IKE_AUTH, self._auth.build(spi), now)

    def supply_verdict(self, error: AnyikeError | None, now: float) -> None:
        """Answer to GatewayProof: None when the gateway is trusted."""
        if self.state is State.AUTH and self._auth is not None:
            self._follow(self._auth.supply_verdict(error), now)

    def supply_answer(self, answer: Answer, now: float) -> None:
        """Answer to LoginQuestion."""
        if self.state is State.AUTH and self._auth is not None:
            self._follow(self._auth.supply_answer(answer), now)

    def child_installed(self, inbound_spi: int, now: float) -> None:
        """Answer to ChildAdded."""
        if self._tunnel is not None:
            self._tunnel.child_installed(inbound_spi, now)

    def child_expiring(self, inbound_spi: int, now: float) -> None:
        """The data path says that a CHILD_SA has carried as much as it soon may: new keys, please."""
        if self._tunnel is not None:
            self._tunnel.expire(inbound_spi, now)

    def rekey(self, now: float) -> None:
        """New keys for everything, because somebody wants them."""
        if self._tunnel is not None:
            self._tunnel.rekey(now)

    def check_liveness(self, now: float) -> None:
        """Ask the gateway now whether it is there: the machine slept, or the network changed."""
        if self._tunnel is not None:
            self._tunnel.check_liveness(now)

    def move(self, local: Address, remote: Address, now: float) -> None:
        """From now on the tunnel runs between these (numeric address, port), over a socket of yours; the remote port stays.

        `Moved` says that the gateway has followed, `MoveRefused` that it will not; while neither comes, call it again with
        other addresses. An answer to what was sent by several ways proves none of them, so the last call is what counts.
        """
        if self._tunnel is not None and not self._tunnel.over:
            self._tunnel.move(local, remote, now)

    def note_network_error(self, reason: str, now: float) -> None:
        """The network says that the gateway cannot be reached (ICMP, no route): anybody can forge that, so it is only noted."""
        self.counters[Count.UNAUTHENTICATED_ERRORS] += 1
        self._note(Unreachable(f"{self._channel.remote[0]} cannot be reached: {reason}"), now)

    def note_traffic(self, now: float) -> None:
        """Authentic ESP arrived: the gateway is alive, no liveness check is due."""
        if self._tunnel is not None:
            self._tunnel.note_traffic(now)

    def close(self, now: float) -> None:
        """Log off: DELETE in an established tunnel, AUTHENTICATION_FAILED while the user is being asked."""
        match self.state:
            case State.ESTABLISHED:
                self._leave(None, now)
            case State.AUTH if self._window.outstanding:
                self._stand(None, now)
                self._leave(None, now)
            case State.AUTH:
                self._say_goodbye(Goodbye.NOTIFY, None, now)
            case State.DELETING | State.CLOSED:
                pass
            case _:
                self._terminate(None)

    # --- responses -----------------------------------------------------------------------------------------------------

    def _handle_response(self, inbound: Inbound, now: float) -> None:
        if not inbound.protected and self.state is not State.INIT:
            self._note_unprotected(inbound, now)
            return
        try:
            payloads = rules.legal(inbound)
        except DecodeError as error:
            self._reject_response(inbound, error, now)
            return
        match self.state:
            case State.INIT if self._init is not None and inbound.message is not None:
                self._follow(self._init.process(inbound.message, inbound.datagram), now)
            case State.AUTH if self._auth is not None:
                self._accept_response()
                self._follow(self._auth.process(payloads), now)
            case _:
                self._accept_response()

    def _accept_response(self) -> None:
        self._noted = None
        self._window.answered()

    def _reject_response(self, inbound: Inbound, error: DecodeError, now: float) -> None:
        if not inbound.protected:
            self.counters[Count.DROPPED_MALFORMED] += 1
            self._note(ProtocolError(f"the gateway's IKE_SA_INIT response is malformed: {error}"), now)
            return
        self._accept_response()
        problem = ProtocolError(f"the gateway sent a message that breaks the protocol: {error}")
        self._say_goodbye(Goodbye.NOTIFY, problem, now)

    def _note_unprotected(self, inbound: Inbound, now: float) -> None:
        """Anybody can forge these: they never touch a tunnel, and end an attempt only if nothing authentic follows."""
        errors = [] if inbound.message is None else [n for n in inbound.message.all(Notify) if is_error(n)]
        if errors:
            self.counters[Count.UNAUTHENTICATED_ERRORS] += 1
            names = ", ".join(sorted({notify.name for notify in errors}))
            self._note(GatewayRefused(f"the gateway answered without protection: {names}"), now)

    def _note(self, error: AnyikeError, now: float) -> None:
        """Only while an answer is due, which then decides: a user who is being asked is not thrown out by a forger.

        In IKE_AUTH the gateway may be waiting for somebody to confirm a login, so the grace period is the whole series of
        retransmissions; what was noted is then the reason that is shown.
        """
        waiting = self.state in (State.INIT, State.AUTH) and self._window.outstanding
        if self._noted is None and waiting:
            log.info("noted, not believed yet: %s", error)
            self._noted = (error, now + self._settings.error_grace if self.state is State.INIT else math.inf)

    def _follow(self, outcome: Outcome, now: float) -> None:
        match outcome:
            case Again(payloads):
                self._request(ExchangeType.IKE_AUTH, payloads, now)
            case Restart(reason):
                log.info("IKE_SA_INIT again: %s", reason)
                self._noted = None
                self._send_init(now)
            case Noted(error):
                self.counters[Count.UNAUTHENTICATED_ERRORS] += 1
                self._note(error, now)
            case Stale(reason):
                log.debug("dropped: %s", reason)
                self.counters[Count.DROPPED_STALE] += 1
            case Failed(error, goodbye):
                self._say_goodbye(goodbye, error, now)
            case Done() if self.state is State.INIT:
                self._begin_auth()
            case Done():
                self._establish(now)
            case Wait():
                pass

    # --- steps ---------------------------------------------------------------------------------------------------------

    def _send_init(self, now: float) -> None:
        assert self._init is not None
        datagram = self._channel.encode_plain(ExchangeType.IKE_SA_INIT, 0, self._init.build())
        self._init.sent(datagram)
        self._window.restart()
        self._transmit(ExchangeType.IKE_SA_INIT, [datagram], now, self._settings.init_tries)

    def _begin_auth(self) -> None:
        assert self._init is not None
        assert self._init.result is not None
        result = self._init.result
        self._accept_response()
        self._channel.secure(result)
        nat = result.nat
        encapsulate = self._settings.force_encapsulation or nat.in_front_of_us or nat.in_front_of_gateway
        may_meet_nat = self._settings.mobike and nat.supported  # at a later address (RFC 4555 3.3)
        if encapsulate or may_meet_nat:
            self._channel.float_to(self._settings.nat_port)
        self._auth = IkeAuth(
            self._settings, result, EapPeer(self._method), self._events.append, self._random, encapsulate
        )
        self._happen(Input.KEYS)
        self._events.append(
            IkeSaInitDone(
                describe_algorithms(result.chosen),
                nat.in_front_of_us,
                nat.in_front_of_gateway,
                result.vendor_ids,
            )
        )
        self._events.append(ChildSpiNeeded())

    def _establish(self, now: float) -> None:
        auth = self._auth
        assert auth is not None
        assert auth.child is not None
        self._happen(Input.AUTHENTICATED)
        self._stand(auth.child, now)
        self._events.append(Established(auth.child, auth.configuration, auth.auth_lifetime, auth.mobike))
        self._auth = None  # and with it the last answers of the login

    def _stand(self, child: ChildSa | None, now: float) -> None:
        """From here on the tunnel goes its own way; without a CHILD_SA its only way is to be deleted."""
        assert self._init is not None
        assert self._init.result is not None
        result = self._init.result
        ike = IkeSa(self._channel, result.keys, self._window, self._cache)
        mobility = Mobility(
            self._settings,
            self._local,
            self._channel.remote,
            result.nat,
            self._random,
            mobike=self._auth is not None and self._auth.mobike,
            other_addresses=self._auth.other_addresses if self._auth is not None else (),
        )
        self._tunnel = Tunnel(self._settings, ike, child, self, self._random, self.counters, now, mobility)

    def _say_goodbye(self, goodbye: Goodbye, error: AnyikeError | None, now: float) -> None:
        match goodbye:
            case Goodbye.DELETE:
                self._stand(None, now)
                self._leave(error, now)
                return
            case Goodbye.NOTIFY:
                message = (Notify(NotifyType.AUTHENTICATION_FAILED),)
                self._queue(self._channel.encode(ExchangeType.INFORMATIONAL, self._window.message_id, message))
            case Goodbye.NONE:
                pass
        self._terminate(error)

    def _leave(self, error: AnyikeError | None, now: float) -> None:
        assert self._tunnel is not None
        self._tunnel.leave(error, now)

    # --- what the tunnel needs -----------------------------------------------------------------------------------------

    def emit(self, event: Event) -> None:
        """Tell the outside."""
        self._events.append(event)

    def send(self, datagrams: Sequence[Datagram]) -> None:
        """Put these on the wire."""
        self._outbox.extend(datagrams)

    def begin_end(self) -> None:
        """The tunnel's DELETE is on its way."""
        self._happen(Input.LEAVE)

    def end(self, error: AnyikeError | None) -> None:
        """The tunnel is over."""
        self._terminate(error)

    def _terminate(self, error: AnyikeError | None) -> None:
        self._happen(Input.OVER)
        self._window.restart()
        self._noted = None
        self._channel.wipe()
        self._events.append(Terminated(error))

    def _silence(self) -> AnyikeError:
        if self._noted is not None:
            return self._noted[0]
        host = self._channel.remote[0]
        what = "IKE_SA_INIT" if self.state is State.INIT else "IKE_AUTH"
        hint = (
            "a firewall may drop UDP 500 and 4500"
            if what == "IKE_SA_INIT"
            else "a firewall may drop UDP 4500 or large packets"
        )
        return Unreachable(f"no answer from {host} to {what}, sent {self._window.tries + 1} times: {hint}")

    # --- requests of the gateway ---------------------------------------------------------------------------------------

    def _handle_request(self, inbound: Inbound) -> None:
        """Before the tunnel is up a gateway has little to ask for."""
        try:
            payloads = rules.legal(inbound)
        except DecodeError as error:
            self._respond(inbound, (rules.notify_for(error),))
            if isinstance(error, UnsupportedCriticalPayload):
                log.warning("a request of the gateway was rejected: %s", error)  # and nothing else (RFC 7296 2.5)
                return
            self._terminate(ProtocolError(f"the gateway sent a request that breaks the protocol: {error}"))
            return
        if inbound.header.exchange == ExchangeType.CREATE_CHILD_SA:
            self._respond(inbound, (Notify(NotifyType.NO_ADDITIONAL_SAS),))
            return
        self._respond(inbound, ())
        said = responder.read_informational(payloads)
        if said.ends_ike_sa:
            self._terminate(GatewayRefused(f"{said.reason}{said.words}, before the tunnel was up"))

    def _respond(self, inbound: Inbound, payloads: tuple[Payload, ...]) -> None:
        header = inbound.header
        datagrams = self._channel.encode(header.exchange, header.message_id, payloads, response=True)
        self._cache.answered(inbound.first_datagram, datagrams)
        self._queue(datagrams)

    # --- plumbing ------------------------------------------------------------------------------------------------------

    def _request(self, exchange: ExchangeType, payloads: tuple[Payload, ...], now: float) -> None:
        try:
            datagrams = self._channel.encode(exchange, self._window.message_id, payloads)
        except MessageTooLarge as error:
            self._say_goodbye(Goodbye.NOTIFY, error, now)
            return
        self._transmit(exchange, datagrams, now)

    def _transmit(
        self, exchange: ExchangeType, datagrams: Sequence[bytes], now: float, tries: int | None = None
    ) -> None:
        self._window.start(exchange, datagrams, now, tries)
        self._queue(datagrams)

    def _queue(self, datagrams: Sequence[bytes]) -> None:
        self.counters[Count.MESSAGES_OUT] += 1
        self._outbox.extend(self._channel.datagram(data) for data in datagrams)

    def _happen(self, happens: Input) -> None:
        before, self.state = self.state, after(self.state, happens, CONNECTION)
        log.debug("%s -> %s", before.name, self.state.name)
