"""The verdict on a gateway: which name it may give itself."""

from __future__ import annotations

import pytest

from anyike import gateway_trust
from anyike.crypto.x509 import TrustPolicy
from anyike.errors import GatewayNotTrusted
from anyike.gateway_trust import judge, show_identity
from anyike.ikev2.events import GatewayProof

POLICY = TrustPolicy(names=("vpn.example.com",))


@pytest.fixture(autouse=True)
def proven(monkeypatch):
    """Certificate and signature have tests of their own."""
    monkeypatch.setattr(gateway_trust, "verify_gateway_certificate", lambda *_: object())
    monkeypatch.setattr(gateway_trust, "verify_gateway_auth", lambda *_: "a signature")


def called(identity, *, strict_id=True, asked_for=None):
    proof = GatewayProof((b"certificate",), identity, 1, b"", b"", "sha256")
    return judge(proof, POLICY, allow_sha1=False, strict_id=strict_id, asked_for=asked_for)


def test_the_name_that_was_asked_for():
    assert called((2, b"VPN.example.com")).identity == "VPN.example.com"


def test_another_name_is_refused_only_if_strict():
    with pytest.raises(GatewayNotTrusted, match=r"other\.example\.com, not vpn\.example\.com.*strict_id"):
        called((2, b"other.example.com"))
    assert called((2, b"other.example.com"), strict_id=False).identity == "other.example.com"


@pytest.mark.parametrize("identity", [(11, b"group-7"), (9, b"0\x0c1\n0\x08"), (2, b"inside.example.com")])
def test_an_identity_that_we_asked_for_is_the_right_one(identity):
    assert called(identity, asked_for=identity)
    with pytest.raises(GatewayNotTrusted):
        called((2, b"vpn.example.com"), asked_for=identity)


def test_an_identity_is_one_harmless_line():
    assert show_identity((2, b"a\nb\x1b[2J")) == "a b\ufffd[2J"
    assert show_identity((2, b"x" * 5000)) == "FQDN of 5000 bytes"
    assert show_identity((1, bytes([192, 0, 2, 1]))) == "192.0.2.1"
    assert show_identity((201, b"\x01")) == "ANYCONNECT 01"
