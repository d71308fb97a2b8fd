"""A gateway that claims no NAT: charon with ESP in its kernel. The client's TUN data path must get ESP in UDP from it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from anyike.errors import ExitCode

SIZE = 2_000_000
"""Of each transfer; there are two in each direction."""

SUITES = {
    "aes256gcm16": ("AES_GCM_16_256", "aead rfc4106(gcm(aes))"),
    "chacha20poly1305-noesn": ("CHACHA20_POLY1305", "aead rfc7539esp(chacha20,poly1305)"),
    "aes256-sha256-esn": ("AES_CBC_256/HMAC_SHA2_256_128", "auth-trunc hmac(sha256)"),
}
"""Of the first, sequence numbers may be extended or not, and the gateway, which may do both, takes the former."""


@pytest.fixture(params=SUITES)
def proposal(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def connection(seen: dict[str, dict[str, Any]], proposal: str) -> dict[str, Any]:
    return seen[proposal]


def test_the_client_obtains_esp_in_udp(connection: dict[str, Any], proposal: str) -> None:
    assert f"CHILD_SA    {SUITES[proposal][0]}, in UDP\n" in connection["shown"]
    assert "UDP 4500)\n" in connection["shown"]


def test_the_gateway_sees_a_nat_at_the_client_only(connection: dict[str, Any]) -> None:
    sas = connection["sas"].split()
    assert "nat-remote=yes" in sas
    assert "nat-local=yes" not in sas
    assert "nat-fake=yes" not in sas
    assert "encap=yes" in sas


def test_the_gateways_kernel_does_esp_in_udp(connection: dict[str, Any], proposal: str) -> None:
    state = connection["xfrm_state"]
    assert state.count("proto esp spi") == 2
    assert state.count(f"\t{SUITES[proposal][1]} 0x") == 2
    assert len(re.findall(r"encap type espinudp sport 4500 dport \d+ ", state)) == 1
    assert len(re.findall(r"encap type espinudp sport \d+ dport 4500 ", state)) == 1


def test_the_gateways_kernel_extends_sequence_numbers_where_that_is_agreed_on(
    connection: dict[str, Any], proposal: str
) -> None:
    extended = not proposal.endswith("noesn")
    assert ("esn=1" in connection["sas"].split()) == extended
    flags = re.findall(r"\treplay-window \d+ flag (.*)", connection["xfrm_state"])
    assert ["esn" in each.split() for each in flags] == [extended, extended]


@pytest.mark.parametrize(("version", "address"), [("IPv4", "10.78.0.1"), ("IPv6", "fd78::1")])
def test_files_arrive_whole_both_ways(connection: dict[str, Any], version: str, address: str) -> None:
    transfer = connection["transfers"][version]
    assert transfer["client_address"] == address
    assert transfer["size"] == SIZE
    assert re.fullmatch("[0-9a-f]{64}", transfer["expected"])
    assert transfer["downloaded"] == transfer["expected"]
    assert transfer["uploaded"] == transfer["expected"]


def test_the_gateways_kernel_carried_it_and_refused_nothing(connection: dict[str, Any]) -> None:
    counters = connection["xfrm_counters"]
    carried = [int(number) for number in re.findall(r"(\d+)\(bytes\), \d+\(packets\)", counters)]
    assert len(carried) == 2
    assert min(carried) > 2 * SIZE
    assert re.findall(r"failed (\d+)", counters) == ["0", "0"]


def test_the_log_off_leaves_nothing_in_the_gateway(connection: dict[str, Any]) -> None:
    assert "logged off" in connection["shown"]
    assert connection["exit_status"] == ExitCode.OK
    assert "ESTABLISHED" not in connection["sas_after"]
    assert connection["xfrm_state_after"] == ""
    assert "10.78.0.1" not in connection["xfrm_policy_after"]
    assert "fd78::1" not in connection["xfrm_policy_after"]
