"""A tunnel that is up: its IKE SA and CHILD_SAs, their rekeying and deletion, liveness, and what collides with what.

One request of ours is outstanding in each IKE SA; the others wait. Both sides may rekey whatever they like at any time; the
rules for that are those of RFC 7296 2.8 and 2.25. The two halves of a CHILD_SA move separately: a new one is installed before
anybody may send by it, we send by it when the other side is sure to have it, and the old one is received a little longer.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from anyike.crypto.dh import InvalidKeyExchange
from anyike.errors import AnyikeError, ProtocolError, Redirected, TunnelEnded, TunnelLost
from anyike.ikev2 import natt, responder, rules
from anyike.ikev2.agenda import Agenda
from anyike.ikev2.channel import Inbound
from anyike.ikev2.child_sa import ChildSa
from anyike.ikev2.constants import ExchangeType, NotifyType, ProtocolId
from anyike.ikev2.counters import Count, Counters
from anyike.ikev2.events import (
    Address,
    ChildAdded,
    ChildRemoved,
    ChildSpiNeeded,
    Datagram,
    Event,
    MoveRefused,
    OutboundSwitched,
    Reauthenticate,
)
from anyike.ikev2.exchanges import redirect
from anyike.ikev2.exchanges.refusals import is_error
from anyike.ikev2.exchanges.rekeying import (
    ChildRekeying,
    IkeRekeying,
    NewIkeSa,
    Refused,
    answer_child_rekeying,
    answer_ike_rekeying,
    is_about_ike,
    rekeyed_spi,
)
from anyike.ikev2.ike_sa import IkeSa, Request, Subject
from anyike.ikev2.message import UnsupportedCriticalPayload
from anyike.ikev2.mobility import NO_MOBIKE, Mobility, Update
from anyike.ikev2.payloads import Delete, Notify, Payload
from anyike.ikev2.proposals import UnacceptableChoice
from anyike.ikev2.settings import IkeSettings
from anyike.ikev2.states import CHILD, ChildInput, ChildState, after
from anyike.ikev2.window import Due, RequestWindow, ResponseCache
from anyike.wire import DecodeError

log = logging.getLogger(__name__)

GOODBYE_TRIES = 2
"""A DELETE is repeated this often: long enough for a lost packet, short enough for somebody who waits at Ctrl-C."""
LINGER = 5.0
"""Seconds for which a replaced CHILD_SA is still received: packets of before the switch may be under way."""
PATIENCE = 60.0
"""Seconds that the side which has to delete a replaced SA gets, before the other one does."""
RETRY = 10.0
"""Seconds until something that failed for the moment (TEMPORARY_FAILURE) is tried again, more or less."""
MAX_SAS = 16
"""Implementation: SAs of either kind. Rekeyings leave a few behind for a while; more come only from a gateway gone wild."""
LATER = 300.0
"""The same for what failed for another reason; the hard limit ends it."""


class Owner(Protocol):
    """What a tunnel needs of the connection around it."""

    def emit(self, event: Event) -> None:
        """Tell the outside."""

    def send(self, datagrams: Sequence[Datagram]) -> None:
        """Put these on the wire."""

    def begin_end(self) -> None:
        """The DELETE is on its way."""

    def end(self, error: AnyikeError | None) -> None:
        """The tunnel is over."""


@dataclass(slots=True, eq=False)
class Child:
    """A CHILD_SA and its rekeyings: `ours` was sent, `theirs` was answered; both at once is a collision."""

    sa: ChildSa
    state: ChildState = ChildState.INSTALLED
    ours: ChildRekeying | None = None
    theirs: tuple[Child, tuple[bytes, ...]] | None = None

    def happen(self, happens: ChildInput) -> None:
        """Go on to the next state."""
        self.state = after(self.state, happens, CHILD)

    def supersede(self) -> None:
        """It has a successor; one that is being deleted anyway stays so."""
        if self.state in (ChildState.INSTALLED, ChildState.REKEYING):
            self.happen(ChildInput.SUPERSEDED)


class Tunnel:
    """Everything between Established and the end."""

    def __init__(
        self,
        settings: IkeSettings,
        ike: IkeSa,
        child: ChildSa | None,
        owner: Owner,
        random: Callable[[int], bytes],
        counters: Counters,
        now: float,
        mobility: Mobility,
    ) -> None:
        self._settings = settings
        self._owner = owner
        self._random = random
        self._counters = counters
        self._current = ike
        self._sas = [ike]
        self._children = [] if child is None else [Child(child)]
        self._outbound = self._children[0] if self._children else None
        self._agenda = Agenda()
        self._spi_questions: deque[Callable[[int, float], None]] = deque()
        self._installing: dict[int, Callable[[float], None]] = {}
        self._postponed: deque[Callable[[float], None]] = deque()
        self._our_ike_rekeying: IkeRekeying | None = None
        self._their_ike_rekeying: tuple[IkeSa, tuple[bytes, ...]] | None = None
        self._error: AnyikeError | None = None
        self._mobility = mobility
        self._heard = self._spoke = now
        self.leaving = False
        self.over = False
        if child is not None:
            self._limit_child(self._children[0], now)
            self._limit_ike(now)

    @property
    def remote(self) -> Address:
        """Where the gateway is talked to."""
        return self._current.channel.remote

    @property
    def other_addresses(self) -> tuple[str, ...]:
        """Where else the gateway says it is."""
        return self._mobility.other_addresses

    # --- time ----------------------------------------------------------------------------------------------------------

    def get_timer(self) -> float | None:
        """When `handle_timer` wants to be called."""
        deadlines = [sa.window.deadline for sa in self._sas]
        deadlines += [self._agenda.next, self._liveness_due(), self._keepalive_due()]
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def handle_timer(self, now: float) -> None:
        """Do what is due."""
        for sa in tuple(self._sas):
            match sa.window.handle_timer(now):
                case Due.RETRANSMIT:
                    self._counters[Count.RETRANSMISSIONS_OUT] += 1
                    self._send(sa, sa.window.datagrams, now)
                case Due.GIVE_UP:
                    self._give_up(sa)
                case Due.NOTHING:
                    pass
        if self.over:
            return
        self._agenda.keep(now)
        liveness, keepalive = self._liveness_due(), self._keepalive_due()
        if liveness is not None and now >= liveness:
            self.check_liveness(now)
        if keepalive is not None and now >= keepalive:
            self._counters[Count.KEEPALIVES_OUT] += 1
            self._owner.send([Datagram(natt.KEEPALIVE, self.remote)])
            self._spoke = now
        self._go_on(now)

    def note_traffic(self, now: float) -> None:
        """Authentic ESP arrived: the gateway is alive."""
        self._heard = max(self._heard, now)

    def _liveness_due(self) -> float | None:
        current = self._current
        if self.leaving or current.window.outstanding or not self._settings.liveness_interval:
            return None
        return self._heard + self._settings.liveness_interval

    def _keepalive_due(self) -> float | None:
        if self.leaving or not self._mobility.behind_nat or not self._settings.keepalive_interval:
            return None
        return self._spoke + self._settings.keepalive_interval

    def _give_up(self, sa: IkeSa) -> None:
        if self.leaving:
            self._end()
        elif sa is self._current:
            self._error = TunnelLost(
                f"the gateway {self.remote[0]} does not answer any more: it is down, or the network between is"
            )
            self._end()
        else:
            self._forget(sa)

    # --- what the outside wants ----------------------------------------------------------------------------------------

    def check_liveness(self, now: float) -> None:
        """Ask the gateway whether it is there; what is being asked already is asked again, for the network may have changed."""
        if self._current.window.outstanding:
            self._send(self._current, self._current.window.datagrams, now)
        elif not self._current.waiting:
            self._ask(
                Subject.LIVENESS,
                ExchangeType.INFORMATIONAL,
                lambda: self._mobility.liveness(self._current.channel),
                self._alive,
                now,
            )

    def move(self, local: Address, remote: Address, now: float) -> None:
        """Run between these addresses from now on; what is outstanding goes the new way at once (RFC 4555 3.5)."""
        if not self._mobility.mobike:
            self._owner.emit(MoveRefused(local, remote, NO_MOBIKE))
            return
        self._mobility.move(local, remote)
        for sa in self._sas:
            sa.channel.move_to(remote[0])
            if sa.window.outstanding:
                sa.window.start(sa.window.exchange, sa.window.datagrams, now, sa.window.tries)
                self._send(sa, sa.window.datagrams, now)
        self._update_addresses(now)

    def _update_addresses(self, now: float) -> None:
        waiting = self._current.waiting
        if self.leaving or any(request.subject is Subject.MOVE for request in waiting):
            return
        update = Update(self._mobility, self._random)

        def build() -> tuple[Payload, ...]:
            return update.build(self._current.channel)

        def process(sa: IkeSa, payloads: tuple[Payload, ...], _now: float) -> None:
            result = update.process(sa.channel, payloads)
            if result is not None:
                self._owner.emit(result)

        # Before all that waits: until the gateway knows, nothing of the tunnel's traffic reaches us.
        waiting.appendleft(Request(Subject.MOVE, ExchangeType.INFORMATIONAL, build, process))
        self._go_on(now)

    def _alive(self, sa: IkeSa, payloads: tuple[Payload, ...], now: float) -> None:
        if self._mobility.address_changed(sa.channel, payloads):
            log.info("the gateway sees us at another address than before")
            self._update_addresses(now)

    def rekey(self, now: float) -> None:
        """Rekey everything: the CHILD_SAs, then the IKE SA."""
        for child in tuple(self._children):
            self._begin_child_rekeying(child, now)
        self._begin_ike_rekeying(now)

    def expire(self, inbound_spi: int, now: float) -> None:
        """The data path says that this CHILD_SA has carried as much as it soon may."""
        for child in self._children:
            if child.sa.inbound_spi == inbound_spi:
                self._begin_child_rekeying(child, now)

    def supply_child_spi(self, spi: int, now: float) -> None:
        """Answer to the oldest ChildSpiNeeded."""
        if self._spi_questions and not self.over:
            self._spi_questions.popleft()(spi, now)
            self._go_on(now)

    def child_installed(self, inbound_spi: int, now: float) -> None:
        """Answer to ChildAdded: its inbound half accepts packets."""
        go_on = self._installing.pop(inbound_spi, None)
        if go_on is not None and not self.over:
            go_on(now)
            self._go_on(now)

    def leave(self, error: AnyikeError | None, now: float) -> None:
        """DELETE, and the end when it is answered or nobody answers; an outstanding request comes first, but not for long."""
        if self.leaving:
            return
        self.leaving = True
        self._owner.begin_end()
        self._error = error
        self._agenda.clear()
        for sa in self._sas:
            sa.waiting.clear()
        current = self._current
        if current.window.outstanding:
            current.window.start(current.window.exchange, current.window.datagrams, now, GOODBYE_TRIES)
        self._ask(
            Subject.IKE_DELETE,
            ExchangeType.INFORMATIONAL,
            lambda: (Delete(ProtocolId.IKE, ()),),
            lambda _sa, _payloads, _now: self._end(),
            now,
            GOODBYE_TRIES,
        )

    # --- messages ------------------------------------------------------------------------------------------------------

    def receive(self, datagram: bytes, source: Address, now: float) -> None:
        """One IKE datagram, without the non-ESP marker. Nothing in it can raise."""
        sa = next((sa for sa in self._sas if sa.channel.owns(datagram)), self._current)
        repeated = sa.channel.peek_request(datagram)
        if repeated is not None:
            response = sa.cache.response_to(repeated, datagram)
            if response or (sa.answering and repeated == sa.cache.expected):
                self._counters[Count.RETRANSMISSIONS_IN] += 1
                self._send(sa, response, now, source)
                return
        inbound = sa.channel.decode(datagram, source, sa.window, sa.cache.expected, now)
        if inbound is None:
            return
        self._counters[Count.MESSAGES_IN] += 1
        log.debug("received %s", inbound)
        if not inbound.protected:
            self._count_errors(inbound)
            return
        self._heard = now
        if inbound.header.is_response:
            self._handle_response(sa, inbound, now)
        else:
            sa.asked_from = source
            self._handle_request(sa, inbound, now)
        self._go_on(now)

    def _count_errors(self, inbound: Inbound) -> None:
        """Anybody can forge these: they never touch a tunnel."""
        if inbound.message is not None and any(is_error(notify) for notify in inbound.message.all(Notify)):
            self._counters[Count.UNAUTHENTICATED_ERRORS] += 1

    def _handle_response(self, sa: IkeSa, inbound: Inbound, now: float) -> None:
        request = sa.take_answered()
        if sa.answering and request is not None and request.subject is Subject.CHILD:
            # The gateway is rekeying too, perhaps the same CHILD_SA: with that answered both nonces can be compared.
            self._postponed.append(lambda at: self._process_response(sa, request, inbound, at))
        else:
            self._process_response(sa, request, inbound, now)

    def _process_response(self, sa: IkeSa, request: Request | None, inbound: Inbound, now: float) -> None:
        try:
            payloads = rules.legal(inbound)
            if request is not None:
                request.process(sa, payloads, now)
        except (DecodeError, UnacceptableChoice, InvalidKeyExchange) as error:
            self.leave(ProtocolError(f"the gateway sent a message that breaks the protocol: {error}"), now)

    def _handle_request(self, sa: IkeSa, inbound: Inbound, now: float) -> None:
        try:
            payloads = rules.legal(inbound)
        except UnsupportedCriticalPayload as error:
            log.warning("a request of the gateway was rejected: %s", error)  # and nothing else (RFC 7296 2.5)
            self._respond(sa, inbound, (rules.notify_for(error),), now)
            return
        except DecodeError as error:
            self._break_off(sa, inbound, error, now)
            return
        if inbound.header.exchange == ExchangeType.CREATE_CHILD_SA:
            self._answer_create_child_sa(sa, inbound, payloads, now)
        else:
            self._answer_informational(sa, inbound, payloads, now)

    def _break_off(self, sa: IkeSa, inbound: Inbound, error: DecodeError, now: float) -> None:
        """With INVALID_SYNTAX the IKE SA ends on both sides, and no DELETE is needed (RFC 7296 2.21.3)."""
        self._respond(sa, inbound, (rules.notify_for(error),), now)
        self._error = ProtocolError(f"the gateway sent a request that breaks the protocol: {error}")
        self._end()

    def _respond(self, sa: IkeSa, inbound: Inbound, payloads: tuple[Payload, ...], now: float) -> None:
        header = inbound.header
        datagrams = sa.channel.encode(header.exchange, header.message_id, payloads, response=True)
        sa.cache.answered(inbound.first_datagram, datagrams)
        sa.answering = False
        self._send(sa, datagrams, now, sa.asked_from)
        while self._postponed:
            self._postponed.popleft()(now)

    def _ask(
        self,
        subject: Subject,
        exchange: ExchangeType,
        build: Callable[[], tuple[Payload, ...] | None],
        process: Callable[[IkeSa, tuple[Payload, ...], float], None],
        now: float,
        tries: int | None = None,
        sa: IkeSa | None = None,
    ) -> None:
        """Send a request when its turn comes."""
        (sa or self._current).waiting.append(Request(subject, exchange, build, process, tries))
        self._go_on(now)

    def _go_on(self, now: float) -> None:
        for sa in tuple(self._sas):
            if not self.over:
                self._send(sa, sa.send_next(now), now)

    def _send(self, sa: IkeSa, datagrams: Sequence[bytes], now: float, destination: Address | None = None) -> None:
        if datagrams:
            self._counters[Count.MESSAGES_OUT] += 1
            self._spoke = now
            self._owner.send([sa.channel.datagram(data, destination) for data in datagrams])

    # --- CHILD_SAs: our rekeying ---------------------------------------------------------------------------------------

    def _limit_child(self, child: Child, now: float) -> None:
        """When it is rekeyed, and when it must not be used any more."""
        spi, limits = child.sa.inbound_spi, self._settings.child_lifetime
        if limits.soft:
            self._agenda.put(
                ("soft", spi), now + limits.jittered(self._random), lambda at: self._begin_child_rekeying(child, at)
            )
        if limits.hard:
            self._agenda.put(("hard", spi), now + limits.hard, lambda at: self._child_outlived(child, at))

    def _child_outlived(self, child: Child, now: float) -> None:
        if child is self._outbound:
            reason = "the gateway did not agree to new keys for the tunnel before the old ones expired (esp.life_time)"
            self.leave(TunnelLost(reason), now)
        elif child.state is not ChildState.DELETING:
            self._delete_child(child, now)

    def _begin_child_rekeying(self, child: Child, now: float) -> None:
        appointment = "soft", child.sa.inbound_spi
        self._agenda.drop(appointment)
        if any(old.theirs is not None and old.theirs[0] is child for old in self._children):
            # The gateway made it, and may wait for our answer still: it has it when it deletes the old one.
            self._agenda.put(appointment, now + RETRY, lambda at: self._begin_child_rekeying(child, at))
        elif child.state is ChildState.INSTALLED and child in self._children and not self.leaving:
            child.happen(ChildInput.REKEY)
            self._need_spi(lambda spi, at: self._rekey_child(child, spi, at))

    def _rekey_child(self, child: Child, spi: int, now: float) -> None:
        if child.state is not ChildState.REKEYING:
            self._owner.emit(ChildRemoved(spi))
            return
        rekeying = ChildRekeying(self._settings, child.sa, spi, self._random)
        self._ask_for_child(child, rekeying, now)

    def _ask_for_child(self, child: Child, rekeying: ChildRekeying, now: float) -> None:
        def build() -> tuple[Payload, ...] | None:
            if child.state is not ChildState.REKEYING:  # the gateway was faster
                self._owner.emit(ChildRemoved(rekeying.spi))
                return None
            child.ours = rekeying
            return rekeying.build()

        self._ask(
            Subject.CHILD,
            ExchangeType.CREATE_CHILD_SA,
            build,
            lambda sa, payloads, at: self._child_rekeyed(sa, child, rekeying, payloads, at),
            now,
        )

    def _child_rekeyed(
        self, sa: IkeSa, child: Child, rekeying: ChildRekeying, payloads: tuple[Payload, ...], now: float
    ) -> None:
        child.ours = None
        try:
            new = rekeying.process(payloads, sa.keys)
        except Refused as refused:
            self._child_refused(child, rekeying, refused.notify, now)
            return
        child.supersede()
        if child.theirs is not None and min(rekeying.nonces) < min(child.theirs[1]):
            # Simultaneous rekeying: the SA with the lowest nonce goes, and its initiator deletes it (RFC 7296 2.8.1).
            log.info("the gateway rekeyed the CHILD_SA at the same time: its new one stays")
            self._owner.emit(ChildRemoved(rekeying.spi))
            self._send_child_delete(new.inbound_spi, self._check_children, now)
            return
        self._install(new, lambda at: self._use_new_child(child, Child(new), at))

    def _use_new_child(self, old: Child, new: Child, now: float) -> None:
        """The gateway has both halves: send by ours now, and delete the old one."""
        log.info("CHILD_SA rekeyed: %08x to %08x", old.sa.inbound_spi, new.sa.inbound_spi)
        self._children.append(new)
        self._limit_child(new, now)
        if old.theirs is not None:
            redundant = old.theirs[0]
            redundant.supersede()  # the gateway made it, and deletes it
            self._expect_delete(redundant, now)
        self._switch(new)
        if old in self._children:
            self._delete_child(old, now)

    def _child_refused(self, child: Child, rekeying: ChildRekeying, notify: Notify, now: float) -> None:
        unchanged = child in self._children and child.theirs is None
        if unchanged and notify.type == NotifyType.INVALID_KE_PAYLOAD and rekeying.take_group(notify):
            self._ask_for_child(child, rekeying, now)
            return
        log.info("the gateway did not rekey the CHILD_SA: %s", notify.name)
        self._owner.emit(ChildRemoved(rekeying.spi))
        if child.theirs is not None:
            child.supersede()
        elif unchanged and notify.type == NotifyType.CHILD_SA_NOT_FOUND:
            self._remove(child, now)  # the gateway has forgotten it
        elif child.state is ChildState.REKEYING:
            child.happen(ChildInput.PUT_OFF)
            delay = RETRY if notify.type == NotifyType.TEMPORARY_FAILURE else LATER
            again = now + delay * (0.5 + self._random(1)[0] / 0xFF)
            self._agenda.put(("soft", child.sa.inbound_spi), again, lambda at: self._begin_child_rekeying(child, at))
        self._check_children(now)

    # --- CHILD_SAs: the gateway's rekeying -----------------------------------------------------------------------------

    def _answer_create_child_sa(self, sa: IkeSa, inbound: Inbound, payloads: tuple[Payload, ...], now: float) -> None:
        about_ike = is_about_ike(payloads)
        if self._collides(sa, about_ike=about_ike):
            self._respond(sa, inbound, (Notify(NotifyType.TEMPORARY_FAILURE),), now)
            return
        if about_ike:
            self._answer_ike_rekeying(sa, inbound, payloads, now)
            return
        spi = rekeyed_spi(payloads)
        if spi is None:
            log.info("the gateway wants another CHILD_SA beside the tunnel's: refused")
            self._respond(sa, inbound, (Notify(NotifyType.NO_ADDITIONAL_SAS),), now)
            return
        child = next((child for child in self._children if child.sa.outbound_spi.to_bytes(4, "big") == spi), None)
        if child is None or child.state in (ChildState.DELETING, ChildState.REPLACED):
            kind = NotifyType.CHILD_SA_NOT_FOUND if child is None else NotifyType.TEMPORARY_FAILURE
            named = Notify(kind, protocol=ProtocolId.ESP, spi=spi)
            self._respond(sa, inbound, (named if child is None else Notify(kind),), now)
            return
        sa.answering = True
        self._need_spi(lambda ours, at: self._make_child(sa, inbound, payloads, child, ours, at))

    def _collides(self, sa: IkeSa, *, about_ike: bool) -> bool:
        """RFC 7296 2.25: what has to wait until something of ours is over."""
        if self.leaving or sa is not self._current or len(self._children) + len(self._sas) > MAX_SAS:
            return True
        return sa.busy_with(Subject.CHILD if about_ike else Subject.IKE_REKEY)

    def _make_child(
        self, sa: IkeSa, inbound: Inbound, payloads: tuple[Payload, ...], old: Child, spi: int, now: float
    ) -> None:
        try:
            answered = answer_child_rekeying(self._settings, old.sa, spi, payloads, sa.keys, self._random)
        except Refused as refused:
            log.warning("the gateway's rekeying of the CHILD_SA was refused: %s", refused)
            self._owner.emit(ChildRemoved(spi))
            self._respond(sa, inbound, (refused.notify,), now)
            return
        except DecodeError as error:
            self._owner.emit(ChildRemoved(spi))
            self._break_off(sa, inbound, error, now)
            return

        def installed(at: float) -> None:
            new = Child(answered.child)
            self._children.append(new)
            self._limit_child(new, at)
            old.theirs = (new, answered.nonces)
            if old.ours is None:
                log.info("CHILD_SA rekeyed by the gateway: %08x to %08x", old.sa.inbound_spi, spi)
                old.supersede()
            self._agenda.drop(("soft", old.sa.inbound_spi))
            self._expect_delete(old, at)
            self._respond(sa, inbound, answered.response, at)

        self._install(answered.child, installed)

    def _expect_delete(self, child: Child, now: float) -> None:
        self._agenda.put(("patience", child.sa.inbound_spi), now + PATIENCE, lambda at: self._delete_child(child, at))

    # --- CHILD_SAs: installation and deletion --------------------------------------------------------------------------

    def _need_spi(self, go_on: Callable[[int, float], None]) -> None:
        self._spi_questions.append(go_on)
        self._owner.emit(ChildSpiNeeded())

    def _install(self, child: ChildSa, go_on: Callable[[float], None]) -> None:
        self._installing[child.inbound_spi] = go_on
        self._owner.emit(ChildAdded(replace(child, udp_encapsulation=self._mobility.udp_encapsulation)))

    def _switch(self, child: Child) -> None:
        self._outbound = child
        self._owner.emit(OutboundSwitched(child.sa.outbound_spi))

    def _delete_child(self, child: Child, now: float) -> None:
        if child.state is ChildState.DELETING or child not in self._children:
            return
        child.happen(ChildInput.DELETE)
        if child is self._outbound:
            self._switch_away()
        self._send_child_delete(child.sa.inbound_spi, lambda at: self._child_deleted(child, at), now)

    def _child_deleted(self, child: Child, now: float) -> None:
        self._remove(child, now)
        self._check_children(now)

    def _send_child_delete(self, inbound_spi: int, go_on: Callable[[float], None], now: float) -> None:
        self._ask(
            Subject.CHILD,
            ExchangeType.INFORMATIONAL,
            lambda: (Delete(ProtocolId.ESP, (inbound_spi.to_bytes(4, "big"),)),),
            lambda _sa, _payloads, at: go_on(at),
            now,
        )

    def _remove(self, child: Child, now: float) -> None:
        """It is gone at the gateway; what it still had under way is received for a moment."""
        spi = child.sa.inbound_spi
        for name in ("soft", "hard", "patience"):
            self._agenda.drop((name, spi))
        if child in self._children:
            self._children.remove(child)
            if child is self._outbound:
                self._switch_away()
            self._agenda.put(("linger", spi), now + LINGER, lambda _at: self._owner.emit(ChildRemoved(spi)))

    def _switch_away(self) -> None:
        usable = [child for child in self._children if child.state is not ChildState.DELETING]
        if usable:
            best = [child for child in usable if child.state is not ChildState.REPLACED]
            self._switch((best or usable)[-1])

    def _check_children(self, now: float, error: TunnelEnded | None = None) -> None:
        """A tunnel without a CHILD_SA is none; what is being made, or asked for, may still be one."""
        if not self._children and not self._installing and not self._current.busy_with(Subject.CHILD):
            self.leave(error or TunnelLost("the gateway does not know the tunnel's CHILD_SA any more"), now)

    # --- the IKE SA ----------------------------------------------------------------------------------------------------

    def _limit_ike(self, now: float) -> None:
        limits = self._settings.ike_lifetime
        if limits.soft:
            self._agenda.put("soft IKE", now + limits.jittered(self._random), self._begin_ike_rekeying)
        if limits.hard:
            reason = "the gateway did not agree to new keys for the IKE SA before the old ones expired (ike.life_time)"
            self._agenda.put("hard IKE", now + limits.hard, lambda at: self.leave(TunnelLost(reason), at))

    def _begin_ike_rekeying(self, now: float) -> None:
        self._agenda.drop("soft IKE")
        current = self._current
        waiting = any(request.subject is Subject.IKE_REKEY for request in current.waiting)
        if self.leaving or waiting or self._our_ike_rekeying is not None:
            return
        self._ask_for_ike(current, IkeRekeying(self._settings, current.keys, self._random), now)

    def _ask_for_ike(self, current: IkeSa, rekeying: IkeRekeying, now: float) -> None:
        def build() -> tuple[Payload, ...] | None:
            if current.replaced:  # the gateway was faster
                return None
            self._our_ike_rekeying = rekeying
            return rekeying.build()

        self._ask(
            Subject.IKE_REKEY,
            ExchangeType.CREATE_CHILD_SA,
            build,
            lambda sa, payloads, at: self._ike_rekeyed(sa, rekeying, payloads, at),
            now,
            sa=current,
        )

    def _ike_rekeyed(self, sa: IkeSa, rekeying: IkeRekeying, payloads: tuple[Payload, ...], now: float) -> None:
        self._our_ike_rekeying = None
        theirs, self._their_ike_rekeying = self._their_ike_rekeying, None
        try:
            new = self._successor(sa, rekeying.process(payloads))
        except Refused as refused:
            self._ike_refused(sa, rekeying, refused.notify, theirs, now)
            return
        if theirs is not None and min(rekeying.nonces) < min(theirs[1]):
            log.info("the gateway rekeyed the IKE SA at the same time: its new one stays")
            if theirs[0] not in self._sas:
                self._end_by_gateway()
                return
            self._adopt(theirs[0], sa, now)
            new.replaced = True
            self._sas.append(new)
            self._delete_ike(new, now)
            return
        self._adopt(new, sa, now)
        self._delete_ike(sa, now)
        if theirs is not None:
            theirs[0].replaced = True
            self._agenda.put(("patience", theirs[0].channel.spi_r), now + PATIENCE, lambda _at: self._forget(theirs[0]))

    def _ike_refused(
        self,
        sa: IkeSa,
        rekeying: IkeRekeying,
        notify: Notify,
        theirs: tuple[IkeSa, tuple[bytes, ...]] | None,
        now: float,
    ) -> None:
        if theirs is not None and theirs[0] not in self._sas:
            self._end_by_gateway()
        elif theirs is not None:
            self._adopt(theirs[0], sa, now)
        elif notify.type == NotifyType.INVALID_KE_PAYLOAD and rekeying.take_group(notify):
            self._ask_for_ike(sa, rekeying, now)
        else:
            log.info("the gateway did not rekey the IKE SA: %s", notify.name)
            delay = RETRY if notify.type == NotifyType.TEMPORARY_FAILURE else LATER
            again = now + delay * (0.5 + self._random(1)[0] / 0xFF)
            self._agenda.put("soft IKE", again, self._begin_ike_rekeying)

    def _answer_ike_rekeying(self, sa: IkeSa, inbound: Inbound, payloads: tuple[Payload, ...], now: float) -> None:
        try:
            answered = answer_ike_rekeying(self._settings, payloads, sa.keys, self._random)
        except Refused as refused:
            log.warning("the gateway's rekeying of the IKE SA was refused: %s", refused)
            self._respond(sa, inbound, (refused.notify,), now)
            return
        except DecodeError as error:
            self._break_off(sa, inbound, error, now)
            return
        new = self._successor(sa, answered.new)
        self._respond(sa, inbound, answered.response, now)
        if sa.busy_with(Subject.IKE_REKEY):
            self._sas.append(new)
            self._their_ike_rekeying = (new, answered.nonces)
            return
        self._adopt(new, sa, now)

    def _successor(self, old: IkeSa, new: NewIkeSa) -> IkeSa:
        channel = old.channel.successor(new.spi_i, new.spi_r, new.keys, initiator=new.initiator)
        return IkeSa(channel, new.keys, RequestWindow(self._settings.retransmission, self._random), ResponseCache())

    def _adopt(self, new: IkeSa, old: IkeSa, now: float) -> None:
        """The new IKE SA inherits all CHILD_SAs and what was still to be asked (RFC 7296 2.8)."""
        log.info("IKE SA rekeyed: %s to %s", old.channel.spi_i.hex(), new.channel.spi_i.hex())
        old.replaced = True
        new.waiting.extend(request for request in old.waiting if request.subject is not Subject.IKE_REKEY)
        old.waiting.clear()
        if new not in self._sas:
            self._sas.append(new)
        self._current = new
        self._agenda.put(("patience", old.channel.spi_r), now + PATIENCE, lambda _at: self._forget(old))
        if old.busy_with(Subject.MOVE):
            self._update_addresses(now)  # its response may never come
        self._limit_ike(now)

    def _delete_ike(self, sa: IkeSa, now: float) -> None:
        self._ask(
            Subject.IKE_DELETE,
            ExchangeType.INFORMATIONAL,
            lambda: (Delete(ProtocolId.IKE, ()),),
            lambda _sa, _payloads, _now: self._forget(sa),
            now,
            GOODBYE_TRIES,
            sa,
        )

    def _forget(self, sa: IkeSa) -> None:
        if sa is not self._current and sa in self._sas:
            self._sas.remove(sa)
            self._agenda.drop(("patience", sa.channel.spi_r))
            sa.channel.wipe()

    # --- INFORMATIONAL -------------------------------------------------------------------------------------------------

    def _answer_informational(self, sa: IkeSa, inbound: Inbound, payloads: tuple[Payload, ...], now: float) -> None:
        said = responder.read_informational(payloads)
        moving = () if sa.asked_from is None else self._mobility.answer(sa.channel, payloads, sa.asked_from)
        if said.ends_ike_sa:
            self._respond(sa, inbound, moving, now)
            self._ike_deleted(sa, said, now)
            return
        deleted = [child for child in tuple(self._children) if child.sa.outbound_spi in said.child_spis]
        # One that we are deleting ourselves is not named again (RFC 7296 2.25.1).
        named = [child for child in deleted if child.state is not ChildState.DELETING]
        answer = (Delete(ProtocolId.ESP, tuple(c.sa.inbound_spi.to_bytes(4, "big") for c in named)),) if named else ()
        self._respond(sa, inbound, (*answer, *moving), now)
        for child in named:
            child.happen(ChildInput.DELETE)
            self._remove(child, now)
        if named:
            self._check_children(now, TunnelEnded(f"the gateway deleted the tunnel's CHILD_SA{said.words}"))
        if said.auth_lifetime is not None:
            self._owner.emit(Reauthenticate(said.auth_lifetime))
        self._consider_redirect(payloads, now)

    def _consider_redirect(self, payloads: tuple[Payload, ...], now: float) -> None:
        """A gateway that sends us away has to be left by a DELETE of ours (RFC 5685 5)."""
        redirection = redirect.judge(payloads, self._settings)
        if isinstance(redirection, Redirected):
            self.leave(redirection, now)
        elif redirection is not None:
            log.warning("%s", redirection)

    def _ike_deleted(self, sa: IkeSa, said: responder.Informational, now: float) -> None:
        theirs, self._their_ike_rekeying = self._their_ike_rekeying, None
        if theirs is not None and sa is theirs[0]:
            self._their_ike_rekeying = theirs  # whether it was the one to stay the nonces of ours will say
            self._forget(sa)
        elif theirs is not None and sa is self._current and theirs[0] in self._sas:
            # It closes what we are rekeying ourselves: our request is forgotten, its new SA is the one (RFC 7296 2.25.2).
            self._our_ike_rekeying = None
            self._adopt(theirs[0], sa, now)
            self._forget(sa)
        elif sa is not self._current:
            self._their_ike_rekeying = theirs
            self._forget(sa)
        else:
            self._end_by_gateway(f"{said.reason}{said.words}")

    def _end_by_gateway(self, reason: str = "the gateway ended the session") -> None:
        if not self.leaving:
            self._error = TunnelEnded(reason)
        self._end()

    def _end(self) -> None:
        if self.over:
            return
        self.over = True
        self._agenda.clear()
        for sa in self._sas:
            sa.window.restart()
            sa.channel.wipe()
        self._owner.end(self._error)
