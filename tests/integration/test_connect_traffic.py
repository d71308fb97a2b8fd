"""What the tunnel carries: both IP versions inside and outside, split and full, by every kind of algorithm."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from client import Client
from rig import Rig

from anyike.errors import ExitCode

SIZE = 10_000_000
SMALL = 1_000_000
SOMEWHERE = {4: "198.51.100.1", 6: "2001:db8:ffff::1"}
CURL = ("curl", "-sS", "--fail", "--max-time", "30")


def ping(client: Client, address: str) -> None:
    client.run("ping", "-c", "2", "-i", "0.2", "-W", "5", address)


def transfer(client: Client, web: str, file: Path, size: int) -> None:
    """Down and up again; the web server knows what it sent."""
    expected = client.run(*CURL, f"{web}/sha256/{size}")
    client.run(*CURL, "-o", file, f"{web}/bytes/{size}")
    assert file.stat().st_size == size
    assert client.run("sha256sum", file).split()[0] == expected
    assert client.run(*CURL, "-T", file, f"{web}/") == expected


def interface_towards(client: Client, address: str) -> str:
    return json.loads(client.run("ip", "-j", "route", "get", address))[0]["dev"]


def test_large_transfers_over_both_ip_versions(rig: Rig, client: Client, tmp_path: Path) -> None:
    process = client.up()
    for address in ("10.77.0.2", "fd77::2"):
        ping(client, address)
    for web in (rig.web_ipv4, rig.web_ipv6):
        transfer(client, web, tmp_path / "file", SIZE)
    assert client.run(*CURL, f"{rig.web_ipv4}/address") == "10.78.0.1"
    assert client.run(*CURL, f"{rig.web_ipv6}/address") == "fd78::1"
    assert process.end(signal.SIGINT) == ExitCode.OK


def test_packets_as_large_as_the_mtu_pass(client: Client) -> None:
    """An MTU that does not fit the path would make outer fragments: the capture has none."""
    process = client.up()
    mtu = next(link["mtu"] for link in json.loads(client.run("ip", "-j", "link")) if link["ifname"] == "anyike0")
    with client.rig.capture(client.profile.with_suffix(".pcap")) as pcap:
        client.run("ping", "-c", "2", "-i", "0.2", "-W", "5", "-M", "do", "-s", str(mtu - 28), "10.77.0.2")
        client.run("ping", "-c", "2", "-i", "0.2", "-W", "5", "-M", "do", "-s", str(mtu - 48), "fd77::2")
    packets = client.run("tshark", "-r", pcap, "-T", "fields", "-e", "ip.flags.mf", "-e", "ip.len").splitlines()
    lengths = [int(line.split()[1]) for line in packets if line.split()]
    assert sum(length > mtu for length in lengths) >= 8
    assert max(lengths) <= 1500
    assert not any(line.startswith(("1", "True")) for line in packets)
    assert process.running


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8:1::1", "vpn.example.com"])
def test_the_outside_is_ipv4_or_ipv6(rig: Rig, client: Client, host: str) -> None:
    process = client.up(host)
    for address in ("10.77.0.2", "fd77::2"):
        ping(client, address)
    assert f" is up, to {host} (" in process.output
    outside = "2001:db8:1::2" if ":" in host else "192.0.2.2"
    if host != "vpn.example.com":
        assert f"@ {outside}[" in rig.gateway_sas()
    assert process.end(signal.SIGINT) == ExitCode.OK


def test_the_first_address_is_dead_and_the_second_answers(rig: Rig, client: Client) -> None:
    client.run("ip", "-6", "route", "add", "blackhole", "2001:db8:1::1/128")
    try:
        process = client.up("vpn.example.com", ike={"retransmit_timeout": 0.3})
    finally:
        client.run("ip", "-6", "route", "del", "blackhole", "2001:db8:1::1/128")
    assert "@ 192.0.2.2[" in rig.gateway_sas()
    assert process.end(signal.SIGINT) == ExitCode.OK


def test_a_split_tunnel_takes_what_the_gateway_names(client: Client) -> None:
    process = client.up(tunnel={"ipv6": False})
    shown = process.output
    for text in (
        "Welcome to the anyike test gateway",
        "This network is for tests only",
        "addresses   10.78.0.1\n",
        "DNS         10.77.0.53\n",
        "domains     example.com\n              inside.example.com\n",
        "routes      10.77.0.0/24\n  MTU",
    ):
        assert text in shown
    assert "fd78::" not in shown
    assert interface_towards(client, "10.77.0.2") == "anyike0"
    assert interface_towards(client, SOMEWHERE[4]) == "uplink"
    assert interface_towards(client, SOMEWHERE[6]) == "uplink"


def test_a_full_tunnel_takes_everything_but_the_gateway(rig: Rig, client: Client) -> None:
    rig.configure(split_include=(), banner="", login_banner="")
    process = client.up("--interface", "vpn0", "--mtu", "1300")
    assert "routes      0.0.0.0/0\n              ::/0\n" in process.output
    assert "MTU         1300\n" in process.output
    assert "  | " not in process.output
    for address in SOMEWHERE.values():
        assert interface_towards(client, address) == "vpn0"
    ping(client, "10.77.0.2")
    ping(client, "fd77::2")
    assert process.end(signal.SIGINT) == ExitCode.OK


def test_a_full_tunnel_leaves_out_what_the_gateway_excludes(rig: Rig, client: Client) -> None:
    rig.configure(split_include=(), split_exclude=("198.51.100.0/24",))
    process = client.up()
    assert "not routed  198.51.100.0/24\n" in process.output
    assert interface_towards(client, SOMEWHERE[4]) == "uplink"
    assert interface_towards(client, "203.0.113.1") == "anyike0"


def test_the_gateway_narrows_the_traffic_selectors(rig: Rig, client: Client) -> None:
    rig.configure(split_include=(), local_ts="10.77.0.0/24")
    process = client.up()
    assert "routes      10.77.0.0/24\n  " in process.output
    ping(client, "10.77.0.2")
    assert interface_towards(client, SOMEWHERE[4]) == "uplink"


@pytest.mark.parametrize(
    ("ike", "esp", "shown"),
    [
        ("aes256gcm16-prfsha384-ecp384", "aes256gcm16", "AES_GCM_16_256"),
        ("aes128gcm16-prfsha256-ecp256", "aes128gcm16", "AES_GCM_16_128"),
        ("aes192gcm16-prfsha512-ecp521", "aes192gcm16", "AES_GCM_16_192"),
        ("chacha20poly1305-prfsha256-x25519", "chacha20poly1305", "CHACHA20_POLY1305"),
        ("aes256-sha256-modp2048", "aes256-sha256", "AES_CBC_256/HMAC_SHA2_256_128"),
        ("aes192-sha384-modp3072", "aes192-sha384", "AES_CBC_192/HMAC_SHA2_384_192"),
        ("aes128-sha512-modp4096", "aes128-sha512", "AES_CBC_128/HMAC_SHA2_512_256"),
        ("aes128gcm16-prfsha1-modp2048", "aes128-sha1", "AES_CBC_128/HMAC_SHA1_96"),
    ],
)
def test_algorithms(rig: Rig, client: Client, tmp_path: Path, ike: str, esp: str, shown: str) -> None:
    rig.configure(ike_proposals=ike, esp_proposals=esp)
    process = client.up(ike={"proposals": [ike]}, esp={"proposals": [esp]})
    assert f"CHILD_SA    {shown}, in UDP\n" in process.output
    assert ("allows weak algorithms: prfsha1, sha1\n" in process.output) == (esp == "aes128-sha1")
    transfer(client, rig.web_ipv4, tmp_path / "file", SMALL)
    assert process.end(signal.SIGINT) == ExitCode.OK
