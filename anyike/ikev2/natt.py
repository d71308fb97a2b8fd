"""NAT traversal (RFC 7296 2.23, RFC 3948): detection hashes, and what a datagram on the NAT port is."""

from __future__ import annotations

from enum import Enum, auto
from ipaddress import ip_address

from anyike.crypto.prf import digest

NON_ESP_MARKER = bytes(4)
KEEPALIVE = b"\xff"


class Kind(Enum):
    """What shares the UDP port."""

    IKE = auto()
    ESP = auto()
    KEEPALIVE = auto()


def classify(datagram: bytes) -> Kind:
    """A datagram on the NAT port: ESP never starts with a zero SPI (RFC 3948 2)."""
    if datagram[:4] == NON_ESP_MARKER:
        return Kind.IKE
    return Kind.ESP if len(datagram) > 1 else Kind.KEEPALIVE


def detection_hash(spi_i: bytes, spi_r: bytes, address: tuple[str, int]) -> bytes:
    """SHA-1 of SPIi | SPIr | address | port."""
    host, port = address
    return digest("sha1", spi_i + spi_r + ip_address(host).packed + port.to_bytes(2, "big"))
