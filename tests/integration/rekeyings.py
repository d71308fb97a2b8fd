"""Rekeyings as others see them: when (tcpdump), and of what, by whom, with which outcome (charon's log)."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

# In UDP (8 bytes) behind the non-ESP marker (4): exchange type and flags of the IKE header (RFC 7296 3.1).
CREATE_CHILD_SA_REQUEST = "udp port 4500 and udp[8:4] = 0 and udp[30] = 36 and udp[31] & 0x20 = 0"
LISTENING = "listening on"
START_LIMIT = 5.0
REQUEST = re.compile(r"(\d+\.\d+) IP (\d+\.\d+\.\d+\.\d+)\.\d+ > ")
ANSWER = re.compile(r"(parsed|generating) CREATE_CHILD_SA response \d+ \[ (.*) \]")


@dataclass(frozen=True)
class Moment:
    """When a rekeying began (seconds since 1970; a repeated request counts again), and the address of who began it."""

    time: float
    by: str


@contextmanager
def watched(namespace: str, directory: Path) -> Iterator[list[Moment]]:
    """A list that holds, after the block, every CREATE_CHILD_SA request that passed the client's link meanwhile."""
    moments: list[Moment] = []
    lines, errors = directory / "rekeyings", directory / "rekeyings.errors"
    command = ["tcpdump", "-i", "uplink", "-Z", "root", "-tt", "-n", "-l", "--immediate-mode", CREATE_CHILD_SA_REQUEST]
    with lines.open("w") as output, errors.open("w") as complaints:
        tcpdump = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{namespace}", *command], stdout=output, stderr=complaints
        )
        try:
            deadline = time.monotonic() + START_LIMIT
            while LISTENING not in errors.read_text():
                if tcpdump.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"tcpdump does not listen: {errors.read_text()}")
                time.sleep(0.01)
            yield moments
        finally:
            tcpdump.send_signal(signal.SIGINT)
            tcpdump.wait(START_LIMIT)
    moments += [Moment(float(found[1]), found[2]) for found in REQUEST.finditer(lines.read_text())]


@dataclass(frozen=True)
class Counts:
    """Rekeyings that were carried through, from each side, and those that were refused (a collision, mostly)."""

    child_by_gateway: int
    child_by_client: int
    ike_by_gateway: int
    ike_by_client: int
    refused: int

    @classmethod
    def of(cls, charon_log: str) -> Self:
        """Count the answers in the gateway's log: parsed ones are to what it began itself."""
        seen = [(kind == "parsed", words.split()) for kind, words in ANSWER.findall(charon_log)]
        child = [ours for ours, words in seen if "TSi" in words]
        ike = [ours for ours, words in seen if "SA" in words and "TSi" not in words]
        return cls(
            child.count(True), child.count(False), ike.count(True), ike.count(False), len(seen) - len(child) - len(ike)
        )

    def reach(self, children: int, ikes: int) -> bool:
        """Were there so many from each side?"""
        return min(self.child_by_gateway, self.child_by_client) >= children and (
            min(self.ike_by_gateway, self.ike_by_client) >= ikes
        )
