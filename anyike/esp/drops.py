"""Why a packet went no further, and the counts of what did and did not."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class DropReason(StrEnum):
    """Every way in which a packet can end between the tunnel interface and the gateway.

    The value is the name of its counter, after `dropped_`.
    """

    # From the gateway, before the packet has proved who sent it.
    MALFORMED = "malformed"
    UNKNOWN_SPI = "unknown_spi"
    TOO_OLD = "too_old"
    REPLAYED = "replayed"
    NOT_AUTHENTICATED = "not_authenticated"
    # From the gateway, authenticated.
    BAD_PADDING = "bad_padding"
    DUMMY = "dummy"
    BAD_NEXT_HEADER = "bad_next_header"
    BAD_INNER_PACKET = "bad_inner_packet"
    OUTSIDE_INBOUND_SELECTORS = "outside_inbound_selectors"
    INTERFACE_FULL = "interface_full"
    INTERFACE_REFUSED = "interface_refused"
    # From this host.
    BAD_OUTBOUND_PACKET = "bad_outbound_packet"
    NO_OUTBOUND_SA = "no_outbound_sa"
    OUTSIDE_OUTBOUND_SELECTORS = "outside_outbound_selectors"
    SEQUENCE_EXHAUSTED = "sequence_exhausted"


class Counters:
    """Packets and bytes as the inner host sees them, and drops by reason."""

    __slots__ = ("_drops", "bytes_in", "bytes_out", "packets_from_other_address", "packets_in", "packets_out")

    def __init__(self) -> None:
        self.packets_in = self.bytes_in = 0
        self.packets_out = self.bytes_out = 0
        self.packets_from_other_address = 0
        self._drops = dict.fromkeys(DropReason, 0)

    def drop(self, reason: DropReason) -> None:
        """Count one packet that ended here."""
        self._drops[reason] += 1

    def as_mapping(self) -> Mapping[str, int]:
        """A copy, with every name present from the start."""
        return {
            "packets_in": self.packets_in,
            "bytes_in": self.bytes_in,
            "packets_out": self.packets_out,
            "bytes_out": self.bytes_out,
            "packets_from_other_address": self.packets_from_other_address,
            **{f"dropped_{reason}": count for reason, count in self._drops.items()},
        }
