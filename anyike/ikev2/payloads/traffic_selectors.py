"""TSi and TSr (RFC 7296 3.13)."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import ClassVar, Self

from anyike.ikev2.child_sa import TrafficSelector
from anyike.ikev2.constants import PayloadType, TrafficSelectorType
from anyike.ikev2.payloads.base import Payload
from anyike.wire import Reader, Writer


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
    if first > last:
        block.fail("the traffic selector's addresses end before they start")
    if size == 4:
        return TrafficSelector(IPv4Address(first), IPv4Address(last), protocol, start_port, end_port)
    return TrafficSelector(IPv6Address(first), IPv6Address(last), protocol, start_port, end_port)
