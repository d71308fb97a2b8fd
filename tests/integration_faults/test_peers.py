"""A peer that dies, forgets, stops or moves: what the other does, and that the next connection finds nothing in its way."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator

import pytest
from anyike_process import UP, AnyikeProcess
from client import Client
from fault_rig import FaultRelay, FaultRig, tunnels
from matrix import LOGIN, RECONNECT, TERMINATION_LIMIT, WEB, takes_long

from anyike.errors import ExitCode
from tests.fault_relay.faults import Faults

DPD_DELAY = 1
GATEWAY_GIVES_UP = DPD_DELAY + 17.0
"""Seconds until charon has sent a DPD request four times (2, 3, 4.5 and 6.75 s) and drops the SA."""
IMPATIENT = {"retransmit_timeout": 0.3, "retransmit_base": 1.3, "retransmit_tries": 6, "liveness_interval": 1.0}
LOSS_LIMIT = 20.0


@pytest.fixture
def rig(rig: FaultRig) -> FaultRig:
    rig.configure(dpd_delay=DPD_DELAY)
    return rig


@pytest.fixture
def relay(rig: FaultRig) -> Iterator[FaultRelay]:
    with rig.relay() as relay:
        yield relay


def up(client: Client, *, ike: dict = IMPATIENT, comes_back: bool = True) -> AnyikeProcess:
    """A tunnel of an anyike that can log in again whenever it wants to."""
    process = client.start("--non-inter", ike=ike, login=LOGIN, reconnect={**RECONNECT, "enabled": comes_back})
    process.wait_up()
    return process


def comes_back(rig: FaultRig, client: Client, process: AnyikeProcess) -> None:
    """What anyike does when its tunnel is lost: it says so and logs in again."""
    process.wait_for("connecting again in", LOSS_LIMIT)
    process.wait_for(UP, LOSS_LIMIT, after=process.output.index("connecting again in"))
    is_the_only_tunnel(rig, client)


def is_the_only_tunnel(rig: FaultRig, client: Client) -> None:
    """One interface here, one IKE SA and one CHILD_SA there, and packets pass."""
    assert rig.settles((1, 1), 2 * GATEWAY_GIVES_UP), rig.gateway_sas()
    assert len(tunnels(json.loads(client.run("ip", "-j", "link", "show")))) == 1
    client.run("ping", "-c", "1", "-W", "5", WEB)


def leaves_nothing(rig: FaultRig, client: Client, process: AnyikeProcess, before: dict) -> None:
    """Log off; neither side keeps anything."""
    assert process.end(signal.SIGTERM, TERMINATION_LIMIT) == ExitCode.OK
    assert client.state() == before
    assert rig.settles((0, 0), GATEWAY_GIVES_UP)


def test_the_gateway_is_killed_and_comes_back(rig: FaultRig, client: Client, relay: FaultRelay) -> None:
    """It says nothing at its end and knows nothing afterwards."""
    before = client.state()
    process = up(client)
    rig.kill_charon()
    rig.configure(dpd_delay=DPD_DELAY)
    comes_back(rig, client, process)
    leaves_nothing(rig, client, process, before)


@takes_long
def test_the_gateway_is_killed_and_anyike_is_not_to_come_back(rig: FaultRig, client: Client, relay: FaultRelay) -> None:
    before = client.state()
    process = up(client, comes_back=False)
    rig.kill_charon()
    rig.configure(dpd_delay=DPD_DELAY)
    assert process.end(limit=LOSS_LIMIT) == ExitCode.ENDED, process.output
    assert "does not answer any more" in process.output
    assert client.state() == before
    process = up(client)
    is_the_only_tunnel(rig, client)
    leaves_nothing(rig, client, process, before)


@takes_long
def test_the_gateway_restarts_in_silence(rig: FaultRig, client: Client, relay: FaultRelay) -> None:
    """Its DELETE is lost: it forgets us, and we learn of it by its silence."""
    before = client.state()
    process = up(client)
    relay.set(Faults(loss=1.0))
    rig.configure(dpd_delay=DPD_DELAY)
    relay.set(Faults())
    comes_back(rig, client, process)
    leaves_nothing(rig, client, process, before)


def test_the_gateway_restarts_with_a_word(rig: FaultRig, client: Client, relay: FaultRelay) -> None:
    """It deletes what it has before it ends."""
    before = client.state()
    process = up(client)
    rig.configure(dpd_delay=DPD_DELAY)
    assert process.end(limit=LOSS_LIMIT) == ExitCode.ENDED
    assert client.state() == before


@takes_long
def test_the_client_is_stopped_for_longer_than_dpd(rig: FaultRig, client: Client, relay: FaultRelay) -> None:
    before = client.state()
    process = up(client)
    process.signal(signal.SIGSTOP)
    try:
        assert rig.settles((0, 0), 2 * GATEWAY_GIVES_UP), "the gateway has not given up"
    finally:
        process.signal(signal.SIGCONT)
    comes_back(rig, client, process)
    leaves_nothing(rig, client, process, before)


@takes_long
def test_the_client_is_stopped_for_a_moment(rig: FaultRig, client: Client, relay: FaultRelay) -> None:
    """Its own timers are all overdue when it goes on, and none of that counts as the gateway's silence."""
    before = client.state()
    process = up(client)
    process.signal(signal.SIGSTOP)
    time.sleep(6)
    process.signal(signal.SIGCONT)
    assert process.stays_up(3), process.output
    is_the_only_tunnel(rig, client)
    leaves_nothing(rig, client, process, before)


@takes_long
def test_the_client_is_killed_and_started_again(rig: FaultRig, client: Client, relay: FaultRelay) -> None:
    """The new process clears up after the old one; the gateway gets rid of the old SA by its own DPD."""
    before = client.state()
    up(client).end(signal.SIGKILL)
    process = up(client)
    assert len(tunnels(json.loads(client.run("ip", "-j", "link", "show")))) == 1
    is_the_only_tunnel(rig, client)
    leaves_nothing(rig, client, process, before)


@takes_long
def test_the_nat_between_forgets_its_mappings(rig: FaultRig, client: Client, relay: FaultRelay) -> None:
    """IKE goes on in both directions. Traffic is the gateway's matter: charon that claims a NAT of its own does not follow."""
    before = client.state()
    process = up(client)
    for _ in range(3):
        relay.rebind()
        assert process.stays_up(GATEWAY_GIVES_UP / 2), process.output
    assert rig.standing() == (1, 1)
    assert len(tunnels(json.loads(client.run("ip", "-j", "link", "show")))) == 1
    leaves_nothing(rig, client, process, before)


@takes_long
@pytest.mark.parametrize("waiting", [False, True], ids=["idle", "waiting"])
def test_a_log_off_into_silence_ends_in_time(
    rig: FaultRig, client: Client, relay: FaultRelay, *, waiting: bool
) -> None:
    """With the default retransmission, and also behind a request that is not answered any more."""
    before = client.state()
    process = up(client, ike={"liveness_interval": 1.0 if waiting else 30.0})
    relay.set(Faults(loss=1.0, esp=True))
    assert process.stays_up(2.0)
    assert process.end(signal.SIGTERM, TERMINATION_LIMIT) == ExitCode.OK
    assert client.state() == before


def test_a_log_off_while_it_tries_to_come_back_ends_in_time(rig: FaultRig, client: Client, relay: FaultRelay) -> None:
    """Nobody answers any more, neither the old tunnel nor the new login."""
    before = client.state()
    process = up(client)
    relay.set(Faults(loss=1.0, esp=True))
    process.wait_for("connecting again in", LOSS_LIMIT)
    assert process.stays_up(2.0)
    assert process.end(signal.SIGTERM, TERMINATION_LIMIT) == ExitCode.OK
    assert client.state() == before
