"""The IKE header, the chain of payloads, and whole unprotected messages (RFC 7296 3.1, 3.2, 2.5)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from anyike.ikev2.constants import FLAG_INITIATOR, FLAG_RESPONSE, HEADER_LENGTH, VERSION, NotifyType, PayloadType
from anyike.ikev2.payloads import READABLE, Notify, Payload, UnknownPayload
from anyike.wire import DecodeError, Reader, Writer

MAX_PAYLOADS = 100
"""Implementation limit: a long certificate chain and all notifies of a chatty gateway are fewer than 40."""

CONTAINERS = frozenset({PayloadType.SK, PayloadType.SKF, PayloadType.CISCO_FRAGMENT})
"""Payloads that hold a message instead of being part of one; what they hold is unwrapped before payloads are read."""

GENERIC_HEADER = 4
CRITICAL = 0x80

_P = TypeVar("_P", bound=Payload)


class InvalidMajorVersion(DecodeError):
    """Not IKE version 2: INVALID_MAJOR_VERSION."""

    notify = NotifyType.INVALID_MAJOR_VERSION


class InvalidSyntax(DecodeError):
    """A message whose parts do not fit: INVALID_SYNTAX."""

    notify = NotifyType.INVALID_SYNTAX


class UnsupportedCriticalPayload(DecodeError):
    """A payload that nothing here reads and that must not be skipped: UNSUPPORTED_CRITICAL_PAYLOAD with `type`."""

    notify = NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD

    def __init__(self, kind: int, offset: int) -> None:
        super().__init__(f"critical payload of the unknown type {kind}", offset)
        self.type = kind


@dataclass(frozen=True, slots=True)
class Header:
    """The 28 bytes in front of every message. `next_payload` and `length` are filled in when a message is encoded."""

    spi_i: bytes
    spi_r: bytes
    next_payload: int
    exchange: int
    flags: int
    message_id: int
    length: int = 0

    @property
    def is_response(self) -> bool:
        """Whether the R flag is set."""
        return bool(self.flags & FLAG_RESPONSE)

    @property
    def from_initiator(self) -> bool:
        """Whether the sender is the original initiator of the IKE SA (the I flag)."""
        return bool(self.flags & FLAG_INITIATOR)

    def encode(self) -> bytes:
        """28 bytes."""
        writer = Writer().raw(self.spi_i).raw(self.spi_r).u8(self.next_payload).u8(VERSION)
        return writer.u8(self.exchange).u8(self.flags).u32(self.message_id).u32(self.length).done()


@dataclass(frozen=True, slots=True)
class Message:
    """An unprotected message."""

    header: Header
    payloads: tuple[Payload, ...]

    def encode(self) -> bytes:
        """The whole message, from the SPI on."""
        first, data = encode_payloads(self.payloads)
        return replace(self.header, next_payload=first, length=HEADER_LENGTH + len(data)).encode() + data

    def get(self, kind: type[_P]) -> _P | None:
        """The first payload of this kind."""
        return next((payload for payload in self.payloads if isinstance(payload, kind)), None)

    def all(self, kind: type[_P]) -> list[_P]:
        """All payloads of this kind, in order."""
        return [payload for payload in self.payloads if isinstance(payload, kind)]

    def notify(self, kind: int) -> Notify | None:
        """The first notify of this type."""
        return next((notify for notify in self.all(Notify) if notify.type == kind), None)


def decode_header(datagram: bytes) -> Header:
    """The header of a datagram that is exactly one message.

    Raises:
        InvalidMajorVersion: IKEv1 or something later.
        InvalidSyntax: too short, or the length field is not the datagram's length.
    """
    if len(datagram) < HEADER_LENGTH:
        raise InvalidSyntax(f"{len(datagram)} bytes are no IKE header")
    reader = Reader(datagram)
    spi_i, spi_r, next_payload, version = reader.take(8), reader.take(8), reader.u8(), reader.u8()
    exchange, flags, message_id, length = reader.u8(), reader.u8(), reader.u32(), reader.u32()
    if version >> 4 != VERSION >> 4:
        raise InvalidMajorVersion(f"IKE version {version >> 4}", 17)
    if length != len(datagram):
        raise InvalidSyntax(f"the length field says {length}, the datagram has {len(datagram)} bytes", 24)
    return Header(spi_i, spi_r, next_payload, exchange, flags, message_id, length)


def encode_payloads(payloads: Iterable[Payload]) -> tuple[int, bytes]:
    """The type of the first payload (0 for none) and the chain."""
    chain = list(payloads)
    types = [_type_of(payload) for payload in chain] + [int(PayloadType.NONE)]
    writer = Writer()
    for payload, following in zip(chain, types[1:], strict=True):
        body = payload.encode()
        writer.u8(following).u8(0).u16(len(body) + GENERIC_HEADER).raw(body)
    return types[0], writer.done()


def decode_payloads(first: int, data: bytes, base: int = HEADER_LENGTH) -> tuple[Payload, ...]:
    """The payloads of a chain that fills `data`, which stands `base` bytes into the message.

    The critical bit counts on unknown types only (RFC 7296 2.5).

    Raises:
        DecodeError: the chain or a payload is malformed; UnsupportedCriticalPayload as it says.
    """
    reader = Reader(data, base)
    payloads: list[Payload] = []
    following = first
    while following != PayloadType.NONE:
        if len(payloads) == MAX_PAYLOADS:
            reader.fail(f"more than {MAX_PAYLOADS} payloads")
        if following in CONTAINERS:
            raise InvalidSyntax(f"payload {PayloadType(following).name} has no place among these", reader.offset)
        kind, following, flags, body = following, *split_payload(reader)
        readable = READABLE.get(kind)
        if readable is None and flags & CRITICAL:
            raise UnsupportedCriticalPayload(kind, body.offset)
        if readable is None:
            payloads.append(UnknownPayload(kind, body.rest()))
        else:
            payloads.append(readable.decode(body))
            body.end(readable.__name__)
    reader.end("message")
    return tuple(payloads)


def split_payload(reader: Reader) -> tuple[int, int, Reader]:
    """The next generic header and its payload: next payload type, flags, and a reader over the body."""
    following, flags, length = reader.u8("next payload"), reader.u8("critical bit"), reader.u16("payload length")
    return following, flags, reader.block(length - GENERIC_HEADER, "payload")


def _type_of(payload: Payload) -> int:
    return payload.type if isinstance(payload, UnknownPayload) else payload.TYPE
