"""The proof by certificate of the golden exchange, as it was observed, and the octets that it signs."""

from __future__ import annotations

import hmac
import re
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.pcap import udp_datagrams

VECTORS = Path(__file__).parents[2] / "vectors" / "anyconnect"
_NAME = "anyconnect-cert-login"
_TEXT = (VECTORS / f"{_NAME}.txt").read_text()
_KEYS = dict(line.split() for line in (VECTORS / f"{_NAME}.keys").read_text().splitlines())


def _tlv(number: int) -> bytes:
    found = re.search(rf"TLV type {number} length \d+ .*\n +([0-9a-f]+)\n", _TEXT)
    assert found
    return bytes.fromhex(found[1])


def _octets() -> bytes:
    request, response = (datagram.payload for datagram in udp_datagrams(VECTORS / f"{_NAME}.pcap")[:2])
    identity = b"\xc9\0\0\0*$AnyConnectClient$*"
    return request + _nonce(response) + hmac.digest(bytes.fromhex(_KEYS["Sk_pi"]), identity, "sha256")


def _nonce(message: bytes) -> bytes:
    kind, rest = message[16], message[28:]
    while kind != 40:
        kind, rest = rest[0], rest[int.from_bytes(rest[2:4], "big") :]
    return rest[4 : int.from_bytes(rest[2:4], "big")]


CERTIFICATES = _tlv(3)
SIGNATURE = _tlv(1)
OCTETS = _octets()
DOCUMENTS = [text.encode() for text in re.findall(r"-----XML-----\n(.*?\n)-----END XML", _TEXT, re.DOTALL)]

_authority = x509.load_pem_x509_certificate((VECTORS / f"{_NAME}.ca.pem").read_bytes())
AUTHORITY = _authority.public_bytes(Encoding.DER)
WHEN = _authority.not_valid_before_utc + (_authority.not_valid_after_utc - _authority.not_valid_before_utc) / 2
