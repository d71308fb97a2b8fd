"""How long to wait before another attempt: longer each time, and never the same for two clients."""

from __future__ import annotations

from collections.abc import Callable

GROWTH = 2.0
JITTER = 0.5
"""A wait is this share shorter at most: when a gateway comes back, not all of its clients do in the same second."""


class Backoff:
    """Waits in seconds: about `first`, twice that, and so on up to `longest`."""

    def __init__(self, first: float, longest: float, random: Callable[[int], bytes]) -> None:
        self._first = first
        self._longest = longest
        self._random = random
        self._next = first

    def next(self) -> float:
        """The next wait."""
        wait, self._next = self._next, min(self._next * GROWTH, self._longest)
        return wait * (1 - JITTER * int.from_bytes(self._random(2), "big") / 0xFFFF)

    def reset(self) -> None:
        """It worked: the next wait is the first one again."""
        self._next = self._first
