"""The TLV list that follows the EAP type (AnyConnect-EAP notes, section 4).

Each is `type u16, length u16 (of the value alone), value`, big endian, without padding.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from anyike.wire import DecodeError, Reader, Writer

logger = logging.getLogger(__name__)

# Expanded type 254, vendor 9 (Cisco), vendor type "DBRP".
METHOD_TYPE = bytes([0xFE, 0x00, 0x00, 0x09]) + b"DBRP"


class TlvType(IntEnum):
    """What a value is."""

    DOCUMENT = 0
    SIGNATURE = 1
    CERTIFICATES = 3


@dataclass(frozen=True, slots=True)
class Tlv:
    """One value; `type` may be a number that TlvType does not know."""

    type: int
    value: bytes = field(repr=False)


def encode_tlvs(tlvs: Sequence[Tlv]) -> bytes:
    """The list as bytes, in the order given; ValueError when a value is longer than 65,535 bytes."""
    writer = Writer()
    for tlv in tlvs:
        writer.u16(tlv.type).block16(tlv.value)
    return writer.done()


def decode_tlvs(data: bytes) -> tuple[Tlv, ...]:
    """The list that fills `data`; DecodeError when a header or a value reaches past the end."""
    reader = Reader(data)
    tlvs = []
    while reader.remaining:
        number = reader.u16("TLV type")
        length = reader.u16("TLV length")
        tlvs.append(Tlv(number, reader.take(length, f"value of TLV {number}")))
    return tuple(tlvs)


def document_of(data: bytes) -> bytes:
    """The one XML document in a list of TLVs; DecodeError when there is none or a second one. Others are logged."""
    documents = []
    for tlv in decode_tlvs(data):
        if tlv.type == TlvType.DOCUMENT:
            documents.append(tlv.value)
        else:
            logger.info("ignored TLV %d of the gateway, %d bytes", tlv.type, len(tlv.value))
    if len(documents) != 1:
        raise DecodeError(f"{len(documents)} XML documents (TLV 0) in one packet, 1 wanted")
    return documents[0]
