"""EAP packets (RFC 3748) and the TLVs of AnyConnect EAP (AnyConnect-EAP notes, section 4)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

REQUEST, RESPONSE, SUCCESS, FAILURE = 1, 2, 3, 4
IDENTITY, NAK, MSCHAPV2, EXPANDED = 1, 3, 26, 254

ANYCONNECT = bytes.fromhex("000009 44425250")
XML, SIGNATURE, CERTIFICATES = 0, 1, 3


class MalformedError(Exception):
    """The client sent something that is no EAP response of the kind expected."""


@dataclass(frozen=True)
class Packet:
    """One EAP packet; `kind` and `data` are of a request or response only."""

    code: int
    identifier: int
    kind: int = 0
    data: bytes = b""

    def encode(self) -> bytes:
        """The packet's bytes."""
        body = b"" if self.code in (SUCCESS, FAILURE) else bytes([self.kind]) + self.data
        return struct.pack(">BBH", self.code, self.identifier, 4 + len(body)) + body

    @classmethod
    def decode(cls, raw: bytes) -> Packet:
        """Parse a response; MalformedError for anything else."""
        if len(raw) < 5:
            raise MalformedError(f"an EAP response of {len(raw)} bytes")
        code, identifier, length, kind = struct.unpack_from(">BBHB", raw)
        if code != RESPONSE or length != len(raw):
            raise MalformedError(f"EAP code {code}, length {length} of {len(raw)}")
        return cls(code, identifier, kind, raw[5:])


def anyconnect_request(identifier: int, xml: bytes) -> Packet:
    """An AnyConnect EAP request with one XML document."""
    tlv = struct.pack(">HH", XML, len(xml)) + xml
    return Packet(REQUEST, identifier, EXPANDED, ANYCONNECT + tlv)


def anyconnect_tlvs(packet: Packet) -> dict[int, bytes]:
    """The TLVs of an AnyConnect EAP response by type; MalformedError if it is none."""
    if packet.kind != EXPANDED or not packet.data.startswith(ANYCONNECT):
        raise MalformedError(f"EAP type {packet.kind} instead of AnyConnect EAP")
    found: dict[int, bytes] = {}
    rest = packet.data[len(ANYCONNECT) :]
    while rest:
        if len(rest) < 4:
            raise MalformedError("a TLV without a whole header")
        kind, length = struct.unpack_from(">HH", rest)
        if length > len(rest) - 4 or kind in found:
            raise MalformedError(f"TLV {kind} of {length} bytes repeats or passes the end")
        found[kind], rest = rest[4 : 4 + length], rest[4 + length :]
    return found
