"""Whom the client tells its password: nobody that did not prove to be the right gateway."""

from __future__ import annotations

import re
import signal

import pytest
from client import Client
from rig import Rig

from anyike.errors import ExitCode

WRONG_PIN = "pin-sha256:" + "A" * 43 + "="


def assert_no_login_was_seen(rig: Rig) -> None:
    """The RADIUS server's own `hello` comes with the certificate; no EAP response followed it, only our farewell."""
    assert [step["type"] for step in rig.radius_log()] == ["hello"]
    assert "EAP/RES" not in rig.charon_log()
    assert "[ N(AUTH_FAILED) ]" in rig.charon_log()


def pin_in(shown: str) -> str:
    found = re.search(r"pin-sha256:[A-Za-z0-9+/]{43}=", shown)
    assert found, shown
    return found.group()


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [("other-ca", "another CA"), ("wrong-name", "other.example.net")],
)
def test_a_bad_certificate_is_refused_unless_pinned(rig: Rig, client: Client, certificate: str, reason: str) -> None:
    before = client.state()
    rig.configure(certificate=certificate)
    status, shown = client.fail()
    assert status == ExitCode.NOT_TRUSTED
    assert reason in shown
    assert_no_login_was_seen(rig)
    assert client.state() == before
    process = client.up("--servercert", pin_in(shown))
    assert "by its pin" in process.output
    assert rig.radius_log()[-1]["outcome"] == "accepted"
    assert process.end(signal.SIGINT) == ExitCode.OK


def test_an_expired_certificate_is_refused_even_if_pinned(rig: Rig, client: Client) -> None:
    """All RSA certificates of the test gateway have one key, so the pin of another is its pin."""
    rig.configure(certificate="expired")
    status, shown = client.fail()
    assert status == ExitCode.NOT_TRUSTED
    assert "expired" in shown
    assert_no_login_was_seen(rig)
    rig.configure(certificate="other-ca")
    pin = pin_in(client.fail()[1])
    rig.configure(certificate="expired")
    status, shown = client.fail("--servercert", pin)
    assert status == ExitCode.NOT_TRUSTED
    assert "expired" in shown
    assert_no_login_was_seen(rig)


def test_a_wrong_pin_is_refused_and_the_right_one_shown(rig: Rig, client: Client) -> None:
    status, shown = client.fail("--servercert", WRONG_PIN)
    assert status == ExitCode.NOT_TRUSTED
    assert_no_login_was_seen(rig)
    process = client.up("--servercert", WRONG_PIN, "--servercert", pin_in(shown.replace(WRONG_PIN, "")))
    assert process.end(signal.SIGINT) == ExitCode.OK


def test_the_systems_store_does_not_know_the_test_ca(rig: Rig, client: Client) -> None:
    status, shown = client.fail(gateway={"ca_file": None})
    assert status == ExitCode.NOT_TRUSTED
    assert "gateway.ca_file (--cafile)" in shown
    assert_no_login_was_seen(rig)
    process = client.up("--cafile", rig.ca_file, gateway={"ca_file": None})
    assert process.end(signal.SIGINT) == ExitCode.OK


def test_the_name_may_be_an_address_only_if_the_certificate_holds_it(rig: Rig, client: Client) -> None:
    status, shown = client.fail(gateway={"gateway_id": None})
    assert status == ExitCode.NOT_TRUSTED
    assert "192.0.2.1" in shown
    assert "gateway.gateway_id" in shown
    assert_no_login_was_seen(rig)


def test_a_strict_identity(rig: Rig, client: Client) -> None:
    rig.configure(certificate="wrong-name")
    names = {"gateway_id": "other.example.net"}
    status, shown = client.fail(gateway={**names, "strict_id": True})
    assert status == ExitCode.NOT_TRUSTED
    assert "calls itself" in shown
    assert "gateway.strict_id" in shown
    assert_no_login_was_seen(rig)
    process = client.up("-v", gateway=names)
    assert "the gateway calls itself vpn.example.com, and not other.example.net" in process.output
    assert process.end(signal.SIGINT) == ExitCode.OK


@pytest.mark.parametrize("signature_hash_algorithms", [True, False])
def test_an_ecdsa_certificate(rig: Rig, client: Client, *, signature_hash_algorithms: bool) -> None:
    rig.configure(certificate="ecdsa")
    process = client.up(ike={"signature_hash_algorithms": signature_hash_algorithms})
    assert re.search(r"gateway verified  CN=vpn.example.com.*ECDSA", process.output)
    assert process.end(signal.SIGINT) == ExitCode.OK


def test_a_sha1_signature_needs_a_setting(rig: Rig, client: Client) -> None:
    """Without SIGNATURE_HASH_ALGORITHMS charon signs with SHA-1."""
    sha1 = {"signature_hash_algorithms": False}
    status, shown = client.fail(ike=sha1)
    assert status == ExitCode.NOT_TRUSTED
    assert "allow_sha1_signature" in shown
    assert "signature_hash_algorithms" in shown
    assert_no_login_was_seen(rig)
    process = client.up(ike=sha1, gateway={"allow_sha1_signature": True})
    assert "SHA-1" in process.output
    assert process.end(signal.SIGINT) == ExitCode.OK
