"""EAP packets (RFC 3748 section 4).

::

    Request, Response   code u8, identifier u8, length u16, type, type data
    Success, Failure    code u8, identifier u8, length u16 (4)

The type is one byte, or `fe vendor(3) vendor-type(4)` for an expanded type (section 5.7). The length counts the whole
packet; inside IKEv2 it has to be that of the payload (RFC 7296 3.16), so that nothing may be left over.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from anyike.wire import Reader, Writer

MAX_PACKET = 0xFFFF  # specification: the length is 16 bits

TYPE_IDENTITY = b"\x01"
TYPE_NOTIFICATION = b"\x02"
TYPE_NAK = b"\x03"
TYPE_EXPANDED = 0xFE
TYPE_EXPANDED_NAK = b"\xfe\x00\x00\x00\x00\x00\x00\x03"

_HEADER = 4
_EXPANDED_TYPE = 8


class Code(IntEnum):
    """What a packet is."""

    REQUEST = 1
    RESPONSE = 2
    SUCCESS = 3
    FAILURE = 4


@dataclass(frozen=True, slots=True)
class EapPacket:
    """One EAP packet.

    `method_type` is the type as it stands in the packet (1 byte, or 8 of an expanded type) and empty for Success and
    Failure; `type_data` is what follows it.
    """

    code: Code
    identifier: int
    method_type: bytes = b""
    type_data: bytes = field(default=b"", repr=False)

    def encode(self) -> bytes:
        """The bytes of the packet; ValueError when they are more than MAX_PACKET."""
        length = _HEADER + len(self.method_type) + len(self.type_data)
        return Writer().u8(self.code).u8(self.identifier).u16(length).raw(self.method_type).raw(self.type_data).done()

    @classmethod
    def decode(cls, data: bytes) -> EapPacket:
        """Parse one packet that fills `data`; DecodeError when it does not have the shape above."""
        reader = Reader(data)
        number = reader.u8("EAP code")
        if number not in tuple(Code):
            reader.fail(f"EAP code {number} is unknown")
        code = Code(number)
        identifier = reader.u8("EAP identifier")
        length = reader.u16("EAP length")
        if length != len(data):
            reader.fail(f"EAP length is {length}, the payload holds {len(data)} bytes")
        method_type = b""
        if code in {Code.REQUEST, Code.RESPONSE}:
            method_type = reader.take(1, "EAP type")
            if method_type[0] == TYPE_EXPANDED:
                method_type += reader.take(_EXPANDED_TYPE - 1, "EAP expanded type")
        else:
            reader.end(f"EAP {code.name.lower()}")
        return cls(code, identifier, method_type, reader.rest())
