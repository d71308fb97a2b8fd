"""What `ip` shows of a machine or a network namespace, line by line, to be compared with what it shows later."""

from __future__ import annotations

import re
import subprocess
import time
from collections import Counter
from dataclasses import dataclass

COMMANDS = {
    "interfaces": ("-brief link show",),
    "addresses": ("-oneline address show",),
    "routes": ("-4 route show table all", "-6 route show table all"),
    "rules": ("-4 rule show", "-6 rule show"),
}
OF_A_MACHINE = {**COMMANDS, "namespaces": ("netns list",)}
CHANGING = re.compile(r"\\.*|\bexpires \d+sec|\(id: \d+\)|^\d+: (?=\S+\s+inet)")
"""What the listings hold of clocks and numbering."""
KERNELS_OWN = re.compile(r"\bfe80:|\bff00:|\btable local\b")
"""What comes with every interface and address: compared like all, but not worth showing."""
NOTHING = re.compile(r"(?!)")
SETTLING_LIMIT = 5.0

Listing = dict[str, Counter[str]]


def listing(namespace: str | None = None, without: re.Pattern[str] = NOTHING) -> Listing:
    """The lines of this machine, or of a namespace, by kind; except those in which the pattern is found."""
    prefix, kinds = (["ip"], OF_A_MACHINE) if namespace is None else (["ip", "-n", namespace], COMMANDS)
    return {
        kind: Counter(
            line for command in commands for line in _lines([*prefix, *command.split()]) if not without.search(line)
        )
        for kind, commands in kinds.items()
    }


def settled_listing(namespace: str) -> Listing:
    """The same, once the kernel is done with the link-local addresses of new interfaces, which come with routes."""
    tentative = ["ip", "-n", namespace, "-6", "address", "show", "tentative"]
    deadline = time.monotonic() + SETTLING_LIMIT
    while _lines(tentative) and time.monotonic() < deadline:
        time.sleep(0.05)
    return listing(namespace)


@dataclass(frozen=True)
class Comparison:
    """Listings of one place in their order; the last one should be like the first."""

    place: str
    listings: dict[str, Listing]

    def added(self, title: str) -> list[str]:
        """What this listing has and the first one has not, for people."""
        found = [line for kind in self._first for line in _more(self.listings[title], self._first, kind)]
        return [line for line in found if not KERNELS_OWN.search(line)]

    def differences(self) -> list[str]:
        """Every line that the last listing has too many or too few."""
        return [
            f"{word}: {line}"
            for kind in self._first
            for word, lines in (
                ("left", _more(self._last, self._first, kind)),
                ("lost", _more(self._first, self._last, kind)),
            )
            for line in lines
        ]

    def same(self) -> bool:
        """Is everything as it was?"""
        return not self.differences()

    def verdict(self) -> str:
        """In words."""
        return "as it was before" if self.same() else "not as it was before"

    def table(self) -> str:
        """How many lines of each kind there were when, and the differences."""
        rows = [f"  {self.place:<18}{''.join(f'{title:>11}' for title in self.listings)}"]
        for kind in self._first:
            counts = "".join(f"{found[kind].total():>11}" for found in self.listings.values())
            rows.append(f"  {kind:<18}{counts}   {'same' if self._first[kind] == self._last[kind] else 'DIFFERENT'}")
        return "\n".join([*rows, *(f"    {difference}" for difference in self.differences())])

    @property
    def _first(self) -> Listing:
        return next(iter(self.listings.values()))

    @property
    def _last(self) -> Listing:
        return list(self.listings.values())[-1]


def _more(one: Listing, other: Listing, kind: str) -> list[str]:
    return list((one[kind] - other[kind]).elements())


def _lines(command: list[str]) -> list[str]:
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [" ".join(CHANGING.sub("", line).split()) for line in output.splitlines()]
