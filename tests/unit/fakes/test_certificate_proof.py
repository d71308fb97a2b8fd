"""What the test gateway takes as a proof by certificate: the golden one, and nothing that differs from one."""

from __future__ import annotations

import subprocess
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import pki
from tests.fakes.certificate_proof import ProofRefused, Trust, check, read_certificates
from tests.unit.fakes import golden

TRUST = Trust(pki.authority().certificate, pki.NOW)
OCTETS = b"what the client's key signs"


def element(tag: int, *parts: bytes) -> bytes:
    """DER, with a length of two bytes where it needs one."""
    content = b"".join(parts)
    size = len(content)
    return bytes([tag]) + (bytes([size]) if size < 0x80 else b"\x82" + size.to_bytes(2, "big")) + content


def container(*certificates: bytes, content: bytes = b"\x04\0", signers: bytes = b"") -> bytes:
    """TLV 3 as observed."""
    data = element(0x30, bytes.fromhex("06092a864886f70d010701"), element(0xA0, content))
    fields = b"\x02\1\1", b"\x31\0", data, element(0xA0, *certificates), element(0x31, signers)
    return element(0x30, bytes.fromhex("06092a864886f70d010702"), element(0xA0, element(0x30, *fields)))


def refused(*proof: bytes, trust: Trust = TRUST, octets: bytes = OCTETS, hash_name: str = "sha256") -> str:
    with pytest.raises(ProofRefused) as refusal:
        check(*proof, octets, hash_name, trust)
    return str(refusal.value)


@pytest.fixture(scope="module")
def chain() -> tuple[bytes, bytes]:
    return pki.client_credential().certificate, pki.intermediate().certificate


@pytest.fixture(scope="module", params=["sha1", "sha256", "sha384", "sha512"])
def hash_name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def signature() -> bytes:
    return pki.client_credential().bare_signature(OCTETS, "sha256")


def test_the_golden_proof_is_taken():
    trust = Trust(golden.AUTHORITY, golden.WHEN)
    assert check(golden.CERTIFICATES, golden.SIGNATURE, golden.OCTETS, "sha256", trust) == "MyPC1.mydomain.com"
    assert len(golden.OCTETS) == 701


@pytest.mark.parametrize("hash_name", ["sha1", "sha384", "sha512"])
def test_the_golden_signature_with_another_hash(hash_name):
    trust = Trust(golden.AUTHORITY, golden.WHEN)
    shown = refused(golden.CERTIFICATES, golden.SIGNATURE, trust=trust, octets=golden.OCTETS, hash_name=hash_name)
    assert f"with {hash_name} does not fit" in shown


@pytest.mark.parametrize("position", [0, 28, 300, 636, 637, 668, 669, 700])
def test_the_golden_signature_over_octets_that_differ_in_a_bit(position):
    octets = bytearray(golden.OCTETS)
    octets[position] ^= 1
    trust = Trust(golden.AUTHORITY, golden.WHEN)
    shown = refused(golden.CERTIFICATES, golden.SIGNATURE, trust=trust, octets=bytes(octets))
    assert "does not fit the octets" in shown


def test_other_readers_find_the_same_golden_certificates():
    ours = read_certificates(golden.CERTIFICATES)
    assert sorted(ours) == sorted(as_der(certificate) for certificate in openssl_certificates(golden.CERTIFICATES))
    with pytest.warns(UserWarning, match="InvalidSetOrdering"):  # DER wants a SET sorted; what was observed is not
        found = pkcs7.load_der_pkcs7_certificates(golden.CERTIFICATES)
    assert {as_der(certificate) for certificate in found} == set(ours)


def test_openssl_reads_what_these_tests_build(chain):
    assert {as_der(found) for found in openssl_certificates(container(*chain))} == set(chain)
    assert container(*read_certificates(golden.CERTIFICATES)) == golden.CERTIFICATES


def openssl_certificates(data: bytes) -> list[x509.Certificate]:
    command = ["openssl", "pkcs7", "-inform", "DER", "-print_certs"]
    printed = subprocess.run(command, input=data, check=True, capture_output=True).stdout
    return x509.load_pem_x509_certificates(printed)


def as_der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_a_proof_is_taken_with_every_hash(kind, hash_name, chain):
    credential = pki.client_credential(kind=kind)
    proof = container(credential.certificate, chain[1]), credential.bare_signature(OCTETS, hash_name)
    assert check(*proof, OCTETS, hash_name, TRUST) == "ada"


def test_the_ca_may_come_along_and_need_not(chain, signature):
    assert check(container(*chain, TRUST.authority), signature, OCTETS, "sha256", TRUST) == "ada"


def test_the_key_of_another_certificate(chain):
    other = pki.client_credential("grace").bare_signature(OCTETS, "sha256")
    assert "the signature of ada" in refused(container(*chain), other)


@pytest.mark.parametrize("bad", [b"", b"\0", bytes(256), bytes(257)])
def test_no_signature_at_all(chain, bad):
    assert "does not fit the octets" in refused(container(*chain), bad)


def test_a_signature_in_asn1_is_not_the_bare_one():
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    credential = pki.client_credential(kind="ecdsa")
    signature = credential.key.sign(OCTETS, ec.ECDSA(hashes.SHA256()))
    assert "does not fit" in refused(container(credential.certificate, pki.intermediate().certificate), signature)


def test_the_certificates_in_the_wrong_order(chain, signature):
    client, issuer = chain
    assert refused(container(issuer, client), signature) == "ada is no CA"
    assert refused(container(client, TRUST.authority, issuer), signature) == "ada was not issued by Test CA"


def test_a_missing_link(chain, signature):
    assert "ada was not issued by Test CA" in refused(container(chain[0]), signature)


def test_only_the_ca(signature):
    assert "the CA's certificate is no client's" in refused(container(TRUST.authority), signature)
    assert "Test Issuing CA is a CA and comes first" in refused(container(pki.intermediate().certificate), signature)


def test_no_certificate(signature):
    assert refused(container(), signature) == "no certificate"


def test_a_foreign_ca(signature):
    foreign = pki.client_credential("ada", issuer="Test CA of others", ca="Test CA of others")
    assert "was not issued by Test CA" in refused(container(foreign.certificate), signature)


def test_a_ca_of_the_same_name(signature):
    now = pki.NOW + timedelta(seconds=1)
    impostor = pki.client_credential("ada", issuer="Test CA", now=now)
    assert "was not issued by Test CA" in refused(
        container(impostor.certificate), impostor.bare_signature(OCTETS, "sha256")
    )


@pytest.mark.parametrize("days", [-2, 366])
def test_a_certificate_that_is_not_valid_now(chain, signature, days):
    trust = Trust(TRUST.authority, pki.NOW + timedelta(days=days))
    assert "is not valid now" in refused(container(*chain), signature, trust=trust)


def test_what_a_library_builds_lacks_the_empty_content(chain, signature):
    certificates = [x509.load_der_x509_certificate(certificate) for certificate in chain]
    built = pkcs7.serialize_certificates(certificates, Encoding.DER)
    assert "no eContent" in refused(built, signature)


def test_shapes_that_are_not_the_observed_one(chain, signature):
    assert "not an empty OCTET STRING" in refused(container(*chain, content=b"\x04\1x"), signature)
    assert "a signer" in refused(container(*chain, signers=b"\x30\0"), signature)
    assert "bytes behind ContentInfo" in refused(container(*chain) + b"\0", signature)
    whole = container(*chain)
    assert "indefinite length" in refused(b"\x30\x80" + whole[4:] + b"\0\0", signature)
    assert "not DER" in refused(b"\x30\x83\0" + whole[2:], signature)
    assert "not signedData" in refused(whole.replace(b"\x01\x07\x02", b"\x01\x07\x03"), signature)


@given(st.data())
def test_a_container_that_is_cut_or_changed_never_breaks_the_judge(data):
    whole = bytearray(golden.CERTIFICATES)
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(0, 255))
    changed = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    try:
        found = read_certificates(changed)
    except ProofRefused:
        return
    assert container(*found) == changed
