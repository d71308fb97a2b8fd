"""MOBIKE (RFC 4555): the tunnel moves with the client, and only where the client wants it."""

from __future__ import annotations

import hashlib
from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyike.errors import ProtocolError, TunnelLost
from anyike.ikev2.connection import State
from anyike.ikev2.events import ChildAdded, Moved, MoveRefused
from anyike.ikev2.mobility import MAX_ADDRESSES, read_addresses
from anyike.ikev2.payloads import Notify
from tests.fakes import wire
from tests.fakes.gateway import Profile
from tests.fakes.link import CLIENT, GATEWAY, LATENCY, Held, Link, ike_settings
from tests.fakes.mobility import (
    COOKIE2,
    MOBIKE_SUPPORTED,
    NAT_DESTINATION,
    NAT_SOURCE,
    NO_ADDITIONAL,
    UNACCEPTABLE_ADDRESSES,
    UPDATE,
    MobileGateway,
    address_notify,
    nat_hash,
)
from tests.fakes.wire import Payload

QUIET = {"liveness_interval": 0.0, "keepalive_interval": 0.0}
HOTEL = ("203.0.113.77", 51000)
TRAIN = ("192.0.2.200", 52000)
OTHER_GATEWAY = "198.51.100.2"
NEVER = lambda _message: []  # noqa: E731  a direction that loses everything


def tunnel(profile: Profile | None = None, additional: tuple[str, ...] = (), **settings) -> tuple[Link, MobileGateway]:
    link = Link(settings=ike_settings(**(QUIET | settings)), profile=profile)
    gateway = MobileGateway(link, additional)
    link.establish().run(1)
    link.sent.clear()
    return link, gateway


def move(link: Link, local: tuple[str, int], remote: str = GATEWAY) -> Link:
    """The client's machine is elsewhere from now on."""
    link.local, link.remote = local, remote
    return link.let_client(lambda client, now: client.move(local, (remote, 4500), now))


def moves(link: Link) -> list[Moved | MoveRefused]:
    return [event for event in link.events if isinstance(event, Moved | MoveRefused)]


def asked(link: Link, *payloads: Payload) -> list[Payload]:
    """What the client answers to an INFORMATIONAL request of the gateway."""
    link.transmit(link.gateway.request(wire.INFORMATIONAL, payloads)).run(4 * LATENCY)
    return link.gateway.journal.responses[-1][1]


def keepalives(link: Link) -> int:
    return sum(data == b"\xff" for _, data, _ in link.sent)


# --- agreeing on it -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("offered", [True, False])
def test_it_is_offered_in_the_first_ike_auth_beside_sa(offered):
    link = Link(settings=ike_settings(mobike=offered))
    seen = []

    def look(_step, payloads):
        seen.append((link.gateway.journal.requests[-1], [*link.gateway.journal.last_payloads]))
        return payloads

    link.gateway.tamper.payloads = look
    link.establish()
    with_it = [request for request, payloads in seen if MOBIKE_SUPPORTED in wire.notifies(payloads)]
    with_sa = [request for request, payloads in seen if wire.one(payloads, wire.SA) and request[0] == wire.IKE_AUTH]
    assert with_sa == [(wire.IKE_AUTH, 1)]
    assert with_it == (with_sa if offered else [])


def test_it_takes_two():
    assert tunnel()[0].established.mobike is True
    assert tunnel(mobike=False)[0].established.mobike is False
    assert Link(settings=ike_settings()).establish().established.mobike is False


@pytest.mark.parametrize(("nat", "ports"), [("none", {500, 4500}), ("silent", {500})])
def test_the_nat_port_is_used_even_where_no_nat_is(nat, ports):
    """A NAT may come with a later address; a gateway without NAT traversal stays where it is (RFC 4555 3.3)."""
    link = Link(settings=ike_settings(force_encapsulation=False), profile=Profile(nat=nat)).establish()
    assert {port for _, _, port in link.sent} == ports
    assert link.established.child.udp_encapsulation is False


def test_without_it_a_move_is_refused_and_nothing_is_sent():
    for options in ({"mobike": False}, {}):
        link = Link(settings=ike_settings(**QUIET, **options)).establish()
        link.sent.clear()
        move(link, HOTEL).run(60)
        (refused,) = moves(link)
        assert isinstance(refused, MoveRefused)
        assert "new connection" in refused.reason
        assert link.sent == []
        assert link.client.other_addresses == ()


def test_a_move_before_there_is_a_tunnel_or_after_its_end_does_nothing():
    link = Link(settings=ike_settings())
    MobileGateway(link)
    link.connect()
    move(link, CLIENT)
    assert link.run(60).established
    link.close().run(60)
    count = len(link.sent)
    move(link, HOTEL)
    assert len(link.sent) == count
    assert moves(link) == []


# --- moving -------------------------------------------------------------------------------------------------


def test_the_request_that_moves_the_tunnel():
    link, gateway = tunnel(force_encapsulation=False)
    move(link, HOTEL).run(1)
    (update,) = gateway.updates
    spis = link.gateway.spi_i + link.gateway.spi_r
    assert list(update) == [COOKIE2, UPDATE, NAT_SOURCE, NAT_DESTINATION]
    assert len(update[COOKIE2]) == 16
    assert update[UPDATE] == b""
    assert update[NAT_SOURCE] == hashlib.sha1(spis + ip_address(HOTEL[0]).packed + (51000).to_bytes(2, "big")).digest()
    assert update[NAT_DESTINATION] == nat_hash(spis, (GATEWAY, 4500))
    assert moves(link) == [Moved(HOTEL, (GATEWAY, 4500), udp_encapsulation=False, behind_nat=False)]
    assert gateway.follows == HOTEL
    link.assert_one_tunnel()


def test_where_esp_has_to_come_in_udp_the_source_hash_never_matches():
    link, gateway = tunnel()
    move(link, HOTEL).run(1)
    assert gateway.updates[0][NAT_SOURCE] != nat_hash(link.gateway.spi_i + link.gateway.spi_r, HOTEL)
    assert moves(link) == [Moved(HOTEL, (GATEWAY, 4500), udp_encapsulation=True, behind_nat=False)]


def test_every_update_has_a_cookie_of_its_own():
    link, gateway = tunnel()
    for address in (HOTEL, TRAIN, HOTEL):
        move(link, address).run(1)
    assert len({update[COOKIE2] for update in gateway.updates}) == 3


@pytest.mark.parametrize(
    ("local", "remote"), [(CLIENT, OTHER_GATEWAY), (("2001:db8::5", 40000), "2001:db8:ffff::1"), (HOTEL, OTHER_GATEWAY)]
)
def test_to_another_address_of_the_gateway_and_between_the_families(local, remote):
    link, gateway = tunnel(additional=(OTHER_GATEWAY, "2001:db8:ffff::1"))
    move(link, local, remote).run(1)
    assert moves(link) == [Moved(local, (remote, 4500), udp_encapsulation=True, behind_nat=False)]
    assert link.client.remote == (remote, 4500)
    assert GATEWAY in link.client.other_addresses
    assert remote not in link.client.other_addresses
    move(link, CLIENT).run(1)
    assert gateway.follows == CLIENT
    link.assert_one_tunnel().let_client(lambda client, now: client.rekey(now)).run(30)
    link.assert_one_tunnel()


def test_keepalives_begin_and_end_with_the_nat():
    link, gateway = tunnel(keepalive_interval=20.0)
    link.run(100)
    assert keepalives(link) == 0
    gateway.translate = lambda _address: ("198.18.0.1", 1024)
    move(link, HOTEL).run(101)
    assert keepalives(link) == 5
    assert moves(link)[-1].behind_nat
    gateway.translate = lambda address: address
    move(link, TRAIN).run(200)
    assert keepalives(link) == 5
    assert not moves(link)[-1].behind_nat


def test_without_force_the_nat_decides_how_esp_travels():
    link, gateway = tunnel(force_encapsulation=False)
    gateway.translate = lambda _address: ("198.18.0.1", 1024)
    move(link, HOTEL).run(1)
    link.let_client(lambda client, now: client.rekey(now)).run(30)
    gateway.translate = lambda address: address
    move(link, TRAIN).run(1)
    link.let_client(lambda client, now: client.rekey(now)).run(30)
    assert [event.udp_encapsulation for event in moves(link)[:2]] == [True, False]
    assert [e.child.udp_encapsulation for e in link.events if isinstance(e, ChildAdded)] == [True, False]


def test_a_gateway_that_does_not_detect_nats_changes_nothing():
    link, gateway = tunnel(Profile(nat="client"), keepalive_interval=20.0)
    gateway.detects = False
    move(link, HOTEL).run(101)
    assert moves(link)[0].behind_nat
    assert keepalives(link) == 5


def test_what_is_outstanding_goes_the_new_way_at_once_and_the_update_follows():
    link, gateway = tunnel()
    link.to_gateway = NEVER
    link.let_client(lambda client, now: client.check_liveness(now)).run(20)
    tries, link.to_gateway = len(link.sent), lambda message: [(LATENCY, message)]
    assert tries > 2
    move(link, HOTEL, OTHER_GATEWAY)
    assert len(link.sent) == tries + 1
    assert len({data for _, data, _ in link.sent}) == 1, "the same bytes"
    assert gateway.updates == []
    link.run(1)
    detection = [NAT_SOURCE, NAT_DESTINATION]
    assert [list(asked) for asked in gateway.asked] == [detection, [COOKIE2, UPDATE, *detection]]
    assert len(moves(link)) == 1


def test_the_update_comes_before_everything_that_waits():
    link, gateway = tunnel()
    before = len(link.gateway.journal.requests)
    link.to_gateway = held = Held()
    link.let_client(lambda client, now: client.check_liveness(now))
    link.let_client(lambda client, now: client.rekey(now)).run(1)
    move(link, HOTEL)
    link.to_gateway = lambda message: [(LATENCY, message)]
    link.deliver_to_gateway(*held.messages[:1]).run(30)
    exchanges = [exchange for exchange, _ in link.gateway.journal.requests[before:]]
    assert exchanges[:3] == [wire.INFORMATIONAL, wire.INFORMATIONAL, wire.CREATE_CHILD_SA]
    assert [UPDATE in asked for asked in gateway.asked[:2]] == [False, True]


def test_of_two_moves_the_last_counts():
    """An answer to what was sent both ways proves neither (RFC 4555 3.5): another update has to be answered."""
    link, gateway = tunnel()
    link.to_gateway = NEVER
    move(link, HOTEL).run(5)
    move(link, TRAIN)
    link.to_gateway = lambda message: [(LATENCY, message)]
    link.run(20)
    assert len(gateway.updates) == 2
    assert moves(link) == [Moved(TRAIN, (GATEWAY, 4500), udp_encapsulation=True, behind_nat=False)]
    assert gateway.follows == TRAIN


def test_there_and_back_while_nothing_is_answered():
    link, gateway = tunnel()
    link.to_client = NEVER
    move(link, HOTEL).run(1)
    move(link, TRAIN).run(1)
    move(link, HOTEL).run(1)
    link.to_client = lambda message: [(LATENCY, message)]
    link.run(60)
    assert moves(link) == [Moved(HOTEL, (GATEWAY, 4500), udp_encapsulation=True, behind_nat=False)]
    assert [update[COOKIE2] for update in gateway.updates[1:]] == [gateway.updates[-1][COOKIE2]]


def test_ways_are_probed_until_one_works():
    link, _ = tunnel(additional=("198.51.100.2", "198.51.100.3"))
    for remote in link.client.other_addresses:
        link.to_gateway = NEVER
        move(link, HOTEL, remote).run(5)
    link.to_gateway = lambda message: [(LATENCY, message)]
    move(link, TRAIN, "198.51.100.3").run(5)
    assert [event.remote for event in moves(link)] == [("198.51.100.3", 4500)]


def test_every_move_starts_a_new_series_of_tries_and_the_last_one_ends_it():
    link, _ = tunnel()
    link.to_gateway = NEVER
    for _ in range(5):
        move(link, HOTEL).run(60)
    assert link.client.state is State.ESTABLISHED
    link.run(120)
    assert isinstance(link.error, TunnelLost)
    assert moves(link) == []


def test_who_leaves_says_so_the_new_way():
    link, gateway = tunnel()
    link.to_gateway = NEVER
    link.close()
    link.to_gateway = lambda message: [(LATENCY, message)]
    move(link, HOTEL, OTHER_GATEWAY).run(30)
    assert link.error is None
    assert link.gateway.journal.deleted
    assert gateway.updates == []


# --- answers that are no yes --------------------------------------------------------------------------------


@pytest.mark.parametrize("with_cookie", [True, False])
@pytest.mark.parametrize("refusal", [UNACCEPTABLE_ADDRESSES, 7])
def test_a_refused_move_can_be_taken_back(refusal, with_cookie):
    link, gateway = tunnel()
    gateway.refusal = refusal
    genuine = gateway.cookie
    gateway.cookie = genuine if with_cookie else lambda _data: []
    move(link, HOTEL).run(1)
    (refused,) = moves(link)
    assert (refused.local, refused.remote) == (HOTEL, (GATEWAY, 4500))
    assert ("UNACCEPTABLE_ADDRESSES" in refused.reason) == (refusal == UNACCEPTABLE_ADDRESSES)
    gateway.refusal, gateway.cookie = 0, genuine
    move(link, CLIENT).run(1)
    assert isinstance(moves(link)[-1], Moved)
    link.assert_one_tunnel()


@pytest.mark.parametrize(
    ("cookie", "refusal"),
    [
        (lambda _data: [], 0),
        (lambda data: [wire.notify(COOKIE2, data[:-1])], 0),
        (lambda data: [wire.notify(COOKIE2, data + b"\0")], 0),
        (lambda data: [wire.notify(COOKIE2, bytes(16))], 0),
        (lambda data: [wire.notify(COOKIE2, b"")], 0),
        (lambda data: [wire.notify(COOKIE2, bytes(16)), wire.notify(COOKIE2, data)], 0),
        (lambda data: [wire.notify(COOKIE2, bytes(16))], UNACCEPTABLE_ADDRESSES),
    ],
)
def test_a_wrong_cookie_ends_the_tunnel_with_a_delete(cookie, refusal):
    link, gateway = tunnel()
    gateway.cookie, gateway.refusal = cookie, refusal
    move(link, HOTEL).run(30)
    assert isinstance(link.error, ProtocolError)
    assert "COOKIE2" in str(link.error)
    assert link.gateway.journal.deleted
    assert moves(link) == []


def test_a_wrong_cookie_counts_even_when_another_move_overtook_it():
    link, gateway = tunnel()
    link.to_gateway = NEVER
    move(link, HOTEL)
    link.to_gateway = lambda message: [(LATENCY, message)]
    gateway.cookie = lambda _data: [wire.notify(COOKIE2, bytes(16))]
    move(link, TRAIN).run(30)
    assert isinstance(link.error, ProtocolError)


# --- changes that nobody told of ----------------------------------------------------------------------------


def behind_nat() -> tuple[Link, MobileGateway]:
    link, gateway = tunnel(Profile(nat="client"), liveness_interval=30.0)
    gateway.translate = lambda _address: ("192.0.2.98", 1024)
    return link, gateway


def test_behind_a_nat_a_liveness_check_asks_for_the_mapping():
    link, gateway = behind_nat()
    link.run(100)
    assert [list(asked) for asked in gateway.asked] == [[NAT_SOURCE, NAT_DESTINATION]] * 3
    assert gateway.updates == []
    assert moves(link) == []


def test_a_changed_mapping_is_put_right():
    """A gateway that does MOBIKE does not follow a NAT by itself (RFC 4555 3.8)."""
    link, gateway = behind_nat()
    link.run(31)
    gateway.translate = lambda _address: ("192.0.2.98", 2048)
    link.run(100)
    assert len(gateway.updates) == 1
    assert gateway.follows == ("192.0.2.98", 2048)
    assert moves(link) == [Moved(CLIENT, (GATEWAY, 4500), udp_encapsulation=True, behind_nat=True)]


def test_an_address_that_changed_unnoticed_is_put_right():
    """Neither a NAT nor a move that the owner told of: the machine simply has another address now."""
    link, gateway = tunnel(liveness_interval=30.0)
    link.run(31)
    assert gateway.updates == []
    gateway.translate = lambda _address: HOTEL
    link.run(100)
    assert len(gateway.updates) == 1
    assert gateway.follows == HOTEL
    assert moves(link)[0].behind_nat


def test_without_mobike_a_liveness_check_is_empty():
    link, gateway = tunnel(Profile(nat="client"), liveness_interval=30.0, mobike=False)
    link.run(100)
    assert gateway.asked == [{}] * 3


@pytest.mark.parametrize(("nat", "updates"), [("client", 1), ("none", 0)])
def test_behind_a_nat_new_spis_cost_one_update_too_many(nat, updates):
    link, gateway = tunnel(Profile(nat=nat), liveness_interval=30.0)
    if nat == "client":
        gateway.translate = lambda _address: ("192.0.2.98", 1024)
    link.let_client(lambda client, now: client.rekey(now)).run(200)
    assert len(gateway.updates) == updates
    link.assert_one_tunnel()


# --- together with rekeying ---------------------------------------------------------------------------------


def test_an_update_whose_ike_sa_is_replaced_is_repeated_in_the_new_one():
    link, gateway = tunnel()
    link.to_gateway = lost = Held()
    move(link, HOTEL)
    assert len(lost.messages) == 1
    link.to_gateway = lambda message: [(LATENCY, message)]
    link.let_gateway(lambda gateways: gateways.rekey_ike()).run(1)
    assert Moved(HOTEL, (GATEWAY, 4500), udp_encapsulation=True, behind_nat=False) in moves(link)
    link.run(120)
    assert gateway.follows == HOTEL
    link.assert_one_tunnel()


def test_all_ike_sas_go_the_new_way():
    link, gateway = tunnel()
    link.let_client(lambda client, now: client.rekey(now)).run(3 * LATENCY)
    move(link, HOTEL, OTHER_GATEWAY).run(120)
    assert gateway.follows == HOTEL
    link.assert_one_tunnel()


@given(st.lists(st.sampled_from(["move", "rekey", "gateway", "lose", "pass", "wait"]), min_size=1, max_size=12))
def test_whatever_happens_in_between_the_gateway_is_where_we_are_in_the_end(steps):
    link, gateway = tunnel()
    places = [HOTEL, TRAIN, CLIENT]
    for number, step in enumerate(steps):
        match step:
            case "move":
                move(link, places[number % 3])
            case "rekey":
                link.let_client(lambda client, now: client.rekey(now))
            case "gateway":
                link.let_gateway(lambda gateways: gateways.rekey_ike())
            case "lose":
                link.to_gateway = NEVER
            case "pass":
                link.to_gateway = lambda message: [(LATENCY, message)]
            case "wait":
                link.run(1)
    link.to_gateway = lambda message: [(LATENCY, message)]
    move(link, TRAIN).run(200)
    assert isinstance(moves(link)[-1], Moved)
    assert moves(link)[-1].local == TRAIN
    assert gateway.follows == TRAIN
    link.assert_one_tunnel()


# --- what the gateway says ----------------------------------------------------------------------------------


def test_other_addresses_are_remembered_and_replaced():
    link, _ = tunnel(additional=("198.51.100.2", "2001:db8::9", "198.51.100.2"))
    assert link.client.other_addresses == ("198.51.100.2", "2001:db8::9")
    assert asked(link, address_notify("198.51.100.3")) == []
    assert link.client.other_addresses == ("198.51.100.3",)
    asked(link, wire.notify(NO_ADDITIONAL))
    assert link.client.other_addresses == ()
    asked(link)
    assert link.client.other_addresses == ()


def test_a_list_from_another_address_names_that_address_too():
    link, _ = tunnel(additional=("198.51.100.2",))
    link.remote = "198.51.100.7"
    link.deliver(*link.gateway.request(wire.INFORMATIONAL, [address_notify(GATEWAY)]), source=("198.51.100.7", 4500))
    assert link.client.other_addresses == ("198.51.100.7",)
    assert link.client.remote == (GATEWAY, 4500)


MANY = tuple(str(IPv4Address("198.18.0.0") + number) for number in range(200))


@pytest.mark.parametrize("in_auth", [True, False])
def test_of_many_addresses_the_first_ones_are_remembered(in_auth):
    link, _ = tunnel(additional=MANY[:90] if in_auth else ())
    if not in_auth:
        asked(link, *map(address_notify, MANY[:90]))
    assert link.client.other_addresses == MANY[:MAX_ADDRESSES]


def test_two_hundred_addresses_are_more_than_a_message_may_hold():
    link, _ = tunnel()
    asked(link, *map(address_notify, MANY))
    assert isinstance(link.error, ProtocolError)


@pytest.mark.parametrize(
    "notify",
    [
        wire.notify(16397, b""),
        wire.notify(16397, bytes(16)),
        wire.notify(16398, b"\x0a\0\0\1"),
        address_notify("0.0.0.0"),
        address_notify("::"),
        address_notify("224.0.0.1"),
        address_notify("ff02::1"),
    ],
)
def test_what_is_no_address_of_a_host_is_ignored(notify):
    link, _ = tunnel()
    asked(link, notify, address_notify("198.51.100.3"))
    assert link.client.other_addresses == ("198.51.100.3",)
    assert link.client.state is State.ESTABLISHED


@given(st.lists(st.tuples(st.integers(16396, 16402), st.binary(max_size=20)), max_size=40))
def test_addresses_are_bounded_and_usable_whatever_is_said(said):
    addresses = read_addresses([Notify(kind, data) for kind, data in said])
    mentioned = any(kind in (16397, 16398, 16399) for kind, _ in said)
    assert (addresses is not None) == mentioned
    for address in addresses or ():
        assert not ip_address(address).is_multicast
    assert len(addresses or ()) <= MAX_ADDRESSES


def test_a_cookie_of_the_gateway_goes_back():
    link, _ = tunnel()
    cookie = wire.notify(COOKIE2, bytes(range(64)))
    assert asked(link, cookie) == [cookie]


def test_nat_detection_of_the_gateway_is_answered_in_kind():
    link, _ = tunnel(force_encapsulation=False)
    spis = link.gateway.spi_i + link.gateway.spi_r
    answer = asked(link, wire.notify(NAT_SOURCE, bytes(20)), wire.notify(NAT_DESTINATION, bytes(20)))
    assert wire.notifies(answer) == {
        NAT_SOURCE: nat_hash(spis, CLIENT),
        NAT_DESTINATION: nat_hash(spis, (GATEWAY, 4500)),
    }


def test_only_the_client_moves_the_tunnel():
    link, _ = tunnel()
    cookie = wire.notify(COOKIE2, bytes(8))
    link.remote = OTHER_GATEWAY
    request = link.gateway.request(wire.INFORMATIONAL, [wire.notify(UPDATE), cookie])
    link.deliver(*request, source=(OTHER_GATEWAY, 4500)).run(1)
    assert link.gateway.journal.responses[-1][1] == [wire.notify(UNACCEPTABLE_ADDRESSES), cookie]
    assert link.client.remote == (GATEWAY, 4500)
    assert link.client.state is State.ESTABLISHED
    assert moves(link) == []


def test_a_request_is_answered_where_it_came_from_and_so_is_its_repetition():
    link, _ = tunnel()
    request = link.gateway.request(wire.INFORMATIONAL)
    link.remote = OTHER_GATEWAY  # nothing else may be sent to
    link.deliver(*request, source=(OTHER_GATEWAY, 4500)).deliver(*request, source=(OTHER_GATEWAY, 4500))
    assert len(link.sent) == 2
    assert len({data for _, data, _ in link.sent}) == 1
    link.remote = GATEWAY
    link.let_client(lambda client, now: client.check_liveness(now)).run(1)
    assert link.client.state is State.ESTABLISHED


def test_a_gateway_without_mobike_gets_no_answers_of_it():
    link, _ = tunnel(mobike=False)
    said = [wire.notify(COOKIE2, bytes(8)), wire.notify(UPDATE), wire.notify(NAT_SOURCE, bytes(20))]
    assert asked(link, *said, address_notify("198.51.100.3")) == []
    assert link.client.other_addresses == ()
