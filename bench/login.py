"""`make bench`: what a login costs: CPU by parts, memory over many, and the wait after the last answer.

`cpu` and `memory` run the client's own code in one process against the tests' gateway; `answer` runs `anyike connect`
and charon against the strongSwan container, and needs root. All run with the Python that runs this.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
from pathlib import Path

import login_answer
import login_cpu
import login_memory
from installation import dependencies, install
from peers import BenchFailed, TestGateway

PARTS = ("cpu", "memory", "answer")


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("-n", "--rounds", type=int, default=7, help="of answer (default: 7); of cpu 30 times as many")
    parser.add_argument("--logins", type=int, default=1000, help="of memory, in each process (default: 1000)")
    parser.add_argument("--processes", type=int, default=3, help="of memory (default: 3)")
    parser.add_argument("--anyike", type=Path, metavar="FILE", help="answer: this command, not a fresh installation")
    parser.add_argument("--name", default="bench", help="name of the test gateway, when several run at a time")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    parts = arguments.parts or PARTS
    if "answer" in parts and os.geteuid():
        print("bench: answer needs root, for network namespaces and the gateway's container", file=sys.stderr)
        return 1
    try:
        for part in parts:
            print({"cpu": cpu, "memory": memory, "answer": answer}[part](arguments), end="\n\n")
    except BenchFailed as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return 1
    print(f"medians [least - most]; {dependencies(Path(sys.executable))}")
    print(f"$ {shlex.join(['python3', *sys.argv])}")
    return 0


def cpu(arguments: argparse.Namespace) -> str:
    """The table of the parts of a login."""
    rounds = 30 * arguments.rounds
    return f"{login_cpu.table(login_cpu.measure(rounds))}\n\n{rounds} logins of each"


def memory(arguments: argparse.Namespace) -> str:
    """The table of growth."""
    processes = login_memory.measure(arguments.logins, arguments.processes)
    conditions = f"{arguments.logins} logins after {login_memory.WARM_UP}, in each of {arguments.processes} processes"
    return f"{login_memory.table(processes)}\n\n{conditions}"


def answer(arguments: argparse.Namespace) -> str:
    """The table of the wait."""
    with tempfile.TemporaryDirectory(prefix="anyike-bench-") as directory:
        command = arguments.anyike or install(Path(directory, "installed"))
        with TestGateway(arguments.name) as gateway:
            rounds = login_answer.measure(gateway, command.absolute(), Path(directory), arguments.rounds)
    return f"{login_answer.table(rounds)}\n\n{arguments.rounds} rounds"


if __name__ == "__main__":
    sys.exit(main())
