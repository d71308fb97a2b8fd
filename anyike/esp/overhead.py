"""What ESP in tunnel mode costs: the largest inner packet that fits an outer one."""

from __future__ import annotations

from anyike.crypto.cipher import CipherSuite
from anyike.esp.packet import ESP_ALIGNMENT, ESP_HEADER_LENGTH, TRAILER_LENGTH

OUTER_HEADER_LENGTH = {4: 20, 6: 40}
UDP_HEADER_LENGTH = 8
MINIMUM_MTU = 68
"""Every link carries this (RFC 791 section 3.2), and Linux gives no interface less."""


def inner_mtu(outer_mtu: int, suite: CipherSuite, outer_version: int, *, udp: bool) -> int:
    """Bytes of the largest inner IP packet whose ESP packet needs no outer fragmentation.

    Args:
        outer_mtu: bytes of an IP packet on the path to the gateway.
        suite: the CHILD_SA's algorithms.
        outer_version: 4 or 6, the IP version of the path, without options or extension headers.
        udp: whether ESP travels in UDP (RFC 3948).

    Returns:
        At least MINIMUM_MTU: below that the outer packet has to be fragmented.
    """
    outside = OUTER_HEADER_LENGTH[outer_version] + (UDP_HEADER_LENGTH if udp else 0)
    ciphertext = outer_mtu - outside - ESP_HEADER_LENGTH - suite.iv_length - suite.icv_length
    ciphertext -= ciphertext % max(suite.block_size, ESP_ALIGNMENT)
    return max(ciphertext - TRAILER_LENGTH, MINIMUM_MTU)
