"""A reader of classic pcap files, just large enough for UDP over IPv4 on Ethernet."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

MAGIC = 0xA1B2C3D4
ETHERNET = 1
ETHERTYPE_IPV4 = 0x0800
UDP = 17


@dataclass(frozen=True)
class UdpDatagram:
    """Addresses as (IP, port); `payload` is what UDP carries."""

    source: tuple[IPv4Address, int]
    destination: tuple[IPv4Address, int]
    payload: bytes


def udp_datagrams(path: Path) -> list[UdpDatagram]:
    """Every UDP datagram of the capture, in order; anything else in it is an error."""
    capture = path.read_bytes()
    magic, _, _, _, _, _, link = struct.unpack_from("<IHHiIII", capture)
    assert (magic, link) == (MAGIC, ETHERNET), "not a little-endian Ethernet capture with microseconds"
    found, offset = [], 24
    while offset < len(capture):
        _, _, length, original = struct.unpack_from("<IIII", capture, offset)
        assert length == original, "a clipped frame"
        found.append(_udp(capture[offset + 16 : offset + 16 + length]))
        offset += 16 + length
    return found


def _udp(frame: bytes) -> UdpDatagram:
    assert int.from_bytes(frame[12:14], "big") == ETHERTYPE_IPV4
    ip = frame[14:]
    assert ip[9] == UDP
    udp = ip[(ip[0] & 0x0F) * 4 : int.from_bytes(ip[2:4], "big")]
    source_port, destination_port, length, _ = struct.unpack_from(">HHHH", udp)
    return UdpDatagram((IPv4Address(ip[12:16]), source_port), (IPv4Address(ip[16:20]), destination_port), udp[8:length])
