"""Chain pins: one key of the path that was verified must be among them, besides all other checks."""

from __future__ import annotations

import base64
import hashlib
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from anyike.crypto.x509 import (
    Distrust,
    TrustPolicy,
    chain_pin,
    parse_chain_pin,
    pin_sha256,
    verify_gateway_certificate,
)
from anyike.errors import ConfigurationError
from tests.unit.crypto.certificates import CA, HOST, NOW, Issued, accepted, make_root, refused, san, trusting
from tests.unit.openssl import openssl

OTHER = "pin-sha512:" + base64.b64encode(hashlib.sha512(b"another key").digest()).decode()


@pytest.fixture(scope="module")
def root() -> Issued:
    return make_root()


@pytest.fixture(scope="module")
def intermediate(root) -> Issued:
    return root.ca(key=rsa.generate_private_key(65537, 2048))


@pytest.fixture(scope="module")
def gateway(intermediate) -> Issued:
    return intermediate.gateway()


def pin_by_openssl(certificate: Issued) -> str:
    """As an administrator would make it."""
    pem = openssl("x509", "-inform", "DER", "-noout", "-pubkey", given=certificate.der)
    spki = openssl("pkey", "-pubin", "-outform", "DER", given=pem)
    digest = openssl("dgst", "-sha512", "-binary", given=spki)
    return "pin-sha512:" + openssl("enc", "-base64", "-A", given=digest).decode()


def test_any_key_of_the_path(root, intermediate, gateway):
    chain = [gateway.der, intermediate.der]
    for certificate in (root, intermediate, gateway):
        pin = pin_by_openssl(certificate)
        assert accepted(chain, trusting(root, chain_pins=(pin,)))
        assert accepted(chain, trusting(root, chain_pins=(OTHER, pin)))


def test_a_certificate_outside_the_path_does_not_count(root, intermediate, gateway):
    stranger = Issued("Stranger", extensions=(CA,))
    other_root = make_root()
    policy = trusting(root, other_root, chain_pins=(pin_by_openssl(stranger), pin_by_openssl(other_root)))
    chain = [gateway.der, stranger.der, intermediate.der, other_root.der]
    assert refused(chain, policy).reason is Distrust.WRONG_CHAIN_PIN


def test_what_the_refusal_says(root, intermediate, gateway):
    error = refused([gateway.der, intermediate.der], trusting(root, chain_pins=(OTHER,)))
    assert error.reason is Distrust.WRONG_CHAIN_PIN
    assert error.pin == pin_sha256(gateway.der)
    lines = str(error).splitlines()
    assert "gateway.chain_pins" in lines[0]
    assert [line.strip() for line in lines[1:4]] == [
        f"{pin_by_openssl(gateway)} is the key of CN={HOST}",
        f"{pin_by_openssl(intermediate)} is the key of CN=Sub CA",
        f"{pin_by_openssl(root)} is the key of CN=Root CA",
    ]


def test_names_of_strangers_are_made_harmless(root):
    evil = root.ca("evil\x1b[2J\nCA\N{RIGHT-TO-LEFT OVERRIDE}")
    gateway = evil.gateway()
    error = refused([gateway.der, evil.der], trusting(root, chain_pins=(OTHER,)))
    assert error.reason is Distrust.WRONG_CHAIN_PIN
    assert all(line.isprintable() for line in str(error).splitlines())
    assert len(str(error).splitlines()) == 5


def test_a_trusted_gateway_certificate_is_a_path_of_one():
    gateway = Issued(HOST, extensions=(san(HOST),))
    assert accepted([gateway.der], trusting(gateway, chain_pins=(pin_by_openssl(gateway),)))
    assert refused([gateway.der], trusting(gateway, chain_pins=(OTHER,))).reason is Distrust.WRONG_CHAIN_PIN


def test_a_renewed_certificate_with_the_same_key_passes(root):
    pins = (pin_by_openssl(root.gateway()),)
    assert accepted([root.gateway().der], trusting(root, chain_pins=pins))


def test_a_pin_rescues_nothing(root, intermediate, gateway):
    chain, pins = [gateway.der, intermediate.der], (pin_by_openssl(gateway), pin_by_openssl(root))
    assert refused(chain, trusting(make_root(), chain_pins=pins)).reason is Distrust.UNTRUSTED_CA
    wrong_name = trusting(root, chain_pins=pins, names=("else.example.com",))
    assert refused(chain, wrong_name).reason is Distrust.WRONG_NAME
    later = NOW + timedelta(days=400)
    assert refused(chain, trusting(root, chain_pins=pins), later).reason is Distrust.EXPIRED
    code = x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CODE_SIGNING])
    misused = intermediate.gateway(san(HOST), code)
    assert refused([misused.der, intermediate.der], trusting(root, chain_pins=pins)).reason is Distrust.BAD_USAGE


def test_a_pin_of_the_gateways_key_replaces_the_chain_and_its_pins(gateway):
    policy = TrustPolicy(pins=(pin_sha256(gateway.der),), chain_pins=(OTHER,))
    assert verify_gateway_certificate([gateway.der], policy, NOW).verified_by == "pin"
    wrong = TrustPolicy(pins=("pin-sha256:" + "A" * 43 + "=",), chain_pins=(pin_by_openssl(gateway),))
    assert refused([gateway.der], wrong).reason is Distrust.WRONG_PIN


def test_what_the_refusal_offers_is_accepted(root, intermediate, gateway):
    chain = [gateway.der, intermediate.der]
    error = refused(chain, trusting(root, chain_pins=(OTHER,)))
    offered = trusting(root, chain_pins=(OTHER,), pins=(error.pin,))
    assert verify_gateway_certificate(chain, offered, NOW).verified_by == "pin"


def test_the_two_ways_between_text_and_hash():
    value = hashlib.sha512(b"key").digest()
    assert parse_chain_pin(chain_pin(value)) == value


@pytest.mark.parametrize(
    "pin",
    [
        "",
        "pin-sha512:",
        OTHER[:-4],
        OTHER.removeprefix("pin-sha512:"),
        OTHER.replace("512", "256"),
        f"{OTHER}\n",
        "pin-sha256:" + "A" * 43 + "=",
        "pin-sha512:" + "A" * 43 + "=",
        "pin-sha512:\N{LATIN SMALL LETTER E WITH ACUTE}" + "A" * 85,
        "pin-sha512:" + hashlib.sha512(b"key").hexdigest(),
    ],
)
def test_what_is_no_chain_pin(root, pin):
    with pytest.raises(ConfigurationError, match="pin-sha512"):
        parse_chain_pin(pin)
    with pytest.raises(ConfigurationError, match="pin-sha512"):
        verify_gateway_certificate([root.gateway().der], trusting(root, chain_pins=(pin,)), NOW)
