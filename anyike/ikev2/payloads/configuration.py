"""CP and its attributes (RFC 7296 3.15)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from anyike.ikev2.constants import PayloadType
from anyike.ikev2.payloads.base import Payload
from anyike.wire import Reader, Writer


@dataclass(frozen=True, slots=True)
class Attribute:
    """A configuration attribute, RFC 7296 3.15.1."""

    type: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Configuration(Payload):
    """CP, RFC 7296 3.15."""

    TYPE: ClassVar[int] = PayloadType.CP
    type: int
    attributes: tuple[Attribute, ...]

    def encode(self) -> bytes:
        """Type, three reserved bytes, attributes."""
        writer = Writer().u8(self.type).raw(bytes(3))
        for attribute in self.attributes:
            writer.u16(attribute.type).block16(attribute.value)
        return writer.done()

    @classmethod
    def decode(cls, reader: Reader) -> Self:
        """The reserved bit in front of an attribute's type is ignored."""
        kind = reader.u8("CP type")
        reader.take(3, "CP reserved")
        attributes = []
        while reader.remaining:
            number = reader.u16("attribute type") & 0x7FFF
            attributes.append(Attribute(number, reader.take(reader.u16("attribute length"), "attribute value")))
        return cls(kind, tuple(attributes))
