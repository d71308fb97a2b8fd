"""IKEv2 bytes as the test gateway reads and writes them: deliberately not the codec of the client.

A payload is its type and its body, so that a test can make any of them wrong in any way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network

SA, KE, IDI, IDR, CERT, CERTREQ, AUTH, NONCE, NOTIFY, DELETE, VENDOR = range(33, 44)
TSI, TSR, SK, CP, EAP = range(44, 49)
SKF, CISCO_FRAGMENT = 53, 132

IKE_SA_INIT, IKE_AUTH, CREATE_CHILD_SA, INFORMATIONAL = range(34, 38)
HEADER = 28
INITIATOR, RESPONSE = 0x08, 0x20

ENCR, PRF, INTEG, DH, ESN = range(1, 6)
PROTOCOL_IKE, PROTOCOL_AH, PROTOCOL_ESP = 1, 2, 3


@dataclass(frozen=True)
class Payload:
    """One payload without its generic header."""

    type: int
    body: bytes
    critical: bool = False


@dataclass(frozen=True)
class Header:
    """The fixed header; `length` is filled in by `message`."""

    spi_i: bytes
    spi_r: bytes
    next_payload: int
    exchange: int
    flags: int
    message_id: int

    @property
    def is_response(self) -> bool:
        return bool(self.flags & RESPONSE)

    def message(self, next_payload: int, content: bytes) -> bytes:
        header = bytes([next_payload, 0x20, self.exchange, self.flags]) + self.message_id.to_bytes(4, "big")
        return self.spi_i + self.spi_r + header + (HEADER + len(content)).to_bytes(4, "big") + content

    def reply(self, spi_r: bytes) -> Header:
        return replace(self, spi_r=spi_r, flags=RESPONSE)


@dataclass(frozen=True)
class Proposal:
    """One proposal: transforms as (type, id, key bits or 0)."""

    number: int
    protocol: int
    spi: bytes
    transforms: tuple[tuple[int, int, int], ...]

    def first_of_each(self) -> dict[int, tuple[int, int, int]]:
        """The first transform of each type, which is what a responder may answer."""
        return {transform[0]: transform for transform in reversed(self.transforms)}

    def encode(self) -> bytes:
        body = b""
        for position, (kind, identifier, bits) in enumerate(self.transforms, 1):
            attribute = (0x800E).to_bytes(2, "big") + bits.to_bytes(2, "big") if bits else b""
            more = 0 if position == len(self.transforms) else 3
            body += bytes([more, 0]) + (8 + len(attribute)).to_bytes(2, "big") + bytes([kind, 0])
            body += identifier.to_bytes(2, "big") + attribute
        head = bytes([self.number, self.protocol, len(self.spi), len(self.transforms)]) + self.spi
        return bytes(2) + (4 + len(head) + len(body)).to_bytes(2, "big") + head + body


def read_header(message: bytes) -> Header:
    if len(message) < HEADER or int.from_bytes(message[24:28], "big") != len(message):
        raise ValueError("not an IKE message")
    message_id = int.from_bytes(message[20:24], "big")
    return Header(message[:8], message[8:16], message[16], message[18], message[19], message_id)


def chain(payloads: Sequence[Payload]) -> tuple[int, bytes]:
    """The first payload's type, and all payloads behind their generic headers."""
    out = b""
    for position, payload in enumerate(payloads):
        following = payloads[position + 1].type if position + 1 < len(payloads) else 0
        out += bytes([following, 0x80 if payload.critical else 0]) + (4 + len(payload.body)).to_bytes(2, "big")
        out += payload.body
    return (payloads[0].type if payloads else 0), out


def unchain(first: int, data: bytes) -> list[Payload]:
    found = []
    while first:
        length = int.from_bytes(data[2:4], "big")
        if length < 4 or length > len(data):
            raise ValueError("payload length")
        found.append(Payload(first, data[4:length], bool(data[1] & 0x80)))
        if first in (SK, SKF):
            break
        first, data = data[0], data[length:]
    return found


def one(payloads: Iterable[Payload], kind: int) -> Payload | None:
    return next((payload for payload in payloads if payload.type == kind), None)


def read_proposals(body: bytes) -> list[Proposal]:
    proposals = []
    while body:
        length = int.from_bytes(body[2:4], "big")
        number, protocol, spi_size, count = body[4:8]
        spi, rest = body[8 : 8 + spi_size], body[8 + spi_size : length]
        transforms = []
        for _ in range(count):
            size = int.from_bytes(rest[2:4], "big")
            bits = int.from_bytes(rest[10:12], "big") if size > 8 else 0
            transforms.append((rest[4], int.from_bytes(rest[6:8], "big"), bits))
            rest = rest[size:]
        proposals.append(Proposal(number, protocol, spi, tuple(transforms)))
        body = body[length:]
    return proposals


def notify(kind: int, data: bytes = b"", protocol: int = 0, spi: bytes = b"") -> Payload:
    return Payload(NOTIFY, bytes([protocol, len(spi)]) + kind.to_bytes(2, "big") + spi + data)


def notify_spi(payloads: Iterable[Payload], kind: int) -> bytes | None:
    """The SPI that a notify of this type is about; None without such a notify."""
    for payload in payloads:
        if payload.type == NOTIFY and int.from_bytes(payload.body[2:4], "big") == kind:
            return payload.body[4 : 4 + payload.body[1]]
    return None


def first_error(payloads: Iterable[Payload]) -> int:
    """The type of the first error notify, or 0."""
    return next((kind for kind in notifies(payloads) if kind < 16384), 0)


def delete(protocol: int, *spis: bytes) -> Payload:
    return Payload(
        DELETE, bytes([protocol, len(spis[0]) if spis else 0]) + len(spis).to_bytes(2, "big") + b"".join(spis)
    )


def deletions(payloads: Iterable[Payload]) -> list[tuple[int, bytes]]:
    """(protocol, SPI) of each SA that is deleted; the SPI of an IKE SA is empty."""
    found = []
    for payload in payloads:
        if payload.type == DELETE:
            protocol, size, data = payload.body[0], payload.body[1], payload.body[4:]
            spis = [data[at : at + size] for at in range(0, len(data), size)] if size else [b""]
            found += [(protocol, spi) for spi in spis]
    return found


def notifies(payloads: Iterable[Payload]) -> dict[int, bytes]:
    """Notify type to data; of a repeated one the last."""
    found = {}
    for payload in payloads:
        if payload.type == NOTIFY:
            found[int.from_bytes(payload.body[2:4], "big")] = payload.body[4 + payload.body[1] :]
    return found


def selectors(kind: int, *networks: str) -> Payload:
    """TSi or TSr for whole networks."""
    body = bytes([len(networks), 0, 0, 0])
    for text in networks:
        network = ip_network(text)
        first, last = network[0].packed, network[-1].packed
        head = bytes([7 if network.version == 4 else 8, 0]) + (8 + 2 * len(first)).to_bytes(2, "big")
        body += head + b"\x00\x00\xff\xff" + first + last
    return Payload(kind, body)


def configuration(*attributes: tuple[int, bytes], kind: int = 2) -> Payload:
    """CP; type 2 is CFG_REPLY."""
    body = bytes([kind, 0, 0, 0])
    for number, value in attributes:
        body += number.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value
    return Payload(CP, body)


def address_bytes(address: str) -> bytes:
    return ip_address(address).packed
