"""IKE_SA_INIT that does not go straight: COOKIE, INVALID_KE_PAYLOAD, refusals that anybody could have sent."""

from __future__ import annotations

from itertools import cycle

import pytest

from anyike.errors import GatewayRefused, NoCommonProposal, ProtocolError, Unreachable
from anyike.ikev2.exchanges.ike_sa_init import MAX_COOKIES
from tests.fakes import wire
from tests.fakes.gateway import (
    COOKIE,
    FRAGMENTATION,
    INVALID_KE,
    NAT_DESTINATION,
    NO_PROPOSAL,
    Profile,
    Step,
    Tamper,
)
from tests.fakes.link import LATENCY, Link, ike_settings
from tests.fakes.wire import Header, Payload

THREE_GROUPS = "aes128gcm16-prfsha256-x25519-ecp256-modp2048"
GRACE = 2.0
ROUND_TRIP = 2 * LATENCY


def requests_sent(link: Link) -> list[list[Payload]]:
    """The IKE_SA_INIT requests that went out, without repetitions."""
    messages = dict.fromkeys(data for _, data, port in link.sent if port == 500)
    return [wire.unchain(message[16], message[wire.HEADER :]) for message in messages]


def saying(*payloads: Payload) -> Tamper:
    """A gateway whose IKE_SA_INIT response is only this."""
    return Tamper(refusal=lambda: list(payloads))


def forged(link: Link, *payloads: Payload, spi_r: bytes = bytes(8)) -> bytes:
    """An IKE_SA_INIT response as anybody on the way can make it."""
    header = Header(link.sent[0][1][:8], spi_r, 0, wire.IKE_SA_INIT, wire.RESPONSE, 0)
    return header.message(*wire.chain(payloads))


def without(kind: int) -> Tamper:
    return Tamper(
        payloads=lambda step, genuine: [p for p in genuine if p.type != kind] if step is Step.INIT else genuine
    )


@pytest.mark.parametrize("cookie", [b"c", b"c" * 64])
def test_a_cookie_is_sent_back_first_and_the_rest_stays(cookie):
    link = Link(profile=Profile(cookie=cookie)).establish()
    first, second = requests_sent(link)
    assert second == [wire.notify(COOKIE, cookie), *first]


@pytest.mark.parametrize("cookie", [b"", b"c" * 65])
def test_a_cookie_of_no_legal_length_is_dropped(cookie):
    link = Link(tamper=saying(wire.notify(COOKIE, cookie))).until_over(300)
    assert isinstance(link.error, Unreachable)
    assert len(requests_sent(link)) == 1
    assert link.dropped["dropped_stale"] == 6


def test_a_gateway_that_always_wants_another_cookie_ends_the_attempt():
    cookies = (bytes([number]) for number in range(200))
    link = Link(tamper=Tamper(refusal=lambda: [wire.notify(COOKIE, next(cookies))])).until_over()
    assert isinstance(link.error, ProtocolError)
    assert "cookie" in str(link.error)
    assert len(requests_sent(link)) == 1 + MAX_COOKIES


def test_a_cookie_and_another_group():
    settings = ike_settings(THREE_GROUPS)
    link = Link(profile=Profile(cookie=b"cookie", group=14), settings=settings).establish()
    first, second, third = requests_sent(link)
    assert wire.one(first, wire.KE).body[:2] == wire.one(second, wire.KE).body[:2] == b"\0\x1f"
    assert wire.one(third, wire.KE).body[:2] == b"\0\x0e"
    assert wire.notifies(third)[COOKIE] == b"cookie"


def test_the_offer_and_the_nonce_stay_when_the_group_changes():
    """Downgrade protection: a forger who names a group cannot make us offer less (RFC 7296 1.2)."""
    link = Link(profile=Profile(group=19), settings=ike_settings(THREE_GROUPS)).establish()
    first, second = requests_sent(link)
    assert [p for p in first if p.type != wire.KE] == [p for p in second if p.type != wire.KE]
    assert link.gateway.keys.algorithms.group == 19


@pytest.mark.parametrize("data", [b"\0\x05", b"\0\0", b"", b"\x13", b"\0\0\x13"])
def test_a_group_that_was_not_offered_is_an_error(data):
    link = Link(tamper=saying(wire.notify(INVALID_KE, data)), settings=ike_settings(THREE_GROUPS)).until_over()
    assert isinstance(link.error, ProtocolError)
    assert "ike.proposals" in str(link.error)
    assert len(requests_sent(link)) == 1


def test_the_same_group_twice_is_not_followed():
    """The gateway wants the group that it just got: nothing changes, and in the end nobody has answered."""
    settings = ike_settings(THREE_GROUPS)
    link = Link(tamper=saying(wire.notify(INVALID_KE, b"\0\x13")), settings=settings).until_over(300)
    assert isinstance(link.error, Unreachable)
    assert len(requests_sent(link)) == 2
    assert link.dropped["dropped_stale"] == 6


@pytest.mark.parametrize("group", [0, 31], ids=["gateway takes any group", "gateway insists on our first one"])
def test_a_forged_group_request_costs_round_trips_and_no_more(group):
    link = Link(profile=Profile(group=group), settings=ike_settings(THREE_GROUPS)).connect()
    link.deliver(forged(link, wire.notify(INVALID_KE, b"\0\x0e")))
    assert link.run(60).established
    assert len(requests_sent(link)) == 2
    assert link.gateway.keys.algorithms.group == (group or 14)


def test_two_groups_for_ever_end_the_attempt():
    groups = cycle([b"\0\x13", b"\0\x0e"])
    tamper = Tamper(refusal=lambda: [wire.notify(INVALID_KE, next(groups))])
    link = Link(tamper=tamper, settings=ike_settings(THREE_GROUPS)).until_over()
    assert isinstance(link.error, ProtocolError)
    assert "another group" in str(link.error)


def test_a_response_to_the_request_before_the_restart_is_dropped():
    """The genuine answer to the first request comes after a forged INVALID_KE_PAYLOAD: its KE is of the old group."""
    link = Link(settings=ike_settings(THREE_GROUPS)).connect()
    link.to_gateway = lambda message: [(5 * LATENCY, message)]
    link.deliver(forged(link, wire.notify(INVALID_KE, b"\0\x0e")))
    link.run(3 * LATENCY)
    assert (link.dropped["dropped_stale"], link.events) == (1, [])
    assert link.run(60).established


@pytest.mark.parametrize(
    ("notify", "kind", "words"),
    [
        (NO_PROPOSAL, NoCommonProposal, "aes256gcm16-prfsha256-x25519"),
        (24, GatewayRefused, "AUTHENTICATION_FAILED"),
        (7, GatewayRefused, "INVALID_SYNTAX"),
        (43, GatewayRefused, "TEMPORARY_FAILURE"),
        (12345, GatewayRefused, "12345"),
    ],
)
def test_an_error_ends_the_attempt_after_the_grace_period(notify, kind, words):
    link = Link(tamper=saying(wire.notify(notify)))
    start = link.now
    link.until_over()
    assert isinstance(link.error, kind)
    assert words in str(link.error)
    assert link.now == pytest.approx(start + ROUND_TRIP + GRACE)
    assert link.client.counters["unauthenticated_errors"] >= 1


@pytest.mark.parametrize("notify", [NO_PROPOSAL, 24, 7, 4, 16407])
def test_an_error_is_forgotten_when_the_genuine_response_comes_in_time(notify):
    link = Link().connect()
    link.to_gateway = lambda message: [(GRACE * 0.9, message)]
    link.deliver(forged(link, wire.notify(notify)))
    assert link.run(60).established
    assert link.client.counters["unauthenticated_errors"] == 1


def test_only_the_first_of_many_errors_sets_the_grace_period():
    link = Link()
    link.to_gateway = lambda _message: []
    start = link.connect().now
    for number in range(30):
        link.run(0.1)
        link.deliver(forged(link, wire.notify(24 if number % 2 else NO_PROPOSAL)))
    assert isinstance(link.run(60).error, NoCommonProposal)
    ended = [at for at, _, _ in link.sent][-1]
    assert ended <= start + 0.1 + GRACE


@pytest.mark.parametrize("missing", [wire.SA, wire.KE, wire.NONCE])
def test_a_response_that_lacks_a_payload(missing):
    link = Link(tamper=without(missing)).until_over()
    assert isinstance(link.error, ProtocolError)


def changed(change) -> Tamper:
    return Tamper(payloads=lambda step, genuine: [change(p) for p in genuine] if step is Step.INIT else genuine)


def other_transform(payload: Payload) -> Payload:
    """Another encryption than the offered one: AES-GCM with 128 bits."""
    if payload.type != wire.SA:
        return payload
    return Payload(wire.SA, payload.body.replace(b"\x80\x0e\x01\x00", b"\x80\x0e\x00\x80"))


def public_value(value: bytes):
    def change(payload: Payload) -> Payload:
        return Payload(wire.KE, payload.body[:4] + value) if payload.type == wire.KE else payload

    return change


@pytest.mark.parametrize(
    "change",
    [other_transform, public_value(bytes(32)), public_value(b"short"), public_value(b"")],
    ids=["algorithm not offered", "public value 0", "public value too short", "no public value"],
)
def test_a_response_that_cannot_be_used(change):
    link = Link(tamper=changed(change)).until_over()
    assert isinstance(link.error, ProtocolError)
    assert [type(event).__name__ for event in link.events] == ["Terminated"]


@pytest.mark.parametrize("nonce", [b"", b"n" * 15, b"n" * 257])
def test_a_nonce_of_no_legal_length(nonce):
    change = changed(lambda payload: Payload(wire.NONCE, nonce) if payload.type == wire.NONCE else payload)
    assert isinstance(Link(tamper=change).until_over().error, ProtocolError)


def test_without_nat_detection_userspace_esp_cannot_work():
    link = Link(profile=Profile(nat="silent")).until_over()
    assert isinstance(link.error, GatewayRefused)
    assert "gateway.start_on_nat_port" in str(link.error)


def test_half_of_nat_detection_is_none():
    def change(step, genuine):
        return [p for p in genuine if p.body[2:4] != NAT_DESTINATION.to_bytes(2, "big")]

    assert isinstance(Link(tamper=Tamper(payloads=change)).until_over().error, GatewayRefused)


@pytest.mark.parametrize("extra", [Payload(200, b"?"), Payload(wire.CERTREQ, b"\x04" + bytes(20)), wire.notify(40961)])
def test_unknown_and_optional_payloads_are_no_hindrance(extra):
    tamper = Tamper(payloads=lambda step, genuine: [*genuine, extra] if step is Step.INIT else genuine)
    assert Link(tamper=tamper).establish().established


def test_an_unknown_critical_payload_is_noted():
    tamper = Tamper(
        payloads=lambda step, genuine: [*genuine, Payload(200, b"", critical=True)] if step is Step.INIT else genuine
    )
    link = Link(tamper=tamper).until_over()
    assert isinstance(link.error, ProtocolError)
    assert "critical" in str(link.error)


def test_a_response_from_another_address_is_dropped():
    link = Link().connect()
    link.deliver(forged(link, wire.notify(NO_PROPOSAL)), source=("203.0.113.5", 500))
    assert link.dropped == {"dropped_wrong_source": 1}
    assert link.run(60).established


def test_fragmentation_is_announced():
    link = Link().establish()
    assert FRAGMENTATION in wire.notifies(requests_sent(link)[0])
