from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anyike.esp.drops import DropReason
from anyike.esp.replay import LAST_EXTENDED_SEQUENCE, REPLAY_WINDOW, ReplayWindow

LAST = 2**32 - 1

# Numbers that cluster, so that duplicates, late ones and jumps of every size occur.
sequences = st.lists(
    st.one_of(st.integers(0, 40), st.integers(0, 3000), st.integers(LAST - 2000, LAST), st.integers(0, LAST)),
    max_size=80,
)


class NaiveWindow:
    """The definition: remember everything."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.seen = {0}

    def check(self, sequence: int) -> DropReason | None:
        if sequence <= max(self.seen) - self.size:
            return DropReason.TOO_OLD
        return DropReason.REPLAYED if sequence in self.seen else None


@given(st.sampled_from([1, 2, 32, 64, REPLAY_WINDOW]), sequences, st.data())
def test_it_agrees_with_the_definition(size: int, numbers: list[int], data) -> None:
    window, naive = ReplayWindow(size), NaiveWindow(size)
    for number in numbers:
        expected = naive.check(number)
        assert window.check(number) is expected
        # A forgery passes the check but is never marked.
        if expected is None and data.draw(st.booleans()):
            window.mark(number)
            naive.seen.add(number)


def test_checking_changes_nothing() -> None:
    window = ReplayWindow()
    assert window.check(LAST) is None
    assert window.check(1) is None


def test_the_edges_of_the_window() -> None:
    window = ReplayWindow()
    window.mark(5000)
    assert window.check(5000) is DropReason.REPLAYED
    assert window.check(5000 - REPLAY_WINDOW + 1) is None
    assert window.check(5000 - REPLAY_WINDOW) is DropReason.TOO_OLD
    assert window.check(5001) is None


def test_zero_is_never_a_sequence_number() -> None:
    assert ReplayWindow().check(0) is DropReason.REPLAYED


def test_a_jump_over_the_whole_number_space_stays_small() -> None:
    window = ReplayWindow()
    window.mark(1)
    window.mark(LAST)
    assert window._seen.bit_length() <= REPLAY_WINDOW
    assert window.check(LAST - 1) is None
    assert window.check(1) is DropReason.TOO_OLD


def test_a_long_run_stays_small() -> None:
    window = ReplayWindow()
    for number in range(1, 3 * REPLAY_WINDOW):
        window.mark(number)
    assert window._seen.bit_length() == REPLAY_WINDOW


# --- extended sequence numbers ----------------------------------------------------------------------------------------

HALF = 2**32
near_borders = st.builds(lambda high, offset: max(high * HALF + offset, 0), st.integers(0, 5), st.integers(-3000, 3000))
extended = st.one_of(near_borders, st.integers(0, LAST_EXTENDED_SEQUENCE - HALF))


def window_at(highest: int, size: int = REPLAY_WINDOW) -> ReplayWindow:
    window = ReplayWindow(size)
    if highest:
        window.mark(highest)
    return window


def high_half_of_rfc_4303(highest: int, low: int, size: int) -> int:
    """Appendix A2.1 as it is written there, with Th, Tl and Bl; what would be below 0 is 2^32-1 in 32-bit words."""
    th, tl = divmod(highest, HALF)
    bl = (tl - size + 1) % HALF
    if tl >= size - 1:  # Case A: the window is within one subspace.
        return th if low >= bl else th + 1
    return th - 1 if low >= bl else th  # Case B: it spans two.


@given(extended, st.integers(0, HALF - 1), st.sampled_from([1, 32, 64, REPLAY_WINDOW]))
@example(HALF, HALF - 1, 64)
@example(HALF - 1, 0, 64)
@example(5 * HALF + 63, HALF - 1, 64)
@example(5 * HALF + 62, HALF - 1, 64)
def test_the_high_half_is_that_of_the_rfc(highest: int, low: int, size: int) -> None:
    high = high_half_of_rfc_4303(highest, low, size)
    # Of the first packets, the appendix would have some come before number 0.
    assert window_at(highest, size).extend(low) == max(high, 0) * HALF + low


@given(extended.filter(bool), st.integers(1 - REPLAY_WINDOW, HALF - REPLAY_WINDOW))
def test_whatever_is_not_left_of_the_window_and_not_4_billion_ahead_is_recognised(highest: int, distance: int) -> None:
    sequence = highest + distance
    if sequence >= 0:
        assert window_at(highest).extend(sequence % HALF) == sequence


@given(st.integers(1, 4), st.lists(st.integers(0, 400), min_size=1, max_size=120), st.data())
def test_a_border_is_crossed_in_any_order_with_repetitions(high: int, offsets: list[int], data) -> None:
    """Of each number the packet shows the low half; forgeries pass through check only. The judge sees all of it."""
    start = high * HALF - 200
    window, naive = window_at(start), NaiveWindow(REPLAY_WINDOW)
    naive.seen.add(start)
    for offset in offsets:
        sequence = start + offset
        assert window.extend(sequence % HALF) == sequence
        expected = naive.check(sequence)
        assert window.check(sequence) is expected
        if expected is None and data.draw(st.booleans()):
            window.mark(sequence)
            naive.seen.add(sequence)


@given(st.lists(st.integers(1, HALF - REPLAY_WINDOW), min_size=1, max_size=40))
def test_big_jumps_are_followed(jumps: list[int]) -> None:
    window, sequence = ReplayWindow(), 0
    for jump in jumps:
        sequence += jump
        assert window.extend(sequence % HALF) == sequence
        assert window.check(sequence) is None
        window.mark(sequence)
        assert window.check(window.extend(sequence % HALF)) is DropReason.REPLAYED


def test_what_is_left_of_the_window_is_taken_for_a_number_to_come() -> None:
    """Its authentication will not fit: the high half is wrong."""
    window = window_at(3 * HALF + 5000)
    assert window.extend(5000 - REPLAY_WINDOW) == 4 * HALF + 5000 - REPLAY_WINDOW
    assert window.extend(5000 - REPLAY_WINDOW + 1) == 3 * HALF + 5000 - REPLAY_WINDOW + 1


def test_nothing_comes_before_zero() -> None:
    assert ReplayWindow().extend(HALF - 1) == HALF - 1
    assert ReplayWindow().check(ReplayWindow().extend(0)) is DropReason.REPLAYED


@pytest.mark.parametrize("low", [0, 1, 5000, HALF - REPLAY_WINDOW - 1])
def test_nothing_comes_after_the_last_number(low: int) -> None:
    window = window_at(LAST_EXTENDED_SEQUENCE)
    sequence = window.extend(low)
    assert sequence % HALF == low
    assert sequence <= LAST_EXTENDED_SEQUENCE
    assert window.check(sequence) is DropReason.TOO_OLD
