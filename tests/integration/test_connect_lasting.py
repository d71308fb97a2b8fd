"""A tunnel that stands: the gateway's liveness checks, its rekeying, and its end."""

from __future__ import annotations

import os
import re

from anyike_process import Client
from rig import Rig

from anyike.errors import ExitCode

DPD_DELAY = 5
SOAK_SECONDS = int(os.environ.get("ANYIKE_SOAK_SECONDS", "40"))


def test_a_tunnel_stands_under_the_gateways_dpd(rig: Rig, client: Client) -> None:
    rig.configure(dpd_delay=DPD_DELAY)
    process = client.up()
    assert process.stays_up(SOAK_SECONDS)
    client.run("ping", "-c", "1", "-W", "5", "10.77.0.2")
    checks = rig.charon_log().count("sending DPD request")
    # The next check comes a whole delay after the answer to the last one.
    assert checks >= SOAK_SECONDS // (DPD_DELAY + 1)
    answers = len(re.findall(r"parsed INFORMATIONAL response \d+ \[ \]", rig.charon_log()))
    assert answers == checks
    assert "retransmit" not in rig.charon_log()
    assert re.search(rf"established {SOAK_SECONDS // 10}\d*s ago", rig.gateway_sas()) or SOAK_SECONDS < 10


def test_the_gateway_rekeys_the_child_sa_in_vain_and_traffic_goes_on(rig: Rig, client: Client) -> None:
    before = client.state()
    process = client.up()
    rig.rekey("child")
    client.run("ping", "-c", "3", "-i", "0.2", "-W", "5", "10.77.0.2")
    assert "CREATE_CHILD_SA request" in rig.charon_log()
    assert re.search(r"parsed CREATE_CHILD_SA response \d+ \[ N\(NO_ADD_SAS\) \]", rig.charon_log())
    assert process.running
    rig.terminate()
    assert process.end() == ExitCode.ENDED
    assert client.state() == before


def test_the_gateway_ends_the_tunnel(rig: Rig, client: Client) -> None:
    before = client.state()
    process = client.up()
    rig.terminate()
    assert process.end() == ExitCode.ENDED
    assert "the gateway" in process.output.splitlines()[-1]
    assert client.state() == before
    assert rig.gateway_sas() == ""
