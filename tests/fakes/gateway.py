"""A gateway in one process: one client's IKE SAs, message in, messages out, no socket and no clock.

It speaks AnyConnect EAP by a script. Everything it derives it derives with `tests.fakes.keys`; `Tamper` lets a test change
whatever it says, before and after protection. A loopback server would keep one `Gateway` per SPIi and add the non-ESP marker.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tests.fakes import wire
from tests.fakes.fragments import cut_cisco, pieces
from tests.fakes.ike_sa import IkeSa
from tests.fakes.keys import Algorithms, IkeKeys, NotAuthentic, exchange_keys, prf
from tests.fakes.pki import HOST, Credential, gateway_credential
from tests.fakes.session import Authenticator, Call, IkeAttributes, RecordedSession
from tests.fakes.tunnel import Child, Policy, Tunnel
from tests.fakes.wire import Header, Payload, Proposal

Address = tuple[str, int]

INVALID_KE, NO_PROPOSAL, AUTHENTICATION_FAILED = 17, 14, 24
COOKIE, NAT_SOURCE, NAT_DESTINATION, FRAGMENTATION = 16390, 16388, 16389, 16430
VENDOR_FRAGMENTATION = bytes.fromhex("4048b7d56ebce88525e7de7f00d6c2d3")
ESP_SPI = 0xC0FFEE01


class Step(StrEnum):
    """Which message of the gateway it is."""

    INIT = "IKE_SA_INIT"
    PROOF = "IKE_AUTH with certificate"
    LOGIN = "IKE_AUTH with EAP"
    SUCCESS = "IKE_AUTH with EAP-Success"
    FINAL = "last IKE_AUTH"
    ANSWER = "response to INFORMATIONAL"
    REKEY = "response to CREATE_CHILD_SA"
    REQUEST = "request of the gateway"


@dataclass
class Tamper:
    """What a test changes: the payloads, their bytes with the first one's type, the finished messages.

    `clear` gives payloads that stand before SK, covered by its integrity check but readable. `refusal` gives an IKE_SA_INIT
    response that is said without making any state, for as long as it is not empty.
    """

    payloads: Callable[[Step, list[Payload]], list[Payload]] = lambda _step, payloads: payloads
    chain: Callable[[Step, int, bytes], tuple[int, bytes]] = lambda _step, first, data: (first, data)
    messages: Callable[[Step, list[bytes]], list[bytes]] = lambda _step, messages: messages
    clear: Callable[[Step], list[Payload]] = lambda _step: []
    refusal: Callable[[], list[Payload]] = list


@dataclass(frozen=True)
class Profile:
    """How this gateway is set up.

    `group`: the only Diffie-Hellman group it accepts, 0 takes the client's. `auth`: "prf", "sha1", "rfc7427", "ecdsa".
    `nat`: "none" seen, "gateway" behind one, "client" behind one, "silent" without detection. `fragmentation`: what is announced
    and used, "ietf", "cisco" or "off". `client_identities`: the IDi bodies that are taken, () takes any.
    """

    group: int = 0
    cookie: bytes = b""
    auth: str = "prf"
    credential: Credential | None = None
    identity: bytes = b"\x02\0\0\0" + HOST.encode()
    client_identities: tuple[bytes, ...] = ()
    nat: str = "none"
    fragmentation: str = "ietf"
    fragment_size: int = 1200
    ts_i: tuple[str, ...] = ("10.9.0.7/32",)
    ts_r: tuple[str, ...] = ("0.0.0.0/0",)
    attributes: tuple[tuple[int, bytes], ...] = (
        (1, bytes([10, 9, 0, 7])),
        (3, bytes([10, 9, 0, 1])),
        (28674, b"example.com"),
    )


@dataclass
class Journal:
    """What the gateway saw and did, for assertions and failing tests.

    `calls` are those of the EAP session; `fragments` counts pieces by who sent them and in which format.
    """

    lines: list[str] = field(default_factory=list)
    requests: list[tuple[int, int]] = field(default_factory=list)
    responses: list[tuple[int, list[Payload]]] = field(default_factory=list)
    ignored: int = 0
    client_authentic: bool | None = None
    deleted: bool = False
    last_payloads: list[Payload] = field(default_factory=list)
    fragments: Counter[str] = field(default_factory=Counter)
    calls: list[Call] = field(default_factory=list)


class Gateway:
    """The responder of one login, and the tunnel that comes of it.

    `receive` and the tunnel's own doings leave their messages in `take_messages`; `handle_timer` repeats them.
    """

    def __init__(
        self,
        login: Authenticator,
        profile: Profile | None = None,
        tamper: Tamper | None = None,
        random: Callable[[int], bytes] = os.urandom,
        on_call: Callable[[Call], None] = lambda _call: None,
    ) -> None:
        self.profile = profile or Profile()
        self._on_call = on_call
        self.tamper = tamper or Tamper()
        self.login = login
        self.journal = Journal()
        self._session = RecordedSession(login, self._record)
        self.random = random
        self.policy = Policy()
        self.tunnel: Tunnel | None = None
        self.child_keys: list[bytes] = []
        self.client_spi = 0
        self._ni = self._nr = b""
        self._init_request = self._init_response = b""
        self._identity_i = b""
        self._esp_offer: list[Proposal] = []
        self._first_sa = IkeSa(random)
        self._sas = [self._first_sa]
        self._outgoing: list[bytes] = []

    @property
    def sa(self) -> IkeSa:
        """The IKE SA that is used now."""
        return self._first_sa if self.tunnel is None else self.tunnel.sa

    @property
    def spi_i(self) -> bytes:
        return self.sa.spi_i

    @property
    def spi_r(self) -> bytes:
        return self.sa.spi_r

    @property
    def keys(self) -> IkeKeys | None:
        return self.sa.keys

    # --- time and requests of its own ----------------------------------------------------------------------------------

    def get_timer(self) -> float | None:
        return None if self.tunnel is None else self.tunnel.get_timer()

    def handle_timer(self, now: float) -> None:
        if self.tunnel is not None:
            self.tunnel.handle_timer(now)

    def set_time(self, now: float) -> None:
        """What the time is, without doing what is due."""
        if self.tunnel is not None:
            self.tunnel.now = now

    def take_messages(self) -> list[bytes]:
        """What the gateway wants to send of its own accord."""
        messages = list(self._outgoing)
        self._outgoing.clear()
        return messages

    # --- what comes in -------------------------------------------------------------------------------------------------

    def receive(self, message: bytes, source: Address, local: Address) -> list[bytes]:
        """Handle one IKE message without its non-ESP marker; the messages to send back."""
        try:
            header = wire.read_header(message)
            if header.exchange == wire.IKE_SA_INIT and header.message_id == 0 and not header.is_response:
                return self._receive_init(header, message, source, local)
            return self._receive_protected(header, message)
        except (ValueError, IndexError, KeyError, NotAuthentic) as error:
            self.journal.ignored += 1
            self.journal.lines.append(f"ignored {message[:28].hex()}: {error!r}")
            return []

    def _receive_init(self, header: Header, message: bytes, source: Address, local: Address) -> list[bytes]:
        if message == self._init_request:
            return self._first_sa.cache[0][1]
        if self._first_sa.expected > 1:
            raise ValueError("an IKE_SA_INIT for an IKE SA that is in use")
        payloads = wire.unchain(header.next_payload, message[wire.HEADER :])
        self.journal.requests.append((header.exchange, 0))
        self.journal.last_payloads = payloads
        refusal = self._refusal(payloads)
        if refusal:
            return self.tamper.messages(Step.INIT, [self._unprotected(header, refusal, bytes(8))])
        self._init_request = message
        self._init_response = self._accept(header, payloads, source, local)
        messages = self.tamper.messages(Step.INIT, [self._init_response])
        self._first_sa.cache[0] = (message, messages)
        self._first_sa.expected = 1
        return messages

    def _refusal(self, payloads: list[Payload]) -> list[Payload]:
        """What is answered without making any state."""
        told = self.tamper.refusal()
        if told:
            return told
        if self.profile.cookie and wire.notifies(payloads).get(COOKIE) != self.profile.cookie:
            return [wire.notify(COOKIE, self.profile.cookie)]
        group = self.profile.group.to_bytes(2, "big")
        if self.profile.group and wire.one(payloads, wire.KE).body[:2] != group:
            return [wire.notify(INVALID_KE, group)]
        return []

    def _accept(self, header: Header, payloads: list[Payload], source: Address, local: Address) -> bytes:
        """Derive the keys; the response."""
        key_exchange = wire.one(payloads, wire.KE).body
        group = int.from_bytes(key_exchange[:2], "big")
        proposal = self._choose(wire.read_proposals(wire.one(payloads, wire.SA).body), group)
        public, secret = exchange_keys(group, key_exchange[4:], self.random)
        sa = self._first_sa
        sa.spi_i, self._ni = header.spi_i, wire.one(payloads, wire.NONCE).body
        sa.spi_r, self._nr = b"\x01" + self.random(7), self.random(32)
        nonces, spis = self._ni + self._nr, sa.spi_i + sa.spi_r
        sa.keys = IkeKeys.derive(Algorithms.of(proposal), secret, nonces, spis)
        answer = [
            Payload(wire.SA, proposal.encode()),
            Payload(wire.KE, key_exchange[:4] + public),
            Payload(wire.NONCE, self._nr),
            *self._nat_detection(source, local),
        ]
        if self.profile.fragmentation == "ietf":
            answer.append(wire.notify(FRAGMENTATION))
        if self.profile.fragmentation == "cisco":
            answer.append(Payload(wire.VENDOR, VENDOR_FRAGMENTATION))
        return self._unprotected(header, answer, self.spi_r)

    def _choose(self, offered: Sequence[Proposal], group: int) -> Proposal:
        """The first proposal, of each kind the first transform, and this group."""
        chosen = offered[0].first_of_each() | {wire.DH: (wire.DH, group, 0)}
        return Proposal(offered[0].number, offered[0].protocol, b"", tuple(chosen.values()))

    def _nat_detection(self, source: Address, local: Address) -> list[Payload]:
        if self.profile.nat == "silent":
            return []
        ours = self._nat_hash(("192.0.2.99", 500) if self.profile.nat == "gateway" else local)
        theirs = self._nat_hash(("192.0.2.98", 1024) if self.profile.nat == "client" else source)
        return [wire.notify(NAT_SOURCE, ours), wire.notify(NAT_DESTINATION, theirs)]

    def _nat_hash(self, address: Address) -> bytes:
        data = self.spi_i + self.spi_r + wire.address_bytes(address[0]) + address[1].to_bytes(2, "big")
        return hashlib.sha1(data).digest()

    def _unprotected(self, header: Header, payloads: list[Payload], spi_r: bytes) -> bytes:
        first, content = wire.chain(self.tamper.payloads(Step.INIT, payloads))
        return header.reply(spi_r).message(*self.tamper.chain(Step.INIT, first, content))

    def _receive_protected(self, header: Header, message: bytes) -> list[bytes]:
        self._learn_sas()
        sa = next((sa for sa in self._sas if sa.keys is not None and sa.owns(header)), None)
        if sa is None:
            raise ValueError("unknown SPIs")
        if header.next_payload == wire.CISCO_FRAGMENT:
            self.journal.fragments["client, 132"] += 1
            number, last = message[wire.HEADER + 6], message[wire.HEADER + 7]
            whole = sa.collected.add(header.message_id, number, number if last else 0, message[wire.HEADER + 8 :])
            return self._receive_whole(sa, whole) if whole else []
        if header.next_payload == wire.SKF:
            self.journal.fragments["client, RFC 7383"] += 1
            number, total = (int.from_bytes(message[at : at + 2], "big") for at in (32, 34))
            known = sa.cache.get(header.message_id)
            if known and header.message_id < sa.expected:
                return known[1] if number == 1 else []
            content = sa.open(message, 36)
            if number == 1:
                sa.first_inner = message[28]
            whole = sa.collected.add(header.message_id, number, total, content)
            return self._handle(sa, header, sa.first_inner, whole, message) if whole else []
        return self._receive_whole(sa, message)

    def _learn_sas(self) -> None:
        """Those that are gone stay, for the client's repeated requests."""
        made = [] if self.tunnel is None else self.tunnel.sas
        self._sas += [sa for sa in made if sa not in self._sas]

    def _receive_whole(self, sa: IkeSa, message: bytes) -> list[bytes]:
        """One message with an SK payload."""
        header = wire.read_header(message)
        if header.next_payload != wire.SK:
            raise ValueError("not protected")
        known = sa.cache.get(header.message_id)
        if known and not header.is_response and header.message_id < sa.expected:
            return known[1] if known[0] == message else []
        return self._handle(sa, header, message[28], sa.open(message, 32), message)

    def _handle(self, sa: IkeSa, header: Header, first: int, content: bytes, message: bytes) -> list[bytes]:
        if sa.gone:
            raise ValueError("an IKE SA that is deleted")
        payloads = wire.unchain(first, content)
        self.journal.last_payloads = payloads
        if header.is_response:
            self.journal.responses.append((header.message_id, payloads))
            if self.tunnel is not None and sa.outstanding is not None and header.message_id == sa.own_id - 1:
                self.tunnel.answered(sa, payloads)
                self.tunnel.go_on()
            return []
        if header.message_id != sa.expected:
            raise ValueError(f"message ID {header.message_id}, {sa.expected} expected")
        self.journal.requests.append((header.exchange, header.message_id))
        sa.expected += 1
        step, answer = self._answer(sa, header, payloads)
        messages = self.protect(step, sa.header(header.exchange, header.message_id, response=True), answer, sa)
        sa.cache[header.message_id] = (message, messages)
        if self.tunnel is not None:
            self.tunnel.go_on()
        return messages

    # --- what it says --------------------------------------------------------------------------------------------------

    def _answer(self, sa: IkeSa, header: Header, payloads: list[Payload]) -> tuple[Step, list[Payload]]:
        if header.exchange == wire.CREATE_CHILD_SA:
            assert self.tunnel is not None
            return Step.REKEY, self.tunnel.answer_create(sa, payloads)
        if header.exchange == wire.INFORMATIONAL:
            answer = [] if self.tunnel is None else self.tunnel.answer_informational(sa, payloads)
            over = self.tunnel is None or self.tunnel.over
            self.journal.deleted |= over and wire.one(payloads, wire.DELETE) is not None
            if self.journal.deleted or AUTHENTICATION_FAILED in wire.notifies(payloads):
                self._session.end()
            return Step.ANSWER, answer
        eap, auth = wire.one(payloads, wire.EAP), wire.one(payloads, wire.AUTH)
        if eap is not None:
            self._session.receive_packet(eap.body)
            packet, result = self._session.send_packet(), self._session.get_result()
            if result is False:
                self._session.end()
            return Step.LOGIN if result is None else Step.SUCCESS, [Payload(wire.EAP, packet)]
        if auth is not None:
            answer = self._conclude(auth.body)
            self._session.end()
            return Step.FINAL, answer
        return Step.PROOF, self._prove(payloads)

    def _record(self, call: Call) -> None:
        self.journal.calls.append(call)
        self._on_call(call)

    def _prove(self, payloads: list[Payload]) -> list[Payload]:
        self._identity_i = wire.one(payloads, wire.IDI).body
        self._esp_offer = wire.read_proposals(wire.one(payloads, wire.SA).body)
        if self.profile.client_identities and self._identity_i not in self.profile.client_identities:
            self.journal.lines.append(f"refused the client identity {self._identity_i!r}")
            return [wire.notify(AUTHENTICATION_FAILED)]
        credential = self.profile.credential or gateway_credential("ecdsa" if self.profile.auth == "ecdsa" else "rsa")
        keys = self._keys
        octets = self._responder_octets()
        method, signature = credential.sign(self.profile.auth, octets, keys.hash_name)
        self._session.begin(self._identity_i, IkeAttributes(self._initiator_octets(), keys.hash_name))
        return [
            Payload(wire.IDR, self.profile.identity),
            Payload(wire.CERT, b"\x04" + credential.certificate),
            Payload(wire.AUTH, bytes([method, 0, 0, 0]) + signature),
            Payload(wire.EAP, self._session.send_packet()),
        ]

    def _initiator_octets(self) -> bytes:
        keys = self._keys
        return self._init_request + self._nr + prf(keys.hash_name, keys.sk_pi, self._identity_i)

    def _responder_octets(self) -> bytes:
        keys = self._keys
        return self._init_response + self._ni + prf(keys.hash_name, keys.sk_pr, self.profile.identity)

    def _conclude(self, auth: bytes) -> list[Payload]:
        keys = self._keys
        expected = keys.shared_key_mic(keys.sk_pi, self._init_request, self._nr, self._identity_i)
        self.journal.client_authentic = self._session.get_result() is True and auth == b"\x02\0\0\0" + expected
        if not self.journal.client_authentic:
            return [wire.notify(AUTHENTICATION_FAILED)]
        mine = keys.shared_key_mic(keys.sk_pr, self._init_response, self._ni, self.profile.identity)
        offer = self._esp_offer[0]
        self.client_spi = int.from_bytes(offer.spi, "big")
        transforms = tuple(offer.first_of_each().values())
        chosen = Proposal(offer.number, wire.PROTOCOL_ESP, ESP_SPI.to_bytes(4, "big"), transforms)
        self.child_keys = keys.child(Algorithms.of(chosen), self._ni + self._nr)
        child = Child(ESP_SPI, self.client_spi, Algorithms.of(chosen), self.child_keys[:2], self.child_keys[2:])
        selectors = wire.selectors(wire.TSI, *self.profile.ts_i), wire.selectors(wire.TSR, *self.profile.ts_r)
        self.tunnel = Tunnel(
            self._first_sa, child, chosen, selectors, self.policy, self.random, self._say, self._outgoing.extend
        )
        return [
            Payload(wire.AUTH, b"\x02\0\0\0" + mine),
            wire.configuration(*self.profile.attributes),
            Payload(wire.SA, chosen.encode()),
            *selectors,
        ]

    def _say(self, sa: IkeSa, exchange: int, payloads: list[Payload]) -> list[bytes]:
        """The messages of a request of the tunnel's."""
        header = sa.header(exchange, sa.own_id, response=False)
        sa.own_id += 1
        return self.protect(Step.REQUEST, header, payloads, sa)

    def request(self, exchange: int, payloads: Sequence[Payload] = ()) -> list[bytes]:
        """A request with the next message ID, whose response is only written to the journal, and which is not repeated."""
        return self._say(self.sa, exchange, list(payloads))

    # --- protection ----------------------------------------------------------------------------------------------------

    @property
    def _keys(self) -> IkeKeys:
        assert self.keys is not None
        return self.keys

    def protect(self, step: Step, header: Header, payloads: list[Payload], sa: IkeSa | None = None) -> list[bytes]:
        """The finished messages, cut as the profile says; of the present IKE SA if not of another."""
        sa = sa or self.sa
        first, content = wire.chain(self.tamper.payloads(step, payloads))
        first, content = self.tamper.chain(step, first, content)
        limit = self.profile.fragment_size
        if len(content) > limit - 100 and self.profile.fragmentation == "ietf":
            parts = pieces(content, limit - 100)
            self.journal.fragments["gateway, RFC 7383"] += len(parts)
            total = len(parts).to_bytes(2, "big")
            messages = [
                sa.seal(header, wire.SKF, 0 if number > 1 else first, number.to_bytes(2, "big") + total, part)
                for number, part in enumerate(parts, 1)
            ]
        else:
            whole = sa.seal(header, wire.SK, first, b"", content, self.tamper.clear(step))
            large = len(whole) > limit and self.profile.fragmentation == "cisco"
            messages = cut_cisco(header, whole, limit) if large else [whole]
            self.journal.fragments["gateway, 132"] += len(messages) if large else 0
        return self.tamper.messages(step, messages)
