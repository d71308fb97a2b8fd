"""The IP packet inside the tunnel: its true length, and what traffic selectors are compared with."""

from __future__ import annotations

IPV4_HEADER_LENGTH = 20
IPV6_HEADER_LENGTH = 40

ICMP = 1
ICMPV6 = 58
PROTOCOLS_WITH_PORTS = frozenset({6, 17, 33, 132, 136})
"""TCP, UDP, DCCP, SCTP and UDP-Lite begin with source and destination port."""

HOP_BY_HOP = 0
ROUTING = 43
FRAGMENT = 44
DESTINATION_OPTIONS = 60
SKIPPED_EXTENSION_HEADERS = frozenset({HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS})
"""What RFC 4301 section 4.4.1.1 skips to find the next layer protocol; AH and ESP are not among them."""

EXTENSION_HEADER_LIMIT = 8
"""RFC 8200 section 4.1 knows an order of five; a longer chain is somebody wasting our time."""

NextLayer = tuple[int | None, int | None, int | None]
"""Protocol, source port, destination port; None where the packet does not show it (OPAQUE in RFC 4301).

ICMP has type * 256 + code as both ports (RFC 7296 section 3.13.1)."""


def version_of(packet: bytes) -> int:
    """The IP version field; 0 of an empty packet."""
    return packet[0] >> 4 if packet else 0


def trim(packet: bytes) -> bytes | None:
    """The packet cut to its own length field, or None when it is no complete IPv4 or IPv6 packet.

    What follows the packet is traffic flow confidentiality padding (RFC 4303 section 2.7).
    """
    length = len(packet)
    version = version_of(packet)
    if version == 4 and length >= IPV4_HEADER_LENGTH:
        header_length = (packet[0] & 15) << 2
        total = packet[2] << 8 | packet[3]
        if not IPV4_HEADER_LENGTH <= header_length <= total <= length:
            return None
    elif version == 6 and length >= IPV6_HEADER_LENGTH:
        total = IPV6_HEADER_LENGTH + (packet[4] << 8 | packet[5])
        if total > length:
            return None
    else:
        return None
    return packet if total == length else packet[:total]


def addresses(packet: bytes) -> tuple[bytes, bytes]:
    """Source and destination, 4 or 16 bytes each, of a packet that `trim` accepted."""
    if packet[0] >> 4 == 4:
        return packet[12:16], packet[16:20]
    return packet[8:24], packet[24:40]


def next_layer(packet: bytes) -> NextLayer:
    """Protocol and ports of a packet that `trim` accepted."""
    if packet[0] >> 4 == 4:
        protocol = packet[9]
        if (packet[6] & 0x1F) << 8 | packet[7]:
            return protocol, None, None
        return _ports(protocol, packet, (packet[0] & 15) << 2)
    return _ipv6_next_layer(packet)


def _ipv6_next_layer(packet: bytes) -> NextLayer:
    protocol = packet[6]
    offset = IPV6_HEADER_LENGTH
    for _ in range(EXTENSION_HEADER_LIMIT):
        if protocol not in SKIPPED_EXTENSION_HEADERS:
            return _ports(protocol, packet, offset)
        if len(packet) < offset + 8:
            return None, None, None
        if protocol == FRAGMENT and (packet[offset + 2] << 8 | packet[offset + 3]) >> 3:
            # Only the first fragment has the rest of the chain; of a later one even the protocol may be hidden.
            later = packet[offset]
            return None if later in SKIPPED_EXTENSION_HEADERS else later, None, None
        length = 8 if protocol == FRAGMENT else (packet[offset + 1] + 1) << 3
        protocol = packet[offset]
        offset += length
    return None, None, None


def _ports(protocol: int, packet: bytes, offset: int) -> NextLayer:
    if protocol in PROTOCOLS_WITH_PORTS and len(packet) >= offset + 4:
        return protocol, packet[offset] << 8 | packet[offset + 1], packet[offset + 2] << 8 | packet[offset + 3]
    if protocol in (ICMP, ICMPV6) and len(packet) >= offset + 2:
        type_and_code = packet[offset] << 8 | packet[offset + 1]
        return protocol, type_and_code, type_and_code
    return protocol, None, None
