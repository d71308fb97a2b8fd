"""The gateway's certificate: accepted for the right reasons, refused with the right one."""

import base64
import hashlib
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from anyike.crypto.x509 import (
    CertificateNotTrusted,
    Distrust,
    TrustPolicy,
    parse_certificates,
    parse_pin,
    pin_sha256,
    verify_gateway_certificate,
)
from anyike.errors import ConfigurationError
from tests.unit.crypto.certificates import (
    CA,
    HOST,
    KEY,
    NOW,
    Issued,
    accepted,
    key_usage,
    make_root,
    refused,
    san,
    trusting,
)

IKE_INTERMEDIATE = x509.ObjectIdentifier("1.3.6.1.5.5.8.2.2")


@pytest.fixture(scope="module")
def root() -> Issued:
    return make_root()


@pytest.fixture(scope="module")
def fixed_gateway(root) -> Issued:
    return root.gateway()


def test_what_a_verified_certificate_tells(root):
    gateway = root.gateway()
    verified = verify_gateway_certificate([gateway.der], trusting(root), NOW)
    spki = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert (verified.subject, verified.issuer) == (f"CN={HOST}", "CN=Root CA")
    assert (verified.verified_by, verified.not_after) == ("chain", NOW + timedelta(days=365))
    assert verified.public_key_der == spki
    assert verified.pin == "pin-sha256:" + base64.b64encode(hashlib.sha256(spki).digest()).decode()
    assert verified.pin == pin_sha256(gateway.der)


# The chain


def test_intermediates_in_any_order_and_useless_extras(root):
    sub = root.ca()
    sub_sub = sub.ca("Sub Sub CA")
    gateway = sub_sub.gateway()
    stranger = Issued("Stranger", extensions=(CA,))
    for others in ([sub, sub_sub], [sub_sub, sub], [stranger, sub_sub, root, sub, stranger]):
        assert accepted([gateway.der, *(other.der for other in others)], trusting(root))
    error = refused([gateway.der, sub_sub.der], trusting(root))
    assert error.reason is Distrust.UNTRUSTED_CA
    assert "'CN=Sub CA'" in str(error)


def test_an_intermediate_may_be_the_trust_anchor(root):
    sub = root.ca()
    assert accepted([sub.gateway().der], trusting(sub))


def test_an_untrusted_ca_is_named_with_the_pin(root):
    gateway = Issued("Other CA", extensions=(CA,)).gateway()
    for policy in (trusting(root), trusting()):
        error = refused([gateway.der], policy)
        assert error.reason is Distrust.UNTRUSTED_CA
        assert error.pin == pin_sha256(gateway.der)
        assert error.pin in str(error)
        assert "'CN=Other CA'" in str(error)
        assert "ca_file" in str(error)


def test_a_ca_of_the_same_name_with_another_key(root):
    impostor = Issued("Root CA", extensions=(CA,))
    gateway = impostor.gateway()
    assert refused([gateway.der], trusting(root)).reason is Distrust.UNTRUSTED_CA
    assert refused([gateway.der, impostor.der], trusting(root)).reason is Distrust.UNTRUSTED_CA


@pytest.mark.parametrize("extensions", [(san(HOST),), (san(HOST), CA)], ids=["leaf", "CA"])
def test_a_self_signed_gateway_needs_its_own_certificate_as_root(extensions):
    gateway, other = (Issued(HOST, extensions=extensions) for _ in range(2))
    assert refused([gateway.der], trusting(other)).reason is Distrust.UNTRUSTED_CA
    assert accepted([gateway.der], trusting(gateway))
    assert refused([gateway.der], trusting(gateway, names=("else.example.com",))).reason is Distrust.WRONG_NAME
    assert refused([gateway.der], trusting(gateway), NOW + timedelta(days=400)).reason is Distrust.EXPIRED


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"days": (-20, -10)}, "expired on 2026-05-22"),
        ({"days": (10, 20)}, "not valid before 2026-06-11"),
        ({"extensions": ()}, "no CA"),
        ({"extensions": (x509.BasicConstraints(ca=False, path_length=None),)}, "no CA"),
        ({"extensions": (CA, key_usage("digital_signature"))}, "keyUsage"),
        ({"extensions": (CA, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]))}, "extendedKeyUsage"),
        ({"key": rsa.generate_private_key(65537, 1024)}, "less than 2048 bits"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("is_root", [False, True], ids=["intermediate", "root"])
def test_bad_issuing_certificates(root, options, words, is_root):
    options = {"extensions": (CA,)} | options
    sub = Issued("Bad CA", **options) if is_root else root.ca("Bad CA", **options)
    error = refused([sub.gateway().der, sub.der], trusting(sub if is_root else root))
    assert error.reason is Distrust.BAD_CHAIN
    assert words in str(error)
    assert error.pin is not None


def test_path_length_and_depth(root):
    limited = root.ca("Limited", extensions=(x509.BasicConstraints(ca=True, path_length=0),))
    below = limited.ca("Below")
    assert accepted([limited.gateway().der, limited.der], trusting(root))
    assert refused([below.gateway().der, below.der, limited.der], trusting(root)).reason is Distrust.BAD_CHAIN


def test_name_constraints_of_a_ca(root):
    constraints = x509.NameConstraints([x509.DNSName("example.org")], None)
    sub = root.ca("Constrained", extensions=(CA, constraints), critical=(x509.NameConstraints,))
    assert refused([sub.gateway().der, sub.der], trusting(root)).reason is Distrust.BAD_CHAIN
    inside = sub.gateway(san("vpn.example.org"))
    assert accepted([inside.der, sub.der], trusting(root, names=("vpn.example.org",)))


def test_unknown_critical_extensions(root):
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    critical = root.gateway(san(HOST), unknown, critical=(x509.UnrecognizedExtension,))
    assert refused([critical.der], trusting(root)).reason is Distrust.BAD_CHAIN
    assert accepted([root.gateway(san(HOST), unknown).der], trusting(root))


def signed_with_sha1(certificate: Issued, issuer: Issued) -> Issued:
    """The same certificate signed again by hand: `cryptography` issues none with SHA-1."""
    sha256, sha1 = bytes.fromhex("2a864886f70d01010b"), bytes.fromhex("2a864886f70d010105")
    parsed = x509.load_der_x509_certificate(certificate.der)
    tbs = parsed.tbs_certificate_bytes.replace(sha256, sha1)
    signature = issuer.key.sign(tbs, padding.PKCS1v15(), hashes.SHA1())
    resigned = certificate.der.replace(parsed.tbs_certificate_bytes, tbs).replace(sha256, sha1)
    certificate.der = resigned.replace(parsed.signature, signature)
    return certificate


def test_sha1_in_the_chain():
    root = Issued("RSA Root", extensions=(CA,), key=rsa.generate_private_key(65537, 2048))
    error = refused([signed_with_sha1(root.gateway(), root).der], trusting(root))
    assert error.reason is Distrust.BAD_CHAIN
    assert "it is signed with SHA-1" in str(error)
    sub = signed_with_sha1(root.ca(), root)
    error = refused([sub.gateway().der, sub.der], trusting(root))
    assert error.reason is Distrust.BAD_CHAIN
    assert "'CN=Sub CA' is signed with SHA-1" in str(error)
    assert accepted([sub.gateway().der], trusting(sub))


def test_a_ca_with_another_kind_of_key():
    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Ed25519 CA")])
    start, end = NOW - timedelta(days=1), NOW + timedelta(days=1)
    root = x509.CertificateBuilder(name, name, key.public_key(), 1, start, end).add_extension(CA, critical=True)
    leaf = x509.CertificateBuilder(name, name, KEY.public_key(), 2, start, end)
    root_der, leaf_der = (builder.sign(key, None).public_bytes(Encoding.DER) for builder in (root, leaf))
    error = refused([leaf_der], TrustPolicy(roots=(root_der,), names=(HOST,)))
    assert error.reason is Distrust.BAD_CHAIN
    assert "neither RSA nor ECDSA" in str(error)


def test_many_certificates_of_one_name_do_not_explode(root):
    """Each signs for each: the search must stay bounded, and end in a refusal."""
    key = ec.generate_private_key(ec.SECP256R1())
    loop = Issued("Loop", extensions=(CA,), key=key)
    rings = [Issued("Loop", loop, (CA,), key=key) for _ in range(8)]
    chain = [loop.gateway().der, *(ring.der for ring in rings)]
    assert refused(chain, trusting(root)).reason is Distrust.UNTRUSTED_CA


# Dates, keys, usage


def test_dates_are_inclusive_and_no_pin_overrides_them(root):
    gateway = root.gateway(days=(0, 10))
    pinned = TrustPolicy(pins=(pin_sha256(gateway.der),))
    second = timedelta(seconds=1)
    for policy in (trusting(root), pinned):
        for now in (NOW, NOW + timedelta(days=10)):
            assert verify_gateway_certificate([gateway.der], policy, now).subject == f"CN={HOST}"
        early = refused([gateway.der], policy, NOW - second)
        assert (early.reason, early.pin) == (Distrust.NOT_YET_VALID, None)
        late = refused([gateway.der], policy, NOW + timedelta(days=10) + second)
        assert (late.reason, late.pin) == (Distrust.EXPIRED, None)
        assert "expired on 2026-06-11" in str(late)


def test_rsa_keys_below_2048_bits(root):
    gateway = root.gateway(key=rsa.generate_private_key(65537, 1024))
    for policy in (trusting(root), TrustPolicy(pins=(pin_sha256(gateway.der),))):
        assert refused([gateway.der], policy).reason is Distrust.WEAK_KEY


@pytest.mark.parametrize(
    "usage",
    [
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.IPSEC_IKE,
        IKE_INTERMEDIATE,
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    ],
    ids=lambda oid: oid.dotted_string,
)
@pytest.mark.parametrize("critical", [(), (x509.ExtendedKeyUsage,)], ids=["plain", "critical"])
def test_extended_key_usages_of_gateways(root, usage, critical):
    usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, usage])
    assert accepted([root.gateway(san(HOST), usages, critical=critical).der], trusting(root))


@pytest.mark.parametrize("usage", [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.EMAIL_PROTECTION])
def test_other_extended_key_usages(root, usage):
    error = refused([root.gateway(san(HOST), x509.ExtendedKeyUsage([usage])).der], trusting(root))
    assert error.reason is Distrust.BAD_USAGE
    assert error.pin is not None


@pytest.mark.parametrize(
    ("usages", "allowed"),
    [
        (("digital_signature",), True),
        (("content_commitment",), True),
        (("digital_signature", "key_encipherment"), True),
        (("key_encipherment",), False),
        (("key_cert_sign", "crl_sign"), False),
    ],
)
def test_key_usage(root, usages, allowed):
    gateway = root.gateway(san(HOST), key_usage(*usages), critical=(x509.KeyUsage,))
    if allowed:
        assert accepted([gateway.der], trusting(root))
    else:
        assert refused([gateway.der], trusting(root)).reason is Distrust.BAD_USAGE


# Pins


def test_a_pin_replaces_chain_name_and_usage():
    gateway = Issued("whatever", extensions=(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]),))
    pins = ("pin-sha256:" + "A" * 43 + "=", pin_sha256(gateway.der))
    assert verify_gateway_certificate([gateway.der], TrustPolicy(pins=pins), NOW).verified_by == "pin"


def test_a_wrong_pin_is_not_rescued_by_a_good_chain(root):
    gateway = root.gateway()
    error = refused([gateway.der], trusting(root, pins=("pin-sha256:" + "A" * 43 + "=",)))
    assert (error.reason, error.pin) == (Distrust.WRONG_PIN, pin_sha256(gateway.der))
    assert error.pin in str(error)


@pytest.mark.parametrize(
    "pin", ["", "pin-sha256:", "pin-sha256:AAAA", "A" * 43 + "=", "sha256:" + "A" * 43 + "=", "pin-sha256:é" + "A" * 42]
)
def test_pins_that_are_none(root, pin):
    with pytest.raises(ConfigurationError, match="pin-sha256"):
        parse_pin(pin)
    with pytest.raises(ConfigurationError, match="pin-sha256"):
        verify_gateway_certificate([root.gateway().der], TrustPolicy(pins=(pin,)), NOW)


# Hostile and broken input


def test_no_certificate(root):
    assert refused([], trusting(root)).reason is Distrust.NO_CERTIFICATE


def test_bounds(root):
    gateway = root.gateway().der
    assert accepted([gateway, *([root.der] * 9)], trusting(root))
    assert refused([gateway, *([root.der] * 10)], trusting(root)).reason is Distrust.MALFORMED
    assert refused([gateway, bytes(65_536)], trusting(root)).reason is Distrust.MALFORMED


def test_broken_roots_are_the_users_fault(root):
    with pytest.raises(ConfigurationError, match="CA certificate"):
        verify_gateway_certificate([root.gateway().der], TrustPolicy(roots=(b"\x30\x00",), names=(HOST,)), NOW)


@given(junk=st.binary(max_size=300))
def test_arbitrary_bytes_are_malformed(junk):
    assert refused([junk], TrustPolicy()).reason is Distrust.MALFORMED


@given(data=st.data())
def test_nothing_that_the_issuer_signed_can_be_altered(root, fixed_gateway, data):
    signed = x509.load_der_x509_certificate(fixed_gateway.der).tbs_certificate_bytes
    start = fixed_gateway.der.index(signed)
    damaged = bytearray(fixed_gateway.der)
    damaged[start + data.draw(st.integers(0, len(signed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(CertificateNotTrusted):
        verify_gateway_certificate([bytes(damaged)], trusting(root), NOW)


def test_texts_of_strangers_are_made_printable(root):
    gateway = Issued("\x1b[31mevil\r\n" + "x" * 40, root.ca("CA\x1b]0;title\x07"), (san(HOST),))
    error = refused([gateway.der], trusting(root))
    assert "\x1b" not in str(error)
    assert "\x07" not in str(error)
    pinned = verify_gateway_certificate([gateway.der], TrustPolicy(pins=(pin_sha256(gateway.der),)), NOW)
    assert pinned.subject.isprintable()


def test_pem_bundles(root):
    pem = x509.load_der_x509_certificate(root.der).public_bytes(Encoding.PEM)
    broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    assert parse_certificates(b"# a comment\n" + pem + pem) == (root.der, root.der)
    assert parse_certificates(root.der) == (root.der,)
    assert parse_certificates(broken + pem + broken, skip_unreadable=True) == (root.der,)
    with pytest.raises(ValueError, match="pars"):
        parse_certificates(pem + broken)
    for data in (b"", b"junk", broken):
        with pytest.raises(ValueError, match="none of its certificates"):
            parse_certificates(data, skip_unreadable=True)


@given(junk=st.binary(max_size=200), armour=st.booleans(), skip=st.booleans())
def test_arbitrary_bundles_are_a_value_error(junk, armour, skip):
    if armour:
        junk = b"-----BEGIN CERTIFICATE-----" + junk + b"-----END CERTIFICATE-----"
    with pytest.raises(ValueError):  # noqa: PT011 - the words are the parser's
        parse_certificates(junk, skip_unreadable=skip)
