"""The gateway's side of an established tunnel: rekeyings and deletions from either side, and their collisions.

Written from RFC 7296 1.3, 1.4, 2.8 and 2.25 with code of its own; the client's is elsewhere. Time is told to it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tests.fakes import wire
from tests.fakes.ike_sa import Asked, IkeSa
from tests.fakes.keys import Algorithms, KeyPair
from tests.fakes.wire import Payload, Proposal

NO_PROPOSAL, INVALID_KE, NO_ADDITIONAL_SAS = 14, 17, 35
TS_UNACCEPTABLE, TEMPORARY_FAILURE, CHILD_SA_NOT_FOUND = 38, 43, 44
REKEY_SA = 16393
CHILD, IKE, DELETE_IKE, LIVENESS = "CHILD_SA", "rekeying of the IKE SA", "deletion of the IKE SA", "liveness"
UP, REPLACED, CLOSING = "up", "replaced", "closing"
RESEND, TRIES = 1.5, 40
PATIENCE, RETRY = 100.0, 7.0
# Longer than the client repeats a request, so that a response that it waits for is still worth something.

Nonces = tuple[bytes, bytes]


@dataclass(eq=False)
class Child:
    """A CHILD_SA: `inbound` is the gateway's SPI, `outbound` the client's; keys are encryption and integrity.

    `theirs`: what the client made of it while the gateway was rekeying it too, and both nonces. `sure`: the client has it,
    so that it may be sent by (RFC 7296 2.8). `asked`: the gateway is rekeying it.
    """

    inbound: int
    outbound: int
    algorithms: Algorithms
    to_gateway: list[bytes]
    to_client: list[bytes]
    state: str = UP
    theirs: tuple[Child, Nonces] | None = None
    sure: bool = True
    asked: bool = False


@dataclass
class Policy:
    """How the gateway behaves in CREATE_CHILD_SA. A group of 0 takes, and as initiator offers, none or the client's.

    `refusals` answer the next requests of the client, in turn; `None` lets one pass. `request_nonce` and `response_nonce` are
    what the gateway's nonces begin with, to decide collisions.
    """

    child_group: int = 0
    ike_group: int = 0
    refusals: deque[Payload | None] = field(default_factory=deque)
    request_nonce: bytes = b""
    response_nonce: bytes = b""


class Tunnel:
    """Everything after IKE_AUTH. `say(sa, request)` puts a request of the gateway on the wire and gives its messages."""

    def __init__(
        self,
        sa: IkeSa,
        child: Child,
        esp: Proposal,
        selectors: tuple[Payload, Payload],
        policy: Policy,
        random: Callable[[int], bytes],
        say: Callable[[IkeSa, int, list[Payload]], list[bytes]],
        send: Callable[[list[bytes]], None],
    ) -> None:
        self.policy = policy
        self.sa = sa
        self.sas = [sa]
        self.children = [child]
        self.outbound: Child | None = child
        self.over = False
        self.now = 0.0
        self.refused: list[int] = []
        self.stopped: dict[int, float] = {}
        self._esp = esp
        self._ts_i, self._ts_r = selectors
        self._random = random
        self._say, self._send = say, send
        self._spis = child.inbound
        self._appointments: list[tuple[float, Callable[[], None]]] = []

    # --- what a test wants ---------------------------------------------------------------------------------------------

    def rekey_child(self, child: Child | None = None, group: int | None = None) -> None:
        """New keys for a CHILD_SA, by default the one that is sent by."""
        child = child or self.outbound
        if child is not None:
            self._ask_for_child(child, self.policy.child_group if group is None else group)
            self.go_on()

    def rekey_ike(self, group: int | None = None) -> None:
        assert self.sa.keys is not None
        group = group or self.policy.ike_group or self.sa.keys.algorithms.group
        self._ask_for_ike(self.sa, group)
        self.go_on()

    def delete_child(self, child: Child | None = None) -> None:
        child = child or self.outbound
        if child is not None:
            self._delete_child(child)
            self.go_on()

    def delete_ike(self, *beside: Payload) -> None:
        """The end of the session."""
        self._delete_ike(self.sa, beside, self._end)
        self.go_on()

    def check_liveness(self) -> None:
        self._ask(self.sa, LIVENESS, wire.INFORMATIONAL, list, lambda _sa, _payloads: None)
        self.go_on()

    def hear(self, inbound: int) -> None:
        """A packet came by this CHILD_SA: the client has it."""
        for child in self.children:
            if child.inbound == inbound and not child.sure and child.state == UP:
                child.sure = True
                self._switch(child)

    # --- time ----------------------------------------------------------------------------------------------------------

    def get_timer(self) -> float | None:
        due = [sa.outstanding.due for sa in self.sas if sa.outstanding is not None]
        due += [at for at, _ in self._appointments]
        return None if self.over else min(due, default=None)

    def handle_timer(self, now: float) -> None:
        self.now = now
        for sa in tuple(self.sas):
            asked = sa.outstanding
            if asked is not None and asked.due <= now:
                asked.tries += 1
                asked.due = now + RESEND
                if asked.tries < TRIES:
                    self._send(asked.messages)
                elif sa is self.sa:
                    self._end()
                else:
                    self._forget(sa)
        due = [action for at, action in self._appointments if at <= now]
        self._appointments = [appointment for appointment in self._appointments if appointment[0] > now]
        for action in due:
            action()
        self.go_on()

    def _later(self, delay: float, action: Callable[[], None]) -> None:
        self._appointments.append((self.now + delay, action))

    # --- requests of the gateway ---------------------------------------------------------------------------------------

    def _ask(
        self,
        sa: IkeSa,
        subject: str,
        exchange: int,
        build: Callable[[], list[Payload] | None],
        process: Callable[[IkeSa, list[Payload]], None],
    ) -> None:
        sa.waiting.append(Asked(subject, exchange, build, process))

    def go_on(self) -> None:
        for sa in tuple(self.sas):
            while sa.waiting and sa.outstanding is None and not self.over:
                asked = sa.waiting.popleft()
                payloads = asked.build()
                if payloads is not None:
                    asked.messages = self._say(sa, asked.exchange, payloads)
                    asked.due = self.now + RESEND
                    sa.outstanding = asked
                    self._send(asked.messages)

    def answered(self, sa: IkeSa, payloads: list[Payload]) -> None:
        """The client's response to the outstanding request."""
        asked, sa.outstanding = sa.outstanding, None
        assert asked is not None
        asked.process(sa, payloads)

    # --- requests of the client ----------------------------------------------------------------------------------------

    def answer_create(self, sa: IkeSa, payloads: list[Payload]) -> list[Payload]:
        """Response to CREATE_CHILD_SA."""
        answer = self._answer_create(sa, payloads)
        if (kind := wire.first_error(answer)) != 0:
            self.refused.append(kind)
        return answer

    def _answer_create(self, sa: IkeSa, payloads: list[Payload]) -> list[Payload]:
        refusal = self.policy.refusals.popleft() if self.policy.refusals else None
        if refusal is not None:
            return [refusal]
        proposal = wire.read_proposals(wire.one(payloads, wire.SA).body)[0]
        about_ike = proposal.protocol == wire.PROTOCOL_IKE
        if sa is not self.sa or sa.busy_with(CHILD if about_ike else IKE) or sa.busy_with(DELETE_IKE):
            return [wire.notify(TEMPORARY_FAILURE)]
        if about_ike:
            return self._answer_ike(sa, proposal, payloads)
        spi = wire.notify_spi(payloads, REKEY_SA)
        old = next((child for child in self.children if child.outbound.to_bytes(4, "big") == spi), None)
        if old is None:
            return [wire.notify(CHILD_SA_NOT_FOUND, protocol=wire.PROTOCOL_ESP, spi=spi or b"")]
        if old.state != UP:
            return [wire.notify(TEMPORARY_FAILURE)]
        return self._answer_child(sa, old, proposal, payloads)

    def answer_informational(self, sa: IkeSa, payloads: list[Payload]) -> list[Payload]:
        """Response to INFORMATIONAL."""
        deleted = wire.deletions(payloads)
        if any(protocol == wire.PROTOCOL_IKE for protocol, _ in deleted):
            self._ike_deleted(sa)
            return []
        spis = {int.from_bytes(spi, "big") for protocol, spi in deleted if protocol == wire.PROTOCOL_ESP}
        named = [child for child in self.children if child.outbound in spis and child.state != CLOSING]
        for child in self.children if spis else ():
            child.sure = True  # the client has what is in the place of what it deletes
        for child in named:
            child.state = CLOSING
            self._remove(child)
        if self.outbound is None:
            self._switch_away()
        return [wire.delete(wire.PROTOCOL_ESP, *(c.inbound.to_bytes(4, "big") for c in named))] if named else []

    def _key_exchange(self, proposal: Proposal, payloads: list[Payload], wanted: int) -> KeyPair | Payload | None:
        """Our half; or INVALID_KE_PAYLOAD; or None where there is no group to agree on."""
        offered = [identifier for kind, identifier, _ in proposal.transforms if kind == wire.DH and identifier]
        theirs = wire.one(payloads, wire.KE)
        group = wanted or (int.from_bytes(theirs.body[:2], "big") if theirs is not None else 0)
        if not group:
            return None
        if group not in offered:
            return wire.notify(NO_PROPOSAL)
        if theirs is None or theirs.body[:2] != group.to_bytes(2, "big"):
            return wire.notify(INVALID_KE, group.to_bytes(2, "big"))
        return KeyPair(group, self._random)

    # --- CHILD_SAs -----------------------------------------------------------------------------------------------------

    def _answer_child(self, sa: IkeSa, old: Child, proposal: Proposal, payloads: list[Payload]) -> list[Payload]:
        assert sa.keys is not None
        pair = self._key_exchange(proposal, payloads, self.policy.child_group)
        if isinstance(pair, Payload):
            return [pair]
        nonces = wire.one(payloads, wire.NONCE).body, self._nonce(self.policy.response_nonce)
        secret = pair.secret(wire.one(payloads, wire.KE).body[4:]) if pair else b""
        inbound = self._next_spi()
        chosen = self._chosen(proposal, inbound, pair)
        keys = sa.keys.child(Algorithms.of(chosen), b"".join(nonces), secret)
        spi = int.from_bytes(proposal.spi, "big")
        new = Child(inbound, spi, Algorithms.of(chosen), keys[:2], keys[2:], sure=False)
        self.children.append(new)
        if old.asked:
            old.theirs = new, nonces
        else:
            old.state = REPLACED
        self._expect_deletion(old)
        key_exchange = [_key_payload(pair)] if pair else []
        answer = [Payload(wire.SA, chosen.encode()), Payload(wire.NONCE, nonces[1]), *key_exchange]
        return [*answer, self._ts_i, self._ts_r]

    def _ask_for_child(self, old: Child, group: int) -> None:
        spi = self._next_spi()
        nonce = self._nonce(self.policy.request_nonce)
        pair = KeyPair(group, self._random) if group else None
        groups = ((wire.DH, group, 0),) if group else ()
        transforms = tuple(t for t in self._esp.transforms if t[0] != wire.DH) + groups
        proposal = Proposal(1, wire.PROTOCOL_ESP, spi.to_bytes(4, "big"), transforms)

        def build() -> list[Payload] | None:
            if old.state != UP or old not in self.children:
                return None
            old.asked = True
            rekeyed = wire.notify(REKEY_SA, protocol=wire.PROTOCOL_ESP, spi=old.inbound.to_bytes(4, "big"))
            key_exchange = [_key_payload(pair)] if pair else []
            first = [rekeyed, Payload(wire.SA, proposal.encode()), Payload(wire.NONCE, nonce), *key_exchange]
            return [*first, replace(self._ts_r, type=wire.TSI), replace(self._ts_i, type=wire.TSR)]

        def process(sa: IkeSa, payloads: list[Payload]) -> None:
            old.asked = False
            error = wire.first_error(payloads)
            if error:
                self._child_refused(old, error, payloads)
            else:
                self._child_rekeyed(sa, old, spi, nonce, pair, payloads)

        self._ask(self.sa, CHILD, wire.CREATE_CHILD_SA, build, process)

    def _child_refused(self, old: Child, error: int, payloads: list[Payload]) -> None:
        self.refused.append(error)
        if old.theirs is not None:
            old.state = REPLACED
        elif error == INVALID_KE:
            self._ask_for_child(old, int.from_bytes(wire.notifies(payloads)[INVALID_KE], "big"))
        elif error == TEMPORARY_FAILURE:
            self._later(RETRY, lambda: self._ask_for_child(old, self.policy.child_group))

    def _child_rekeyed(
        self, sa: IkeSa, old: Child, spi: int, nonce: bytes, pair: KeyPair | None, payloads: list[Payload]
    ) -> None:
        assert sa.keys is not None
        chosen = wire.read_proposals(wire.one(payloads, wire.SA).body)[0]
        nonces = nonce, wire.one(payloads, wire.NONCE).body
        secret = pair.secret(wire.one(payloads, wire.KE).body[4:]) if pair else b""
        keys = sa.keys.child(Algorithms.of(chosen), b"".join(nonces), secret)
        outbound = int.from_bytes(chosen.spi, "big")
        new = Child(spi, outbound, Algorithms.of(chosen), to_client=keys[:2], to_gateway=keys[2:])
        self.children.append(new)
        if old.theirs is not None and min(nonces) < min(old.theirs[1]):
            old.state = REPLACED
            self._delete_child(new)
            return
        if old.theirs is not None:
            old.theirs[0].state = REPLACED
            self._expect_deletion(old.theirs[0])
        self._switch(new)
        self._delete_child(old)

    def _delete_child(self, child: Child) -> None:
        if child.state == CLOSING or child not in self.children:
            return
        child.state = CLOSING
        if child is self.outbound:
            self._switch_away()

        def build() -> list[Payload]:
            return [wire.delete(wire.PROTOCOL_ESP, child.inbound.to_bytes(4, "big"))]

        self._ask(self.sa, CHILD, wire.INFORMATIONAL, build, lambda _sa, _payloads: self._remove(child))

    def _remove(self, child: Child) -> None:
        if child in self.children:
            self.children.remove(child)
            if child is self.outbound:
                self._switch_away()

    def _switch(self, child: Child | None) -> None:
        if self.outbound is not None:
            self.stopped[self.outbound.outbound] = self.now
        self.outbound = child

    def _switch_away(self) -> None:
        self._switch(next((child for child in reversed(self.children) if child.state == UP and child.sure), None))

    def _expect_deletion(self, child: Child) -> None:
        def lost_patience() -> None:
            self._delete_child(child)
            self.go_on()

        self._later(PATIENCE, lost_patience)

    def _chosen(self, proposal: Proposal, spi: int, pair: KeyPair | None) -> Proposal:
        transforms = proposal.first_of_each()
        transforms.pop(wire.DH, None)
        if pair is not None:
            transforms[wire.DH] = (wire.DH, pair.group, 0)
        return Proposal(proposal.number, proposal.protocol, spi.to_bytes(4, "big"), tuple(transforms.values()))

    def _next_spi(self) -> int:
        self._spis += 1
        return self._spis

    def _nonce(self, prefix: bytes) -> bytes:
        return prefix + self._random(32 - len(prefix))

    # --- the IKE SA ----------------------------------------------------------------------------------------------------

    def _answer_ike(self, sa: IkeSa, proposal: Proposal, payloads: list[Payload]) -> list[Payload]:
        assert sa.keys is not None
        pair = self._key_exchange(proposal, payloads, self.policy.ike_group)
        if not isinstance(pair, KeyPair):
            return [pair or wire.notify(NO_PROPOSAL)]
        nonces = wire.one(payloads, wire.NONCE).body, self._nonce(self.policy.response_nonce)
        secret = pair.secret(wire.one(payloads, wire.KE).body[4:])
        transforms = proposal.first_of_each() | {wire.DH: (wire.DH, pair.group, 0)}
        chosen = Proposal(proposal.number, proposal.protocol, b"\x03" + self._random(7), tuple(transforms.values()))
        keys = sa.keys.rekeyed(Algorithms.of(chosen), secret, b"".join(nonces), proposal.spi + chosen.spi)
        new = IkeSa(self._random, proposal.spi, chosen.spi, keys)
        if sa.busy_with(IKE):
            sa.theirs = new, nonces
            self.sas.append(new)
        else:
            self._adopt(new, sa)
        return [Payload(wire.SA, chosen.encode()), Payload(wire.NONCE, nonces[1]), _key_payload(pair)]

    def _ask_for_ike(self, old: IkeSa, group: int) -> None:
        assert old.keys is not None
        algorithms = old.keys.algorithms
        nonce, spi = self._nonce(self.policy.request_nonce), b"\x02" + self._random(7)
        pair = KeyPair(group, self._random)
        kinds = (
            (wire.ENCR, algorithms.encryption, algorithms.key_bits),
            (wire.INTEG, algorithms.integrity, 0),
            (wire.PRF, algorithms.prf, 0),
            (wire.DH, group, 0),
        )
        proposal = Proposal(1, wire.PROTOCOL_IKE, spi, tuple(kind for kind in kinds if kind[1]))

        def build() -> list[Payload] | None:
            if old is not self.sa:
                return None
            return [Payload(wire.SA, proposal.encode()), Payload(wire.NONCE, nonce), _key_payload(pair)]

        def process(sa: IkeSa, payloads: list[Payload]) -> None:
            error = wire.first_error(payloads)
            if error:
                self._ike_refused(sa, error, payloads)
            else:
                self._ike_rekeyed(sa, spi, nonce, pair, payloads)

        self._ask(old, IKE, wire.CREATE_CHILD_SA, build, process)

    def _ike_refused(self, sa: IkeSa, error: int, payloads: list[Payload]) -> None:
        self.refused.append(error)
        if sa.theirs is not None:
            self._adopt(sa.theirs[0], sa)
        elif error == INVALID_KE:
            self._ask_for_ike(sa, int.from_bytes(wire.notifies(payloads)[INVALID_KE], "big"))
        elif error == TEMPORARY_FAILURE:
            self._later(RETRY, self.rekey_ike)

    def _ike_rekeyed(self, sa: IkeSa, spi: bytes, nonce: bytes, pair: KeyPair, payloads: list[Payload]) -> None:
        assert sa.keys is not None
        chosen = wire.read_proposals(wire.one(payloads, wire.SA).body)[0]
        nonces = nonce, wire.one(payloads, wire.NONCE).body
        secret = pair.secret(wire.one(payloads, wire.KE).body[4:])
        keys = sa.keys.rekeyed(Algorithms.of(chosen), secret, b"".join(nonces), spi + chosen.spi)
        new = IkeSa(self._random, spi, chosen.spi, keys, initiator=True)
        theirs = sa.theirs
        if theirs is not None and min(nonces) < min(theirs[1]):
            self._adopt(theirs[0], sa)
            new.replaced = True
            self.sas.append(new)
            self._delete_ike(new, (), lambda: self._forget(new))
            return
        self._adopt(new, sa)
        self._delete_ike(sa, (), lambda: self._forget(sa))
        if theirs is not None:
            theirs[0].replaced = True
            self._later(PATIENCE, lambda: self._forget(theirs[0]))

    def _adopt(self, new: IkeSa, old: IkeSa) -> None:
        old.replaced, old.theirs = True, None
        new.waiting.extend(asked for asked in old.waiting if asked.subject != IKE)
        old.waiting.clear()
        if new not in self.sas:
            self.sas.append(new)
        self.sa = new
        self._later(PATIENCE, lambda: self._forget(old))

    def _delete_ike(self, sa: IkeSa, beside: tuple[Payload, ...], done: Callable[[], None]) -> None:
        def build() -> list[Payload]:
            return [wire.delete(wire.PROTOCOL_IKE), *beside]

        self._ask(sa, DELETE_IKE, wire.INFORMATIONAL, build, lambda _sa, _payloads: done())

    def _ike_deleted(self, sa: IkeSa) -> None:
        theirs = self.sa.theirs
        if theirs is not None and sa is theirs[0]:
            self.sa.theirs = None
            self._forget(sa)
        elif theirs is not None and sa is self.sa:
            self._adopt(theirs[0], sa)
            self._forget(sa)
        elif sa is not self.sa:
            self._forget(sa)
        else:
            self._end()

    def _forget(self, sa: IkeSa) -> None:
        if sa is not self.sa and sa in self.sas:
            self.sas.remove(sa)
            sa.gone, sa.outstanding = True, None

    def _end(self) -> None:
        self.over = True
        for sa in self.sas:
            sa.gone, sa.outstanding = True, None
        self.sas, self.children, self.outbound = [], [], None


def _key_payload(pair: KeyPair) -> Payload:
    return Payload(wire.KE, pair.group.to_bytes(2, "big") + bytes(2) + pair.public)
