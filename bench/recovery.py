"""From the end of a fault until packets go through the tunnel again in both directions.

The fault ends when charon goes on, when the restarted gateway is configured, when the link is up, when the new address is
there. Only packets that are sent afterwards count, so that what waited in a queue does not. Both clients repeat a request
after 0.5 s (1.8 times longer each time, 4 times), ask for life after 2 s, and begin anew on their own.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from figures import spread
from numbered import numbered_traffic
from peers import PROFILE, Anyike, BenchFailed, Charon, Client, TestGateway, run

SILENCE = 5.0
AWAY = 3.0
LIMIT = 25.0
"""Seconds after which a client counts as not coming back."""
SETTLE = 1.0
TIMERS = {
    "[ike]\n": "[ike]\nretransmit_timeout = 0.5\nretransmit_base = 1.8\nretransmit_tries = 4\nliveness_interval = 2.0\n",
    "[login]\n": '[login]\npassword_command = ["/bin/echo", "secret"]\n',
}
RECONNECT = "[reconnect]\nfirst_delay = 0.5\nlongest_delay = 2.0\n"

Times = dict[str, list[float]]
"""Seconds for each fault; infinite where the client did not come back."""


class StubbornAnyike(Anyike):
    """anyike that can log in again without anybody."""

    arguments = ("--non-inter",)


class StubbornCharon(Charon):
    """charon with the same timers, which begins anew when its peer is dead."""

    def __init__(self, gateway: TestGateway) -> None:
        super().__init__(gateway)
        state = Path(gateway.info["state"])  # /state in the container
        for attribute, name, changes in (
            (
                "daemon_file",
                "stubborn-daemon.conf",
                {
                    "load_modular = yes": "load_modular = yes\n  retransmit_timeout = 0.5\n  retransmit_base = 1.8\n"
                    "  retransmit_tries = 4\n  retry_initiate_interval = 1"
                },
            ),
            (
                "connections_file",
                "stubborn-connections.conf",
                {
                    "version = 2": "version = 2\n    dpd_delay = 2s\n    keyingtries = 0",
                    "local_addrs = 192.0.2.2": "local_addrs = %any",
                    "esp_proposals": "dpd_action = restart\n        close_action = start\n        esp_proposals",
                },
            ),
        ):
            text = gateway.run("exec", "cat", getattr(self, attribute))
            for old, new in changes.items():
                text = text.replace(old, new)
            (state / name).write_text(text)
            setattr(self, attribute, f"/state/{name}")


def silence(gateway: TestGateway) -> None:
    """The gateway's process is stopped for a while."""
    signal_charon(gateway, signal.SIGSTOP)
    time.sleep(SILENCE)
    signal_charon(gateway, signal.SIGCONT)


def restart(gateway: TestGateway) -> None:
    """It is killed; what started it starts it again, and it has to be told its configuration."""
    signal_charon(gateway, signal.SIGKILL)
    gateway.run("configure")


def link_down(gateway: TestGateway) -> None:
    """The client's link is away for a while."""
    run(gateway.in_client("ip", "link", "set", "uplink", "down"))
    time.sleep(AWAY)
    run(gateway.in_client("ip", "link", "set", "uplink", "up"))


def another_address(gateway: TestGateway) -> None:
    """The client's address is replaced by another of the same network."""
    run(gateway.in_client("ip", "address", "del", "192.0.2.2/24", "dev", "uplink"))
    run(gateway.in_client("ip", "address", "add", "192.0.2.3/24", "dev", "uplink"))


def first_address(gateway: TestGateway) -> None:
    """Undo the last two."""
    run(gateway.in_client("ip", "address", "flush", "dev", "uplink", "scope", "global"))
    for address in ("192.0.2.2/24", "2001:db8:1::2/64"):
        run(gateway.in_client("ip", "address", "add", address, "dev", "uplink", "nodad"))
    run(gateway.in_client("ip", "route", "replace", "default", "via", "192.0.2.1", "dev", "uplink"))


FAULTS: dict[str, Callable[[TestGateway], None]] = {
    f"gateway silent for {SILENCE:.0f} s": silence,
    "gateway killed and started again": restart,
    f"link down for {AWAY:.0f} s, and up": link_down,
    "another local address": another_address,
}


def measure(gateway: TestGateway, command: Path, directory: Path, rounds: int) -> tuple[Times, Times]:
    """Rounds of the two in turn, each fault in a new connection."""
    text = PROFILE.format(**gateway.info)
    for old, new in TIMERS.items():
        text = text.replace(old, new)
    profile = directory / "recovery.toml"
    profile.write_text(text + RECONNECT)
    ours: Times = defaultdict(list)
    theirs: Times = defaultdict(list)
    for _ in range(rounds):
        for label, fault in FAULTS.items():
            ours[label].append(recovery(StubbornAnyike(gateway, command, profile), fault, directory))
            theirs[label].append(recovery(StubbornCharon(gateway), fault, directory))
            print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return ours, theirs


def recovery(client: Client, fault: Callable[[TestGateway], None], directory: Path) -> float:
    """Seconds until this client's packets went both ways again."""
    gateway = client.gateway
    gateway.run("configure")
    passed = math.inf
    try:
        with client:
            with numbered_traffic(gateway, directory) as running:
                time.sleep(SETTLE)
                fault(gateway)
                end = time.time()
                wait_for_pings(gateway)
            traffic = running.result()
            passed = max(way.first_arrival_of_packet_sent_after(end) for way in (traffic.up, traffic.down)) - end
    except BenchFailed:
        if math.isfinite(passed):
            raise
    finally:
        first_address(gateway)
    return passed


def wait_for_pings(gateway: TestGateway) -> None:
    """Until one is answered, or LIMIT has passed."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        try:
            gateway.ping()
        except BenchFailed:
            time.sleep(0.1)
        else:
            break


def signal_charon(gateway: TestGateway, number: signal.Signals) -> None:
    """Send a signal to the gateway's charon, not to that of a client: the one that shares the container's process IDs."""
    namespace = os.readlink(f"/proc/{gateway.process}/ns/pid")
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it may end meanwhile
            if (process / "comm").read_text() == "charon-systemd\n" and os.readlink(process / "ns/pid") == namespace:
                os.kill(int(process.name), number)


def table(ours: Times, theirs: Times) -> str:
    """The figures, in Markdown."""
    lines = ["| seconds from the end of the fault | anyike | charon |", "|---|---|---|"]
    lines += [f"| {label} | {cell(ours[label])} | {cell(theirs[label])} |" for label in FAULTS]
    return "\n".join(lines)


def cell(times: list[float]) -> str:
    """Median, least and most, or how often it did not come back."""
    failed = sum(math.isinf(each) for each in times)
    if not failed:
        return spread(times, ".2f")
    return f"not within {LIMIT:.0f} s, {failed} of {len(times)} times"
