"""KE and nonces (RFC 7296 3.4 and 3.9)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from anyike.ikev2.constants import PayloadType
from anyike.ikev2.payloads.base import Payload
from anyike.wire import Reader, Writer

MIN_NONCE, MAX_NONCE = 16, 256


@dataclass(frozen=True, slots=True)
class KeyExchange(Payload):
    """KE, RFC 7296 3.4."""

    TYPE: ClassVar[int] = PayloadType.KE
    group: int
    data: bytes

    def encode(self) -> bytes:
        """Group, two reserved bytes, public value."""
        return Writer().u16(self.group).u16(0).raw(self.data).done()

    @classmethod
    def decode(cls, reader: Reader) -> Self:
        """Any public value; the key exchange judges it."""
        group = reader.u16("KE group")
        reader.u16("KE reserved")
        return cls(group, reader.rest())


@dataclass(frozen=True, slots=True)
class Nonce(Payload):
    """Ni, Nr, RFC 7296 3.9."""

    TYPE: ClassVar[int] = PayloadType.NONCE
    data: bytes

    def encode(self) -> bytes:
        """The nonce itself."""
        return self.data

    @classmethod
    def decode(cls, reader: Reader) -> Self:
        """16 to 256 bytes."""
        if not MIN_NONCE <= reader.remaining <= MAX_NONCE:
            reader.fail(f"a nonce of {reader.remaining} bytes; {MIN_NONCE} to {MAX_NONCE} are allowed")
        return cls(reader.rest())
