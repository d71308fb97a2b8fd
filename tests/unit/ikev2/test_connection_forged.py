"""What anybody on the way can send: dropped, counted for one reason each, and the exchange completes all the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from anyike.errors import GatewayNotTrusted, GatewayRefused
from anyike.ikev2.states import State
from tests.fakes import wire
from tests.fakes.gateway import AUTHENTICATION_FAILED, Profile, Step, Tamper
from tests.fakes.link import GATEWAY, LATENCY, Link, User, ike_settings
from tests.fakes.script import LONG_FORM, password_login
from tests.fakes.wire import Header, Payload

PROTECTED = [Step.PROOF, Step.LOGIN, Step.SUCCESS, Step.FINAL]
SUITES = ["aes256gcm16", "aes128-sha256", "chacha20poly1305"]
GRACE = 2.0


def before(step: Step, make) -> Tamper:
    """Messages of a forger, made from the genuine ones of the first such step, that overtake them."""
    steps = [step]

    def messages(here: Step, genuine: list[bytes]) -> list[bytes]:
        if here not in steps:
            return genuine
        steps.remove(here)
        return [*make(genuine), *genuine]

    return Tamper(messages=messages)


def flip(message: bytes, position: int, bits: int = 1) -> bytes:
    return message[:position] + bytes([message[position] ^ bits]) + message[position + 1 :]


def every_byte_flipped(genuine: list[bytes]) -> list[bytes]:
    return [flip(message, position) for message in genuine for position in range(len(message))]


def with_header(message: bytes, **changes) -> bytes:
    header = replace(wire.read_header(message), **changes)
    return header.message(header.next_payload, message[wire.HEADER :])


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("step", PROTECTED)
def test_every_byte_of_a_response_flipped(step, suite):
    flipped = []

    def make(genuine: list[bytes]) -> list[bytes]:
        flipped.extend(every_byte_flipped(genuine))
        return flipped

    settings = ike_settings(f"{suite}-prfsha256-x25519")
    link = Link(tamper=before(step, make), settings=settings, profile=Profile(fragmentation="off")).establish()
    assert len(flipped) > 60
    assert link.dropped.total() == len(flipped)
    assert link.dropped["dropped_not_authenticated"] >= len(flipped) - wire.HEADER - 4


@pytest.mark.parametrize("fragmentation", ["ietf", "cisco"])
def test_every_byte_of_every_fragment_flipped(fragmentation):
    flipped = []

    def make(genuine: list[bytes]) -> list[bytes]:
        assert len(genuine) > 2
        flipped.extend(every_byte_flipped(genuine[:2]))
        return flipped

    profile = Profile(fragmentation=fragmentation, fragment_size=500)
    link = Link(tamper=before(Step.PROOF, make), profile=profile).establish()
    assert link.client.counters["fragments_in"] > len(flipped) / 2


@pytest.mark.parametrize("fragmentation", ["ietf", "cisco"])
def test_pieces_flipped_beside_the_genuine_ones(fragmentation):
    """A forger answers each genuine piece with one of the same number, whole login long."""

    def messages(step: Step, genuine: list[bytes]) -> list[bytes]:
        if step is Step.INIT:
            return genuine
        return [copy for message in genuine for copy in (flip(message, len(message) - 20), message)]

    profile = Profile(fragmentation=fragmentation, fragment_size=500)
    link = Link(password_login(filler=LONG_FORM), tamper=Tamper(messages=messages), profile=profile).establish()
    assert link.dropped["dropped_not_authenticated"] > 3


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"message_id": 0}, "dropped_wrong_message_id"),
        ({"message_id": 3}, "dropped_wrong_message_id"),
        ({"message_id": 2**32 - 1}, "dropped_wrong_message_id"),
        ({"spi_i": bytes(8)}, "dropped_wrong_spi"),
        ({"spi_i": b"forgedx\0"}, "dropped_wrong_spi"),
        ({"spi_r": bytes(8)}, "dropped_wrong_spi"),
        ({"spi_r": b"forgedx\0"}, "dropped_wrong_spi"),
        ({"exchange": wire.IKE_SA_INIT}, "dropped_wrong_exchange"),
        ({"exchange": wire.CREATE_CHILD_SA}, "dropped_wrong_exchange"),
        ({"exchange": wire.INFORMATIONAL}, "dropped_wrong_exchange"),
        ({"exchange": 0}, "dropped_wrong_exchange"),
        ({"exchange": 240}, "dropped_wrong_exchange"),
        ({"flags": wire.RESPONSE | wire.INITIATOR}, "dropped_wrong_spi"),
        ({"flags": wire.INITIATOR}, "dropped_wrong_spi"),
        ({"flags": 0}, "dropped_wrong_message_id"),
        ({"flags": 0, "message_id": 0}, "dropped_wrong_exchange"),
        ({"flags": 0, "message_id": 0, "exchange": wire.INFORMATIONAL}, "dropped_not_authenticated"),
        ({"flags": wire.RESPONSE | 0x10}, "dropped_not_authenticated"),
        ({"next_payload": wire.SKF}, "dropped_not_authenticated"),
        ({"next_payload": wire.CISCO_FRAGMENT}, "dropped_fragment"),
        ({"next_payload": 0}, "dropped_not_protected"),
        ({"next_payload": wire.EAP}, "dropped_not_protected"),
    ],
    ids=str,
)
def test_a_genuine_message_under_another_header(changes, reason):
    tamper = before(Step.LOGIN, lambda genuine: [with_header(genuine[0], **changes)])
    link = Link(tamper=tamper, profile=Profile(fragmentation="off")).establish()
    assert link.dropped == {reason: 1}


@pytest.mark.parametrize("cut", [0, 1, 27, 28, 31, 32, 40, 60])
def test_a_clipped_message(cut):
    link = Link(tamper=before(Step.LOGIN, lambda genuine: [genuine[0][:cut]])).establish()
    assert link.dropped == {"dropped_malformed": 1}


@pytest.mark.parametrize("length", [28, 32, 40, 55, 56])
def test_a_clipped_message_whose_length_fields_agree(length):
    def make(genuine: list[bytes]) -> list[bytes]:
        message = genuine[0][:length]
        if length >= 32:
            message = message[:30] + (length - 28).to_bytes(2, "big") + message[32:]
        return [message[:24] + length.to_bytes(4, "big") + message[28:]]

    link = Link(tamper=before(Step.LOGIN, make)).establish()
    assert link.dropped.total() == 1
    assert set(link.dropped) <= {"dropped_not_authenticated", "dropped_not_protected"}


@pytest.mark.parametrize(
    "garbage", [b"", b"\0", b"\xff" * 28, bytes(28), b"GET / HTTP/1.1\r\n\r\n" * 10, bytes(65_507)]
)
@pytest.mark.parametrize("step", [Step.INIT, *PROTECTED])
def test_garbage(step, garbage):
    link = Link(tamper=before(step, lambda _genuine: [garbage])).establish()
    assert link.dropped == {"dropped_malformed": 1}


def test_an_ikev1_message_is_dropped():
    def make(genuine: list[bytes]) -> list[bytes]:
        return [genuine[0][:17] + b"\x10" + genuine[0][18:]]

    assert Link(tamper=before(Step.LOGIN, make)).establish().dropped == {"dropped_malformed": 1}


def test_every_response_of_the_past_replayed():
    seen: list[bytes] = []

    def messages(step: Step, genuine: list[bytes]) -> list[bytes]:
        past = list(seen)
        seen.extend(genuine)
        return [*past, *genuine]

    link = Link(tamper=Tamper(messages=messages)).establish()
    assert link.dropped == {"dropped_wrong_message_id": 1 + 2 + 3 + 4 + 5}
    link.deliver(*seen)
    assert link.client.state is State.ESTABLISHED
    assert link.dropped["dropped_wrong_message_id"] == 15 + len(seen)


def test_our_own_messages_reflected():
    link = Link().connect()
    link.to_gateway = lambda message: [(LATENCY, message)]
    link.run(60, until=lambda: link.client.state is State.ESTABLISHED)
    own = [data[4:] if port == 4500 else data for _, data, port in link.sent]
    link.deliver(*own)
    assert link.dropped == {"dropped_wrong_spi": len(own)}
    assert link.client.state is State.ESTABLISHED


def test_messages_of_another_connection():
    other = Link().establish()
    recorded = other.gateway.request(wire.INFORMATIONAL, [Payload(wire.DELETE, b"\1\0\0\0")])
    link = Link().establish()
    link.deliver(*recorded)
    assert link.dropped == {"dropped_wrong_spi": 1}
    header = replace(wire.read_header(recorded[0]), spi_i=link.gateway.spi_i, spi_r=link.gateway.spi_r)
    link.deliver(header.message(wire.SK, recorded[0][wire.HEADER :]))
    assert link.dropped == {"dropped_wrong_spi": 1, "dropped_not_authenticated": 1}
    assert link.client.state is State.ESTABLISHED


# --- messages without protection ------------------------------------------------------------------------------------------


def naked(link: Link, *payloads: Payload, message_id: int, exchange: int = wire.IKE_AUTH, flags: int = wire.RESPONSE):
    header = Header(link.gateway.spi_i, link.gateway.spi_r, 0, exchange, flags, message_id)
    return header.message(*wire.chain(payloads))


def in_login() -> Link:
    """A request of ours waits for its answer, which is slow."""
    link = Link(user=User(thinks=0.0)).connect()
    link.run(60, until=lambda: len(link.gateway.journal.requests) == 3)
    return link


UNPROTECTED = [
    Payload(wire.EAP, b"\x03\x01\x00\x04"),
    Payload(wire.EAP, b"\x04\x01\x00\x04"),
    Payload(wire.AUTH, b"\x02\0\0\0" + bytes(32)),
    wire.configuration((1, bytes([6, 6, 6, 6]))),
    wire.notify(16403, b"\0\0\0\1"),
    Payload(200, b"", critical=True),
]


@pytest.mark.parametrize("payload", UNPROTECTED, ids=lambda payload: f"{payload.type}")
def test_an_unprotected_payload_where_sk_must_be(payload):
    link = in_login()
    link.deliver(naked(link, payload, message_id=2))
    assert link.dropped == {"dropped_not_protected": 1}
    assert link.run(60).established


@pytest.mark.parametrize("inside", [True, False], ids=["beside the real one", "instead of it"])
def test_a_payload_before_sk_is_authentic_but_never_acted_on(inside):
    """Some gateways send CP outside the encrypted payload (AnyConnect-EAP notes, section 7)."""
    readable = [wire.configuration((1, bytes([6, 6, 6, 6]))), Payload(wire.EAP, b"\x04\x01\x00\x04")]
    tamper = Tamper(
        clear=lambda step: readable if step is Step.FINAL else [],
        payloads=lambda _step, genuine: [p for p in genuine if inside or p.type != wire.CP],
    )
    link = Link(tamper=tamper)
    if inside:
        assert [str(address) for address in link.establish().established.configuration.addresses] == ["10.9.0.7/32"]
    else:
        assert "no address" in str(link.until_over().error)
    assert not link.dropped


def test_a_proof_before_sk_is_no_proof():
    genuine_auth: list[Payload] = []

    def payloads(step: Step, genuine: list[Payload]) -> list[Payload]:
        if step is Step.FINAL:
            genuine_auth.append(wire.one(genuine, wire.AUTH))
            return [p for p in genuine if p.type != wire.AUTH]
        return genuine

    tamper = Tamper(payloads=payloads, clear=lambda step: genuine_auth if step is Step.FINAL else [])
    assert isinstance(Link(tamper=tamper).until_over().error, GatewayNotTrusted)


def test_a_payload_put_before_sk_on_the_way():
    def make(genuine: list[bytes]) -> list[bytes]:
        header = wire.read_header(genuine[0])
        sk = genuine[0][wire.HEADER :]
        evil = bytes([wire.SK, 0, 0, 8, 4, 1, 0, 4])
        return [header.message(wire.EAP, evil + sk)]

    link = Link(tamper=before(Step.LOGIN, make), profile=Profile(fragmentation="off")).establish()
    assert link.dropped == {"dropped_not_authenticated": 1}


def test_an_unprotected_request_gets_no_answer():
    link = Link().establish()
    sent = len(link.sent)
    for payload in (Payload(wire.DELETE, b"\1\0\0\0"), wire.notify(AUTHENTICATION_FAILED)):
        link.deliver(naked(link, payload, message_id=0, exchange=wire.INFORMATIONAL, flags=0))
    assert link.dropped == {"dropped_not_protected": 2}
    assert (link.client.state, len(link.sent)) == (State.ESTABLISHED, sent)


@pytest.mark.parametrize("notify", [14, 24, 7, 4, 11])
def test_an_unprotected_error_during_the_login_is_only_noted(notify):
    link = in_login()
    link.deliver(naked(link, wire.notify(notify), message_id=2))
    assert link.client.counters["unauthenticated_errors"] == 1
    assert link.run(60).established


def test_an_unprotected_error_is_the_reason_when_nothing_else_comes_in_answer_to_a_login():
    """Somebody may be confirming it on a telephone: the grace period is the whole series of retransmissions."""
    link = Link().connect()
    link.run(60, until=lambda: len(link.gateway.journal.requests) == 3)
    link.to_client = lambda _message: []
    link._queue.clear()
    link.deliver(naked(link, wire.notify(4), message_id=2))
    link.run(20, until=lambda: link.client.state is State.CLOSED)
    assert link.client.state is State.AUTH
    link.run(300, until=lambda: link.client.state is State.CLOSED)
    assert isinstance(link.error, GatewayRefused)
    assert "INVALID_IKE_SPI" in str(link.error)


def test_an_unprotected_error_while_the_user_is_asked_has_no_effect():
    link = Link(user=User(thinks=30.0)).connect()
    link.run(1000, until=lambda: bool(link.user.forms))
    for message_id in range(6):
        link.deliver(naked(link, wire.notify(AUTHENTICATION_FAILED), message_id=message_id))
    assert link.run(1000).established


def test_unprotected_errors_never_touch_a_tunnel():
    link = Link().establish()
    waiting = link.client.get_timer()
    link.to_client = lambda _message: []
    link.run(waiting - link.now + 0.5)
    for message_id in range(10):
        for exchange in range(wire.IKE_SA_INIT, wire.INFORMATIONAL + 1):
            link.deliver(naked(link, wire.notify(4), message_id=message_id, exchange=exchange))
    link.run(10)
    assert link.client.state is State.ESTABLISHED


def test_nothing_is_acted_on_after_the_end():
    link = Link().establish().close().run(60)
    events = len(link.events)
    link.deliver(*link.gateway.request(wire.INFORMATIONAL), b"garbage")
    assert link.dropped == {"dropped_after_end": 2}
    assert len(link.events) == events


def test_after_the_keys_exist_the_source_address_does_not_matter():
    """What proves itself may come from anywhere, and is answered there (RFC 7296 2.11); the tunnel stays where it is."""
    link = Link().establish()
    link.remote = "203.0.113.5"
    link.deliver(*link.gateway.request(wire.INFORMATIONAL), source=("203.0.113.5", 7777))
    assert not link.dropped
    assert link.sent[-1][2] == 7777
    assert link.client.remote == (GATEWAY, 4500)
