"""EAP packets of AnyConnect EAP, taken apart and put together without the client's own code (AnyConnect-EAP notes, section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree as ET

TYPE = bytes.fromhex("fe000009") + b"DBRP"
REQUEST, RESPONSE, SUCCESS, FAILURE = 1, 2, 3, 4
DOCUMENT, SIGNATURE, CERTIFICATES = 0, 1, 3

_CODES = {REQUEST: "Request", RESPONSE: "Response", SUCCESS: "Success", FAILURE: "Failure"}
_TLVS = {SIGNATURE: "signature", CERTIFICATES: "certificates"}


def request(identifier: int, content: bytes, method_type: bytes = TYPE) -> bytes:
    length = 4 + len(method_type) + len(content)
    return bytes([REQUEST, identifier]) + length.to_bytes(2, "big") + method_type + content


def tlv(number: int, value: bytes) -> bytes:
    return number.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value


@dataclass(frozen=True)
class Reply:
    """A Response of the client."""

    packet: bytes

    @property
    def identifier(self) -> int:
        return self.packet[1]

    @property
    def method_type(self) -> bytes:
        return self.packet[4:12] if self.packet[4] == TYPE[0] else self.packet[4:5]

    @property
    def tlv_list(self) -> list[tuple[int, bytes]]:
        """Type and value of each TLV, in their order."""
        found, rest = [], self.packet[12:]
        while rest:
            length = int.from_bytes(rest[2:4], "big")
            found.append((int.from_bytes(rest[:2], "big"), rest[4 : 4 + length]))
            rest = rest[4 + length :]
        return found

    @property
    def tlvs(self) -> dict[int, bytes]:
        return dict(self.tlv_list)

    @property
    def document(self) -> bytes:
        return self.tlvs[DOCUMENT]

    @property
    def root(self) -> ET.Element:
        return ET.fromstring(self.document)

    def text(self, path: str) -> str:
        return self.root.findtext(path) or ""


def describe(packet: bytes) -> str:
    """One packet for a reader: its documents as they are, binary TLVs as their size and first bytes."""
    if len(packet) < 4:
        return f"no EAP packet: {packet.hex()}"
    title = f"{_CODES.get(packet[0], packet[0])} {packet[1]}"
    if packet[4:12] != TYPE:
        return f"{title} {packet[4:].hex()}".rstrip()
    parts = [title]
    for number, value in Reply(packet).tlv_list:
        if number == DOCUMENT:
            parts.append(value.decode(errors="replace"))
        else:
            parts.append(f"TLV {number} ({_TLVS.get(number, 'unknown')}), {len(value)} bytes, {value[:16].hex()}...")
    return "\n".join(parts)
