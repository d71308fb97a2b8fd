"""Reading and writing of big-endian byte structures: the one cursor that every codec uses."""

from __future__ import annotations

from typing import NoReturn

from anyike.errors import AnyikeError


class DecodeError(AnyikeError):
    """Bytes that do not have the shape a codec demands.

    `offset` counts from the start of the outermost `Reader`.
    """

    def __init__(self, reason: str, offset: int = 0) -> None:
        super().__init__(f"{reason} (at byte {offset})")
        self.reason = reason
        self.offset = offset


class Reader:
    """A cursor over immutable bytes; every read is checked against the end."""

    __slots__ = ("_base", "_data", "_position")

    def __init__(self, data: bytes, base: int = 0) -> None:
        self._data = data
        self._position = 0
        self._base = base

    @property
    def offset(self) -> int:
        """Position in the outermost buffer, for errors."""
        return self._base + self._position

    @property
    def remaining(self) -> int:
        """Bytes not read yet."""
        return len(self._data) - self._position

    def fail(self, reason: str) -> NoReturn:
        """Raise a DecodeError at the current position."""
        raise DecodeError(reason, self.offset)

    def take(self, count: int, what: str = "bytes") -> bytes:
        """The next `count` bytes."""
        if count < 0 or count > self.remaining:
            self.fail(f"{what}: {count} bytes wanted, {self.remaining} left")
        start = self._position
        self._position = start + count
        return self._data[start : self._position]

    def rest(self) -> bytes:
        """Everything that is left."""
        return self.take(self.remaining)

    def u8(self, what: str = "u8") -> int:
        """One unsigned byte."""
        return self.take(1, what)[0]

    def u16(self, what: str = "u16") -> int:
        """An unsigned 16-bit number."""
        return int.from_bytes(self.take(2, what), "big")

    def u32(self, what: str = "u32") -> int:
        """An unsigned 32-bit number."""
        return int.from_bytes(self.take(4, what), "big")

    def block(self, count: int, what: str = "block") -> Reader:
        """A reader of its own over the next `count` bytes."""
        base = self.offset
        return Reader(self.take(count, what), base)

    def end(self, what: str) -> None:
        """Demand that nothing is left over."""
        if self.remaining:
            self.fail(f"{what}: {self.remaining} bytes left over")


class Writer:
    """Collects bytes; a number that does not fit its field is a ValueError, never a silent cut."""

    __slots__ = ("_data",)

    def __init__(self) -> None:
        self._data = bytearray()

    def raw(self, data: bytes) -> Writer:
        """Append bytes as they are."""
        self._data += data
        return self

    def u8(self, value: int) -> Writer:
        """Append one byte."""
        return self._number(value, 1)

    def u16(self, value: int) -> Writer:
        """Append 16 bits."""
        return self._number(value, 2)

    def u32(self, value: int) -> Writer:
        """Append 32 bits."""
        return self._number(value, 4)

    def block16(self, data: bytes) -> Writer:
        """Append a 16-bit length (of the data alone) and the data."""
        return self.u16(len(data)).raw(data)

    def done(self) -> bytes:
        """The bytes so far."""
        return bytes(self._data)

    def _number(self, value: int, width: int) -> Writer:
        try:
            self._data += value.to_bytes(width, "big")
        except OverflowError:
            raise ValueError(f"{value} does not fit {8 * width} bits") from None
        return self
