"""`make bench`: from process start to tunnel up, CPU and memory of one `anyike connect`, next to charon.

charon logs in by EAP-MSCHAPv2 through the same gateway and RADIUS server, with the same proposal and certificate. The two
take turns, so that whatever else the machine does meets both; the table shows medians and what they are of charon's.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from figures import comparison, spread
from installation import dependencies, install
from peers import PROFILE, Anyike, BenchFailed, Charon, TestGateway, Usage, run


@dataclass
class Rounds:
    """What was measured, one entry for each round."""

    anyike: list[Usage] = field(default_factory=list)
    charon: list[Usage] = field(default_factory=list)
    version: list[float] = field(default_factory=list)


ROWS: tuple[tuple[str, Callable[[Usage], float], str], ...] = (
    ("process start to tunnel up, s", lambda usage: usage.up, ".3f"),
    ("process start to first ping answered, s", lambda usage: usage.ping, ".3f"),
    ("CPU, start to exit, s", lambda usage: usage.cpu, ".3f"),
    ("peak resident memory, MB", lambda usage: usage.memory, ".1f"),
)


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", "--rounds", type=int, default=7, help="how often each is measured (default: 7)")
    parser.add_argument("--anyike", type=Path, metavar="FILE", help="measure this command, not a fresh installation")
    parser.add_argument("--name", default="bench", help="name of the test gateway, when several run at a time")
    arguments = parser.parse_args()
    if os.geteuid():
        print("bench: needs root, for network namespaces and the gateway's container", file=sys.stderr)
        return 1
    try:
        with tempfile.TemporaryDirectory(prefix="anyike-bench-") as directory:
            command = arguments.anyike or install(Path(directory, "installed"))
            with TestGateway(arguments.name) as gateway:
                rounds = measure(gateway, command.absolute(), Path(directory), arguments.rounds)
            print(table(rounds))
            print(f"\n{arguments.rounds} rounds, medians [least - most]; {dependencies(command)}")
            print(f"$ {shlex.join(['python3', *sys.argv])}")
    except BenchFailed as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return 1
    return 0


def measure(gateway: TestGateway, command: Path, directory: Path, count: int) -> Rounds:
    """One round of each to warm the caches, then `count` that are kept, the two in turn."""
    profile = directory / "bench.toml"
    profile.write_text(PROFILE.format(**gateway.info))
    rounds = Rounds()
    for number in range(count + 1):
        one = Rounds()
        for client, usages in ((Anyike(gateway, command, profile), one.anyike), (Charon(gateway), one.charon)):
            with client:
                pass
            usages.append(client.usage)
        one.version.append(seconds(command, "--version"))
        print(".", end="", file=sys.stderr, flush=True)
        if number > 0:
            rounds.anyike += one.anyike
            rounds.charon += one.charon
            rounds.version += one.version
    print(file=sys.stderr)
    return rounds


def seconds(command: Path, *arguments: str) -> float:
    """How long a command runs."""
    start = time.perf_counter()
    run([command, *arguments])
    return time.perf_counter() - start


def table(rounds: Rounds) -> str:
    """The figures, in Markdown."""
    lines = ["| | anyike | charon | anyike / charon |", "|---|---|---|---|"]
    for label, value, digits in ROWS:
        ours, theirs = [value(usage) for usage in rounds.anyike], [value(usage) for usage in rounds.charon]
        lines.append(comparison(label, ours, theirs, digits))
    lines.append(f"| `anyike --version`, s | {spread(rounds.version, '.3f')} | | |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
