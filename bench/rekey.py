"""`make bench-rekey`: the traffic's gap at a rekeying, and the time to recover after a fault, next to charon.

1,000 numbered packets a second go each way between the client and a host behind the gateway; the two clients take turns.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
from pathlib import Path

import recovery
import rekey_gap
from installation import dependencies, install
from peers import BenchFailed, TestGateway

PARTS = ("gap", "recovery")


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: both)")
    parser.add_argument("-n", "--rounds", type=int, default=3, help="how often the clients take turns (default: 3)")
    parser.add_argument("--count", type=int, default=5, help="gap: rekeyings of each kind in a round (default: 5)")
    parser.add_argument("--anyike", type=Path, metavar="FILE", help="measure this command, not a fresh installation")
    parser.add_argument("--name", default="bench", help="name of the test gateway, when several run at a time")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    if os.geteuid():
        print("bench: needs root, for network namespaces and the gateway's container", file=sys.stderr)
        return 1
    try:
        with tempfile.TemporaryDirectory(prefix="anyike-bench-") as directory:
            command = (arguments.anyike or install(Path(directory, "installed"))).absolute()
            with TestGateway(arguments.name) as gateway:
                for part in arguments.parts or PARTS:
                    print({"gap": gap, "recovery": recover}[part](gateway, command, Path(directory), arguments))
                    print()
            print(f"{arguments.rounds} rounds, medians [least - most]; {dependencies(command)}")
            print(f"$ {shlex.join(['python3', *sys.argv])}")
    except BenchFailed as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return 1
    return 0


def gap(gateway: TestGateway, command: Path, directory: Path, arguments: argparse.Namespace) -> str:
    """The table of gaps."""
    return rekey_gap.table(*rekey_gap.measure(gateway, command, directory, arguments.rounds, arguments.count))


def recover(gateway: TestGateway, command: Path, directory: Path, arguments: argparse.Namespace) -> str:
    """The table of recoveries."""
    return recovery.table(*recovery.measure(gateway, command, directory, arguments.rounds))


if __name__ == "__main__":
    sys.exit(main())
