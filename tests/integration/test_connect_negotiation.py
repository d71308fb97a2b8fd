"""How a connection begins: retries that the gateway demands, fragments, and gateways that do not answer."""

from __future__ import annotations

import re
import signal
import time

import pytest
from client import Client
from rig import Rig

from anyike.errors import ExitCode

SMALL_PIECES = 576
IMPATIENT = {"retransmit_timeout": 0.2, "retransmit_tries": 2, "error_grace": 0.2}


def test_a_cookie_is_given_back(rig: Rig, client: Client) -> None:
    rig.configure(cookie=True)
    process = client.up()
    assert "generating IKE_SA_INIT response 0 [ N(COOKIE) ]" in rig.charon_log()
    assert "parsed IKE_SA_INIT request 0 [ N(COOKIE) SA KE " in rig.charon_log()
    assert process.end(signal.SIGINT) == ExitCode.OK


def test_another_group_is_taken(rig: Rig, client: Client) -> None:
    rig.configure(ike_proposals="aes256gcm16-prfsha384-modp3072")
    process = client.up()
    assert "generating IKE_SA_INIT response 0 [ N(INVAL_KE) ]" in rig.charon_log()
    assert "AES_GCM_16_256, PRF_HMAC_SHA2_384, modp3072" in process.output
    assert process.end(signal.SIGINT) == ExitCode.OK


def test_a_cookie_and_another_group(rig: Rig, client: Client) -> None:
    """The half-open IKE SA that makes charon demand cookies needs one of its usual groups."""
    rig.configure(cookie=True)
    process = client.up(ike={"proposals": ["aes128gcm16-prfsha256-modp3072-ecp256"]})
    assert "N(COOKIE)" in rig.charon_log()
    assert "N(INVAL_KE)" in rig.charon_log()
    assert process.end(signal.SIGINT) == ExitCode.OK


@pytest.mark.parametrize(
    ("gateway", "setting"),
    [({"ike_proposals": "aes128-sha1-modp1536"}, "ike.proposals"), ({"esp_proposals": "aes128-sha1"}, "esp.proposals")],
)
def test_no_common_proposal(rig: Rig, client: Client, gateway: dict[str, str], setting: str) -> None:
    before = client.state()
    rig.configure(**gateway)
    status, shown = client.fail(ike={"error_grace": 0.2})
    assert status == ExitCode.NO_PROPOSAL
    assert "NO_PROPOSAL_CHOSEN" in shown
    assert f"set {setting} " in shown
    assert client.state() == before
    assert rig.gateway_sas() == ""


def test_fragments_in_both_directions(rig: Rig, client: Client) -> None:
    process = client.up(ike={"fragment_size": SMALL_PIECES})
    ours = re.findall(r"parsed IKE_AUTH request (\d+) \[ EF\((\d+)/(\d+)\) \]", rig.charon_log())
    theirs = re.findall(r"generating IKE_AUTH response (\d+) \[ EF\((\d+)/(\d+)\) \]", rig.charon_log())
    for seen in (ours, theirs):
        assert seen
        for message, _, total in seen:
            numbers = {int(number) for other, number, _ in seen if other == message}
            assert numbers == set(range(1, int(total) + 1))
            assert int(total) >= 2
    assert process.end(signal.SIGINT) == ExitCode.OK


def test_a_gateway_that_knows_no_fragments(rig: Rig, client: Client) -> None:
    rig.configure(fragmentation="no")
    process = client.up()
    assert " EF(" not in rig.charon_log()
    assert process.end(signal.SIGINT) == ExitCode.OK


def test_it_may_begin_on_the_nat_port(rig: Rig, client: Client) -> None:
    with rig.capture(client.profile.with_suffix(".pcap")) as pcap:
        process = client.up(gateway={"start_on_nat_port": True})
        assert process.end(signal.SIGINT) == ExitCode.OK
    ports = set(client.run("tshark", "-r", pcap, "-Y", "isakmp", "-T", "fields", "-e", "udp.dstport").split())
    assert "4500" in ports
    assert "500" not in ports


@pytest.mark.parametrize(
    ("what", "host", "port", "words"),
    [
        ("nothing listens", "192.0.2.1", 501, "192.0.2.1"),
        ("no such neighbour", "192.0.2.99", 500, "192.0.2.99"),
        ("silence", "198.51.100.1", 500, "no answer from 198.51.100.1 to IKE_SA_INIT, sent 3 times"),
        ("silence over IPv6", "2001:db8:ffff::1", 500, "no answer from 2001:db8:ffff::1 to IKE_SA_INIT, sent 3 times"),
    ],
)
def test_unreachable(client: Client, what: str, host: str, port: int, words: str) -> None:
    before = client.state()
    started = time.monotonic()
    status, shown = client.fail(gateway={"host": host, "port": port}, ike=IMPATIENT)
    assert status == ExitCode.UNREACHABLE, what
    assert words in shown
    assert time.monotonic() - started < 10
    assert client.state() == before


def test_a_name_that_nobody_knows(client: Client) -> None:
    status, shown = client.fail(gateway={"host": "vpn.nowhere.invalid"})
    assert status == ExitCode.UNREACHABLE
    assert "the name vpn.nowhere.invalid cannot be resolved" in shown


def test_an_interrupt_while_nobody_answers(client: Client) -> None:
    before = client.state()
    process = client.start("--user", "ada", password="secret", gateway={"host": "198.51.100.1"})
    process.wait_for("IKE_SA_INIT       to 198.51.100.1")
    assert process.end(signal.SIGINT, limit=5) == ExitCode.INTERRUPTED
    assert "interrupted" in process.output
    assert client.state() == before
