"""What one side tells the other: N, D and V (RFC 7296 3.10 to 3.12)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from anyike.ikev2.constants import NotifyType, PayloadType, name_of
from anyike.ikev2.payloads.base import Payload
from anyike.wire import Reader, Writer


@dataclass(frozen=True, slots=True)
class Notify(Payload):
    """N, RFC 7296 3.10."""

    TYPE: ClassVar[int] = PayloadType.NOTIFY
    type: int
    data: bytes = b""
    protocol: int = 0
    spi: bytes = b""

    @property
    def name(self) -> str:
        """The type's name, or its number."""
        return name_of(NotifyType, self.type)

    def encode(self) -> bytes:
        """Protocol, SPI size, type, SPI, data."""
        return Writer().u8(self.protocol).u8(len(self.spi)).u16(self.type).raw(self.spi).raw(self.data).done()

    @classmethod
    def decode(cls, reader: Reader) -> Self:
        """Any type."""
        protocol, spi_size, kind = reader.u8("N protocol"), reader.u8("N SPI size"), reader.u16("N type")
        spi = reader.take(spi_size, "N SPI")
        return cls(kind, reader.rest(), protocol, spi)


@dataclass(frozen=True, slots=True)
class Delete(Payload):
    """D, RFC 7296 3.11; for the IKE SA there are no SPIs."""

    TYPE: ClassVar[int] = PayloadType.DELETE
    protocol: int
    spis: tuple[bytes, ...]

    def encode(self) -> bytes:
        """Protocol, SPI size, count, SPIs."""
        size = len(self.spis[0]) if self.spis else 0
        return Writer().u8(self.protocol).u8(size).u16(len(self.spis)).raw(b"".join(self.spis)).done()

    @classmethod
    def decode(cls, reader: Reader) -> Self:
        """All SPIs have one size."""
        protocol, size, count = reader.u8("D protocol"), reader.u8("D SPI size"), reader.u16("D count")
        if size * count != reader.remaining:
            reader.fail(f"D: {count} SPIs of {size} bytes do not make {reader.remaining} bytes")
        spis = tuple(reader.take(size) for _ in range(count)) if size else ()
        return cls(protocol, spis)


@dataclass(frozen=True, slots=True)
class VendorId(Payload):
    """V, RFC 7296 3.12."""

    TYPE: ClassVar[int] = PayloadType.VENDOR
    data: bytes

    def encode(self) -> bytes:
        """The identifier."""
        return self.data

    @classmethod
    def decode(cls, reader: Reader) -> Self:
        """Any bytes."""
        return cls(reader.rest())
