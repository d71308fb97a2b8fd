"""A negotiated CHILD_SA: what a data path needs to know of it, and nothing of how it was negotiated."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from anyike.crypto.cipher import CipherSuite


@dataclass(frozen=True, slots=True)
class TrafficSelector:
    """RFC 7296 3.13.1: protocol 0 is any; ports 0-65535 are any; addresses are inclusive and of one family."""

    start: IPv4Address | IPv6Address
    end: IPv4Address | IPv6Address
    protocol: int = 0
    start_port: int = 0
    end_port: int = 65535

    def contains(self, other: TrafficSelector) -> bool:
        """Whether every packet of `other` is also one of this selector."""
        return (
            self.start.version == other.start.version
            and int(self.start) <= int(other.start)
            and int(other.end) <= int(self.end)
            and self.protocol in (0, other.protocol)
            and self.start_port <= other.start_port
            and other.end_port <= self.end_port
        )


@dataclass(frozen=True, slots=True)
class EspKeys:
    """Keys of one direction; `encryption` includes the salt of GCM and ChaCha20-Poly1305, `integrity` is empty for AEAD."""

    encryption: bytes = field(repr=False)
    integrity: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ChildSa:
    """A pair of ESP SAs in tunnel mode.

    `inbound_spi` is ours (the gateway puts it in what it sends), `outbound_spi` the gateway's.
    `esn`: sequence numbers have 64 bits, of which packets show the low half (RFC 4303 section 2.2.1).
    """

    inbound_spi: int
    outbound_spi: int
    suite: CipherSuite
    inbound_keys: EspKeys
    outbound_keys: EspKeys
    local_selectors: tuple[TrafficSelector, ...]
    remote_selectors: tuple[TrafficSelector, ...]
    udp_encapsulation: bool = True
    esn: bool = False
