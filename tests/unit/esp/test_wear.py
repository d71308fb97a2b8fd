from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyike.esp.wear import KeyLimits, Wear


def worn_by(limits: KeyLimits, sizes: list[int], random=bytes) -> list[int]:
    """After which packets it was reported."""
    noted: list[int] = []
    told: list[int] = []
    wear = Wear(limits, random, lambda: told.append(len(noted)))
    for size in sizes:
        noted.append(size)
        wear.note(size)
    return told


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (KeyLimits(), []),
        (KeyLimits(packets=1), [1]),
        (KeyLimits(packets=7), [7]),
        (KeyLimits(packets=21), []),
        (KeyLimits(octets=1), [1]),
        (KeyLimits(octets=700), [7]),
        (KeyLimits(octets=701), [8]),
        (KeyLimits(octets=2001), []),
        (KeyLimits(packets=5, octets=700), [5]),
        (KeyLimits(packets=9, octets=700), [7]),
    ],
)
def test_the_packet_that_reaches_the_first_limit_is_the_only_one_to_report_it(limits, expected) -> None:
    assert worn_by(limits, [100] * 20) == expected


@given(st.integers(1, 300), st.binary(min_size=2, max_size=2))
def test_limits_are_up_to_a_tenth_lower(packets: int, chance: bytes) -> None:
    (when,) = worn_by(KeyLimits(packets=packets), [1] * packets, lambda count: chance[:count])
    assert packets - packets // 10 <= when <= packets


def test_the_spread_is_the_whole_tenth() -> None:
    assert worn_by(KeyLimits(packets=100), [1] * 100, lambda count: b"\xff" * count) == [90]
    assert worn_by(KeyLimits(octets=1000), [10] * 100, lambda count: b"\xff" * count) == [90]


def test_the_two_limits_are_spread_by_themselves() -> None:
    draws = iter([b"\xff\xff", b"\0\0"])
    assert worn_by(KeyLimits(packets=100, octets=950), [10] * 100, lambda count: next(draws)) == [90]


def test_without_limits_no_randomness_is_drawn() -> None:
    Wear(KeyLimits(), lambda count: pytest.fail("drawn"), lambda: None)
