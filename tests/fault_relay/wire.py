"""IKE and ESP as they look from outside: no keys, only headers. Its own code, so that it judges ours independently."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from enum import StrEnum

IKE_PORT, NAT_PORT = 500, 4500
NON_ESP_MARKER = bytes(4)  # RFC 3948 2.2

HEADER = struct.Struct(">8s8sBBBBLL")  # RFC 7296 3.1
IKE_SA_INIT, IKE_AUTH, CREATE_CHILD_SA, INFORMATIONAL = 34, 35, 36, 37
NO_PAYLOAD, NOTIFY, DELETE = 0, 41, 42
FLAG_INITIATOR, FLAG_RESPONSE = 0x08, 0x20


class Direction(StrEnum):
    """Where a datagram goes."""

    TO_GATEWAY = "to gateway"
    TO_CLIENT = "to client"


class Kind(StrEnum):
    """What a datagram is."""

    IKE = "ike"
    ESP = "esp"
    KEEPALIVE = "keepalive"


def kind_of(datagram: bytes, *, nat: bool) -> Kind:
    """All is IKE on port 500; on the NAT port IKE has a marker, and one byte keeps a NAT mapping (RFC 3948 2)."""
    if not nat or datagram.startswith(NON_ESP_MARKER):
        return Kind.IKE
    return Kind.ESP if len(datagram) > 1 else Kind.KEEPALIVE


@dataclass(frozen=True, slots=True)
class Header:
    """The IKE header; `marked` tells whether the non-ESP marker precedes it."""

    spi_i: bytes
    spi_r: bytes
    next_payload: int
    version: int
    exchange: int
    flags: int
    message_id: int
    marked: bool

    @property
    def is_response(self) -> bool:
        return bool(self.flags & FLAG_RESPONSE)

    @classmethod
    def parse(cls, datagram: bytes) -> Header | None:
        """The header of an IKE datagram, or None if it is too short for one."""
        marked = datagram.startswith(NON_ESP_MARKER)
        message = datagram[len(NON_ESP_MARKER) :] if marked else datagram
        if len(message) < HEADER.size:
            return None
        spi_i, spi_r, next_payload, version, exchange, flags, message_id, _length = HEADER.unpack_from(message)
        return cls(spi_i, spi_r, next_payload, version, exchange, flags, message_id, marked)

    def message(self, first_payload: int, body: bytes) -> bytes:
        """A datagram with this header, the right length, and `body` as it is."""
        packed = HEADER.pack(
            self.spi_i,
            self.spi_r,
            first_payload,
            self.version,
            self.exchange,
            self.flags,
            self.message_id,
            HEADER.size + len(body),
        )
        return (NON_ESP_MARKER if self.marked else b"") + packed + body

    def as_request(self, exchange: int, message_id: int) -> Header:
        """The same SA and sender, another request."""
        return replace(self, exchange=exchange, message_id=message_id, flags=self.flags & ~FLAG_RESPONSE)

    def as_response(self) -> Header:
        """The same with the response flag."""
        return replace(self, flags=self.flags | FLAG_RESPONSE)


def notify(notify_type: int, data: bytes = b"") -> bytes:
    """A Notify payload, the last of its message (RFC 7296 3.10): protocol 0, no SPI."""
    return struct.pack(">BBHBBH", NO_PAYLOAD, 0, 8 + len(data), 0, 0, notify_type) + data


def delete(protocol: int, spis: tuple[bytes, ...] = ()) -> bytes:
    """A Delete payload, the last of its message (RFC 7296 3.11): protocol 1 is the IKE SA itself, 3 is ESP."""
    size = len(spis[0]) if spis else 0
    body = b"".join(spis)
    return struct.pack(">BBHBBH", NO_PAYLOAD, 0, 8 + len(body), protocol, size, len(spis)) + body
