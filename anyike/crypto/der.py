"""The little of DER (X.690) that a signature's AlgorithmIdentifier needs."""

from __future__ import annotations

from anyike.wire import Reader

INTEGER = 0x02
NULL = 0x05
OBJECT_IDENTIFIER = 0x06
SEQUENCE = 0x30
LONG_FORM = 0x80


def read_any(reader: Reader) -> tuple[int, Reader]:
    """The next tag (one byte) and a reader over its contents. DecodeError unless it is definite-length DER."""
    tag = reader.u8("tag")
    length = reader.u8("length")
    if length >= LONG_FORM:
        octets = reader.take(length - LONG_FORM, "long length")
        if not 1 <= len(octets) <= 2 or octets[0] == 0 or (length := int.from_bytes(octets, "big")) < LONG_FORM:
            reader.fail("a length that is not minimal, indefinite or too long")
    return tag, reader.block(length, "contents")


def read(reader: Reader, expected: int) -> Reader:
    """A reader over the contents of the next element, whose tag must be `expected`."""
    tag, contents = read_any(reader)
    if tag != expected:
        contents.fail(f"tag {tag:#04x} where {expected:#04x} belongs")
    return contents


def read_small_integer(reader: Reader) -> int:
    """A non-negative INTEGER of at most two bytes."""
    contents = read(reader, INTEGER)
    octets = contents.rest()
    if not 1 <= len(octets) <= 2 or octets[0] & 0x80:
        contents.fail("not a small non-negative INTEGER")
    return int.from_bytes(octets, "big")
