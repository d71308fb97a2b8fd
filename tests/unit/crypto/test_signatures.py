"""The gateway's AUTH signature: every method that is accepted, and every reason to refuse one."""

import hashlib
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from anyike.crypto.algorithm_identifier import SignatureAlgorithm, parse_algorithm_identifier
from anyike.crypto.signatures import Sha1SignatureRefused, SignatureInvalid, verify_gateway_auth
from anyike.errors import GatewayNotTrusted
from anyike.wire import DecodeError

OCTETS = b"ResponderSignedOctets"
HASHES = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
NULL = "0500"
RSA_IDENTIFIERS = {
    "sha1": "300d06092a864886f70d0101050500",
    "sha256": "300d06092a864886f70d01010b0500",
    "sha384": "300d06092a864886f70d01010c0500",
    "sha512": "300d06092a864886f70d01010d0500",
}
ECDSA_IDENTIFIERS = {
    "sha1": "300906072a8648ce3d0401",
    "sha256": "300a06082a8648ce3d040302",
    "sha384": "300a06082a8648ce3d040303",
    "sha512": "300a06082a8648ce3d040304",
}
PSS_IDENTIFIERS = {  # RFC 7427 appendix A.4.3 has the one for SHA-256; the others differ in the hash and salt length
    "sha256": (
        "304106092a864886f70d01010a3034a00f300d06096086480165030402010500"
        "a11c301a06092a864886f70d010108300d06096086480165030402010500a203020120"
    ),
    "sha384": (
        "304106092a864886f70d01010a3034a00f300d06096086480165030402020500"
        "a11c301a06092a864886f70d010108300d06096086480165030402020500a203020130"
    ),
    "sha512": (
        "304106092a864886f70d01010a3034a00f300d06096086480165030402030500"
        "a11c301a06092a864886f70d010108300d06096086480165030402030500a203020140"
    ),
}
PSS_DEFAULTS = "300d06092a864886f70d01010a3000"


def certificate(key) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gateway")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + timedelta(days=1))
    hash_algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else hashes.SHA256()
    return builder.sign(key, hash_algorithm).public_bytes(Encoding.DER)


@pytest.fixture(scope="module")
def rsa_key():
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def rsa_certificate(rsa_key):
    return certificate(rsa_key)


def rsa_sign(key, hash_name: str) -> bytes:
    return key.sign(OCTETS, padding.PKCS1v15(), HASHES[hash_name])


def digital(identifier: str, signature: bytes) -> bytes:
    encoded = bytes.fromhex(identifier)
    return bytes((len(encoded),)) + encoded + signature


def verify(der: bytes, method: int, auth: bytes, prf_hash="sha256", octets=OCTETS, *, allow_sha1=False) -> str:
    return verify_gateway_auth(der, method, auth, octets, prf_hash, allow_sha1=allow_sha1)


@pytest.mark.parametrize("prf_hash", HASHES)
@pytest.mark.parametrize("hash_name", ["sha256", "sha384", "sha512"])
def test_method_1_with_sha2(rsa_key, rsa_certificate, hash_name, prf_hash):
    expected = f"RSASSA-PKCS1-v1_5 with SHA-{hash_name[3:]}"
    assert verify(rsa_certificate, 1, rsa_sign(rsa_key, hash_name), prf_hash) == expected


@pytest.mark.parametrize("prf_hash", HASHES)
def test_method_1_with_sha1_needs_the_setting(rsa_key, rsa_certificate, prf_hash):
    """Also when the PRF itself is HMAC-SHA1."""
    signature = rsa_sign(rsa_key, "sha1")
    with pytest.raises(Sha1SignatureRefused, match="allow_sha1_signature"):
        verify(rsa_certificate, 1, signature, prf_hash)
    assert verify(rsa_certificate, 1, signature, prf_hash, allow_sha1=True) == "RSASSA-PKCS1-v1_5 with SHA-1"


def test_method_1_never_with_md5(rsa_key, rsa_certificate):
    """An MD5 DigestInfo signed by hand: `cryptography` has no MD5 signatures."""
    numbers = rsa_key.private_numbers()
    info = bytes.fromhex("3020300c06082a864886f70d020505000410") + hashlib.md5(OCTETS).digest()
    block = b"\x00\x01" + b"\xff" * (256 - 3 - len(info)) + b"\x00" + info
    n, d = numbers.public_numbers.n, numbers.d
    signature = pow(int.from_bytes(block, "big"), d, n).to_bytes(256, "big")
    with pytest.raises(SignatureInvalid):
        verify(rsa_certificate, 1, signature, allow_sha1=True)


@pytest.mark.parametrize(
    ("method", "curve", "hash_name"),
    [(9, ec.SECP256R1(), "sha256"), (10, ec.SECP384R1(), "sha384"), (11, ec.SECP521R1(), "sha512")],
)
def test_methods_9_to_11(method, curve, hash_name):
    key = ec.generate_private_key(curve)
    der, half = certificate(key), (curve.key_size + 7) // 8
    r, s = decode_dss_signature(key.sign(OCTETS, ec.ECDSA(HASHES[hash_name])))
    raw = r.to_bytes(half, "big") + s.to_bytes(half, "big")
    assert verify(der, method, raw) == f"ECDSA with SHA-{hash_name[3:]}"
    with pytest.raises(SignatureInvalid, match="does not verify"):
        verify(der, method, raw, octets=OCTETS + b"!")
    with pytest.raises(SignatureInvalid, match="does not verify"):
        verify(der, method, bytes(2 * half))
    with pytest.raises(SignatureInvalid, match="bytes, not"):
        verify(der, method, raw[1:])
    with pytest.raises(SignatureInvalid, match="has no"):
        verify(der, 9 if method != 9 else 10, raw)


@pytest.mark.parametrize("hash_name", ["sha256", "sha384", "sha512"])
def test_method_14_rsa(rsa_key, rsa_certificate, hash_name):
    auth = digital(RSA_IDENTIFIERS[hash_name], rsa_sign(rsa_key, hash_name))
    assert verify(rsa_certificate, 14, auth) == f"RSASSA-PKCS1-v1_5 with SHA-{hash_name[3:]}"
    with pytest.raises(SignatureInvalid, match="does not verify"):
        verify(rsa_certificate, 14, auth, octets=b"other")


@pytest.mark.parametrize("hash_name", PSS_IDENTIFIERS)
def test_method_14_rsa_pss(rsa_key, rsa_certificate, hash_name):
    algorithm = HASHES[hash_name]
    pss = padding.PSS(padding.MGF1(algorithm), algorithm.digest_size)
    auth = digital(PSS_IDENTIFIERS[hash_name], rsa_key.sign(OCTETS, pss, algorithm))
    assert verify(rsa_certificate, 14, auth) == f"RSASSA-PSS with SHA-{hash_name[3:]}"
    with pytest.raises(SignatureInvalid, match="does not verify"):
        verify(rsa_certificate, 14, auth[:-1] + bytes((auth[-1] ^ 1,)))


@pytest.mark.parametrize("salt_length", ["00ff", "7fff"])
def test_method_14_rsa_pss_with_a_salt_longer_than_the_key_is_refused(rsa_certificate, salt_length):
    identifier = "304206092a864886f70d01010a3035" + PSS_IDENTIFIERS["sha256"][30:-6] + "0202" + salt_length
    identifier = identifier.replace("a203" + "0202", "a204" + "0202")
    with pytest.raises(SignatureInvalid, match="does not verify"):
        verify(rsa_certificate, 14, digital(identifier, bytes(256)))


@pytest.mark.parametrize("hash_name", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_method_14_ecdsa(curve, hash_name):
    key = ec.generate_private_key(curve)
    auth = digital(ECDSA_IDENTIFIERS[hash_name], key.sign(OCTETS, ec.ECDSA(HASHES[hash_name])))
    assert verify(certificate(key), 14, auth) == f"ECDSA with SHA-{hash_name[3:]}"


@pytest.mark.parametrize(
    ("key", "identifier", "name"),
    [
        (ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)), "300506032b6570", "Ed25519"),
        (ed448.Ed448PrivateKey.from_private_bytes(bytes(57)), "300506032b6571", "Ed448"),
    ],
)
def test_method_14_eddsa(key, identifier, name):
    auth = digital(identifier, key.sign(OCTETS))
    assert verify(certificate(key), 14, auth) == name
    with pytest.raises(SignatureInvalid):
        verify(certificate(key), 14, auth, octets=b"other")


def test_method_14_with_sha1_needs_the_setting(rsa_key, rsa_certificate):
    ec_key = ec.generate_private_key(ec.SECP256R1())
    pss = padding.PSS(padding.MGF1(hashes.SHA1()), 20)
    for der, auth, name in (
        (rsa_certificate, digital(RSA_IDENTIFIERS["sha1"], rsa_sign(rsa_key, "sha1")), "RSASSA-PKCS1-v1_5 with SHA-1"),
        (rsa_certificate, digital(PSS_DEFAULTS, rsa_key.sign(OCTETS, pss, hashes.SHA1())), "RSASSA-PSS with SHA-1"),
        (
            certificate(ec_key),
            digital(ECDSA_IDENTIFIERS["sha1"], ec_key.sign(OCTETS, ec.ECDSA(hashes.SHA1()))),
            "ECDSA with SHA-1",
        ),
    ):
        with pytest.raises(Sha1SignatureRefused, match="allow_sha1_signature"):
            verify(der, 14, auth)
        assert verify(der, 14, auth, allow_sha1=True) == name


def test_the_algorithm_must_fit_the_key(rsa_key, rsa_certificate):
    ec_certificate = certificate(ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(SignatureInvalid):
        verify(ec_certificate, 14, digital(RSA_IDENTIFIERS["sha256"], rsa_sign(rsa_key, "sha256")))
    with pytest.raises(SignatureInvalid):
        verify(rsa_certificate, 14, digital(ECDSA_IDENTIFIERS["sha256"], bytes(70)))
    with pytest.raises(SignatureInvalid):
        verify(ec_certificate, 1, rsa_sign(rsa_key, "sha256"))


@pytest.mark.parametrize("method", [0, 2, 3, 8, 12, 13, 15, 255])
def test_other_methods_are_no_signatures(rsa_certificate, method):
    with pytest.raises(SignatureInvalid, match=f"method {method}"):
        verify(rsa_certificate, method, bytes(32))


@given(method=st.sampled_from([1, 9, 14]), auth=st.binary(max_size=300))
def test_arbitrary_auth_data_is_refused(rsa_certificate, method, auth):
    with pytest.raises(GatewayNotTrusted):
        verify(rsa_certificate, method, auth, allow_sha1=True)


@given(der=st.binary(max_size=200))
def test_arbitrary_certificates_are_refused(der):
    with pytest.raises(SignatureInvalid, match="no usable public key"):
        verify(der, 1, bytes(256))


@given(data=st.binary(max_size=120))
def test_arbitrary_algorithm_identifiers(data):
    with suppress(DecodeError):
        assert isinstance(parse_algorithm_identifier(data), SignatureAlgorithm | None)


@given(data=st.data(), name=st.sampled_from(sorted(PSS_IDENTIFIERS)))
def test_damaged_algorithm_identifiers(data, name):
    damaged = bytearray.fromhex(PSS_IDENTIFIERS[name])
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with suppress(DecodeError):
        assert isinstance(parse_algorithm_identifier(bytes(damaged)), SignatureAlgorithm | None)


@pytest.mark.parametrize(
    ("identifier", "reason"),
    [
        ("300d06092a864886f70d01010b050000", "left over"),
        ("300e06092a864886f70d01010b050000", "left over"),
        ("300d06092a864886f70d01010b0600", "belongs"),
        ("300b06092a864886f70d01010a", "without its parameters"),
        ("30800609", "length"),
        ("308109" + "06072a8648ce3d0401", "length"),
        ("301706092a864886f70d01010a300aa203020114a203020114", "out of order"),
        ("301206092a864886f70d01010a3005a203020180", "not a small"),
        ("301406092a864886f70d01010a3007a20302010ea400", "unknown"),
    ],
)
def test_malformed_algorithm_identifiers(identifier, reason):
    with pytest.raises(DecodeError, match=reason):
        parse_algorithm_identifier(bytes.fromhex(identifier))


@pytest.mark.parametrize(
    "identifier",
    [
        "300d06092a864886f70d0101040500",  # md5WithRSAEncryption
        "300906072a8648ce380403",  # dsa-with-sha1
        "301206092a864886f70d01010a3005a303020102",  # PSS with another trailer
        PSS_IDENTIFIERS["sha256"].replace("0402010500a203", "0402040500a203"),  # MGF1 with SHA-224
        PSS_IDENTIFIERS["sha256"].replace("2a864886f70d010108", "2a864886f70d010109"),  # not MGF1
    ],
)
def test_unsupported_algorithms_are_no_error_of_the_parser(rsa_certificate, identifier):
    assert parse_algorithm_identifier(bytes.fromhex(identifier)) is None
    with pytest.raises(SignatureInvalid, match="not supported"):
        verify(rsa_certificate, 14, digital(identifier, bytes(256)))
