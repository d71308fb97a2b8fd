"""What the relay does to datagrams: faults as data, and the seeded dice that apply them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

from tests.fault_relay.forgery import Forger, Forgery
from tests.fault_relay.wire import Direction, Kind

HELD_BACK = (0.05, 0.6)
"""Seconds that a reordered datagram waits: long enough that fragments and hasty retransmissions overtake it."""

SHARES = ("loss", "duplication", "reordering", "corruption", "forging")


@dataclass(frozen=True, slots=True)
class Faults:
    """What happens to each datagram; shares are 0 to 1, times are seconds since the faults came into force."""

    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    corruption: float = 0.0
    """One bit of the datagram is turned over."""
    silence: float = 0.0
    """Nothing passes for so long, first at once ..."""
    silence_pause: float = 0.0
    """... and again each time after so long; 0 is never again."""
    forgeries: tuple[Forgery, ...] = ()
    forging: float = 1.0
    """Share of IKE datagrams that are preceded by one forgery of each kind, in the same direction."""
    forged_towards: tuple[Direction, ...] = tuple(Direction)
    esp: bool = False
    """Whether ESP and NAT keepalives suffer too, and not only IKE. (Nothing is forged for them.)"""

    def __post_init__(self) -> None:
        for name in SHARES:
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}, not 0 to 1")
        if self.silence < 0 or self.silence_pause < 0:
            raise ValueError("a silence cannot be shorter than nothing")

    def to_json(self) -> str:
        """One JSON object on one line, every fault named."""
        return json.dumps(asdict(self))

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Faults:
        """From parsed JSON, in whole or in part; TypeError and ValueError name what is wrong."""
        forgeries = tuple(Forgery(name) for name in values.get("forgeries", ()))
        directions = tuple(Direction(name) for name in values.get("forged_towards", Direction))
        return cls(**{**values, "forgeries": forgeries, "forged_towards": directions})

    def silent(self, elapsed: float) -> bool:
        """Whether a silence lasts, so long after the faults came into force."""
        if self.silence_pause:
            elapsed %= self.silence + self.silence_pause
        return elapsed < self.silence


NONE = Faults()


@dataclass(frozen=True, slots=True)
class Delivery:
    """One datagram that goes on, after so many seconds."""

    delay: float
    datagram: bytes


class Dice:
    """Decides each datagram's fate. The same seed and the same datagrams at the same times give the same fates."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._forger = Forger(self._random)
        self.counters: Counter[str] = Counter()

    def fate(self, datagram: bytes, kind: Kind, faults: Faults, elapsed: float, direction: Direction) -> list[Delivery]:
        """What goes on in place of a datagram, in this order; nothing when it is lost."""
        self.counters[f"{direction}: {kind}"] += 1
        if kind is Kind.IKE:
            self._forger.see(datagram, direction)
        if kind is not Kind.IKE and not faults.esp:
            return [Delivery(0.0, datagram)]
        if faults.silent(elapsed):
            self._count(direction, "silenced")
            return []
        deliveries = self._forged(datagram, faults, direction) if kind is Kind.IKE else []
        if self._happens(faults.loss, direction, "lost"):
            return deliveries
        deliveries.append(self._mistreated(datagram, faults, direction))
        if self._happens(faults.duplication, direction, "duplicated"):
            deliveries.append(self._mistreated(datagram, faults, direction))
        return deliveries

    def _mistreated(self, datagram: bytes, faults: Faults, direction: Direction) -> Delivery:
        delay = 0.0
        if datagram and self._happens(faults.corruption, direction, "corrupted"):
            changed = bytearray(datagram)
            changed[self._random.randrange(len(changed))] ^= 1 << self._random.randrange(8)
            datagram = bytes(changed)
        if self._happens(faults.reordering, direction, "reordered"):
            delay = self._random.uniform(*HELD_BACK)
        return Delivery(delay, datagram)

    def _forged(self, datagram: bytes, faults: Faults, direction: Direction) -> list[Delivery]:
        if direction not in faults.forged_towards or not faults.forgeries or self._random.random() >= faults.forging:
            return []
        forged = [made for kind in faults.forgeries for made in self._forger.forge(kind, datagram, direction)]
        self.counters[f"{direction}: forged"] += len(forged)
        return [Delivery(0.0, made) for made in forged]

    def _happens(self, share: float, direction: Direction, what: str) -> bool:
        """One throw of the dice, counted when it hits; a share of 0 throws none."""
        happens = bool(share) and self._random.random() < share
        if happens:
            self._count(direction, what)
        return happens

    def _count(self, direction: Direction, what: str) -> None:
        self.counters[f"{direction}: {what}"] += 1
