"""A tunnel that stands: the gateway's liveness checks, its rekeying, and its end."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator

import pytest
from client import Client
from rig import Rig

from anyike.errors import ExitCode

DPD_DELAY = 5
SOAK_SECONDS = int(os.environ.get("ANYIKE_SOAK_SECONDS", "40"))

IMPATIENT = {"retransmit_timeout": 0.3, "retransmit_tries": 3, "liveness_interval": 1.0}
PATIENT = {**IMPATIENT, "retransmit_tries": 6}


class Silence:
    """The gateway's charon, stopped and going on."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig

    def begin(self) -> None:
        self._signal("STOP")

    def end(self) -> None:
        self._signal("CONT")

    def _signal(self, name: str) -> None:
        self._rig.run_in_gateway("sh", "-c", f"kill -{name} $(pidof charon-systemd)")


@pytest.fixture
def silence(rig: Rig) -> Iterator[Silence]:
    silence = Silence(rig)
    yield silence
    silence.end()


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
    print(f"{checks} liveness checks of the gateway, {answers} answered in {SOAK_SECONDS} s:\n{rig.gateway_sas()}")
    assert re.search(r"established \d+s ago", rig.gateway_sas())


def test_the_gateway_ends_the_tunnel(rig: Rig, client: Client) -> None:
    before = client.state()
    process = client.up()
    rig.terminate()
    assert process.end() == ExitCode.ENDED
    assert "the gateway" in process.output.splitlines()[-1]
    assert client.state() == before
    assert rig.gateway_sas() == ""


def test_the_gateway_falls_silent(client: Client, silence: Silence) -> None:
    before = client.state()
    process = client.up(ike=IMPATIENT, reconnect={"enabled": False})
    silence.begin()
    assert process.end() == ExitCode.ENDED
    assert "the gateway 192.0.2.1 does not answer any more" in process.output
    assert client.state() == before


def test_a_silent_gateway_does_not_keep_the_user(client: Client, silence: Silence) -> None:
    """DELETE is repeated for some seconds; a second signal does not wait for that."""
    before = client.state()
    process = client.up(ike={"retransmit_timeout": 30.0})
    silence.begin()
    process.signal(signal.SIGINT)
    assert process.stays_up(1)
    assert process.end(signal.SIGINT, limit=5) == ExitCode.OK
    assert client.state() == before


@pytest.mark.parametrize("host", ["192.0.2.1", "vpn.example.com"])
def test_a_short_silence_ends_nothing(client: Client, silence: Silence, host: str) -> None:
    """Also to a gateway with several addresses, each of which is tried only briefly at first."""
    process = client.up(host, ike=PATIENT)
    silence.begin()
    assert process.stays_up(4)
    silence.end()
    client.run("ping", "-c", "1", "-W", "5", "10.77.0.2")
    assert process.end(signal.SIGINT) == ExitCode.OK
