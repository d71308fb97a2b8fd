"""scapy's ESP, written by other people, reads what we write and writes what we read."""

from __future__ import annotations

import os

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.ipsec import ESP, IPSecIntegrityError, SecurityAssociation
from scapy.packet import Raw

from anyike.crypto.cipher import CipherSuite
from anyike.esp.drops import DropReason
from anyike.esp.table import SaTable
from anyike.ikev2.child_sa import EspKeys
from tests.unit.esp.samples import children

NAMES = {
    CipherSuite(20, 128): ("AES-GCM", None),
    CipherSuite(20, 256): ("AES-GCM", None),
    CipherSuite(28): ("CHACHA20-POLY1305", None),
    CipherSuite(12, 128, 12): ("AES-CBC", "SHA2-256-128"),
    CipherSuite(12, 256, 13): ("AES-CBC", "SHA2-384-192"),
    CipherSuite(12, 256, 14): ("AES-CBC", "SHA2-512-256"),
    CipherSuite(12, 192, 2): ("AES-CBC", "HMAC-SHA1-96"),
}
PACKETS = [bytes(IP(src="10.0.0.1", dst="10.9.0.1") / ICMP() / Raw(bytes(range(n)))) for n in (0, 1, 2, 3, 13, 56)] + [
    bytes(IPv6(src="fd00::1", dst="fd09::1") / UDP(sport=1, dport=2) / Raw(b"x" * n)) for n in (0, 1, 1300)
]


HIGH_HALVES = [0, 1, 0xFEDCBA98]


def scapy_sa(suite: CipherSuite, spi: int, keys: EspKeys, *, esn: bool = False) -> SecurityAssociation:
    encryption, integrity = NAMES[suite]
    return SecurityAssociation(
        ESP,
        spi=spi,
        crypt_algo=encryption,
        crypt_key=keys.encryption,
        auth_algo=integrity,
        auth_key=keys.integrity or None,
        tunnel_header=IP(src="192.0.2.1", dst="192.0.2.2"),
        esn_en=esn,
    )


@pytest.mark.parametrize("suite", NAMES, ids=lambda suite: suite.name)
def test_scapy_reads_what_we_write(suite: CipherSuite) -> None:
    child, _ = children(suite)
    table = SaTable(os.urandom)
    table.install(child)
    table.switch_outbound(child.outbound_spi)
    other = scapy_sa(suite, child.outbound_spi, child.outbound_keys)
    for packet in PACKETS:
        outer = IP(src="192.0.2.1", dst="192.0.2.2", proto=50) / ESP(table.protect(packet))
        assert bytes(other.decrypt(IP(bytes(outer)))) == packet


@pytest.mark.parametrize("suite", NAMES, ids=lambda suite: suite.name)
def test_we_read_what_scapy_writes(suite: CipherSuite) -> None:
    _, child = children(suite)
    table = SaTable(os.urandom)
    table.install(child)
    other = scapy_sa(suite, child.inbound_spi, child.inbound_keys)
    for packet in PACKETS:
        inner = IPv6(packet) if packet[0] >> 4 == 6 else IP(packet)
        assert table.unprotect(bytes(other.encrypt(inner)[ESP])) == packet


@pytest.mark.parametrize("high", HIGH_HALVES)
@pytest.mark.parametrize("suite", NAMES, ids=lambda suite: suite.name)
def test_scapy_reads_what_we_write_with_extended_sequence_numbers(suite: CipherSuite, high: int) -> None:
    child, _ = children(suite, esn=True)
    table = SaTable(os.urandom)
    table.install(child)
    table.switch_outbound(child.outbound_spi)
    table._current.sequence = (high << 32) + 7
    other = scapy_sa(suite, child.outbound_spi, child.outbound_keys, esn=True)
    for packet in PACKETS:
        outer = bytes(IP(src="192.0.2.1", dst="192.0.2.2", proto=50) / ESP(table.protect(packet)))
        assert bytes(other.decrypt(IP(outer), esn=high)) == packet
        with pytest.raises(IPSecIntegrityError):
            other.decrypt(IP(outer), esn=high + 1)


@pytest.mark.parametrize("high", HIGH_HALVES)
@pytest.mark.parametrize("suite", NAMES, ids=lambda suite: suite.name)
def test_we_read_what_scapy_writes_with_extended_sequence_numbers(suite: CipherSuite, high: int) -> None:
    _, child = children(suite, esn=True)
    table = SaTable(os.urandom)
    table.install(child)
    table._inbound[child.inbound_spi]._window.mark(high << 32 | 2000)
    other = scapy_sa(suite, child.inbound_spi, child.inbound_keys, esn=True)
    for number, packet in enumerate(PACKETS, 1990):
        inner = IPv6(packet) if packet[0] >> 4 == 6 else IP(packet)
        sealed = bytes(other.encrypt(inner, seq_num=number, esn=high)[ESP])
        assert table.unprotect(sealed) == packet
        sealed = bytes(other.encrypt(inner, seq_num=number, esn=high + 1)[ESP])
        assert table.unprotect(sealed) is DropReason.REPLAYED, "it is taken for the one of this round"
        sealed = bytes(other.encrypt(inner, seq_num=number + 50, esn=high + 1)[ESP])
        assert table.unprotect(sealed) is DropReason.NOT_AUTHENTICATED
