from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from anyike.esp.drops import DropReason
from anyike.esp.replay import REPLAY_WINDOW, ReplayWindow

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
