"""Payload 132, cut and collected: in any order, with loss, repetition, contradiction and a forger between the pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyike.ikev2.constants import ExchangeType, PayloadType
from anyike.ikev2.fragments import (
    LIFETIME,
    MAX_CHECKED,
    MAX_MESSAGE,
    MAX_PIECES,
    MAX_STORED,
    MAX_TRIED,
    CiscoReassembler,
    FragmentDrop,
    cut_cisco,
    decode_cisco,
)
from anyike.ikev2.message import Header, decode_header
from anyike.wire import DecodeError

KEY = (True, 1)
HEADER = Header(b"i" * 8, b"r" * 8, PayloadType.SK, ExchangeType.IKE_AUTH, 0x20, 1)


def message(size: int, label: int = 0) -> bytes:
    """A finished message of `size` bytes, told apart by its content."""
    header = Header(
        HEADER.spi_i, HEADER.spi_r, HEADER.next_payload, HEADER.exchange, HEADER.flags, HEADER.message_id, size
    )
    return header.encode() + bytes((label + place * 7) % 256 for place in range(size - 28))


def piece(number: int, data: bytes, *, last: bool = False, fragment_id: int = 1) -> bytes:
    """A payload-132 message by hand."""
    body = (
        bytes([0, 0])
        + (8 + len(data)).to_bytes(2, "big")
        + fragment_id.to_bytes(2, "big")
        + bytes([number, last])
        + data
    )
    return Header(b"i" * 8, b"r" * 8, 132, ExchangeType.IKE_AUTH, 0x20, 1, 28 + len(body)).encode() + body


def add_all(collector: CiscoReassembler, pieces: list[bytes], now: float = 0) -> list[bytes]:
    """Everything that the pieces complete, in the order in which it comes."""
    return [whole for one in pieces for whole in _messages(collector.add(KEY, one, now))]


def _messages(result: list[bytes] | FragmentDrop) -> list[bytes]:
    return result if isinstance(result, list) else []


# --- payload 132, cutting --------------------------------------------------------------------------------------------------


@given(st.integers(28, 4000), st.integers(37, 1500), st.integers(1, 0xFFFF))
def test_cutting(size, limit, fragment_id):
    whole = message(size)
    if -(-size // (limit - 36)) > 255:
        with pytest.raises(ValueError, match="more than 255"):
            cut_cisco(whole, limit, fragment_id)
        return
    pieces = cut_cisco(whole, limit, fragment_id)
    assert max(map(len, pieces)) <= limit
    assert b"".join(one[36:] for one in pieces) == whole
    for number, one in enumerate(pieces, 1):
        header = decode_header(one)
        assert (header.spi_i, header.spi_r, header.exchange) == (HEADER.spi_i, HEADER.spi_r, HEADER.exchange)
        assert (header.flags, header.message_id, header.next_payload) == (HEADER.flags, HEADER.message_id, 132)
        expected = bytes([0, 0]) + (len(one) - 28).to_bytes(2, "big") + fragment_id.to_bytes(2, "big")
        assert one[28:36] == expected + bytes([number, number == len(pieces)])


def test_a_limit_without_room_is_refused():
    with pytest.raises(ValueError, match="too few"):
        cut_cisco(message(100), 36)


# --- payload 132, reassembly -----------------------------------------------------------------------------------------------


@given(st.integers(28, 3000), st.data())
def test_any_order_with_repetition(size, data):
    whole = message(size)
    pieces = cut_cisco(whole, data.draw(st.integers(120, 1500)))
    repeated = data.draw(st.lists(st.sampled_from(pieces), max_size=6))
    arrivals = data.draw(st.permutations(pieces + repeated))
    found = add_all(CiscoReassembler(), arrivals)
    assert found
    assert set(found) == {whole}


@given(st.data())
def test_a_lost_piece_completes_nothing_until_it_comes(data):
    pieces = cut_cisco(message(1000), 200)
    lost = data.draw(st.sampled_from(pieces))
    collector = CiscoReassembler()
    assert add_all(collector, [one for one in pieces if one is not lost]) == []
    assert collector.add(KEY, lost, 1) == [message(1000)]


@given(st.data())
def test_garbage_and_forged_pieces_do_not_keep_the_genuine_message_away(data):
    """Fewer forged combinations than are tried: the genuine message is found at once."""
    whole = message(600)
    pieces = cut_cisco(whole, 236)
    forged = st.builds(
        piece,
        st.integers(1, 4),
        st.binary(min_size=28, max_size=250),
        last=st.booleans(),
        fragment_id=st.integers(1, 2),
    )
    noise = data.draw(st.lists(forged | st.binary(max_size=60), max_size=3))
    arrivals = data.draw(st.permutations(pieces + noise))
    assert whole in add_all(CiscoReassembler(), arrivals)


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=100)), max_size=10))
def test_arbitrary_bytes_are_dropped(datagrams):
    collector = CiscoReassembler()
    for now, (is_response, datagram) in enumerate(datagrams):
        assert collector.add((is_response, 0), datagram, now) == FragmentDrop.MALFORMED


@pytest.mark.parametrize(
    "datagram",
    [
        piece(0, bytes(40)),
        piece(1, bytes(27)),  # no room for the IKE header that it must start with
        piece(2, b""),
        piece(1, bytes(40)) + b"x",
        message(100),
        piece(1, bytes(40))[:16] + b"\x2b" + piece(1, bytes(40))[17:],
        piece(1, bytes(40))[:28] + b"\x2b" + piece(1, bytes(40))[29:],  # says that another payload follows
    ],
)
def test_malformed_pieces(datagram):
    with pytest.raises(DecodeError):
        decode_cisco(datagram)
    assert CiscoReassembler().add(KEY, datagram, 0) == FragmentDrop.MALFORMED


def test_a_message_in_one_piece():
    assert add_all(CiscoReassembler(), [piece(1, message(50), last=True)]) == [message(50)]


def test_messages_and_fragment_ids_do_not_mix():
    collector = CiscoReassembler()
    first, second = cut_cisco(message(300), 236)
    assert collector.add(KEY, first, 0) == []
    assert collector.add((False, 1), second, 0) == []
    assert collector.add((True, 2), second, 0) == []
    assert collector.add(KEY, cut_cisco(message(300), 236, 2)[1], 0) == []
    assert collector.add(KEY, second, 0) == [message(300)]


def test_a_new_fragment_id_starts_over():
    """AnyConnect-EAP notes, section 2: for instance cut smaller in a retransmission."""
    collector = CiscoReassembler()
    add_all(collector, cut_cisco(message(1000), 500)[:-1])
    assert add_all(collector, cut_cisco(message(1000), 300, 2)) == [message(1000)]


def test_a_duplicate_says_so():
    collector = CiscoReassembler()
    first, second, _ = cut_cisco(message(500), 236)
    assert [collector.add(KEY, one, 0) for one in (first, first, second, first)] == [
        [],
        FragmentDrop.DUPLICATE,
        [],
        FragmentDrop.DUPLICATE,
    ]


def test_a_length_that_the_inner_header_does_not_give_makes_no_message():
    whole = message(300)
    collector = CiscoReassembler()
    assert add_all(collector, [piece(1, whole[:200]), piece(2, whole[200:-1], last=True)]) == []
    assert add_all(collector, [piece(2, whole[200:] + b"x", last=True)]) == []
    assert add_all(collector, [piece(2, whole[200:], last=True)]) == [whole]


@pytest.mark.parametrize(("size", "complete"), [(MAX_MESSAGE, True), (MAX_MESSAGE + 1, False)])
def test_the_size_of_a_message_is_bounded(size, complete):
    assert bool(add_all(CiscoReassembler(), cut_cisco(message(size), 60_000))) == complete


def test_contradicting_last_pieces():
    """Two totals: whichever fits is offered."""
    whole = message(500)
    first, second, third = cut_cisco(whole, 236)
    end_too_early = piece(2, decode_cisco(second).data, last=True)
    end_too_late = piece(4, b"x", last=True)
    assert whole in add_all(CiscoReassembler(), [end_too_early, first, end_too_late, second, third])


def test_after_a_failed_check_it_can_be_collected_again():
    """The caller opens what is offered; if it fails, the genuine pieces of the next retransmission count all the same."""
    whole = message(700)
    pieces = cut_cisco(whole, 236)
    collector = CiscoReassembler()
    forged = piece(2, bytes(200))
    offered = add_all(collector, [forged, *pieces[:1], *pieces[2:]])
    assert len(offered) == 1
    assert offered != [whole]
    assert whole in add_all(collector, pieces)


def test_a_burst_of_forged_pieces_does_not_outlive_a_retransmission():
    """As many as are kept, for every number and many IDs, before and after the first transmission."""
    whole = message(1000)
    pieces = cut_cisco(whole, 236)
    collector = CiscoReassembler()

    def burst(label: int) -> None:
        for place in range(MAX_PIECES):
            number, fragment_id = place % 6 + 1, 1 + place % 2
            forged = piece(number, message(200, label + place), last=place % 7 == 0, fragment_id=fragment_id)
            assert len(_messages(collector.add(KEY, forged, 0))) <= MAX_TRIED

    burst(1)
    add_all(collector, pieces[:-1])
    burst(9)
    assert whole in add_all(collector, pieces, 2)


@pytest.mark.parametrize("ids", [1, 3, 0xFFFF])
@pytest.mark.parametrize("order", [1, -1])
def test_a_message_after_a_flood_of_forged_pieces_completes_at_once(ids, order):
    """With the genuine fragment ID among theirs, and without any memory of the flood but the bounded one."""
    whole = message(1000)
    collector = CiscoReassembler()
    for place in range(2000):
        forged = piece(place % 6 + 1, message(200, place), last=place % 7 == 0, fragment_id=1 + place % ids)
        collector.add(KEY, forged, 0)
    assert len(collector._arrivals) <= MAX_PIECES
    assert whole in add_all(collector, cut_cisco(whole, 236)[::order])


def test_one_piece_buys_a_bounded_number_of_checks():
    collector = CiscoReassembler()
    for number in range(1, 6):
        for label in range(8):
            data = message(200 * 6, label)[200 * (number - 1) : 200 * number]
            assert collector.add(KEY, piece(number, data[:-1] + bytes([label])), 0) == []
    whole = collector.add(KEY, piece(6, bytes(200), last=True), 0)
    assert len(whole) == MAX_TRIED


def test_one_piece_buys_a_bounded_number_of_bytes_to_check():
    """The largest message with three forged pieces of the right size beside several of its own."""
    pieces = cut_cisco(message(MAX_MESSAGE), 556)
    collector = CiscoReassembler()
    add_all(collector, [pieces[0], *pieces[2:]])
    add_all(collector, [piece(number, bytes([label]) * 520) for number in (3, 4, 5) for label in range(3)])
    offered = collector.add(KEY, piece(2, bytes(520)), 0)
    assert isinstance(offered, list)
    assert {len(whole) for whole in offered} == {MAX_MESSAGE}
    assert len(offered) * MAX_MESSAGE == MAX_CHECKED
    assert collector.add(KEY, pieces[1], 0)


def test_the_latest_pieces_are_tried_first():
    collector = CiscoReassembler()
    for label in range(3):
        for number in (1, 2):
            data = message(500, label)[200 * (number - 1) : 200 * number]
            assert collector.add(KEY, piece(number, data), label) == []
    offered = collector.add(KEY, piece(3, message(500, 2)[400:], last=True), 3)
    assert offered[0] == message(500, 2)
    assert len(offered) == 9


def test_forget_frees_a_message_and_only_that():
    collector = CiscoReassembler()
    first, second = cut_cisco(message(300), 236)
    collector.add(KEY, first, 0)
    collector.add((False, 1), first, 0)
    collector.forget(KEY)
    assert collector.add(KEY, second, 0) == []
    assert collector.add((False, 1), second, 0) == [message(300)]


@pytest.mark.parametrize(("age", "complete"), [(LIFETIME, True), (LIFETIME + 0.1, False)])
def test_pieces_age(age, complete):
    collector = CiscoReassembler()
    first, second = cut_cisco(message(300), 236)
    collector.add(KEY, first, 100)
    assert bool(collector.add(KEY, second, 100 + age)) == complete


def test_what_is_kept_is_bounded_in_count_and_bytes():
    many, large = CiscoReassembler(), CiscoReassembler()
    for number in range(MAX_PIECES + 50):
        many.add(KEY, piece(1, bytes(28), fragment_id=number), 0)
    assert len(many._arrivals) == MAX_PIECES
    for number in range(2 * MAX_STORED // 60_000):
        large.add(KEY, piece(2, bytes(60_000), fragment_id=number), 0)
        assert large._size == sum(len(one.data) for _, one in large._arrivals) <= MAX_STORED
    assert len(large._arrivals) == MAX_STORED // 60_000
    for collector in (many, large):
        collector.forget(KEY)
        assert (len(collector._arrivals), collector._size) == (0, 0)
