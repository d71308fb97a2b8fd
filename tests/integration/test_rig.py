"""The test gateway itself works: raw IKE_SA_INITs, and charon as an independent client."""

from __future__ import annotations

import datetime as dt
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from container import half_open, scenario
from cryptography import x509
from rig import Rig, RigError

SIZE = 1 << 20
EXCHANGE = (
    "import sys; from container import half_open; "
    "print(half_open.exchange(sys.argv[1], bytes.fromhex(sys.argv[2])).hex())"
)
NO_PROPOSAL_CHOSEN, INVALID_KE_PAYLOAD, COOKIE = 14, 17, 16390
REFUSALS = {
    "other-ca": "no trusted RSA public key",
    "expired": "subject certificate invalid",
    "wrong-name": "no trusted RSA public key found for 'vpn.example.com'",
}
PLACE = Path(half_open.__file__).parent.parent


def answer_to_init(rig: Rig, address: str = scenario.GATEWAY_IPV4) -> bytes:
    command = [sys.executable, "-c", EXCHANGE, address, half_open.ike_sa_init().hex()]
    return bytes.fromhex(rig.run_in_client_namespace(command, cwd=PLACE).stdout)


def first_notify(message: bytes) -> int:
    assert half_open.payload_types(message)[0] == half_open.NOTIFY
    return struct.unpack_from(">H", message, 28 + 6)[0]


@pytest.mark.parametrize("address", [scenario.GATEWAY_IPV4, scenario.GATEWAY_IPV6])
def test_the_gateway_answers_an_ike_sa_init(rig: Rig, address: str) -> None:
    types = half_open.payload_types(answer_to_init(rig, address))
    assert types[:3] == [half_open.SA, half_open.KE, half_open.NONCE]
    assert rig.radius_log() == []


def test_a_cookie_is_demanded(rig: Rig) -> None:
    rig.configure(cookie=True)
    assert first_notify(answer_to_init(rig)) == COOKIE
    assert first_notify(answer_to_init(rig)) == COOKIE


def test_another_group_is_demanded(rig: Rig) -> None:
    rig.configure(ike_proposals="aes128gcm16-prfsha256-ecp256")
    assert first_notify(answer_to_init(rig)) == INVALID_KE_PAYLOAD


def test_no_proposal_is_chosen(rig: Rig) -> None:
    rig.configure(ike_proposals="aes256-sha512-modp4096")
    assert first_notify(answer_to_init(rig)) == NO_PROPOSAL_CHOSEN


def test_charon_logs_in_and_moves_data(rig: Rig, tmp_path: Path) -> None:
    upload = tmp_path / "upload"
    with rig.capture(tmp_path / "outside.pcap") as pcap, rig.charon_client():
        assert "ESTABLISHED" in rig.gateway_sas()
        curl = ["curl", "-sS", "--fail", "--max-time", "30"]
        address = rig.run_in_client_namespace([*curl, f"{rig.web_ipv4}/address"]).stdout
        assert address.startswith("10.78.0.")
        rig.run_in_client_namespace([*curl, "-o", upload, f"{rig.web_ipv4}/bytes/{SIZE}"])
        expected = rig.run_in_client_namespace([*curl, f"{rig.web_ipv4}/sha256/{SIZE}"]).stdout
        answered = rig.run_in_client_namespace([*curl, "-T", upload, f"{rig.web_ipv4}/"]).stdout
    assert upload.stat().st_size == SIZE
    assert answered == expected
    assert pcap.stat().st_size > 2 * SIZE
    assert rig.radius_log()[-1]["outcome"] == "accepted"
    assert rig.gateway_sas() == ""
    assert "U_BANNER U_DEFDOM U_SPLITDNS U_SPLITINC" in rig.charon_log()


def test_a_full_tunnel_has_no_split_include(rig: Rig) -> None:
    rig.configure(split_include=(), split_dns=(), banner="", ipv6=False)
    with rig.charon_client():
        assert " U_DEFDOM) " in rig.charon_log()


def test_the_gateway_can_end_and_rekey_a_tunnel(rig: Rig) -> None:
    with rig.charon_client():
        rig.run_in_gateway("swanctl", "--rekey", "--child", "tunnel", "--ike", "mschapv2")
        assert "CREATE_CHILD_SA request" in rig.charon_log()
        rig.run_in_gateway("swanctl", "--terminate", "--ike", "mschapv2")
        assert rig.gateway_sas() == ""


def test_what_a_killed_session_left_is_removed(rig: Rig) -> None:
    """No process has the number 0."""
    left = Path(rig.info["state"]).with_name("test0")
    left.mkdir()
    other = Rig("other")
    try:
        other.start()
    finally:
        other.stop()
    assert not left.exists()
    assert Path(rig.info["state"]).exists()


def test_an_ecdsa_certificate_serves(rig: Rig) -> None:
    rig.configure(certificate="ecdsa")
    with rig.charon_client():
        assert "ECDSA" in rig.charon_log()


@pytest.mark.parametrize("certificate", ["other-ca", "expired", "wrong-name"])
def test_charon_refuses_a_bad_certificate(rig: Rig, certificate: str) -> None:
    rig.configure(certificate=certificate)
    with pytest.raises(RigError, match=REFUSALS[certificate]), rig.charon_client():
        pass
    assert not any("outcome" in step and step["outcome"] == "accepted" for step in rig.radius_log())


def test_nothing_behind_the_gateway_is_reached_without_a_tunnel(rig: Rig) -> None:
    for web in (rig.web_ipv4, rig.web_ipv6):
        command = ["curl", "-sS", "--max-time", "1", f"{web}/address"]
        assert rig.run_in_client_namespace(command, check=False).returncode == 28


def test_the_names_of_the_gateway_are_known_to_the_client(rig: Rig) -> None:
    found = rig.run_in_client_namespace(["getent", "ahosts", scenario.GATEWAY_NAME]).stdout
    assert scenario.GATEWAY_IPV4 in found
    assert scenario.GATEWAY_IPV6 in found


def test_the_certificates_are_what_their_names_say(rig: Rig) -> None:
    place = rig.ca_file.parent.parent / "x509"
    found = {
        name: x509.load_pem_x509_certificate((place / f"{name}.pem").read_bytes()) for name in scenario.CERTIFICATES
    }
    ca = x509.load_pem_x509_certificate(rig.ca_file.read_bytes())
    signed = {name for name, leaf in found.items() if leaf.issuer == ca.subject}
    assert signed == set(scenario.CERTIFICATES) - {"other-ca"}
    now = dt.datetime.now(dt.UTC)
    assert {name for name, leaf in found.items() if leaf.not_valid_after_utc < now} == {"expired"}
    assert found["wrong-name"].subject != found["valid"].subject


def test_a_second_gateway_leaves_nothing_behind() -> None:
    rig = Rig("trace")
    rig.start()
    try:
        with pytest.raises(RigError, match="invalid value for: proposals"):
            rig.configure(ike_proposals="NOT_A_PROPOSAL")
    finally:
        rig.stop()
    namespaces = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True)
    assert "anyike-client-trace" not in namespaces.stdout
    assert not Path(rig.info["state"]).exists()
    assert not Path("/etc/netns", rig.namespace).exists()
