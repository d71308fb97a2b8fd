"""SA: proposals and their transforms (RFC 7296 3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from anyike.ikev2.constants import PayloadType
from anyike.ikev2.payloads.base import Payload
from anyike.wire import Reader, Writer

MAX_PROPOSALS = 64
MAX_TRANSFORMS = 128
"""Implementation limits: far more than any gateway sends, few enough to be cheap."""

MORE_PROPOSALS = 2
MORE_TRANSFORMS = 3
"""The "last substructure" byte of one that is not the last."""

KEY_LENGTH = 14
ATTRIBUTE_FORMAT = 0x8000
"""Transform attributes: the only standard type, and the bit that makes an attribute a 16-bit value without length."""


@dataclass(frozen=True, slots=True)
class Transform:
    """RFC 7296 3.3.2. `key_length` in bits; `attributes` are others than that, as (type with its format bit, value)."""

    type: int
    id: int
    key_length: int | None = None
    attributes: tuple[tuple[int, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Proposal:
    """RFC 7296 3.3.1."""

    number: int
    protocol: int
    spi: bytes
    transforms: tuple[Transform, ...]


@dataclass(frozen=True, slots=True)
class SecurityAssociation(Payload):
    """SA, RFC 7296 3.3."""

    TYPE: ClassVar[int] = PayloadType.SA
    proposals: tuple[Proposal, ...]

    def encode(self) -> bytes:
        """Proposals, each with its transforms."""
        writer = Writer()
        for index, proposal in enumerate(self.proposals):
            body = Writer().u8(proposal.number).u8(proposal.protocol).u8(len(proposal.spi))
            body.u8(len(proposal.transforms)).raw(proposal.spi).raw(_encode_transforms(proposal.transforms))
            data = body.done()
            last = index == len(self.proposals) - 1
            writer.u8(0 if last else MORE_PROPOSALS).u8(0).u16(len(data) + 4).raw(data)
        return writer.done()

    @classmethod
    def decode(cls, reader: Reader) -> Self:
        """At least one proposal."""
        proposals: list[Proposal] = []
        more = True
        while more:
            if len(proposals) == MAX_PROPOSALS:
                reader.fail(f"more than {MAX_PROPOSALS} proposals")
            more = _more_follow(reader, MORE_PROPOSALS)
            block = _substructure(reader)
            number, protocol, spi_size, count = block.u8(), block.u8(), block.u8(), block.u8()
            spi = block.take(spi_size, "proposal SPI")
            proposals.append(Proposal(number, protocol, spi, _decode_transforms(block, count)))
            block.end("proposal")
        reader.end("SA")
        return cls(tuple(proposals))


def _encode_transforms(transforms: tuple[Transform, ...]) -> bytes:
    writer = Writer()
    for index, transform in enumerate(transforms):
        body = Writer().u8(transform.type).u8(0).u16(transform.id)
        if transform.key_length is not None:
            body.u16(ATTRIBUTE_FORMAT | KEY_LENGTH).u16(transform.key_length)
        for kind, value in transform.attributes:
            body.u16(kind).raw(value) if kind & ATTRIBUTE_FORMAT else body.u16(kind).block16(value)
        data = body.done()
        last = index == len(transforms) - 1
        writer.u8(0 if last else MORE_TRANSFORMS).u8(0).u16(len(data) + 4).raw(data)
    return writer.done()


def _decode_transforms(reader: Reader, count: int) -> tuple[Transform, ...]:
    if count > MAX_TRANSFORMS:
        reader.fail(f"more than {MAX_TRANSFORMS} transforms")
    transforms = []
    for index in range(count):
        if _more_follow(reader, MORE_TRANSFORMS) != (index < count - 1):
            reader.fail("the last-transform mark contradicts the number of transforms")
        block = _substructure(reader)
        kind = block.u8("transform type")
        block.u8("transform reserved")
        number = block.u16("transform ID")
        key_length: int | None = None
        others: list[tuple[int, bytes]] = []
        while block.remaining:
            attribute = block.u16("transform attribute")
            size = 2 if attribute & ATTRIBUTE_FORMAT else block.u16("transform attribute length")
            value = block.take(size, "transform attribute value")
            if attribute == ATTRIBUTE_FORMAT | KEY_LENGTH and key_length is None:
                key_length = int.from_bytes(value, "big")
            else:
                others.append((attribute, value))
        transforms.append(Transform(kind, number, key_length, tuple(others)))
    return tuple(transforms)


def _more_follow(reader: Reader, mark: int) -> bool:
    value = reader.u8("last substructure")
    if value not in (0, mark):
        reader.fail(f"last substructure is {value}; 0 or {mark} are allowed")
    reader.u8("reserved")
    return value == mark


def _substructure(reader: Reader) -> Reader:
    length = reader.u16("substructure length")
    return reader.block(length - 4, "substructure")
