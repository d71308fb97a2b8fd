"""Coming back: a gateway that is silent, one that has forgotten us, a changed address, and the signals that users know."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from client import Client
from rig import Rig

from anyike.errors import ExitCode

QUICK = {
    "ike": {"retransmit_timeout": 0.3, "retransmit_tries": 3, "liveness_interval": 1.0},
    "reconnect": {"first_delay": 0.5, "longest_delay": 2.0},
    "login": {"user": "ada", "password_command": ["/bin/echo", "secret"], "group": "Staff"},
}
INSIDE = "10.77.0.2"
LIMIT = 40.0


@pytest.fixture
def charon(rig: Rig) -> Iterator[None]:
    """Whatever a test did to it, it goes on."""
    yield
    signal_charon(rig, "CONT")


def signal_charon(rig: Rig, name: str) -> None:
    rig.run_in_gateway("sh", "-c", f"kill -{name} $(pidof charon-systemd)")


def reaches(client: Client) -> bool:
    return "1 received" in client.run("ping", "-c", "1", "-W", "1", INSIDE, check=False)


def wait_until(condition, limit: float = LIMIT) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def up(client: Client, **more):
    process = client.start("--non-inter", **{**QUICK, **more})
    process.wait_up()
    assert reaches(client)
    return process


def rules(client: Client) -> str:
    """What of the host is the tunnel's."""
    shown = client.run("ip", "rule", "show") + client.run("ip", "route", "show", "table", "all")
    return "\n".join(line for line in shown.splitlines() if "uplink" not in line and "fe80:" not in line)


@pytest.mark.usefixtures("charon")
def test_a_gateway_that_was_silent(rig: Rig, client: Client) -> None:
    rig.configure()
    process = up(client)
    routed = rules(client)
    signal_charon(rig, "STOP")
    process.wait_for("connecting again in", LIMIT)
    assert rules(client) == routed  # held: nothing leaks past the tunnel
    signal_charon(rig, "CONT")
    wait_until(lambda: reaches(client))
    assert "10.77.0.0/24 dev anyike0" in rules(client)  # the gateway may have given us another address
    assert process.running
    assert len(client.run("ip", "-br", "link", "show", "type", "tun").splitlines()) == 1


@pytest.mark.usefixtures("charon")
def test_released_routes_come_back_too(rig: Rig, client: Client) -> None:
    rig.configure()
    process = up(client, reconnect={**QUICK["reconnect"], "on_disconnect": "release"})
    signal_charon(rig, "STOP")
    process.wait_for("connecting again in", LIMIT)
    wait_until(lambda: INSIDE.rpartition(".")[0] not in rules(client))
    signal_charon(rig, "CONT")
    wait_until(lambda: reaches(client))
    assert "10.77.0.0/24 dev anyike0" in rules(client)
    assert process.running


def test_a_gateway_that_has_forgotten_us(rig: Rig, client: Client) -> None:
    rig.configure()
    process = up(client)
    rig.run_in_gateway("sh", "-c", "kill -KILL $(pidof charon-systemd)")
    rig.configure()
    wait_until(lambda: reaches(client))
    assert process.running


def test_a_password_that_is_not_right_any_more_ends_it(rig: Rig, client: Client) -> None:
    rig.configure()
    secret = client.profile.with_name("secret")
    secret.write_text("secret\n")
    login = {**QUICK["login"], "password_command": ["/bin/cat", str(secret)]}
    process = up(client, login=login)
    secret.write_text("wrong\n")
    rig.run_in_gateway("sh", "-c", "kill -KILL $(pidof charon-systemd)")
    rig.configure()
    assert process.end(limit=LIMIT) == ExitCode.LOGIN_FAILED
    assert rig.radius_log().count("Access-Reject") <= 1


def test_another_login_on_demand(rig: Rig, client: Client) -> None:
    rig.configure()
    process = up(client)
    before = rig.gateway_sas()
    shown = len(process.output)
    process.signal(signal.SIGUSR2)
    process.wait_for(" is up, to ", LIMIT, after=shown)
    assert reaches(client)
    listed = rig.gateway_sas()
    assert listed.count("ESTABLISHED") == 1
    assert re.findall(r"\w+_i \w+_r", listed) != re.findall(r"\w+_i \w+_r", before)


def test_statistics_on_demand(rig: Rig, client: Client) -> None:
    rig.configure()
    process = up(client)
    process.signal(signal.SIGUSR1)
    process.wait_for("ESP counters", LIMIT)
    assert "packets_in" in process.output


def test_leaving_without_logging_off(rig: Rig, client: Client) -> None:
    rig.configure()
    before = client.state()
    process = up(client)
    process.signal(signal.SIGHUP)
    assert process.end() == ExitCode.OK
    assert "ESTABLISHED" in rig.gateway_sas()
    assert client.state() == before


def test_a_tunnel_with_a_limited_time(rig: Rig, client: Client) -> None:
    rig.configure()
    before = client.state()
    process = client.start("--non-inter", **QUICK, tunnel={"max_time": 3.0})
    assert process.end(limit=LIMIT) == ExitCode.OK
    assert "the time of this tunnel is over (tunnel.max_time = 3 s)" in process.output
    assert "ESTABLISHED" not in rig.gateway_sas()
    assert client.state() == before


@pytest.mark.usefixtures("charon")
def test_nothing_leaks_while_the_address_changes(rig: Rig, client: Client) -> None:
    """A full tunnel, and another inner address at the next login: what is sent meanwhile is held, and never seen outside."""
    rig.configure(split_include=())
    process = up(client)
    signal_charon(rig, "STOP")  # it keeps our lease, so that the next login gets another address
    process.wait_for("connecting again in", LIMIT)
    before = client.run("ip", "-br", "address", "show", "anyike0")
    pcap = client.profile.with_suffix(".pcap")
    with rig.capture(pcap):
        client.run(
            "sh", "-c", "for n in $(seq 2000); do ping -c 1 -W 1 -i 0.002 198.51.100.1 >/dev/null & sleep 0.002; done &"
        )
        signal_charon(rig, "CONT")
        wait_until(lambda: reaches(client))
    assert client.run("ip", "-br", "address", "show", "anyike0") != before
    seen = client.run("tshark", "-r", str(pcap), "-Y", "ip.dst == 198.51.100.1")
    assert seen == ""


@pytest.mark.usefixtures("charon")
def test_a_name_that_cannot_be_resolved_for_a_while(rig: Rig, client: Client) -> None:
    rig.configure()
    name = rig.info["gateway"]
    hosts = Path("/etc/netns", rig.namespace, "hosts")
    known = hosts.read_text()
    process = up(client, gateway={"host": name, "gateway_id": None})
    hosts.write_text("127.0.0.1 localhost\n")
    try:
        signal_charon(rig, "STOP")
        process.wait_for("connecting again in", LIMIT)
        process.wait_for("taking the addresses of the last time", LIMIT)
        signal_charon(rig, "CONT")
        wait_until(lambda: reaches(client))
    finally:
        hosts.write_text(known)
    assert process.running
