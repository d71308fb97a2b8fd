"""A tunnel under traffic while both sides rekey without end: nothing is lost, nothing grows, nothing is left.

ANYIKE_SOAK_REKEYS="200,50" makes so many rekeyings of the CHILD_SA and of the IKE SA from each side. charon as the client
is soaked too, to compare with: its figures are shown, and nothing is asserted of its losses.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from bisect import bisect
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from client import Client
from numbered_traffic import Direction, NumberedTraffic, Traffic
from process_growth import Growth
from queue_overflows import at_client_and_gateway
from rekeyings import Counts, Moment, watched
from rig import Rig
from test_rekeying import sas
from vici_control import ViciControl

from anyike.errors import ExitCode

CHILDREN, IKES = map(int, os.environ.get("ANYIKE_SOAK_REKEYS", "8,2").split(","))
CHILD_PACE, IKE_PACE = 1.4, 5.3
"""Seconds between two rekeyings by the gateway; by charon as the client the same."""
OURS = {"esp": {"rekey_time": 1.0, "life_time": 60.0}, "ike": {"rekey_time": 3.5, "life_time": 90.0}}
"""The clock of ours starts anew with each rekeying of the same SA by anybody."""
PATIENCE = 30.0 + 5 * (CHILD_PACE * CHILDREN + IKE_PACE * IKES)
NEAR = 2.0
"""Seconds around a rekeying in which nothing may be lost."""
TICK = 0.05
READING = 1.0
"""Seconds between two looks at the gateway's log and at anyike's memory."""
LEAK = 4.0
"""KiB for each rekeying. Nothing stays in use, yet up to 3 were seen of pages that are touched for the first time."""
FEW = 100
"""Fewer rekeyings than this say nothing about memory: one arena more, and the slope is steep."""
STREAM_PAUSE = 5.0
HEADER = """\
| client | CHILD_SA, by client + gateway | IKE SA | refused | seconds | packets up + down | lost near | elsewhere | \
full queues | longest gap, ms | TCP stream |
|---|---|---|---|---|---|---|---|---|---|---|"""

pytestmark = pytest.mark.timeout(120 + PATIENCE, func_only=False)


@dataclass(frozen=True)
class Soaked:
    """What was seen of one client."""

    counts: Counts
    moments: list[Moment]
    traffic: Traffic
    overflows: tuple[int, int]
    """Packets of any kind that found a full queue, at the client and at the gateway: the machine was busy."""
    seconds: float

    def lost_near(self) -> int:
        """Packets lost within NEAR of any rekeying."""
        return sum(self._is_near(sent) for sent in self._lost())

    def lost_elsewhere(self) -> int:
        """Packets lost at other times."""
        return sum(not self._is_near(sent) for sent in self._lost())

    def show(self, who: str) -> str:
        """One row of a table."""
        up, down = self.traffic.up, self.traffic.down
        counts = self.counts
        cells = (
            who,
            f"{counts.child_by_client} + {counts.child_by_gateway}",
            f"{counts.ike_by_client} + {counts.ike_by_gateway}",
            f"{counts.refused}",
            f"{self.seconds:.0f}",
            f"{len(up.sent):,} + {len(down.sent):,}",
            f"{self.lost_near()}",
            f"{self.lost_elsewhere()}",
            f"{sum(self.overflows)}",
            f"{1000 * longest(up):.0f}, {1000 * longest(down):.0f}",
            f"{self.traffic.stream.error or 'whole'}, {self.traffic.stream.bytes / 1e6:.0f} MB",
        )
        return f"| {' | '.join(cells)} |"

    def _lost(self) -> list[float]:
        return self.traffic.up.missing() + self.traffic.down.missing()

    def _is_near(self, sent: float) -> bool:
        times = [moment.time for moment in self.moments]
        place = bisect(times, sent)
        return any(abs(sent - moment) <= NEAR for moment in times[max(0, place - 1) : place + 1])


def longest(direction: Direction) -> float:
    """The longest time without an arrival, seconds."""
    return direction.longest_gap(direction.sent[0] + NEAR, direction.sent[-1] - NEAR)


@dataclass
class Rekeyer:
    """Somebody who begins a rekeying every so often."""

    control: ViciControl
    what: str
    name: str
    pace: float
    due: float = 0.0

    def act(self, now: float) -> None:
        if now >= self.due:
            self.due = now + self.pace
            self.control.rekey(self.what, self.name)


def container_root(rig: Rig) -> Path:
    """The container's files."""
    inspect = [rig.info["engine"], "inspect", "--format", "{{.State.Pid}}", rig.info["container"]]
    return Path("/proc", subprocess.run(inspect, capture_output=True, check=True, text=True).stdout.strip(), "root")


def soak(
    rig: Rig, directory: Path, root: Path, rekeyers: list[Rekeyer], reading: Callable[[Counts], None] = lambda _: None
) -> Soaked:
    """Rekey under traffic until both sides have begun enough of each kind."""
    inside, process = root / "run/netns/inside", int(root.parent.name)
    overflows = at_client_and_gateway(rig, process)
    start = time.monotonic()
    counts = Counts.of("")
    with (
        watched(rig.namespace, directory) as moments,
        NumberedTraffic(Path("/run/netns", rig.namespace), inside, "10.77.0.2", directory) as running,
    ):
        read = time.monotonic()
        while not counts.reach(CHILDREN, IKES):
            now = time.monotonic()
            assert now - start < PATIENCE, f"only {counts}"
            for rekeyer in rekeyers:
                rekeyer.act(now)
            if now >= read:
                read = now + READING
                counts = Counts.of(rig.charon_log())
                reading(counts)
            time.sleep(TICK)
        time.sleep(NEAR)
    seconds = time.monotonic() - start
    since = [after - before for before, after in zip(overflows, at_client_and_gateway(rig, process), strict=True)]
    return Soaked(counts, moments, running.result(), (since[0], since[1]), seconds)


def test_anyike_is_rekeyed_under_traffic(rig: Rig, client: Client, tmp_path: Path) -> None:
    rig.configure()
    before = client.state()
    process = client.up("--verbose", **OURS)
    growth = Growth(process.pid)
    root = container_root(rig)

    def read(counts: Counts) -> None:
        assert process.stays_up(0), process.output[-5000:]
        growth.read(total(counts))

    with ViciControl(root / "run/charon.vici") as gateway:
        rekeyers = [
            Rekeyer(gateway, "child", "tunnel", CHILD_PACE),
            Rekeyer(gateway, "ike", "anyconnect", IKE_PACE),
        ]
        seen = soak(rig, tmp_path, root, rekeyers, read)
    print(f"\n{HEADER}\n{seen.show('anyike')}")
    print(f"{growth.slope():.3f} KiB for each rekeying; MiB resident over time: {growth.show()}")
    print(f"descriptors open: {growth.settled_descriptors()}")
    assert seen.lost_near() <= sum(seen.overflows)
    assert seen.traffic.stream.error == ""
    assert seen.traffic.stream.longest_pause < STREAM_PAUSE
    assert len(growth.settled_descriptors()) == 1
    if total(seen.counts) >= FEW:
        assert growth.slope() < LEAK
    one_tunnel_stands(rig)
    assert process.end(signal.SIGINT) == ExitCode.OK
    assert rig.gateway_sas() == ""
    assert client.state() == before


def test_charon_is_rekeyed_under_traffic(rig: Rig, tmp_path: Path) -> None:
    rig.configure()
    root = container_root(rig)
    with rig.charon_client(), ExitStack() as stack:
        gateway = stack.enter_context(ViciControl(root / "run/charon.vici"))
        charon = stack.enter_context(ViciControl(root / "run/charon-client.vici"))
        rekeyers = [
            Rekeyer(gateway, "child", "tunnel", CHILD_PACE),
            Rekeyer(gateway, "ike", "mschapv2", IKE_PACE),
            Rekeyer(charon, "child", "tunnel", CHILD_PACE, time.monotonic() + CHILD_PACE / 2),
            Rekeyer(charon, "ike", "gateway", IKE_PACE, time.monotonic() + IKE_PACE / 2),
        ]
        seen = soak(rig, tmp_path, root, rekeyers)
        print(f"\n{HEADER}\n{seen.show('charon')}")
        one_tunnel_stands(rig)
    assert rig.gateway_sas() == ""


def total(counts: Counts) -> int:
    """All that were carried through."""
    return counts.child_by_client + counts.child_by_gateway + counts.ike_by_client + counts.ike_by_gateway


def one_tunnel_stands(rig: Rig) -> None:
    """One IKE SA and one CHILD_SA; a rekeying that is just under way may have two of a kind for a moment."""
    deadline = time.monotonic() + 10
    while sas(rig) != (1, 1):
        assert time.monotonic() < deadline, rig.gateway_sas()
