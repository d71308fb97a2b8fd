"""Inner packets, suites and pairs of SAs that the ESP tests share."""

from __future__ import annotations

import hashlib
from ipaddress import ip_address

from hypothesis import strategies as st

from anyike.crypto.cipher import Cipher, CipherSuite
from anyike.esp.wear import NO_LIMITS, Wear
from anyike.ikev2.child_sa import ChildSa, EspKeys, TrafficSelector

SUITES = [
    *(CipherSuite(20, bits) for bits in (128, 192, 256)),
    CipherSuite(28),
    *(CipherSuite(12, bits, integrity) for bits in (128, 192, 256) for integrity in (12, 13, 14)),
    CipherSuite(12, 128, 2),
    CipherSuite(3, 0, 2),
]
ONE_OF_EACH_KIND = [CipherSuite(20, 128), CipherSuite(28), CipherSuite(12, 256, 12)]
FAST = CipherSuite(20, 128)
UNLIMITED = Wear(NO_LIMITS, bytes, lambda: None)

CLIENT = ("10.0.0.1", "fd00::1")
SERVER = ("10.9.0.1", "fd09::1")

suites = st.sampled_from(SUITES)


def key(length: int, label: str = "") -> bytes:
    """Key bytes that differ by label and are the same in every run."""
    return hashlib.shake_128(f"key {label}".encode()).digest(length)


def keys_for(suite: CipherSuite, label: str = "") -> EspKeys:
    return EspKeys(
        key(suite.encryption_key_length, f"{label} encryption"), key(suite.integrity_key_length, f"{label} integrity")
    )


def cipher_for(suite: CipherSuite) -> Cipher:
    keys = keys_for(suite)
    return suite.bind(keys.encryption, keys.integrity)


def selector(
    start: str, end: str | None = None, protocol: int = 0, start_port: int = 0, end_port: int = 65535
) -> TrafficSelector:
    return TrafficSelector(ip_address(start), ip_address(end or start), protocol, start_port, end_port)


WHOLE_WORLD = (selector("0.0.0.0", "255.255.255.255"), selector("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"))
CLIENT_ONLY = tuple(selector(address) for address in CLIENT)


def children(
    suite: CipherSuite = FAST, number: int = 1, local=CLIENT_ONLY, remote=WHOLE_WORLD, *, esn: bool = False
) -> tuple[ChildSa, ChildSa]:
    """Both ends of one CHILD_SA; the client receives by SPI 0x1000 + number, the gateway by 0x2000 + number."""
    to_client, to_gateway = keys_for(suite, f"{number} down"), keys_for(suite, f"{number} up")
    spi_client, spi_gateway = 0x1000 + number, 0x2000 + number
    client = ChildSa(spi_client, spi_gateway, suite, to_client, to_gateway, tuple(local), tuple(remote), esn=esn)
    gateway = ChildSa(spi_gateway, spi_client, suite, to_gateway, to_client, tuple(remote), tuple(local), esn=esn)
    return client, gateway


def ipv4(payload: bytes = b"", source: str = CLIENT[0], destination: str = SERVER[0], protocol: int = 253) -> bytes:
    """An IPv4 packet without options; protocol 253 is for experiments (RFC 3692). Checksum left zero."""
    length = 20 + len(payload)
    header = b"\x45\0" + length.to_bytes(2, "big") + bytes(4) + bytes([64, protocol, 0, 0])
    return header + ip_address(source).packed + ip_address(destination).packed + payload


def ipv6(payload: bytes = b"", source: str = CLIENT[1], destination: str = SERVER[1], next_header: int = 253) -> bytes:
    header = b"\x60\0\0\0" + len(payload).to_bytes(2, "big") + bytes([next_header, 64])
    return header + ip_address(source).packed + ip_address(destination).packed + payload


def ports(source: int, destination: int) -> bytes:
    """The start of a TCP or UDP header."""
    return source.to_bytes(2, "big") + destination.to_bytes(2, "big")


inner_packets = st.binary(max_size=300).flatmap(lambda data: st.sampled_from([ipv4(data), ipv6(data)]))
