"""Client certificates from files, the proof that they give, and the warning before they expire."""

from __future__ import annotations

import os
import pwd
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from anyike.eap.question import ProofRequest
from anyike.errors import ConfigurationError, LoginFailed
from anyike.invoking_user import InvokingUser
from anyike.login import client_certificate
from anyike.login.client_certificate import CertificateSettings, expiry_warning, open_identity, prove
from anyike.login.key_secrets import KeySecrets
from tests.unit.crypto.certificates import NOW, Issued, make_root
from tests.unit.login.asking import Asked
from tests.unit.login.counting import Source
from tests.unit.login.soft_token import invoking
from tests.unit.openssl import ecdsa_der, openssl, verifies

OCTETS = b"what a gateway wants to be signed" * 20
RSA = rsa.generate_private_key(65537, 2048)
ROOT = make_root()
SUB = ROOT.ca()
LEAF = Issued("ada", SUB, key=RSA)


def pem(*ders: bytes) -> bytes:
    return b"".join(openssl("x509", "-inform", "DER", given=der) for der in ders)


def key_pem(key=RSA, pass_phrase: bytes | None = None) -> bytes:
    encryption = BestAvailableEncryption(pass_phrase) if pass_phrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


@pytest.fixture
def settings(tmp_path):
    """Of files that the test writes: `client`, and `key` when the test says so."""
    return CertificateSettings(str(tmp_path / "client"), None, invoking(tmp_path))


def write(path, content: bytes, mode: int = 0o600) -> str:
    path = Path(path)
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize("content", ["key first", "key last", "root first"])
async def test_one_pem_file(settings, tmp_path, content):
    certificates = {
        "key first": [LEAF.der, SUB.der, ROOT.der],
        "key last": [SUB.der, LEAF.der, ROOT.der],
        "root first": [ROOT.der, SUB.der, LEAF.der],
    }[content]
    parts = [key_pem(), pem(*certificates)]
    write(settings.file, b"".join(parts[::-1] if content == "key last" else parts))
    identity = await open_identity(settings, Asked())
    assert identity.chain == (LEAF.der, SUB.der, ROOT.der)
    assert verifies(tmp_path, LEAF.der, await identity.sign(OCTETS, "sha256"), OCTETS, "sha256")
    assert "RSAPrivateKey" not in repr(identity)
    await identity.close()


@pytest.mark.parametrize("encoding", ["PEM", "DER"])
async def test_two_files(settings, tmp_path, encoding):
    """The certificate's file may be open to all."""
    write(settings.file, openssl("x509", "-inform", "DER", "-outform", encoding, given=LEAF.der), 0o644)
    key = write(tmp_path / "key", openssl("pkey", "-outform", encoding, given=key_pem()))
    identity = await open_identity(replace(settings, key=key), Asked())
    assert identity.chain == (LEAF.der,)


@pytest.mark.parametrize("options", [[], ["-legacy"]])
async def test_pkcs12(settings, tmp_path, options):
    key, leaf, rest = tmp_path / "key", tmp_path / "leaf", tmp_path / "rest"
    for path, content in ((key, key_pem()), (leaf, pem(LEAF.der)), (rest, pem(ROOT.der, SUB.der))):
        path.write_bytes(content)
    export = ["pkcs12", "-export", "-inkey", key, "-in", leaf, "-certfile", rest, *options, "-passout", "pass:right"]
    write(settings.file, openssl(*export))
    asked = Asked("wrong", "right")
    identity = await open_identity(settings, asked)
    assert asked.opens == [settings.file] * 2
    assert identity.chain == (LEAF.der, SUB.der, ROOT.der)
    prompt = f"Pass phrase for {settings.file}: "
    assert asked.prompts == [prompt, "That is not it. " + prompt]


async def test_three_wrong_pass_phrases(settings):
    write(settings.file, key_pem(pass_phrase=b"right") + pem(LEAF.der))
    with pytest.raises(LoginFailed, match=r"certificate\.file: .*does not open the private key; 3 tries") as caught:
        await open_identity(settings, Asked("s3cret-1", "s3cret-2", "s3cret-3"))
    assert "s3cret" not in str(caught.value)


async def test_nobody_to_ask(settings):
    write(settings.file, key_pem(pass_phrase=b"right") + pem(LEAF.der))

    async def nobody(_prompt: str) -> str:
        raise LoginFailed("there is nobody to ask")

    with pytest.raises(LoginFailed, match="nobody to ask"):
        await open_identity(settings, KeySecrets([], nobody, attended=False))


async def test_two_encrypted_files_have_a_source_in_common(settings, tmp_path):
    """A PKCS#12 with the certificate and another file with the key, and nobody there."""
    (tmp_path / "own").write_bytes(key_pem())
    (tmp_path / "leaf").write_bytes(pem(LEAF.der))
    export = ["pkcs12", "-export", "-inkey", tmp_path / "own", "-in", tmp_path / "leaf", "-passout", "pass:right"]
    write(settings.file, openssl(*export))
    key = write(tmp_path / "key", key_pem(pass_phrase=b"right"))
    source = Source("certificate.pass_phrase_command", "right")
    identity = await open_identity(replace(settings, key=key), KeySecrets([source], Asked(), attended=False))
    assert identity.chain == (LEAF.der,)
    assert source.reads == 2


async def test_the_pin_of_a_token_is_not_tried_on_a_file(settings, tmp_path):
    """The certificate's file is encrypted and the key on a token: what is set is the token's."""
    (tmp_path / "own").write_bytes(key_pem())
    (tmp_path / "leaf").write_bytes(pem(LEAF.der))
    export = ["pkcs12", "-export", "-inkey", tmp_path / "own", "-in", tmp_path / "leaf", "-passout", "pass:right"]
    write(settings.file, openssl(*export))
    asked = Asked("wrong", "wrong", "wrong")
    with pytest.raises(LoginFailed, match="3 tries"):
        await open_identity(replace(settings, key="pkcs11:object=a"), asked)
    assert asked.opens == [None] * 3


@pytest.mark.parametrize("pass_phrase", [None, b"right"])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
async def test_a_key_that_others_may_read(settings, pass_phrase, mode):
    """Before anybody is asked for a pass phrase."""
    write(settings.file, key_pem(pass_phrase=pass_phrase) + pem(LEAF.der), mode)
    with pytest.raises(ConfigurationError, match=r"certificate\.file: .*others may read the secret.*chmod go-rwx"):
        await open_identity(settings, Asked())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (key_pem(), "holds no certificate"),
        (pem(LEAF.der), "holds no private key; if it is in a file of its own, set certificate.key"),
        (key_pem() + pem(SUB.der, ROOT.der), r"none of the 2 certificate\(s\).*belongs to the private key"),
        (key_pem(ec.generate_private_key(ec.SECP256R1())) + pem(LEAF.der), "belongs to the private key"),
        (key_pem() * 2 + pem(LEAF.der), "2 private keys"),
        (b"nothing", "cannot be used: it is no certificate"),
        (b"x" * 300_000, "has more than"),
    ],
)
async def test_files_that_cannot_be_used(settings, content, reason):
    write(settings.file, content)
    with pytest.raises(ConfigurationError, match=reason) as caught:
        await open_identity(settings, Asked())
    assert str(caught.value).startswith("certificate.file: ")


async def test_files_that_are_not_there(settings, tmp_path):
    with pytest.raises(ConfigurationError, match=r"certificate\.file: .* cannot read .*client: No such file"):
        await open_identity(settings, Asked())
    write(settings.file, pem(LEAF.der))
    with pytest.raises(ConfigurationError, match=r"certificate\.key: .* cannot read .*key: No such file"):
        await open_identity(replace(settings, key=str(tmp_path / "key")), Asked())
    with pytest.raises(ConfigurationError, match=r"certificate\.user_key: .*key: No such file"):
        await open_identity(replace(settings, key=str(tmp_path / "key"), key_setting="certificate.user_key"), Asked())
    with pytest.raises(ConfigurationError, match="is not a regular file"):
        await open_identity(replace(settings, file=str(tmp_path)), Asked())


async def test_the_home_is_that_of_the_user(settings, tmp_path):
    write(tmp_path / "client", key_pem() + pem(LEAF.der))
    assert (await open_identity(replace(settings, file="~/client"), Asked())).chain == (LEAF.der,)


@pytest.mark.namespace
async def test_another_users_files_are_read_with_their_rights(settings):
    """pytest's own folders are closed to everybody but root."""
    nobody = pwd.getpwnam("nobody")
    write(settings.file, key_pem() + pem(LEAF.der))
    user = InvokingUser(nobody.pw_uid, nobody.pw_name, nobody.pw_gid, Path("/"))
    with pytest.raises(ConfigurationError, match=r"nobody cannot read .*Permission denied"):
        await open_identity(replace(settings, user=user), Asked())
    assert os.geteuid() == 0


async def test_a_key_in_a_file_for_a_certificate_on_a_token(settings):
    with pytest.raises(ConfigurationError, match=r"certificate\.key: the certificate is on a token"):
        await open_identity(replace(settings, file="pkcs11:object=a", key="/key"), Asked())


async def test_two_client_certificates_for_a_key_on_a_token(settings):
    write(settings.file, pem(LEAF.der, Issued("bob", SUB).der))
    with pytest.raises(ConfigurationError, match="must hold one client certificate, not 2"):
        await open_identity(replace(settings, key="pkcs11:object=a"), Asked())


async def test_a_chain_that_fits_no_message(settings, monkeypatch):
    monkeypatch.setattr(client_certificate, "MAX_CHAIN_BYTES", 500)
    write(settings.file, key_pem() + pem(LEAF.der, SUB.der, ROOT.der))
    with pytest.raises(ConfigurationError, match="leave issuers out"):
        await open_identity(settings, Asked())


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (("sha256",), "sha256"),
        (("md5", "sha384", "sha1"), "sha384"),
        (("sha1",), "sha1"),
        (("sha512", "sha256"), "sha512"),
    ],
)
@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
async def test_the_proof(settings, tmp_path, caplog, wanted, chosen, kind):
    caplog.set_level("INFO")
    key = RSA if kind == "rsa" else ec.generate_private_key(ec.SECP384R1())
    leaf = Issued("ada", ROOT, key=key)
    write(settings.file, key_pem(key) + pem(leaf.der, ROOT.der))
    proof = await prove(await open_identity(settings, Asked()), ProofRequest(OCTETS, wanted))
    assert (proof.chain, proof.hash_name) == ((leaf.der, ROOT.der), chosen)
    judged = proof.signature if kind == "rsa" else ecdsa_der(proof.signature)
    assert verifies(tmp_path, leaf.der, judged, OCTETS, chosen)
    assert ("RFC 4754" in caplog.text) == (kind == "ecdsa")


@pytest.mark.parametrize("wanted", [("md5",), ("sha3-256", "md5"), ()])
async def test_no_hash_to_prove_with(settings, wanted):
    write(settings.file, key_pem() + pem(LEAF.der))
    with pytest.raises(LoginFailed, match="a hash that is not signed with"):
        await prove(await open_identity(settings, Asked()), ProofRequest(OCTETS, wanted))


@pytest.mark.parametrize(
    ("days", "warning"),
    [
        (364.5, "expires today"),
        (363.5, "expires tomorrow"),
        (353, "expires in 12 days (2027-06-01): ask for a new one"),
        (335.5, "expires in 29 days"),
        (335, None),
        (0, None),
        (366, "expired on 2027-06-01: ask for a new one"),
        (-2, "is not valid before 2026-05-31"),
    ],
)
def test_the_warning_before_it_expires(days, warning):
    """Valid from a day before NOW for 365 days after it."""
    shown = expiry_warning(LEAF.der, NOW + timedelta(days=days))
    if warning is None:
        assert shown is None
    else:
        assert shown.startswith("the client certificate CN=ada ")
        assert warning in shown
