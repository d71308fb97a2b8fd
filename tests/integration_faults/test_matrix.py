"""Every fault during every operation: the tunnel lives or ends, on both sides, and nothing is left over or stuck."""

from __future__ import annotations

import json
import re
import signal
import time
from dataclasses import dataclass
from typing import Any

import pytest
from anyike_process import UP, AnyikeProcess, AnyikeProcessError
from client import Client
from fault_rig import FaultRelay, FaultRig, tunnels
from matrix import (
    BUDGET,
    DPD_DELAY,
    LIVENESS_INTERVAL,
    LOGIN,
    OTHER_DPD_DELAY,
    OTHER_LIVENESS_INTERVAL,
    RECONNECT,
    REKEY_TIME,
    RETRANSMISSION,
    TERMINATION_LIMIT,
    WEB,
    Fault,
    Operation,
    cases,
)
from results import Results

from anyike.errors import ExitCode
from tests.fault_relay.faults import NONE

HANDSHAKE_LIMIT = 3 * BUDGET
LIVENESS_SECONDS = 8.0
SETTLE_LIMIT = BUDGET + 30.0
"""Once the faults are over: the client's longest wait, then the gateway's."""
CASES = [pytest.param(*case, id=f"{case[1]}, {case[0].name}, seed {case[2]}") for case in cases()]


@dataclass(frozen=True, slots=True)
class Scene:
    """One case: the two ends, the relay between them, and how the client's machine was before."""

    rig: FaultRig
    client: Client
    relay: FaultRelay
    fault: Fault
    operation: Operation
    before: dict[str, Any]

    @property
    def ike(self) -> dict[str, float]:
        interval = LIVENESS_INTERVAL.get(self.operation, OTHER_LIVENESS_INTERVAL)
        return {**RETRANSMISSION, "liveness_interval": interval}

    def begin(self) -> float:
        """The faults come into force; now."""
        self.relay.set(self.fault.faults)
        return time.monotonic()

    def heal(self) -> None:
        """The faults are over."""
        self.relay.set(NONE)

    def rekeyed(self, process: AnyikeProcess, before: set[str], begun: float, *, child: bool) -> float | None:
        """Seconds until one SA with new SPIs has replaced the old one, in whatever way; None if none does, or anyike ends."""
        while process.stays_up(0.2) and time.monotonic() - begun < SETTLE_LIMIT:
            if self.rig.standing() == (1, 1) and not self.rig.spis(child=child) & before:
                return time.monotonic() - begun
        return None

    def settle(self, process: AnyikeProcess) -> bool:
        """Until both sides agree: True for one tunnel, False for none. Anything else is a failure."""
        deadline = time.monotonic() + SETTLE_LIMIT
        while True:
            standing = self.rig.standing()
            if process.running and standing == (1, 1) and self.carries_traffic():
                assert len(tunnels(json.loads(self.client.run("ip", "-j", "link", "show")))) == 1
                return True
            if not process.running and standing == (0, 0):
                assert self.client.state() == self.before
                return False
            assert time.monotonic() < deadline, (
                f"anyike {'runs' if process.running else 'has ended'}, the gateway has {standing} IKE and CHILD SAs:\n"
                f"{self.told(process)}\n{self.rig.gateway_sas()}"
            )
            process.stays_up(0.2)

    def told(self, process: AnyikeProcess) -> str:
        """What both sides have said, for whoever has to find out why a case fails."""
        return f"{process.output}\n{self.rig.charon_log()}"

    def carries_traffic(self) -> bool:
        """Whether a ping comes back through the tunnel."""
        ping = self.rig.run_in_client_namespace(["ping", "-c", "1", "-W", "2", WEB], check=False)
        return ping.returncode == 0

    def finish(self, process: AnyikeProcess) -> None:
        """Log off over the good network."""
        assert process.end(signal.SIGTERM, TERMINATION_LIMIT) == ExitCode.OK
        assert self.client.state() == self.before
        assert self.rig.settles((0, 0), SETTLE_LIMIT)

    def start(self, **more: dict[str, Any]) -> AnyikeProcess:
        """Run anyike, so that it can log in whenever it wants to."""
        settings = {"ike": self.ike, "login": LOGIN, "reconnect": RECONNECT, **more}
        return self.client.start("--non-inter", **settings)

    def up(self, **more: dict[str, Any]) -> AnyikeProcess:
        """The same, and wait for the tunnel."""
        process = self.start(**more)
        process.wait_up()
        return process

    def judge(self, process: AnyikeProcess, *, held: str = "held") -> str:
        """Settle, finish, and hold what happened against what may happen; the outcome in a word or two."""
        survived = self.operation in self.fault.survived
        if self.settle(process):
            self.finish(process)
            came_back = process.output.count(UP) > 1
            assert not (survived and came_back), self.told(process)
            return "came back" if came_back else held
        status = process.end()
        assert status in self.fault.allowed(self.operation), self.told(process)
        return f"gave up (status {status})"


def handshake(scene: Scene) -> tuple[str, float]:
    begun = scene.begin()
    process = scene.start()
    try:
        process.wait_for(UP, HANDSHAKE_LIMIT)
    except AnyikeProcessError:
        process.end()
    seconds = time.monotonic() - begun
    scene.heal()
    return scene.judge(process, held="up"), seconds


def liveness(scene: Scene) -> tuple[str, float]:
    process = scene.up()
    begun = scene.begin()
    process.stays_up(LIVENESS_SECONDS + scene.fault.faults.silence)
    seconds = time.monotonic() - begun
    scene.heal()
    if scene.operation in scene.fault.survived:
        by_gateway = scene.operation is Operation.GATEWAY_LIVENESS
        check = "sending DPD request" if by_gateway else r"parsed INFORMATIONAL request \d+ \[ (N\(NATD_\w+\) )*\]"
        assert re.search(check, scene.rig.charon_log()), f"nobody has checked anything:\n{scene.told(process)}"
    return scene.judge(process), seconds


def client_delete(scene: Scene) -> tuple[str, float]:
    process = scene.up()
    begun = scene.begin()
    assert process.end(signal.SIGTERM, TERMINATION_LIMIT) == ExitCode.OK, scene.told(process)
    seconds = time.monotonic() - begun
    assert scene.client.state() == scene.before
    scene.heal()
    assert scene.rig.settles((0, 0), SETTLE_LIMIT)
    return "ended", seconds


def gateway_delete(scene: Scene) -> tuple[str, float]:
    """A DELETE ends anyike; a tunnel whose DELETE never arrived is one that was lost."""
    process = scene.up()
    begun = scene.begin()
    with scene.rig.start_in_gateway("swanctl", "--terminate", "--ike", "anyconnect") as termination:
        while process.stays_up(0.1) and process.output.count(UP) == 1 and time.monotonic() - begun < SETTLE_LIMIT:
            pass
        seconds = time.monotonic() - begun
        scene.heal()
        termination.communicate(timeout=SETTLE_LIMIT)
    if process.running:
        return scene.judge(process), seconds
    assert process.end() == ExitCode.ENDED, scene.told(process)
    assert not scene.settle(process)
    return "ended", seconds


def gateway_rekey(scene: Scene) -> tuple[str, float]:
    child = scene.operation is Operation.GATEWAY_CHILD_REKEY
    process = scene.up()
    what = ("--child", "tunnel") if child else ("--ike", "anyconnect")
    before = scene.rig.spis(child=child)
    begun = scene.begin()
    with scene.rig.start_in_gateway("swanctl", "--rekey", *what) as rekeying:
        seconds = scene.rekeyed(process, before, begun, child=child)
        scene.heal()
        rekeying.communicate(timeout=SETTLE_LIMIT)
    return rekey_outcome(scene, process, seconds, begun)


def client_rekey(scene: Scene) -> tuple[str, float]:
    child = scene.operation is Operation.CLIENT_CHILD_REKEY
    rekeying = {"rekey_time": REKEY_TIME}
    process = scene.up(**({"esp": rekeying} if child else {"ike": {**scene.ike, **rekeying}}))
    before = scene.rig.spis(child=child)
    begun = scene.begin()
    seconds = scene.rekeyed(process, before, begun, child=child)
    scene.heal()
    return rekey_outcome(scene, process, seconds, begun)


def rekey_outcome(scene: Scene, process: AnyikeProcess, seconds: float | None, begun: float) -> tuple[str, float]:
    """Rekeyed, lost and back, or given up; never alive with old keys."""
    seconds_in_all = time.monotonic() - begun
    outcome = scene.judge(process, held="rekeyed")
    assert outcome != "rekeyed" or seconds is not None, f"the tunnel lives without new keys:\n{scene.told(process)}"
    return outcome, seconds or seconds_in_all


PLAYS = {
    Operation.HANDSHAKE: handshake,
    Operation.CLIENT_LIVENESS: liveness,
    Operation.GATEWAY_LIVENESS: liveness,
    Operation.CLIENT_DELETE: client_delete,
    Operation.GATEWAY_DELETE: gateway_delete,
    Operation.CLIENT_CHILD_REKEY: client_rekey,
    Operation.CLIENT_IKE_REKEY: client_rekey,
    Operation.GATEWAY_CHILD_REKEY: gateway_rekey,
    Operation.GATEWAY_IKE_REKEY: gateway_rekey,
}


@pytest.mark.parametrize(("fault", "operation", "seed"), CASES)
def test_fault(
    rig: FaultRig, client: Client, results: Results, fault: Fault, operation: Operation, seed: int | None
) -> None:
    rig.configure(dpd_delay=DPD_DELAY.get(operation, OTHER_DPD_DELAY))
    before = client.state()
    with rig.relay(seed) as relay:
        outcome, seconds = PLAYS[operation](Scene(rig, client, relay, fault, operation, before))
    results.note(fault.name, operation, outcome, seconds)
