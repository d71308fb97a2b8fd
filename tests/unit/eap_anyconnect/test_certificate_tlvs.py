"""The proof by certificate as TLVs, against the captured login and openssl."""

from __future__ import annotations

import re
import ssl
import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from anyike.crypto.prf import PRFS
from anyike.crypto.signatures import verify_gateway_auth
from anyike.eap.question import CertificateProof
from anyike.eap_anyconnect.certificate_tlvs import certificate_tlvs, signed_data
from anyike.eap_anyconnect.tlv import TlvType, encode_tlvs
from tests.unit.crypto.certificates import Issued, make_root
from tests.unit.eap_anyconnect.dialogue import GOLDEN
from tests.unit.ikev2.golden import ike_datagrams, keys

NONCE, IDI = 40, b"\xc9\x00\x00\x00*$AnyConnectClient$*"


def golden_tlv(number: int) -> bytes:
    return bytes.fromhex(re.search(rf"TLV type {number} length \d+ .*\n +([0-9a-f]+)\n", GOLDEN.read_text())[1])


def certificates_in(pkcs7: bytes) -> list[bytes]:
    """What openssl reads out of it, as DER in its order."""
    command = ["openssl", "pkcs7", "-inform", "DER", "-print_certs"]
    text = subprocess.run(command, input=pkcs7, capture_output=True, check=True, timeout=60).stdout.decode()
    blocks = re.findall(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", text, re.DOTALL)
    return [ssl.PEM_cert_to_DER_cert(block) for block in blocks]


def initiator_signed_octets() -> bytes:
    """IKE_SA_INIT request | Nr | prf(SK_pi, IDi body), with this test's own reading of the captured messages."""
    request, response = ike_datagrams()[:2]
    payload, at = response[16], 28
    while payload != NONCE:
        payload, at = response[at], at + int.from_bytes(response[at + 2 : at + 4], "big")
    nonce = response[at + 4 : at + int.from_bytes(response[at + 2 : at + 4], "big")]
    return request + nonce + PRFS[5](keys()["sk_pi"], IDI)


def test_the_golden_certificates_byte_for_byte():
    golden = golden_tlv(3)
    chain = certificates_in(golden)
    assert [len(der) for der in chain] == [954, 887]
    assert signed_data(chain) == golden


def test_the_golden_tlvs_byte_for_byte():
    """With the captured certificates and a signer that returns the captured signature."""
    proof = CertificateProof(tuple(certificates_in(golden_tlv(3))), golden_tlv(1), "sha256")
    tlvs = certificate_tlvs(proof)
    assert [tlv.type for tlv in tlvs] == [TlvType.CERTIFICATES, TlvType.SIGNATURE]
    expected = b"\x00\x03\x07\x64" + golden_tlv(3) + b"\x00\x01\x01\x00" + golden_tlv(1)
    assert encode_tlvs(tlvs) == expected


def test_the_golden_signature_is_over_the_initiator_signed_octets():
    octets = initiator_signed_octets()
    assert len(octets) == 701
    leaf = certificates_in(golden_tlv(3))[0]
    assert verify_gateway_auth(leaf, 1, golden_tlv(1), octets, "sha256", allow_sha1=False).endswith("SHA-256")


@pytest.mark.parametrize("count", range(4))
def test_openssl_reads_the_order_that_was_given(count):
    """Also where DER would sort a SET otherwise, and with lengths of one, two and three bytes."""
    root = make_root()
    key = rsa.generate_private_key(65537, 4096)
    chain = [Issued("leaf", root, key=key).der, *(root.ca(f"CA {number}").der for number in range(count))]
    for order in (chain, chain[::-1]):
        assert certificates_in(signed_data(order)) == order


@pytest.mark.parametrize("size", [0, 1, 60, 71, 72, 127, 128, 200, 255, 256, 65_400, 70_000])
def test_lengths_are_definite_and_minimal(size):
    value = signed_data([bytes(size)])
    header = 2 if value[1] < 0x80 else 2 + (value[1] & 0x7F)
    length = value[1] if header == 2 else int.from_bytes(value[2:header], "big")
    assert header + length == len(value)
    assert header == 2 or value[2:header] == length.to_bytes((length.bit_length() + 7) // 8, "big")
    assert header > 2 or length < 0x80
