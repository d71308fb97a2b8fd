"""The payloads of IKEv2 as bytes and as values (RFC 7296 section 3). No payload knows an SA.

`encode` gives the body without the 4-byte generic header; `decode` takes a reader over exactly that body and must use it up.
Reserved bytes of identification payloads are kept as received, since AUTH covers them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import ClassVar, Self

from anyike.ikev2.child_sa import TrafficSelector
from anyike.ikev2.constants import NotifyType, PayloadType, TrafficSelectorType, name_of
from anyike.wire import Reader, Writer

MAX_PROPOSALS = 64
MAX_TRANSFORMS = 128
"""Implementation limits: far more than any gateway sends, few enough to be cheap."""

MORE_FOLLOW = 2
"""Value of the "last substructure" byte of a proposal that is not the last."""
MORE_TRANSFORMS = 3
KEY_LENGTH = 14
ATTRIBUTE_FORMAT = 0x8000
MIN_NONCE, MAX_NONCE = 16, 256


@dataclass(frozen=True, slots=True)
class Payload(ABC):
    """What all payloads have in common."""

    TYPE: ClassVar[int]

    @abstractmethod
    def encode(self) -> bytes:
        """The body."""

    @classmethod
    @abstractmethod
    def decode(cls, reader: Reader) -> Self:
        """The value, or DecodeError."""


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
            writer.u8(0 if last else MORE_FOLLOW).u8(0).u16(len(data) + 4).raw(data)
        return writer.done()

    @classmethod
    def decode(cls, reader: Reader) -> Self:
        """At least one proposal."""
        proposals: list[Proposal] = []
        more = True
        while more:
            if len(proposals) == MAX_PROPOSALS:
                reader.fail(f"more than {MAX_PROPOSALS} proposals")
            more = _more_follow(reader, MORE_FOLLOW)
            block = _substructure(reader)
            number, protocol, spi_size, count = block.u8(), block.u8(), block.u8(), block.u8()
            spi = block.take(spi_size, "proposal SPI")
            proposals.append(Proposal(number, protocol, spi, _decode_transforms(block, count)))
            block.end("proposal")
        reader.end("SA")
        return cls(tuple(proposals))


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
class Identification(Payload):
    """RFC 7296 3.5. `encode` is the body that AUTH covers."""

    id_type: int
    data: bytes
    reserved: bytes = bytes(3)

    def encode(self) -> bytes:
        """Type, reserved bytes, data."""
        return Writer().u8(self.id_type).raw(self.reserved).raw(self.data).done()

    @classmethod
    def decode(cls, reader: Reader) -> Self:
        """Any type."""
        id_type = reader.u8("ID type")
        reserved = reader.take(3, "ID reserved")
        return cls(id_type, reader.rest(), reserved)


@dataclass(frozen=True, slots=True)
class IdInitiator(Identification):
    """IDi."""

    TYPE: ClassVar[int] = PayloadType.IDI


@dataclass(frozen=True, slots=True)
class IdResponder(Identification):
    """IDr."""

    TYPE: ClassVar[int] = PayloadType.IDR


@dataclass(frozen=True, slots=True)
class Certificate(Payload):
    """CERT, RFC 7296 3.6."""

    TYPE: ClassVar[int] = PayloadType.CERT
    encoding: int
    data: bytes

    def encode(self) -> bytes:
        """Encoding and certificate."""
        return Writer().u8(self.encoding).raw(self.data).done()

    @classmethod
    def decode(cls, reader: Reader) -> Self:
        """Any encoding."""
        return cls(reader.u8("CERT encoding"), reader.rest())


@dataclass(frozen=True, slots=True)
class CertificateRequest(Payload):
    """CERTREQ, RFC 7296 3.7: `authorities` are SHA-1 hashes of CA keys, one after the other."""

    TYPE: ClassVar[int] = PayloadType.CERTREQ
    encoding: int
    authorities: bytes

    def encode(self) -> bytes:
        """Encoding and hashes."""
        return Writer().u8(self.encoding).raw(self.authorities).done()

    @classmethod
    def decode(cls, reader: Reader) -> Self:
        """Any encoding."""
        return cls(reader.u8("CERTREQ encoding"), reader.rest())


@dataclass(frozen=True, slots=True)
class Authentication(Payload):
    """AUTH, RFC 7296 3.8."""

    TYPE: ClassVar[int] = PayloadType.AUTH
    method: int
    data: bytes = field(repr=False)

    def encode(self) -> bytes:
        """Method, three reserved bytes, data."""
        return Writer().u8(self.method).raw(bytes(3)).raw(self.data).done()

    @classmethod
    def decode(cls, reader: Reader) -> Self:
        """Any method."""
        method = reader.u8("AUTH method")
        reader.take(3, "AUTH reserved")
        return cls(method, reader.rest())


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


@dataclass(frozen=True, slots=True)
class OpaqueSelector:
    """A traffic selector of a type that nothing here reads; `data` is what follows its length."""

    type: int
    protocol: int
    data: bytes


@dataclass(frozen=True, slots=True)
class TrafficSelectors(Payload):
    """RFC 7296 3.13."""

    selectors: tuple[TrafficSelector | OpaqueSelector, ...]

    def encode(self) -> bytes:
        """Count, three reserved bytes, selectors."""
        writer = Writer().u8(len(self.selectors)).raw(bytes(3))
        for selector in self.selectors:
            writer.raw(_encode_selector(selector))
        return writer.done()

    @classmethod
    def decode(cls, reader: Reader) -> Self:
        """As many selectors as the count says."""
        count = reader.u8("TS count")
        reader.take(3, "TS reserved")
        selectors = tuple(_decode_selector(reader) for _ in range(count))
        reader.end("TS")
        return cls(selectors)


@dataclass(frozen=True, slots=True)
class TsInitiator(TrafficSelectors):
    """TSi."""

    TYPE: ClassVar[int] = PayloadType.TSI


@dataclass(frozen=True, slots=True)
class TsResponder(TrafficSelectors):
    """TSr."""

    TYPE: ClassVar[int] = PayloadType.TSR


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


@dataclass(frozen=True, slots=True)
class Eap(Payload):
    """EAP, RFC 7296 3.16: one whole EAP packet."""

    TYPE: ClassVar[int] = PayloadType.EAP
    packet: bytes = field(repr=False)

    def encode(self) -> bytes:
        """The packet."""
        return self.packet

    @classmethod
    def decode(cls, reader: Reader) -> Self:
        """Any bytes; the EAP layer reads them."""
        return cls(reader.rest())


@dataclass(frozen=True, slots=True)
class UnknownPayload(Payload):
    """A payload that nothing here reads and whose critical bit is not set."""

    type: int
    data: bytes

    def encode(self) -> bytes:
        """The body as it came."""
        return self.data

    @classmethod
    def decode(cls, reader: Reader) -> Self:
        """The bytes as they are; the payload chain knows the type."""
        return cls(PayloadType.NONE, reader.rest())


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


def _encode_selector(selector: TrafficSelector | OpaqueSelector) -> bytes:
    if isinstance(selector, OpaqueSelector):
        return Writer().u8(selector.type).u8(selector.protocol).u16(len(selector.data) + 4).raw(selector.data).done()
    kind = TrafficSelectorType.IPV4_ADDR_RANGE if selector.start.version == 4 else TrafficSelectorType.IPV6_ADDR_RANGE
    addresses = selector.start.packed + selector.end.packed
    writer = Writer().u8(kind).u8(selector.protocol).u16(len(addresses) + 8)
    return writer.u16(selector.start_port).u16(selector.end_port).raw(addresses).done()


def _decode_selector(reader: Reader) -> TrafficSelector | OpaqueSelector:
    kind, protocol = reader.u8("TS type"), reader.u8("TS protocol")
    block = reader.block(reader.u16("TS length") - 4, "traffic selector")
    sizes = {TrafficSelectorType.IPV4_ADDR_RANGE: 4, TrafficSelectorType.IPV6_ADDR_RANGE: 16}
    if kind not in sizes:
        return OpaqueSelector(kind, protocol, block.rest())
    size = sizes[TrafficSelectorType(kind)]
    start_port, end_port = block.u16("TS start port"), block.u16("TS end port")
    first, last = block.take(size, "TS start address"), block.take(size, "TS end address")
    block.end("traffic selector")
    if size == 4:
        return TrafficSelector(IPv4Address(first), IPv4Address(last), protocol, start_port, end_port)
    return TrafficSelector(IPv6Address(first), IPv6Address(last), protocol, start_port, end_port)


READABLE = {
    kind.TYPE: kind
    for kind in (
        SecurityAssociation,
        KeyExchange,
        IdInitiator,
        IdResponder,
        Certificate,
        CertificateRequest,
        Authentication,
        Nonce,
        Notify,
        Delete,
        VendorId,
        TsInitiator,
        TsResponder,
        Configuration,
        Eap,
    )
}
"""Payload classes by their type."""
