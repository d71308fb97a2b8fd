"""Faults as data, and the dice."""

from __future__ import annotations

import json

import pytest

from tests.fault_relay.faults import NONE, Dice, Faults
from tests.fault_relay.forgery import Forgery
from tests.fault_relay.wire import HEADER, INFORMATIONAL, Direction, Header, Kind

COUNT = 4000
IKE = HEADER.pack(b"initiate", b"responds", 46, 0x20, INFORMATIONAL, 0x08, 7, HEADER.size + 40) + bytes(40)
ESP = bytes.fromhex("c0ffee0100000001") + bytes(80)


def fates(faults: Faults, datagram: bytes = IKE, kind: Kind = Kind.IKE, *, seed: int = 1) -> tuple[list, Dice]:
    dice = Dice(seed)
    return [dice.fate(datagram, kind, faults, 0.0, Direction.TO_GATEWAY) for _ in range(COUNT)], dice


def test_without_faults_everything_passes_as_it_is() -> None:
    passed, dice = fates(NONE)
    assert all(len(fate) == 1 and fate[0].datagram == IKE and fate[0].delay == 0 for fate in passed)
    assert dice.counters == {"to gateway: ike": COUNT}


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_the_share_that_is_lost(share: float) -> None:
    passed, dice = fates(Faults(loss=share))
    lost = sum(not fate for fate in passed)
    assert lost == dice.counters["to gateway: lost"]
    assert lost / COUNT == pytest.approx(share, abs=0.03)


def test_duplicates_are_the_same_datagram() -> None:
    passed, _ = fates(Faults(duplication=0.2))
    assert {len(fate) for fate in passed} == {1, 2}
    assert all(delivery.datagram == IKE for fate in passed for delivery in fate)


def test_corruption_turns_one_bit_over() -> None:
    passed, dice = fates(Faults(corruption=0.01))
    changed = [delivery.datagram for fate in passed for delivery in fate if delivery.datagram != IKE]
    assert len(changed) == dice.counters["to gateway: corrupted"] > 10
    for datagram in changed:
        difference = int.from_bytes(datagram, "big") ^ int.from_bytes(IKE, "big")
        assert len(datagram) == len(IKE)
        assert difference.bit_count() == 1


def test_an_empty_datagram_cannot_be_corrupted() -> None:
    passed, _ = fates(Faults(corruption=1.0), b"")
    assert passed[0][0].datagram == b""


def test_reordered_datagrams_wait() -> None:
    passed, _ = fates(Faults(reordering=0.5))
    waiting = [fate[0].delay for fate in passed if fate[0].delay]
    assert len(waiting) / COUNT == pytest.approx(0.5, abs=0.03)
    assert min(waiting) >= 0.05
    assert max(waiting) <= 0.6


@pytest.mark.parametrize(
    ("pause", "silent", "passes"),
    [(0.0, [0, 19.9], [20, 100, 1e6]), (40.0, [0, 19.9, 60, 79.9, 120], [20, 59.9, 80])],
)
def test_silence_begins_at_once_and_comes_again(pause: float, silent: list[float], passes: list[float]) -> None:
    faults = Faults(silence=20, silence_pause=pause)
    assert all(faults.silent(elapsed) for elapsed in silent)
    assert not any(faults.silent(elapsed) for elapsed in passes)
    assert Dice(1).fate(IKE, Kind.IKE, faults, silent[-1], Direction.TO_CLIENT) == []
    assert len(Dice(1).fate(IKE, Kind.IKE, faults, passes[0], Direction.TO_CLIENT)) == 1


@pytest.mark.parametrize("kind", [Kind.ESP, Kind.KEEPALIVE])
def test_faults_are_limited_to_ike_unless_told_otherwise(kind: Kind) -> None:
    everything = Faults(loss=1.0, forgeries=tuple(Forgery))
    assert all(len(fate) == 1 for fate in fates(everything, ESP, kind)[0])
    assert not any(fates(Faults(loss=1.0, forgeries=tuple(Forgery), esp=True), ESP, kind)[0])


def test_the_seed_decides() -> None:
    faults = Faults(loss=0.3, duplication=0.3, reordering=0.3, corruption=0.3, forgeries=tuple(Forgery))
    assert fates(faults, seed=5)[0] == fates(faults, seed=5)[0]
    assert fates(faults, seed=5)[0] != fates(faults, seed=6)[0]


def test_forgeries_come_first_even_if_the_genuine_one_is_lost() -> None:
    fate = Dice(1).fate(IKE, Kind.IKE, Faults(loss=1.0, forgeries=(Forgery.INVALID_IKE_SPI,)), 0.0, Direction.TO_CLIENT)
    assert len(fate) == 1
    header = Header.parse(fate[0].datagram)
    assert header is not None
    assert (header.spi_i, header.spi_r, header.message_id) == (b"initiate", b"responds", 7)


def test_forgeries_can_be_limited_to_one_direction() -> None:
    faults = Faults(forgeries=(Forgery.INVALID_IKE_SPI,), forged_towards=(Direction.TO_CLIENT,))
    assert len(Dice(1).fate(IKE, Kind.IKE, faults, 0.0, Direction.TO_CLIENT)) == 2
    assert len(Dice(1).fate(IKE, Kind.IKE, faults, 0.0, Direction.TO_GATEWAY)) == 1


def test_json_and_back() -> None:
    faults = Faults(loss=0.1, silence=20, forgeries=(Forgery.DELETE,), forged_towards=(Direction.TO_CLIENT,))
    assert Faults.from_values(json.loads(faults.to_json())) == faults
    assert Faults.from_values({}) == NONE


@pytest.mark.parametrize(
    "values",
    [
        {"loss": 1.1},
        {"corruption": -0.1},
        {"silence": -1},
        {"forgeries": ["lies"]},
        {"forged_towards": ["up"]},
        {"gain": 0.1},
    ],
)
def test_what_is_no_fault_is_refused(values: dict) -> None:
    with pytest.raises((TypeError, ValueError)):
        Faults.from_values(values)
