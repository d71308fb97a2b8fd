"""The client's machine moves under load: its address changes, its interface goes down and comes back."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest
from client import Client
from rig import Rig
from test_reconnect import QUICK, reaches, up, wait_until

UPLINK = "uplink"
AS_BEFORE = (
    "link set uplink up",
    "address flush dev uplink",
    "address add {client_ipv4}/24 dev uplink",
    "-6 address add {client_ipv6}/64 dev uplink nodad",
    "route replace default via {gateway_ipv4} dev uplink",
    "-6 route replace default via {gateway_ipv6} dev uplink",
)
SIZE = 20 * 2**20
HOME, AWAY = "192.0.2.2", "192.0.2.3"
HOME_IPV6 = "2001:db8:1::2"


@pytest.fixture(autouse=True)
def home(rig: Rig, client: Client) -> Iterator[None]:
    """The namespace as the rig has made it: other tests use it too."""
    yield
    for process in client.processes:
        process.close()
    for command in AS_BEFORE:
        rig.run_in_client_namespace(
            ["ip", *command.format(**rig.info, client_ipv4=HOME, client_ipv6=HOME_IPV6).split()]
        )


def move(client: Client, before: str, after: str) -> None:
    """As another lease would have it; the kernel takes all addresses of a subnet away with the first one."""
    client.run("ip", "address", "del", f"{before}/24", "dev", UPLINK)
    client.run("ip", "address", "add", f"{after}/24", "dev", UPLINK)


def gateway_sees(rig: Rig, what: str) -> bool:
    return f"@ {what}[" in rig.gateway_sas()


def test_no_tcp_connection_is_lost_when_the_address_changes(rig: Rig, client: Client, tmp_path) -> None:
    rig.configure()
    process = up(client)
    command = ["curl", "-sS", "--fail", "--max-time", "40", "--limit-rate", "2M", "-o", tmp_path / "file"]
    fetching = subprocess.Popen(
        rig.in_client_namespace([*command, f"{rig.web_ipv4}/bytes/{SIZE}"]), stderr=subprocess.PIPE
    )
    try:
        time.sleep(2)
        move(client, HOME, AWAY)
        wait_until(lambda: gateway_sees(rig, AWAY))
        assert fetching.wait(40) == 0, fetching.stderr.read()
    finally:
        fetching.kill()
        fetching.wait()
        fetching.stderr.close()
        move(client, AWAY, HOME)
    assert (tmp_path / "file").stat().st_size == SIZE
    assert process.running
    assert process.output.count(" is up, to ") == 1
    wait_until(lambda: gateway_sees(rig, HOME) and reaches(client))


def test_the_interface_is_down_for_a_while(rig: Rig, client: Client) -> None:
    rig.configure()
    process = up(client, ike={**QUICK["ike"], "retransmit_tries": 6})
    client.run("ip", "link", "set", UPLINK, "down")
    time.sleep(5)
    client.run("ip", "link", "set", UPLINK, "up")
    wait_until(lambda: reaches(client))
    assert process.running


def test_from_ipv4_to_ipv6_and_back(rig: Rig, client: Client) -> None:
    """The gateway said in IKE_AUTH where else it is (RFC 4555 3.4); the tunnel and its inner addresses stay."""
    rig.configure()
    process = up(client)
    client.run("ip", "address", "del", f"{HOME}/24", "dev", UPLINK)
    try:
        wait_until(lambda: gateway_sees(rig, HOME_IPV6) and reaches(client))
    finally:
        client.run("ip", "address", "add", f"{HOME}/24", "dev", UPLINK)
    client.run("ip", "-6", "address", "del", f"{HOME_IPV6}/64", "dev", UPLINK)
    try:
        wait_until(lambda: gateway_sees(rig, HOME) and reaches(client))
    finally:
        client.run("ip", "-6", "address", "add", f"{HOME_IPV6}/64", "dev", UPLINK, "nodad")
    assert process.running
    assert process.output.count(" is up, to ") == 1
