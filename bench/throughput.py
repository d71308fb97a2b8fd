"""Speed of the tunnel in each direction, next to charon as the client: 100 MB by HTTP from and to behind the gateway.

The gateway's end is charon with userspace ESP (kernel-libipsec) for both, and all of it shares this machine's cores.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from figures import comparison
from installation import dependencies, install
from peers import PROFILE, Anyike, BenchFailed, Charon, Client, TestGateway, run

MEGABYTE = 1_000_000


@dataclass
class Speeds:
    """Mbit/s through one client, one entry for each round."""

    download: list[float] = field(default_factory=list)
    upload: list[float] = field(default_factory=list)


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", "--rounds", type=int, default=3, help="how often each is measured (default: 3)")
    parser.add_argument("--megabytes", type=int, default=100, help="to fetch and to send (default: 100)")
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
                ours, theirs = measure(gateway, command.absolute(), Path(directory), arguments)
            print(table(ours, theirs))
            print(
                f"\n{arguments.rounds} rounds of {arguments.megabytes} MB, medians [least - most]; {dependencies(command)}"
            )
            print(f"$ {shlex.join(['python3', *sys.argv])}")
    except BenchFailed as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return 1
    return 0


def measure(
    gateway: TestGateway, command: Path, directory: Path, arguments: argparse.Namespace
) -> tuple[Speeds, Speeds]:
    """Rounds of the two in turn."""
    profile, payload = directory / "bench.toml", directory / "payload"
    profile.write_text(PROFILE.format(**gateway.info))
    payload.write_bytes(bytes(arguments.megabytes * MEGABYTE))
    ours, theirs = Speeds(), Speeds()
    for _ in range(arguments.rounds):
        transfer(Anyike(gateway, command, profile), payload, ours)
        transfer(Charon(gateway), payload, theirs)
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return ours, theirs


def transfer(client: Client, payload: Path, speeds: Speeds) -> None:
    """Move the payload's size down and the payload up, through this client."""
    server, size = client.gateway.info["web_ipv4"], payload.stat().st_size
    with client:
        speeds.download.append(curl(client.gateway, size, f"{server}/bytes/{size}"))
        speeds.upload.append(curl(client.gateway, size, "-H", "Expect:", "-T", str(payload), f"{server}/"))


def curl(gateway: TestGateway, size: int, *arguments: str) -> float:
    """Mbit/s of one transfer of so many bytes."""
    fixed = ("-sS", "--fail", "--noproxy", "*", "-o", "/dev/null", "-w", "%{time_total}")
    seconds = float(run(gateway.in_client("curl", *fixed, *arguments)).stdout)
    return size * 8 / seconds / 1e6


def table(ours: Speeds, theirs: Speeds) -> str:
    """The figures, in Markdown."""
    lines = ["| Mbit/s | anyike | charon | anyike / charon |", "|---|---|---|---|"]
    lines.append(comparison("download", ours.download, theirs.download, ".0f"))
    lines.append(comparison("upload", ours.upload, theirs.upload, ".0f"))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
