"""The byte cursor that all codecs use."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyike.wire import DecodeError, Reader, Writer


@given(st.integers(0, 0xFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF), st.binary(), st.binary(max_size=99))
def test_what_was_written_is_read(one, two, four, block, raw):
    data = Writer().u8(one).u16(two).u32(four).block16(block).raw(raw).done()
    reader = Reader(data)
    assert (reader.u8(), reader.u16(), reader.u32(), reader.take(reader.u16())) == (one, two, four, block)
    assert reader.rest() == raw
    reader.end("everything")


def test_numbers_are_big_endian():
    assert Writer().u8(1).u16(0x0203).u32(0x04050607).done() == bytes(range(1, 8))
    reader = Reader(bytes(range(1, 8)))
    assert (reader.u8(), reader.u16(), reader.u32()) == (1, 0x0203, 0x04050607)


@given(st.binary(max_size=20), st.integers(-5, 30))
def test_take_gives_exactly_that_or_an_error(data, count):
    reader = Reader(data)
    if 0 <= count <= len(data):
        assert reader.take(count) == data[:count]
        assert (reader.offset, reader.remaining) == (count, len(data) - count)
    else:
        with pytest.raises(DecodeError):
            reader.take(count)
        assert (reader.offset, reader.remaining) == (0, len(data))


@pytest.mark.parametrize(("read", "width"), [("u8", 1), ("u16", 2), ("u32", 4)])
def test_a_number_past_the_end(read, width):
    reader = Reader(bytes(width - 1))
    with pytest.raises(DecodeError, match=f"port: {width} bytes wanted, {width - 1} left"):
        getattr(reader, read)("port")


def test_offsets_count_from_the_outermost_buffer():
    outer = Reader(bytes(10), 100)
    outer.take(3)
    inner = outer.block(4, "inner")
    inner.u16()
    assert (outer.offset, inner.offset) == (107, 105)
    with pytest.raises(DecodeError) as caught:
        inner.u32("number")
    assert caught.value.offset == 105
    assert caught.value.reason == "number: 4 bytes wanted, 2 left"
    assert str(caught.value) == "number: 4 bytes wanted, 2 left (at byte 105)"


def test_a_block_ends_where_it_ends():
    outer = Reader(b"abcdef")
    block = outer.block(2)
    assert block.rest() == b"ab"
    assert block.rest() == b""
    assert outer.rest() == b"cdef"
    for count in (-1, 1):
        with pytest.raises(DecodeError):
            outer.block(count)


def test_end_names_what_is_left_over():
    reader = Reader(b"abc")
    with pytest.raises(DecodeError, match="message: 3 bytes left over"):
        reader.end("message")
    reader.rest()
    reader.end("message")


@pytest.mark.parametrize(("width", "value"), [("u8", 256), ("u8", -1), ("u16", 0x10000), ("u32", 0x100000000)])
def test_a_number_that_does_not_fit_is_never_cut(width, value):
    with pytest.raises(ValueError, match=f"{value} does not fit"):
        getattr(Writer(), width)(value)


def test_a_block_that_is_too_long_for_its_length():
    assert len(Writer().block16(bytes(0xFFFF)).done()) == 0x10001
    with pytest.raises(ValueError, match="does not fit 16 bits"):
        Writer().block16(bytes(0x10000))
