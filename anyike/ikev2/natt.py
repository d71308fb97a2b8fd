"""NAT traversal (RFC 7296 2.23, RFC 3948): detection hashes and what they show, and what a datagram on the NAT port is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from ipaddress import ip_address

from anyike.crypto.prf import digest
from anyike.ikev2.constants import NotifyType
from anyike.ikev2.payloads import Notify, Payload

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


@dataclass(frozen=True, slots=True)
class NatDetection:
    """What the NAT_DETECTION notifies of a message show.

    `supported`: both kinds are there. `mapping`: the hash of our address as the gateway sees it, b"" when it did not say.
    """

    supported: bool
    in_front_of_us: bool
    in_front_of_gateway: bool
    mapping: bytes


def detect(
    payloads: Iterable[Payload], spi_i: bytes, spi_r: bytes, local: tuple[str, int], remote: tuple[str, int]
) -> NatDetection:
    """Compare the hashes of the gateway with the addresses that we know; a gateway may name several of its own."""
    notifies = [payload for payload in payloads if isinstance(payload, Notify)]
    sources = [notify.data for notify in notifies if notify.type == NotifyType.NAT_DETECTION_SOURCE_IP]
    mapping = next((n.data for n in notifies if n.type == NotifyType.NAT_DETECTION_DESTINATION_IP), b"")
    return NatDetection(
        supported=bool(sources) and bool(mapping),
        in_front_of_us=bool(mapping) and mapping != detection_hash(spi_i, spi_r, local),
        in_front_of_gateway=bool(sources) and detection_hash(spi_i, spi_r, remote) not in sources,
        mapping=mapping,
    )
