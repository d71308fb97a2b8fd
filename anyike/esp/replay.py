"""The anti-replay window, and the half of an extended sequence number that is not sent (RFC 4303 section 3.4.3)."""

from __future__ import annotations

from anyike.esp.drops import DropReason

REPLAY_WINDOW = 1024
"""Packets. RFC 4303 asks for 32 and prefers 64; at a gigabit a reordering of one millisecond is already 90 packets,
and gateways that encrypt on several cores reorder more than that."""

LOW_NUMBERS = 2**32
"""How many sequence numbers the half in a packet tells apart."""
LAST_EXTENDED_SEQUENCE = 2**64 - 1


class ReplayWindow:
    """Which sequence numbers have been seen, of 32 or of 64 bits.

    `check` before authentication costs an attacker's copy nothing but a look; only `mark`, called after
    authentication, changes anything, so that forged numbers cannot move the window.
    """

    __slots__ = ("_highest", "_mask", "_seen", "_size")

    def __init__(self, size: int = REPLAY_WINDOW) -> None:
        self._size = size
        self._mask = (1 << size) - 1
        self._highest = 0
        # Bit n is sequence number highest - n. Number 0 is never sent: it counts as seen.
        self._seen = 1

    def extend(self, low: int) -> int:
        """The extended sequence number that a packet with this low half must mean (RFC 4303 appendix A2.1).

        Of the numbers that end so, it is the first one that is not left of the window; whether it was meant, the packet's
        authentication shows.
        """
        bottom = max(self._highest - self._size + 1, 0)
        sequence = bottom + (low - bottom) % LOW_NUMBERS
        # There are no numbers after the last one: then it is an old packet, which `check` refuses.
        return sequence if sequence <= LAST_EXTENDED_SEQUENCE else sequence - LOW_NUMBERS

    def check(self, sequence: int) -> DropReason | None:
        """TOO_OLD or REPLAYED, or None when the number is new."""
        age = self._highest - sequence
        if age < 0:
            return None
        if age >= self._size:
            return DropReason.TOO_OLD
        return DropReason.REPLAYED if self._seen >> age & 1 else None

    def mark(self, sequence: int) -> None:
        """Note a number that `check` passed, now that its packet is authenticated."""
        age = self._highest - sequence
        if age >= 0:
            self._seen |= 1 << age
            return
        # A jump past the whole window must not build an integer of billions of bits.
        self._seen = (self._seen << -age | 1) & self._mask if -age < self._size else 1
        self._highest = sequence
