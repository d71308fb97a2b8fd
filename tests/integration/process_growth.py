"""What a process takes of the machine over time: memory and file descriptors."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from statistics import linear_regression

PAGE = os.sysconf("SC_PAGE_SIZE")
WARM_UP = 1 / 3
"""The first share of all readings, which does not count: caches fill, and modules are loaded."""


@dataclass
class Growth:
    """Readings of one process, each at a number of whatever it has done so far."""

    pid: int
    done: list[int] = field(default_factory=list)
    resident: list[float] = field(default_factory=list)
    """KiB."""
    descriptors: list[int] = field(default_factory=list)

    def read(self, done: int) -> None:
        """Take a reading."""
        self.done.append(done)
        self.resident.append(int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE / 1024)
        self.descriptors.append(len(os.listdir(f"/proc/{self.pid}/fd")))

    @property
    def _warm(self) -> slice:
        return slice(int(len(self.done) * WARM_UP), None)

    def slope(self) -> float:
        """KiB for each thing done, by least squares, after the warm-up."""
        return linear_regression(self.done[self._warm], self.resident[self._warm]).slope

    def settled_descriptors(self) -> set[int]:
        """How many descriptors were open, after the warm-up."""
        return set(self.descriptors[self._warm])

    def show(self) -> str:
        """MiB resident at the first reading, at each tenth, and at the last."""
        last = len(self.resident) - 1
        return ", ".join(f"{self.resident[last * tenth // 10] / 1024:.2f}" for tenth in range(11))
