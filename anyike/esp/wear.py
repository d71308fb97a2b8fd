"""How much a CHILD_SA may carry until its keys are worn (RFC 4301 section 4.4.2.1: lifetimes by use)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

NEVER = 2**64


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """Inner packets and their bytes, both directions together, after which new keys are wanted; 0 is no limit."""

    packets: int = 0
    octets: int = 0


NO_LIMITS = KeyLimits()


class Wear:
    """What one CHILD_SA may still carry; `on_worn` is called once, by the packet that reaches a limit.

    Both limits are up to a tenth lower than they are set, by `random`, so that the two sides, and many clients, do not
    ask for new keys at once.
    """

    __slots__ = ("_octets", "_on_worn", "_packets")

    def __init__(self, limits: KeyLimits, random: Callable[[int], bytes], on_worn: Callable[[], None]) -> None:
        self._packets = _spread(limits.packets, random)
        self._octets = _spread(limits.octets, random)
        self._on_worn = on_worn

    def note(self, octets: int) -> None:
        """Count one packet of either direction."""
        self._packets -= 1
        self._octets -= octets
        if self._packets <= 0 or self._octets <= 0:
            self._packets = self._octets = NEVER
            self._on_worn()


def _spread(limit: int, random: Callable[[int], bytes]) -> int:
    if not limit:
        return NEVER
    return limit - limit * int.from_bytes(random(2), "big") // (10 * 0xFFFF)
