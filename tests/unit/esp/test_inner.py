from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyike.esp.inner import addresses, next_layer, trim
from tests.unit.esp.samples import inner_packets, ipv4, ipv6, ports

TCP, UDP, ICMP, ICMPV6, GRE, ESP, AH = 6, 17, 1, 58, 47, 50, 51
HIDDEN = (None, None, None)


def changed(packet: bytes, **at: int) -> bytes:
    """The packet with some bytes set: `changed(packet, _0=0x46)`."""
    result = bytearray(packet)
    for position, value in at.items():
        result[int(position[1:])] = value
    return bytes(result)


@given(inner_packets, st.binary(max_size=50))
def test_what_follows_the_packet_is_cut_off(packet: bytes, padding: bytes) -> None:
    assert trim(packet + padding) == packet


@given(inner_packets)
def test_every_shortened_packet_is_refused(packet: bytes) -> None:
    assert all(trim(packet[:length]) is None for length in range(len(packet)))


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(b"", id="empty"),
        pytest.param(changed(ipv4(), _0=0x44), id="header shorter than 20"),
        pytest.param(changed(ipv4(), _0=0x46), id="header longer than the packet"),
        pytest.param(changed(ipv4(bytes(20)), _0=0x4F), id="header longer than the total length"),
        pytest.param(changed(ipv4(), _3=19), id="total length below the header"),
        pytest.param(changed(ipv4(), _3=21), id="total length past the end"),
        pytest.param(changed(ipv6(), _5=1), id="payload length past the end"),
        pytest.param(changed(ipv4(), _0=0x05), id="version 0"),
        pytest.param(changed(ipv6(), _0=0x50), id="version 5"),
        pytest.param(b"\x60" + bytes(38), id="IPv6 header cut"),
    ],
)
def test_what_is_no_packet(packet: bytes) -> None:
    assert trim(packet) is None


def test_ipv4_options_are_part_of_the_header() -> None:
    packet = changed(ipv4(bytes(4) + ports(1, 2), protocol=UDP), _0=0x46)
    assert trim(packet) == packet
    assert next_layer(packet) == (UDP, 1, 2)


@given(st.binary(max_size=120))
def test_arbitrary_bytes(data: bytes) -> None:
    for first in (data[:1], b"\x45", b"\x60"):
        packet = trim(first + data[1:])
        if packet is not None:
            source, destination = addresses(packet)
            assert len(source) == len(destination) == (4 if packet[0] >> 4 == 4 else 16)
            protocol, source_port, destination_port = next_layer(packet)
            assert protocol is None or 0 <= protocol <= 255
            assert (source_port is None) == (destination_port is None)


def extension(next_header: int, units: int = 0) -> bytes:
    return bytes([next_header, units]) + bytes(6 + 8 * units)


def fragment(next_header: int, offset: int, more: int = 1) -> bytes:
    return bytes([next_header, 0]) + (offset << 3 | more).to_bytes(2, "big") + bytes(4)


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        pytest.param(ipv4(ports(1000, 443), protocol=TCP), (TCP, 1000, 443), id="TCP"),
        pytest.param(ipv6(ports(53, 5353), next_header=UDP), (UDP, 53, 5353), id="UDP in IPv6"),
        pytest.param(ipv4(bytes([8, 3, 0, 0]), protocol=ICMP), (ICMP, 0x0803, 0x0803), id="ICMP type and code"),
        pytest.param(ipv6(bytes([128, 0]), next_header=ICMPV6), (ICMPV6, 0x8000, 0x8000), id="ICMPv6"),
        pytest.param(ipv4(ports(1, 2), protocol=GRE), (GRE, None, None), id="no ports"),
        pytest.param(ipv4(b"\0\1\0", protocol=TCP), (TCP, None, None), id="ports cut"),
        pytest.param(changed(ipv4(ports(1, 2), protocol=TCP), _7=1), (TCP, None, None), id="later fragment"),
        pytest.param(changed(ipv4(ports(1, 2), protocol=TCP), _6=0x20), (TCP, 1, 2), id="first fragment"),
        pytest.param(
            ipv6(extension(43) + extension(60, 2) + extension(TCP) + ports(7, 8), next_header=0),
            (TCP, 7, 8),
            id="extension headers",
        ),
        pytest.param(ipv6(fragment(UDP, 0) + ports(7, 8), next_header=44), (UDP, 7, 8), id="first IPv6 fragment"),
        pytest.param(ipv6(fragment(UDP, 1) + ports(7, 8), next_header=44), (UDP, None, None), id="later one"),
        pytest.param(ipv6(fragment(60, 1) + bytes(8), next_header=44), HIDDEN, id="protocol in the first fragment"),
        pytest.param(ipv6(extension(TCP)[:7], next_header=60), HIDDEN, id="extension header cut"),
        pytest.param(ipv6(extension(60) * 9 + ports(7, 8), next_header=60), HIDDEN, id="endless chain"),
        pytest.param(ipv6(extension(TCP) + ports(7, 8), next_header=AH), (AH, None, None), id="AH is not skipped"),
        pytest.param(ipv6(bytes(8), next_header=ESP), (ESP, None, None), id="ESP is not skipped"),
    ],
)
def test_next_layer(packet: bytes, expected) -> None:
    assert trim(packet) == packet
    assert next_layer(packet) == expected
