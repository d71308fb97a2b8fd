"""Authentic fragments of RFC 7383, collected: in any order, with loss, repetition, contradiction and totals that change."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyike.ikev2.fragments import LIFETIME, MAX_FRAGMENTS, MAX_MESSAGE, MAX_UNFINISHED, FragmentDrop, SkfReassembler
from anyike.ikev2.protection import Fragment

KEY = (True, 1)


def fragments(total: int, size: int = 10, label: int = 0) -> list[Fragment]:
    return [
        Fragment(number, total, 48 if number == 1 else 0, bytes([(number + label) % 256]) * size)
        for number in range(1, total + 1)
    ]


def whole_of(parts: list[Fragment]) -> tuple[int, bytes]:
    return 48, b"".join(part.plaintext for part in parts)


@given(st.integers(1, 20), st.data())
def test_fragments_in_any_order_with_repetition(total, data):
    parts = fragments(total)
    arrivals = data.draw(st.permutations(parts))
    collector = SkfReassembler()
    results = []
    for place, part in enumerate(arrivals):
        results.append(collector.add(KEY, part, place))
        if place < total - 1:
            assert (
                collector.add(KEY, data.draw(st.sampled_from(arrivals[: place + 1])), place) == FragmentDrop.DUPLICATE
            )
    assert results == [None] * (total - 1) + [whole_of(parts)]


@given(
    st.lists(
        st.builds(Fragment, st.integers(1, 5), st.integers(5, 7), st.integers(0, 255), st.binary(max_size=9)),
        max_size=40,
    )
)
def test_any_authentic_fragments_give_a_result_of_the_three_kinds(parts):
    collector = SkfReassembler()
    for now, part in enumerate(parts):
        result = collector.add(KEY, part, now)
        assert result is None or isinstance(result, FragmentDrop | tuple)
        if isinstance(result, tuple):
            assert part.total == 5


def test_a_larger_total_starts_over_and_a_smaller_one_is_ignored():
    """RFC 7383 2.6."""
    coarse, fine = fragments(2, 30), fragments(3, 20, 9)
    collector = SkfReassembler()
    assert collector.add(KEY, coarse[0], 0) is None
    assert collector.add(KEY, fine[0], 1) is None
    assert collector.add(KEY, coarse[1], 2) == FragmentDrop.SMALLER_TOTAL
    assert collector.add(KEY, fine[2], 3) is None
    assert collector.add(KEY, fine[1], 4) == whole_of(fine)


def test_a_contradicting_duplicate_is_ignored():
    parts = fragments(2)
    collector = SkfReassembler()
    collector.add(KEY, parts[0], 0)
    assert collector.add(KEY, Fragment(1, 2, 33, b"other"), 1) == FragmentDrop.DUPLICATE
    assert collector.add(KEY, parts[1], 2) == whole_of(parts)


def test_messages_do_not_mix():
    one, two = fragments(2), fragments(2, label=5)
    collector = SkfReassembler()
    assert collector.add((True, 1), one[0], 0) is None
    assert collector.add((False, 1), two[0], 0) is None
    assert collector.add((True, 2), one[1], 0) is None
    assert collector.add((False, 1), two[1], 0) == whole_of(two)
    assert collector.add((True, 1), one[1], 0) == whole_of(one)


def test_the_number_of_fragments_is_bounded():
    most = fragments(MAX_FRAGMENTS)
    collector = SkfReassembler()
    assert [collector.add(KEY, part, 0) for part in most][-1] == whole_of(most)
    assert collector.add(KEY, Fragment(1, MAX_FRAGMENTS + 1, 48, b""), 0) == FragmentDrop.TOO_MANY


def test_the_size_is_bounded_and_the_message_forgotten():
    size = MAX_MESSAGE // 4
    collector = SkfReassembler()
    exact = fragments(4, size)
    assert [collector.add(KEY, part, 0) for part in exact][-1] == whole_of(exact)
    assert [collector.add(KEY, part, 0) for part in fragments(5, size)][-1] == FragmentDrop.TOO_LARGE
    assert collector._sets == {}


def test_the_number_of_unfinished_messages_is_bounded():
    collector = SkfReassembler()
    for message_id in range(MAX_UNFINISHED + 3):
        collector.add((True, message_id), fragments(2)[0], 0)
    assert len(collector._sets) == MAX_UNFINISHED
    assert collector.add((True, MAX_UNFINISHED + 2), fragments(2)[1], 0) == whole_of(fragments(2))
    assert collector.add((True, 0), fragments(2)[1], 0) is None


@pytest.mark.parametrize(("age", "complete"), [(LIFETIME, True), (LIFETIME + 0.1, False)])
def test_fragments_age(age, complete):
    first, second = fragments(2)
    collector = SkfReassembler()
    collector.add(KEY, first, 100)
    assert (collector.add(KEY, second, 100 + age) is not None) == complete


def test_forget():
    first, second = fragments(2)
    collector = SkfReassembler()
    collector.add(KEY, first, 0)
    collector.forget(KEY)
    collector.forget(KEY)
    assert collector.add(KEY, second, 0) is None
