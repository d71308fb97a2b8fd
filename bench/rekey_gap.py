"""The gap in the traffic at a rekeying: the longest time without an arrival around it, in each direction.

The gateway's rekeyings are begun over its control socket, and so are those of charon as the client. anyike begins its own by
short rekey times, in connections of their own. "none" are moments without any rekeying: what the machine itself does.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path

from figures import comparison
from numbered import CLIENT_ADDRESS, Traffic, client_control, gateway_control, numbered_traffic, watched
from peers import PROFILE, Anyike, BenchFailed, Charon, TestGateway

PACE = 1.4
"""Seconds between two moments."""
BEFORE, AFTER = 0.1, 1.0
"""Seconds around a moment in which a gap counts."""
OWN_RANGE = 0.9
"""anyike begins up to a tenth earlier than its rekey time."""
KINDS = (
    "CHILD_SA, by the gateway",
    "IKE SA, by the gateway",
    "CHILD_SA, by the client",
    "IKE SA, by the client",
    "none",
)
CHILD_THERE, IKE_THERE, CHILD_HERE, IKE_HERE, NONE = KINDS

Gaps = dict[str, list[tuple[float, float]]]
"""For each kind, the gaps upwards and downwards, ms."""


def measure(gateway: TestGateway, command: Path, directory: Path, rounds: int, count: int) -> tuple[Gaps, Gaps]:
    """Rounds of the two in turn; `count` moments of each kind in each round."""
    ours: Gaps = defaultdict(list)
    theirs: Gaps = defaultdict(list)
    for _ in range(rounds):
        measure_anyike(gateway, command, directory, count, ours)
        measure_charon(gateway, directory, count, theirs)
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return ours, theirs


def measure_anyike(gateway: TestGateway, command: Path, directory: Path, count: int, gaps: Gaps) -> None:
    """The gateway's rekeyings in one connection, then our own."""
    profile = directory / "rekey.toml"
    text = PROFILE.format(**gateway.info)
    profile.write_text(text)
    with Anyike(gateway, command, profile), gateway_control(gateway) as control:
        begin = {
            CHILD_THERE: lambda: control.rekey("child", "tunnel"),
            IKE_THERE: lambda: control.rekey("ike", "anyconnect"),
            NONE: lambda: None,
        }
        with numbered_traffic(gateway, directory) as running:
            moments = {kind: [moment(what) for _ in range(count)] for kind, what in begin.items()}
            time.sleep(PACE - AFTER)
        for kind, times in moments.items():
            gaps[kind] += gaps_at(running.result(), times)
    for kind, section in ((CHILD_HERE, "esp"), (IKE_HERE, "ike")):
        profile.write_text(text.replace(f"[{section}]\n", f"[{section}]\nrekey_time = {PACE / OWN_RANGE}\n"))
        with Anyike(gateway, command, profile), watched(gateway.info["client_namespace"], directory) as seen:
            with numbered_traffic(gateway, directory) as running:
                time.sleep((count + 2) * PACE / OWN_RANGE)
            traffic = running.result()
        latest = traffic.up.sent[-1] - AFTER
        times = [each.time for each in seen if each.by == CLIENT_ADDRESS and each.time < latest]
        if len(times) < count:
            raise BenchFailed(f"anyike began {len(times)} rekeyings, not {count}")
        gaps[kind] += gaps_at(traffic, times[:count])


def measure_charon(gateway: TestGateway, directory: Path, count: int, gaps: Gaps) -> None:
    """Everybody's rekeyings in one connection."""
    with ExitStack() as stack:
        stack.enter_context(Charon(gateway))
        there, here = (stack.enter_context(control(gateway)) for control in (gateway_control, client_control))
        begin = {
            CHILD_THERE: lambda: there.rekey("child", "tunnel"),
            IKE_THERE: lambda: there.rekey("ike", "mschapv2"),
            CHILD_HERE: lambda: here.rekey("child", "tunnel"),
            IKE_HERE: lambda: here.rekey("ike", "gateway"),
            NONE: lambda: None,
        }
        with numbered_traffic(gateway, directory) as running:
            moments = {kind: [moment(what) for _ in range(count)] for kind, what in begin.items()}
            time.sleep(PACE - AFTER)
    for kind, times in moments.items():
        gaps[kind] += gaps_at(running.result(), times)


def moment(what: Callable[[], object]) -> float:
    """Do it, and wait for the next; when it was."""
    time.sleep(PACE - AFTER)
    now = time.time()
    what()
    time.sleep(AFTER)
    return now


def gaps_at(traffic: Traffic, times: Iterable[float]) -> list[tuple[float, float]]:
    """The longest gaps around each moment; a packet lost there ends the bench."""
    times = list(times)
    for direction in (traffic.up, traffic.down):
        lost = [sent for sent in direction.missing() if any(-BEFORE < sent - time < AFTER for time in times)]
        if lost:
            raise BenchFailed(f"{len(lost)} packets were lost at a rekeying")
    return [
        (
            1000 * traffic.up.longest_gap(time - BEFORE, time + AFTER),
            1000 * traffic.down.longest_gap(time - BEFORE, time + AFTER),
        )
        for time in times
    ]


def table(ours: Gaps, theirs: Gaps) -> str:
    """The figures, in Markdown."""
    lines = ["| longest gap, ms | anyike | charon | anyike / charon |", "|---|---|---|---|"]
    for kind in KINDS:
        for index, way in enumerate(("up", "down")):
            pair = ([gap[index] for gap in gaps[kind]] for gaps in (ours, theirs))
            lines.append(comparison(f"{kind}, {way}", *pair, ".1f"))
    return "\n".join(lines)
