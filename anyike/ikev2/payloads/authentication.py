"""Who somebody is and how it is proven: ID, CERT, CERTREQ, AUTH, EAP (RFC 7296 3.5 to 3.8 and 3.16)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Self

from anyike.ikev2.constants import PayloadType
from anyike.ikev2.payloads.base import Payload
from anyike.wire import Reader, Writer


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
