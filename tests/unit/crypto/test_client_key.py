"""Private keys from files that openssl made, and what they sign, which openssl judges."""

from __future__ import annotations

import pytest

from anyike.crypto.client_key import PassPhraseNeeded, PassPhraseWrong, read_key_store
from anyike.errors import ConfigurationError, LoginFailed
from tests.unit.openssl import ecdsa_der, openssl, verifies

OCTETS = b"what a gateway wants to be signed" * 20
CURVES = {"P-256": 64, "P-384": 96, "P-521": 132}
LEGACY = ("-provider", "legacy", "-provider", "default")


def make(folder, *algorithm):
    """A key and its self-signed certificate, as paths."""
    key, certificate = folder / "key.pem", folder / "cert.pem"
    openssl("genpkey", *algorithm, "-out", key)
    openssl("req", "-x509", "-key", key, "-subj", "/CN=ada", "-days", "3", "-out", certificate)
    return key, certificate


@pytest.fixture(scope="module")
def rsa(tmp_path_factory):
    return make(tmp_path_factory.mktemp("rsa"), "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")


@pytest.fixture(scope="module")
def expected(rsa):
    """SubjectPublicKeyInfo of the RSA key, by openssl."""
    return openssl("pkey", "-in", rsa[0], "-pubout", "-outform", "DER")


@pytest.mark.parametrize("bits", [1024, 2048, 3072, 4096])
def test_rsa_signatures(tmp_path, bits):
    key, certificate = make(tmp_path, "-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{bits}")
    store = read_key_store(key.read_bytes() + certificate.read_bytes())
    for hash_name in ("sha1", "sha256", "sha384", "sha512"):
        signature = store.key.sign(OCTETS, hash_name)
        assert len(signature) == bits // 8
        assert verifies(tmp_path, store.certificates[0], signature, OCTETS, hash_name)
        assert not verifies(tmp_path, store.certificates[0], signature, OCTETS + b"!", hash_name)


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("hash_name", ["sha1", "sha256", "sha384", "sha512"])
def test_ecdsa_signatures_are_r_and_s(tmp_path, curve, hash_name):
    key, certificate = make(tmp_path, "-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{curve}")
    store = read_key_store(key.read_bytes() + certificate.read_bytes())
    for _ in range(8):  # r or s start with zero bytes now and then
        signature = store.key.sign(OCTETS, hash_name)
        assert len(signature) == CURVES[curve]
        assert verifies(tmp_path, store.certificates[0], ecdsa_der(signature), OCTETS, hash_name)


def test_md5_is_refused(rsa):
    with pytest.raises(LoginFailed, match="md5"):
        read_key_store(rsa[0].read_bytes()).key.sign(OCTETS, "md5")


@pytest.mark.parametrize(
    "command",
    [
        ("pkey",),
        ("pkey", "-outform", "DER"),
        ("rsa", "-traditional"),
        ("rsa", "-traditional", "-outform", "DER"),
    ],
)
def test_plain_keys(rsa, expected, command):
    store = read_key_store(openssl(command[0], "-in", rsa[0], *command[1:]))
    assert store.key.public_key_der == expected
    assert store.certificates == ()


@pytest.mark.parametrize(
    "command",
    [
        ("pkcs8", "-topk8"),
        ("pkcs8", "-topk8", "-outform", "DER"),
        ("pkcs8", "-topk8", "-v1", "PBE-SHA1-3DES"),
        ("pkcs8", "-topk8", "-v1", "PBE-SHA1-RC2-40", *LEGACY),
        ("rsa", "-traditional", "-aes256"),
        ("rsa", "-traditional", "-des3"),
    ],
)
def test_encrypted_keys(rsa, expected, command):
    data = openssl(command[0], "-in", rsa[0], *command[1:], "-passout", "pass:grün is right")
    with pytest.raises(PassPhraseNeeded):
        read_key_store(data)
    for wrong in ("", "grün is wrong", "x" * 2000):
        with pytest.raises((PassPhraseWrong, PassPhraseNeeded)):
            read_key_store(data, wrong)
    assert read_key_store(data, "grün is right").key.public_key_der == expected


@pytest.mark.parametrize(
    "options", [(), ("-legacy",), ("-legacy", "-certpbe", "PBE-SHA1-RC2-40"), ("-keypbe", "PBE-SHA1-3DES")]
)
def test_pkcs12(rsa, expected, options):
    export = ("pkcs12", "-export", "-inkey", rsa[0], "-in", rsa[1], *options)
    data = openssl(*export, "-passout", "pass:right")
    with pytest.raises(PassPhraseNeeded):
        read_key_store(data)
    with pytest.raises(PassPhraseWrong):
        read_key_store(data, "wrong")
    store = read_key_store(data, "right")
    assert store.key.public_key_der == expected
    assert store.certificates == (openssl("x509", "-in", rsa[1], "-outform", "DER"),)


@pytest.mark.parametrize("options", [(), ("-keypbe", "NONE", "-certpbe", "NONE", "-nomac")])
def test_pkcs12_without_a_pass_phrase(rsa, expected, options):
    data = openssl("pkcs12", "-export", "-inkey", rsa[0], "-in", rsa[1], *options, "-passout", "pass:")
    assert read_key_store(data).key.public_key_der == expected


def test_certificates_alone(rsa):
    pem, der = rsa[1].read_bytes(), openssl("x509", "-in", rsa[1], "-outform", "DER")
    for data, count in ((pem, 1), (der, 1), (pem * 3, 3), (b"Bag Attributes\n" + pem, 1)):
        store = read_key_store(data)
        assert (store.key, store.certificates) == (None, (der,) * count)


def test_a_pem_files_key_can_be_left_alone(rsa):
    encrypted = openssl("pkcs8", "-topk8", "-in", rsa[0], "-passout", "pass:x")
    store = read_key_store(encrypted + rsa[1].read_bytes(), with_key=False)
    assert (store.key, len(store.certificates)) == (None, 1)


@pytest.mark.parametrize(
    ("algorithm", "kind"),
    [
        (("-algorithm", "ED25519"), "Ed25519"),
        (("-algorithm", "X25519"), "X25519"),
        (("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"), "secp256k1"),
        (("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:brainpoolP256r1"), "brainpoolP256r1"),
    ],
)
def test_keys_nobody_can_log_in_with(tmp_path, algorithm, kind):
    with pytest.raises(ConfigurationError, match=f"kind {kind}.*RSA keys can"):
        read_key_store(openssl("genpkey", *algorithm))


@pytest.mark.parametrize("damage", [lambda pem: pem.replace(b"M", b"_"), lambda pem: pem[:200] + pem[260:]])
def test_a_damaged_key(rsa, damage):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_key_store(damage(rsa[0].read_bytes()))


@pytest.mark.parametrize(
    "data", [b"", b"hello", bytes(100), b"\x30", b"\x30\x80", b"\x30\x82\xff\xff\x02\x01", b"\xff" * 3000]
)
def test_no_key_file_at_all(data):
    with pytest.raises(ConfigurationError, match="neither in PEM nor in DER"):
        read_key_store(data)


def test_a_damaged_pkcs12_looks_encrypted():
    with pytest.raises(PassPhraseNeeded, match="or damaged"):
        read_key_store(b"\x30\x82\x01\x00\x02\x01\x03" + bytes(200))


def test_a_damaged_certificate(rsa):
    with pytest.raises(ConfigurationError, match="certificate that cannot be read"):
        read_key_store(rsa[1].read_bytes().replace(b"MII", b"MIA"))


def test_two_keys(rsa):
    with pytest.raises(ConfigurationError, match="2 private keys"):
        read_key_store(rsa[0].read_bytes() * 2)


def test_a_key_of_openssh_is_explained():
    pem = b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"
    with pytest.raises(ConfigurationError, match="ssh-keygen"):
        read_key_store(pem)


def test_nothing_shows_the_key(rsa):
    store = read_key_store(rsa[0].read_bytes())
    assert repr(store) == "KeyStore(key=ClientKey(), certificates=())"
