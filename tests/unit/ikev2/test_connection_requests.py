"""What the gateway starts: DPD, DELETE, CREATE_CHILD_SA; each answered once, and repeated by the same bytes."""

from __future__ import annotations

import pytest

from anyike.errors import GatewayRefused, ProtocolError, TunnelEnded
from anyike.ikev2.states import State
from tests.fakes import wire
from tests.fakes.gateway import Profile
from tests.fakes.link import CHILD_SPI, LATENCY, Link, User, ike_settings
from tests.fakes.wire import Payload, Proposal

DELETE_IKE = Payload(wire.DELETE, b"\1\0\0\0")
DELETE_ESP = Payload(wire.DELETE, b"\3\4\0\1\xc0\xff\xee\1")
REKEY = [
    Payload(wire.SA, Proposal(1, 3, b"\xc0\xff\xee\2", ((1, 20, 256), (5, 0, 0))).encode()),
    Payload(wire.NONCE, bytes(32)),
    wire.selectors(wire.TSI, "10.9.0.7/32"),
    wire.selectors(wire.TSR, "0.0.0.0/0"),
]
MANY_NOTIFIES = [wire.notify(40960, bytes(100))] * 20


def tunnel(fragmentation: str = "ietf", **options) -> Link:
    settings = ike_settings(liveness_interval=0.0, keepalive_interval=0.0)
    profile = Profile(fragmentation=fragmentation, fragment_size=600)
    link = Link(settings=settings, profile=profile, **options).establish()
    link.sent.clear()
    return link


def asked(link: Link, exchange: int, *payloads: Payload) -> list[bytes]:
    """The gateway asks; the request's messages, once they have been answered."""
    messages = link.gateway.request(exchange, payloads)
    link.transmit(messages).run(4 * LATENCY)
    return messages


def test_dpd_is_answered_with_an_empty_response():
    link = tunnel()
    for message_id in range(5):
        asked(link, wire.INFORMATIONAL)
        assert link.gateway.journal.responses[-1] == (message_id, [])
    assert link.client.state is State.ESTABLISHED
    assert len(link.sent) == 5


def test_dpd_is_answered_while_the_user_is_asked():
    link = Link(user=User(thinks=300.0)).connect()
    link.run(1000, until=lambda: bool(link.user.forms))
    asked(link, wire.INFORMATIONAL)
    assert link.gateway.journal.responses == [(0, [])]
    assert link.run(1000).established


def test_a_tunnel_stands_for_a_day_under_dpd():
    """With the default lifetimes: five rekeyings of the CHILD_SA and one of the IKE SA fall into it."""
    link = Link(profile=Profile(nat="client")).establish()
    for _ in range(24 * 60):
        link._steps = 0
        link.let_gateway(lambda tunnel: tunnel.check_liveness()).run(60)
    link.assert_one_tunnel()
    answered = [payloads for _, payloads in link.gateway.journal.responses]
    assert answered == [[]] * 24 * 60
    assert [exchange for exchange, _ in link.gateway.journal.requests].count(wire.CREATE_CHILD_SA) in (7, 8)
    assert not link.dropped


@pytest.mark.parametrize("fragmentation", ["ietf", "cisco", "off"])
@pytest.mark.parametrize("payloads", [[], MANY_NOTIFIES], ids=["small", "large"])
def test_a_repeated_request_gets_the_same_bytes(fragmentation, payloads):
    link = tunnel(fragmentation)
    messages = asked(link, wire.INFORMATIONAL, *payloads)
    assert (len(messages) > 1) == (bool(payloads) and fragmentation != "off")
    first = [data for _, data, _ in link.sent]
    assert len(first) == 1
    for count in range(2, 4):
        link.transmit(messages).run(4 * LATENCY)
        assert [data for _, data, _ in link.sent] == first * count
    assert link.client.counters["retransmissions_in"] == 2


@pytest.mark.parametrize("exchange", [wire.INFORMATIONAL, wire.CREATE_CHILD_SA])
def test_other_bytes_under_the_same_message_id_get_no_answer(exchange):
    link = tunnel()
    asked(link, wire.INFORMATIONAL)
    link.gateway.sa.own_id = 0
    asked(link, exchange, *(REKEY if exchange == wire.CREATE_CHILD_SA else [DELETE_IKE]))
    assert len(link.sent) == 1
    assert link.dropped == {"dropped_wrong_message_id": 1}
    assert link.client.state is State.ESTABLISHED


def test_a_request_of_the_past_or_the_future_gets_no_answer():
    link = tunnel()
    old = asked(link, wire.INFORMATIONAL)
    asked(link, wire.INFORMATIONAL)
    link.sent.clear()
    link.transmit(old).run(1)
    link.gateway.sa.own_id = 7
    asked(link, wire.INFORMATIONAL, DELETE_IKE)
    assert link.sent == []
    assert link.dropped == {"dropped_wrong_message_id": 2}


def test_a_delete_of_the_ike_sa_ends_the_tunnel():
    link = tunnel()
    asked(link, wire.INFORMATIONAL, DELETE_IKE)
    assert isinstance(link.error, TunnelEnded)
    assert link.gateway.journal.responses == [(0, [])]
    assert link.client.get_timer() is None


def test_the_gateways_words_beside_the_delete_are_shown():
    link = tunnel()
    asked(link, wire.INFORMATIONAL, DELETE_IKE, wire.notify(40000, b"Session timeout\0"))
    assert isinstance(link.error, TunnelEnded)
    assert "Session timeout" in str(link.error)


def test_a_delete_of_the_child_sa_ends_the_tunnel_and_names_ours():
    link = tunnel()
    asked(link, wire.INFORMATIONAL, DELETE_ESP)
    assert isinstance(link.error, TunnelEnded)
    ours = Payload(wire.DELETE, b"\3\4\0\1" + CHILD_SPI.to_bytes(4, "big"))
    assert link.gateway.journal.responses == [(0, [ours])]


def test_authentication_failed_in_a_request_ends_the_tunnel():
    link = tunnel()
    asked(link, wire.INFORMATIONAL, wire.notify(24))
    assert isinstance(link.error, TunnelEnded)


def test_a_delete_during_the_login_is_a_refusal():
    link = Link(user=User(thinks=300.0)).connect()
    link.run(1000, until=lambda: bool(link.user.forms))
    asked(link, wire.INFORMATIONAL, DELETE_IKE)
    assert isinstance(link.error, GatewayRefused)
    link.run(1000)
    assert link.login.documents == ["init"]


def test_a_delete_that_crosses_ours():
    link = tunnel()
    link.to_gateway = lambda _message: []
    link.close()
    link.to_gateway = lambda message: [(LATENCY, message)]
    asked(link, wire.INFORMATIONAL, DELETE_IKE)
    assert link.error is None
    assert link.gateway.journal.responses == [(0, [])]


def test_another_child_sa_is_refused_and_the_tunnel_stands():
    link = tunnel()
    asked(link, wire.CREATE_CHILD_SA, *REKEY)
    asked(link, wire.CREATE_CHILD_SA, wire.notify(16393, protocol=3, spi=b"\1\2\3\4"), *REKEY)
    answers = [payloads for _, payloads in link.gateway.journal.responses]
    assert answers == [[wire.notify(35)], [wire.notify(44, protocol=3, spi=b"\1\2\3\4")]]
    link.assert_one_tunnel()


@pytest.mark.parametrize("exchange", [0, 33, wire.IKE_SA_INIT, wire.IKE_AUTH, 38, 255])
def test_other_exchanges_get_no_answer(exchange):
    link = tunnel()
    link.transmit(link.gateway.request(exchange)).run(1)
    assert link.sent == []
    assert link.dropped == {"dropped_wrong_exchange": 1}


def test_unknown_notifies_and_payloads_are_no_hindrance():
    link = tunnel()
    asked(link, wire.INFORMATIONAL, wire.notify(40961, b"\0\1"), Payload(200, b"?"), Payload(wire.VENDOR, b"?" * 20))
    asked(link, wire.INFORMATIONAL, wire.configuration((28672, b"new banner"), kind=3))
    assert len(link.sent) == 2
    assert link.client.state is State.ESTABLISHED


@pytest.mark.parametrize(
    ("exchange", "payloads", "answer"),
    [
        (wire.INFORMATIONAL, [Payload(wire.NONCE, bytes(32))], {7: b""}),
        (wire.INFORMATIONAL, [Payload(wire.DELETE, b"\1")], {7: b""}),
        (wire.INFORMATIONAL, [Payload(wire.DELETE, b"\3\4\0\2\xc0\xff\xee\1")], {7: b""}),
        (wire.INFORMATIONAL, [Payload(wire.NOTIFY, b"\0")], {7: b""}),
        (wire.CREATE_CHILD_SA, [], {7: b""}),
        (wire.CREATE_CHILD_SA, REKEY[:1], {7: b""}),
        (wire.CREATE_CHILD_SA, [*REKEY, REKEY[0]], {7: b""}),
        (wire.CREATE_CHILD_SA, [*REKEY, Payload(wire.EAP, b"\1\1\0\5\1")], {7: b""}),
    ],
)
def test_a_request_that_breaks_the_protocol_is_told_so_and_ends_the_tunnel(exchange, payloads, answer):
    link = tunnel()
    asked(link, exchange, *payloads)
    assert isinstance(link.error, ProtocolError)
    assert [wire.notifies(payloads) for _, payloads in link.gateway.journal.responses] == [answer]


def test_a_request_with_an_unknown_critical_payload_is_rejected_and_no_more():
    link = tunnel()
    asked(link, wire.INFORMATIONAL, Payload(200, b"", critical=True))
    assert [wire.notifies(payloads) for _, payloads in link.gateway.journal.responses] == [{1: b"\xc8"}]
    assert link.client.state is State.ESTABLISHED


def test_a_response_to_our_liveness_check_that_breaks_the_protocol_ends_the_tunnel_with_a_delete():
    link = Link(settings=ike_settings(liveness_interval=30.0)).establish()
    link.gateway.tamper.payloads = lambda _step, genuine: [Payload(200, b"", critical=True)]
    link.run(31, until=lambda: link.client.state is not State.ESTABLISHED)
    link.gateway.tamper.payloads = lambda _step, genuine: genuine
    link.run(60)
    assert isinstance(link.error, ProtocolError)
    assert link.gateway.journal.deleted


def test_hundreds_of_requests_leave_nothing_behind():
    link = tunnel("cisco")
    for _ in range(300):
        link._steps = 0
        asked(link, wire.INFORMATIONAL, *MANY_NOTIFIES)
    channel = link.client._channel
    assert link.client.state is State.ESTABLISHED
    assert channel._cisco._arrivals == {}
    assert channel._skf._sets == {}
    assert len(channel._first_fragments) <= 2
