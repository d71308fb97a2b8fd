"""Forged datagrams: right SPIs, no protection, well-formed for an independent reader (scapy)."""

from __future__ import annotations

from random import Random

import pytest
from scapy.contrib.ikev2 import IKEv2, IKEv2_Delete, IKEv2_Notify

from tests.fault_relay.forgery import ERRORS, Forger, Forgery
from tests.fault_relay.wire import (
    HEADER,
    IKE_AUTH,
    INFORMATIONAL,
    NON_ESP_MARKER,
    Direction,
    Header,
    Kind,
    kind_of,
)

ENCRYPTED = 46


def message(exchange: int, message_id: int, *, flags: int = 0x08, spi_i: bytes = b"initiate") -> bytes:
    packed = HEADER.pack(spi_i, b"responds", ENCRYPTED, 0x20, exchange, flags, message_id, HEADER.size + 30)
    return NON_ESP_MARKER + packed + bytes(30)


def read(datagram: bytes) -> IKEv2:
    """What scapy makes of it, after its own length is found right."""
    assert datagram.startswith(NON_ESP_MARKER)
    parsed = IKEv2(datagram[4:])
    assert parsed.length == len(datagram) - 4
    assert (parsed.init_SPI, parsed.resp_SPI) == (b"initiate", b"responds")
    return parsed


@pytest.fixture
def forger() -> Forger:
    return Forger(Random(1))


def test_an_error_takes_the_place_of_the_genuine_message(forger: Forger) -> None:
    kinds = set()
    for _ in range(200):
        (forged,) = forger.forge(Forgery.ERROR, message(IKE_AUTH, 3, flags=0x20), Direction.TO_CLIENT)
        parsed = read(forged)
        assert (parsed.exch_type, parsed.id, int(parsed.flags)) == (IKE_AUTH, 3, 0x20)
        kinds.add(parsed[IKEv2_Notify].type)
    assert kinds == set(ERRORS.values())


def test_invalid_ike_spi_is_a_response(forger: Forger) -> None:
    (forged,) = forger.forge(Forgery.INVALID_IKE_SPI, message(INFORMATIONAL, 3), Direction.TO_GATEWAY)
    parsed = read(forged)
    assert int(parsed.flags) == 0x28
    assert parsed[IKEv2_Notify].type == 4


def test_deletes_are_the_senders_next_request(forger: Forger) -> None:
    forger.see(message(IKE_AUTH, 5), Direction.TO_GATEWAY)
    forger.see(message(IKE_AUTH, 9, flags=0x20), Direction.TO_GATEWAY)
    genuine = message(INFORMATIONAL, 6)
    forged = [read(datagram) for datagram in forger.forge(Forgery.DELETE, genuine, Direction.TO_GATEWAY)]
    assert [(parsed.exch_type, parsed.id, int(parsed.flags)) for parsed in forged] == [(INFORMATIONAL, 6, 0x08)] * 2
    assert [parsed[IKEv2_Delete].proto for parsed in forged] == [1, 3]
    assert [parsed[IKEv2_Delete].SPInum for parsed in forged] == [0, 1]


def test_each_direction_and_each_sa_counts_for_itself(forger: Forger) -> None:
    forger.see(message(IKE_AUTH, 5), Direction.TO_GATEWAY)
    assert read(forger.forge(Forgery.DELETE, message(IKE_AUTH, 5, flags=0x20), Direction.TO_CLIENT)[0]).id == 0
    forger.see(message(IKE_AUTH, 0, spi_i=b"another!"), Direction.TO_GATEWAY)
    assert read(forger.forge(Forgery.DELETE, message(IKE_AUTH, 5), Direction.TO_GATEWAY)[0]).id == 1


def test_garbage_with_and_without_a_header(forger: Forger) -> None:
    noise, headed = forger.forge(Forgery.GARBAGE, message(IKE_AUTH, 3), Direction.TO_CLIENT)
    assert kind_of(noise, nat=True) is Kind.IKE
    header = Header.parse(headed)
    assert header is not None
    assert (header.next_payload, header.exchange, header.message_id) == (ENCRYPTED, IKE_AUTH, 3)


def test_a_replay_is_an_earlier_datagram_of_the_same_direction(forger: Forger) -> None:
    first, second, answer = message(IKE_AUTH, 1), message(IKE_AUTH, 2), message(IKE_AUTH, 1, flags=0x20)
    forger.see(first, Direction.TO_GATEWAY)
    assert forger.forge(Forgery.REPLAY, first, Direction.TO_GATEWAY) == []
    forger.see(answer, Direction.TO_CLIENT)
    forger.see(second, Direction.TO_GATEWAY)
    assert forger.forge(Forgery.REPLAY, second, Direction.TO_GATEWAY) == [first]


@pytest.mark.parametrize("kind", Forgery)
def test_nothing_is_made_of_what_is_no_ike(forger: Forger, kind: Forgery) -> None:
    forger.see(b"\xff", Direction.TO_CLIENT)
    assert forger.forge(kind, b"\xff", Direction.TO_CLIENT) == []


@pytest.mark.parametrize(
    ("datagram", "nat", "kind"),
    [
        (message(IKE_AUTH, 1), True, Kind.IKE),
        (message(IKE_AUTH, 1)[4:], False, Kind.IKE),
        (bytes.fromhex("c0ffee0100000001"), True, Kind.ESP),
        (b"\xff", True, Kind.KEEPALIVE),
        (b"", True, Kind.KEEPALIVE),
    ],
)
def test_ike_and_esp_are_told_apart(datagram: bytes, nat: bool, kind: Kind) -> None:
    assert kind_of(datagram, nat=nat) is kind
