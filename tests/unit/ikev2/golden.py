"""The captured AnyConnect-EAP login (tests/vectors/anyconnect), as IKE datagrams and with its keys."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from anyike.crypto.cipher import CipherSuite
from anyike.ikev2.protection import Protection
from tests.pcap import udp_datagrams

VECTORS = Path(__file__).parents[2] / "vectors" / "anyconnect"
SUITE = CipherSuite(12, 256, 12)
NON_ESP_MARKER = bytes(4)


@cache
def ike_datagrams() -> tuple[bytes, ...]:
    """Every IKE datagram from the SPI on, in order; ESP is left out."""
    found = []
    for datagram in udp_datagrams(VECTORS / "anyconnect-cert-login.pcap"):
        if datagram.destination[1] == 500 or datagram.source[1] == 500:
            found.append(datagram.payload)
        elif datagram.payload[:4] == NON_ESP_MARKER:
            found.append(datagram.payload[4:])
    return tuple(found)


@cache
def keys() -> dict[str, bytes]:
    """SKEYSEED and the seven keys, by their names in lower case."""
    lines = (VECTORS / "anyconnect-cert-login.keys").read_text().splitlines()
    return {name.lower(): bytes.fromhex(value) for name, value in (line.split() for line in lines)}


def is_from_client(datagram: bytes) -> bool:
    """By the I flag."""
    return bool(datagram[19] & 0x08)


def observer(datagram: bytes) -> Protection:
    """A Protection that opens what the sender of `datagram` sealed, and seals with the same key and its IV."""
    sk = keys()
    names = ("sk_ei", "sk_ai") if is_from_client(datagram) else ("sk_er", "sk_ar")
    cipher = SUITE.bind(*(sk[name] for name in names))
    iv = datagram[32:48]
    return Protection(cipher, cipher, lambda count: iv[:count])
