"""Certificates on PKCS#11 tokens: SoftHSM as the token, openssl as the judge of its signatures."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from anyike.crypto.client_chain import KeyKind, key_kind
from anyike.errors import ConfigurationError, LoginFailed
from anyike.invoking_user import InvokingUser
from anyike.login import token_identity, token_process
from anyike.login.client_certificate import CertificateSettings, open_identity
from anyike.login.key_secrets import KeySecrets
from anyike.login.token_identity import open_token_identity, token_object
from tests.unit.login.asking import Asked
from tests.unit.login.counting import Source
from tests.unit.login.soft_token import MODULE, PIN, configuration, invoking, make_token
from tests.unit.openssl import ecdsa_der, verifies

OCTETS = b"what a gateway wants to be signed" * 20
LABEL = "Ada's card"


@pytest.fixture(scope="module")
def soft_token(tmp_path_factory):
    return make_token(
        tmp_path_factory.mktemp("token"),
        LABEL,
        {"label": "rsa", "id": "01", "kind": "rsa"},
        {"label": "ec", "id": "02", "kind": "P-256"},
        {"label": "ec384", "id": "03", "kind": "P-384"},
        {"label": "anew", "id": "04", "kind": "rsa", "always": True},
        {"label": "no key", "id": "05", "kind": "foreign"},
        {"label": "wrong key", "id": "01", "kind": "foreign"},
        {"label": "Root CA", "id": "09", "kind": "ca"},
    )  # fmt: skip


def settings(token, *attributes, key=None, query=""):
    return CertificateSettings(token.uri(*attributes, query=query), key, token.user)


@pytest.fixture
def token(soft_token, monkeypatch):
    """The module finds its tokens by a variable of the user's environment."""
    monkeypatch.setenv("SOFTHSM2_CONF", str(configuration(soft_token.user.home)))
    return soft_token


@pytest.mark.namespace
@pytest.mark.parametrize("label", ["rsa", "anew", "ec", "ec384"])
async def test_openssl_verifies_what_the_token_signs(token, tmp_path, label):
    """The key `anew` demands the PIN for every signature, as slot 9c of a PIV card does."""
    asked = Asked(PIN)
    identity = await open_identity(settings(token, f"object={label}", "type=cert"), asked)
    try:
        assert identity.chain == (token.certificates[label], token.certificates["Root CA"])
        for hash_name in ("sha256", "sha384", "sha512", "sha1", "sha256"):
            signature = await identity.sign(OCTETS, hash_name)
            elliptic = key_kind(identity.chain[0]) is KeyKind.ECDSA
            judged = ecdsa_der(signature) if elliptic else signature
            assert verifies(tmp_path, identity.chain[0], judged, OCTETS, hash_name)
    finally:
        await identity.close()
    assert asked.prompts == [f"PIN of the token {LABEL!r}: "]


@pytest.mark.namespace
async def test_the_module_is_in_another_process_and_the_pin_in_no_argument(token, caplog):
    caplog.set_level(logging.DEBUG)
    identity = await open_identity(settings(token, "id=%01", "object=rsa"), Asked(PIN))
    process = Path(f"/proc/{identity._process._process.pid}")
    try:
        assert PIN.encode() not in seen(process, "cmdline") + seen(process, "environ")
        assert b"libsofthsm2" in seen(process, "maps")
        assert b"libsofthsm2" not in seen(Path("/proc/self"), "maps")
        assert PIN not in repr(identity) + caplog.text
    finally:
        await identity.close()
    with pytest.raises(FileNotFoundError):
        seen(process, "maps")


def seen(process: Path, name: str) -> bytes:
    return (process / name).read_bytes()


async def test_the_program_starts_with_the_users_rights(monkeypatch):
    asked_for = []

    async def start(user, argv):
        asked_for.append((user, tuple(argv)))
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(token_process, "start", start)
    ada = InvokingUser(4711, "ada", 4711, Path("/home/ada"))
    with pytest.raises(
        ConfigurationError, match=r"certificate.file: ada, .* Install anyike where every user can read it"
    ):
        await open_identity(CertificateSettings("pkcs11:object=a", None, ada), Asked())
    assert asked_for == [(ada, (sys.executable, "-P", "-m", "anyike.login.token_program"))]


@pytest.mark.namespace
async def test_a_certificate_from_a_file_with_a_key_on_a_token(token, tmp_path):
    file = tmp_path / "client.der"
    file.write_bytes(token.certificates["rsa"])
    key = token.uri("object=rsa", "type=private")
    identity = await open_identity(CertificateSettings(str(file), key, token.user), Asked(PIN))
    try:
        assert identity.chain == (token.certificates["rsa"],)
        assert verifies(tmp_path, identity.chain[0], await identity.sign(OCTETS, "sha256"), OCTETS, "sha256")
    finally:
        await identity.close()


@pytest.mark.namespace
async def test_certificate_and_key_by_a_uri_each(token):
    """What one says of the token and its module counts for both."""
    key = "pkcs11:object=anew;type=private"
    identity = await open_identity(settings(token, "object=anew", key=key), Asked(PIN))
    try:
        assert identity.chain[0] == token.certificates["anew"]
        assert len(await identity.sign(OCTETS, "sha256")) == 256
    finally:
        await identity.close()


@pytest.mark.parametrize("key", ["pkcs11:token=b", "pkcs11:token=a?module-path=/n"])
async def test_certificate_and_key_on_two_tokens(key):
    settings = CertificateSettings("pkcs11:token=a?module-path=/m", key, user())
    with pytest.raises(ConfigurationError, match=r"certificate\.key: its URI names another token or module"):
        await open_identity(settings, Asked())


@pytest.mark.namespace
async def test_a_wrong_pin_is_asked_for_again(token):
    asked = Asked("wrong-one", PIN)
    identity = await open_identity(settings(token, "object=rsa"), asked)
    await identity.close()
    assert asked.prompts[1] == f"That is not it. PIN of the token {LABEL!r}: "
    assert len(asked.prompts) == 2


def by_user(asked, *sources):
    """The real thing, with somebody to ask."""
    return KeySecrets(sources, lambda prompt: asked.ask(prompt, None), attended=True)


@pytest.mark.namespace
async def test_what_is_set_is_tried_once_and_not_after_a_wrong_one(token):
    """At the next login the token still says that the last PIN was wrong."""
    command, credential = Source("certificate.pass_phrase_command", "wrong-one"), Source("b", "wrong-two")
    first, second = Asked("wrong-three"), Asked(PIN)
    with pytest.raises(IndexError):
        await open_identity(settings(token, "object=rsa"), by_user(first, command, credential))
    assert first.prompts[0] == f"That is not it. PIN of the token {LABEL!r}: "
    await (await open_identity(settings(token, "object=rsa"), by_user(second, command, credential))).close()
    assert second.prompts == [f"PIN of the token {LABEL!r} (the last one was wrong): "]
    assert (command.reads, credential.reads) == (1, 0)


@pytest.mark.namespace
async def test_three_wrong_pins(token):
    with pytest.raises(LoginFailed, match="refused 3 PINs") as caught:
        await open_identity(settings(token, "object=rsa"), Asked("wrong-one", "wrong-two", "wrong-three"))
    assert "wrong-" not in str(caught.value)


@pytest.mark.namespace
async def test_the_same_wrong_pin_is_not_tried_again(token):
    """A command gives the same one whenever it is asked, and three of them lock most cards."""
    with pytest.raises(LoginFailed, match="refused this PIN already"):
        await open_identity(settings(token, "object=rsa"), Asked("wrong-one", "wrong-one"))
    asked = Asked(PIN)
    await (await open_identity(settings(token, "object=rsa"), asked)).close()
    assert "the last one was wrong" in asked.prompts[0]


@pytest.mark.namespace
@pytest.mark.parametrize("pin", ["", "a\0b", "9" * 1000])
async def test_what_is_no_pin_is_not_tried(token, pin):
    with pytest.raises(LoginFailed, match="empty or no PIN"):
        await open_identity(settings(token, "object=rsa"), Asked(pin))
    asked = Asked(PIN)
    await (await open_identity(settings(token, "object=rsa"), asked)).close()
    assert "wrong" not in asked.prompts[0]


@pytest.mark.namespace
async def test_a_pin_from_a_file(token, tmp_path):
    file = tmp_path / "pin"
    file.write_text(f"{PIN}\n")
    file.chmod(0o600)
    for source in (f"file:{file}", f"file://{file}", str(file)):
        identity = await open_identity(settings(token, "object=rsa", query=f"&pin-source={source}"), by_user(Asked()))
        await identity.close()
    with pytest.raises(IndexError):
        await open_identity(settings(token, "object=rsa"), Asked("wrong-one"))
    asked = Asked(PIN)
    low = await open_identity(settings(token, "object=rsa", query=f"&pin-source={file}"), by_user(asked))
    await low.close()
    assert "the last one was wrong" in asked.prompts[0]
    file.chmod(0o644)
    with pytest.raises(ConfigurationError, match="others may read the secret"):
        await open_identity(settings(token, "object=rsa", query=f"&pin-source={file}"), by_user(Asked()))


@pytest.mark.namespace
@pytest.mark.parametrize("source", ["|/bin/cat", "http://a/b", "builtin-dialog", "file:relative"])
async def test_other_pin_sources(token, source):
    with pytest.raises(ConfigurationError, match=r"for a command set certificate\.pass_phrase_command"):
        await open_identity(settings(token, "object=rsa", query=f"&pin-source={source}"), by_user(Asked()))


@pytest.mark.namespace
@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        (["object=nobody"], r"no certificate .* fits the URI; there: .*object=rsa;id=%01"),
        ([], "6 certificates on the token fit the URI"),
        (["id=%01"], "2 certificates on the token fit"),
        (["object=no%20key"], "no private key that fits"),
    ],
)
async def test_what_is_not_there_or_more_than_once(token, attributes, reason):
    with pytest.raises(ConfigurationError, match=reason):
        await open_identity(settings(token, *attributes), Asked(PIN))


@pytest.mark.namespace
async def test_a_key_that_belongs_to_another_certificate(token):
    identity = await open_identity(settings(token, "object=wrong%20key"), Asked(PIN))
    try:
        with pytest.raises(LoginFailed, match="does not belong to the certificate CN=wrong key"):
            await identity.sign(OCTETS, "sha256")
    finally:
        await identity.close()


@pytest.mark.namespace
async def test_no_such_token(token):
    uri = f"pkcs11:token=Another?module-path={MODULE}"
    with pytest.raises(ConfigurationError, match=f"no token fits the URI; there: {LABEL}. Is it plugged in"):
        await open_identity(CertificateSettings(uri, None, token.user), Asked())


@pytest.mark.namespace
async def test_several_tokens(tmp_path, monkeypatch):
    monkeypatch.setenv("SOFTHSM2_CONF", str(configuration(tmp_path)))
    for label in ("one", "two"):
        made = make_token(tmp_path, label, {"label": label, "id": "01", "kind": "P-256"})
    settings = CertificateSettings(f"pkcs11:?module-path={MODULE}", None, made.user)
    with pytest.raises(ConfigurationError, match=r"several tokens .*(one|two) \(serial [0-9a-f]+\), (one|two)"):
        await open_identity(settings, Asked())


@pytest.mark.namespace
@pytest.mark.parametrize("query", ["module-name=softhsm2", "module-name=libsofthsm2"])
async def test_a_module_by_its_name(token, query):
    identity = await open_identity(CertificateSettings(f"pkcs11:object=rsa?{query}", None, token.user), Asked(PIN))
    await identity.close()


def user():
    return invoking(Path.home())


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("module-path=/nowhere/module.so", "cannot be used: .*No such file"),
        ("module-path=/etc/passwd", "cannot be used"),
        ("module-name=no-such-module", "no library of the system is called no-such-module.so"),
    ],
)
async def test_no_such_module(query, reason):
    with pytest.raises(ConfigurationError, match=reason):
        await open_identity(CertificateSettings(f"pkcs11:object=a?{query}", None, user()), Asked())


async def test_a_library_that_is_no_module():
    import _ctypes

    uri = f"pkcs11:object=a?module-path={_ctypes.__file__}"
    with pytest.raises(ConfigurationError, match="cannot be used"):
        await open_identity(CertificateSettings(uri, None, user()), Asked())


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        (
            "pkcs11:object=a?pin-value=s3cret",
            r"certificate.file: the URI holds a PIN .*certificate\.pass_phrase_command, cer",
        ),
        ("pkcs11:object=a;type=private", "type=private, but an object of type=cert"),
        ("pkcs11:object", "certificate.file: an attribute"),
    ],
)
async def test_uris_that_are_refused(uri, reason):
    with pytest.raises(ConfigurationError, match=reason) as caught:
        await open_identity(CertificateSettings(uri, None, user()), Asked())
    assert "s3cret" not in str(caught.value)


async def test_the_second_certificate_has_settings_of_its_own():
    uri = "pkcs11:object=a?pin-value=s3cret"
    names = ("certificate.user_file", "certificate.user_key")
    both = r"certificate\.user_pass_phrase_command, certificate\.user_pass_phrase_credential or pin-source"
    for file, key in ((uri, None), ("pkcs11:object=a", uri)):
        with pytest.raises(ConfigurationError, match=both):
            await open_identity(CertificateSettings(file, key, user(), *names), Asked())


def replacing(statements: str) -> list[str]:
    """The real program with another library in place of the module's."""
    start = "from anyike.login import token_program\ntoken_program.main()"
    return [sys.executable, "-c", f"import os, signal, sys, time, pkcs11\n{statements}\n{start}"]


async def opened_by(program: list[str], *pins: str):
    stored = token_object("certificate.file", "pkcs11:object=a", "cert")
    return await open_token_identity(stored, stored, user(), Asked(*pins), program)


async def test_a_module_that_crashes_takes_only_the_program_with_it():
    program = replacing(
        "pkcs11.lib = lambda path: (print('last words', file=sys.stderr), os.kill(os.getpid(), signal.SIGSEGV))"
    )
    with pytest.raises(LoginFailed, match=r"certificate.file: .* by the signal SIGSEGV"):
        await opened_by(program)


async def test_a_module_that_ends_the_program():
    program = replacing("pkcs11.lib = lambda path: (print('last words', file=sys.stderr, flush=True), os._exit(3))")
    with pytest.raises(LoginFailed, match=r"ended with status 3; .* It said: last words"):
        await opened_by(program)


async def test_a_module_that_hangs_is_stopped(monkeypatch):
    monkeypatch.setattr(token_identity, "FIND_SECONDS", 0.5)
    with pytest.raises(LoginFailed, match=r"did not answer within .* seconds and was stopped"):
        await opened_by(replacing("pkcs11.lib = lambda path: time.sleep(600)"))


async def test_a_module_that_prints_does_not_disturb_the_answers():
    program = replacing(
        "def load(path):\n"
        "    os.write(1, b'{\"label\": 1}\\n' * 20000)\n"
        "    raise pkcs11.PKCS11Error('it came to the end')\n"
        "pkcs11.lib = load"
    )
    with pytest.raises(ConfigurationError, match="it came to the end"):
        await opened_by(program)


@pytest.mark.parametrize("output", ["", "nonsense\n", "[]\n", "[1]\n", "7\n", "{}\n", "\xff\n"])
async def test_a_program_that_answers_nonsense(output, monkeypatch):
    monkeypatch.setattr(token_process, "CLOSE_SECONDS", 0.1)
    program = [sys.executable, "-c", f"import sys\nfor line in sys.stdin: print({output!r}, end='', flush=True)\n"[:-1]]
    if not output:
        program = ["/bin/true"]
    with pytest.raises(LoginFailed, match=r"certificate\.file"):
        await opened_by(program)


async def test_an_answer_without_end_is_bounded(monkeypatch):
    monkeypatch.setattr(token_process, "CLOSE_SECONDS", 0.1)
    with pytest.raises(LoginFailed, match="ended"):
        await opened_by([sys.executable, "-c", "while True: print('x' * 10000, end='')"])


async def test_no_program():
    with pytest.raises(ConfigurationError, match="cannot run /nowhere/python"):
        await opened_by(["/nowhere/python"])


CARD = """
from pkcs11 import TokenFlag as Flag
class Card:
    label, serial, manufacturer_id, model = 'card\\x1b[2J', b'1', '', ''
    library_version = (1, 0)
    library_description = slot_description = ''
    slot_id, tried = 1, 0
    flags = Flag.TOKEN_INITIALIZED | Flag.LOGIN_REQUIRED
    def get_slots(self, token_present): return [self]
    def get_token(self): return self
    def get_objects(self, wanted): return []
    def open(self, user_pin=None):
        if user_pin is None: return self
        self.tried += 1
        print('tried', self.tried, file=sys.stderr, flush=True)
        self.flags |= after
        raise pkcs11.exceptions.PinIncorrect
card = Card()
pkcs11.lib = lambda path: card
"""


async def card_opened(flags: str, after: str, *pins: str, attended: bool = True):
    statements = f"{CARD}\ncard.flags |= {flags}\nafter = {after}"
    key = token_object("certificate.key", "pkcs11:object=a", "private")
    return await open_token_identity(key, [b"unused"], user(), Asked(*pins, attended=attended), replacing(statements))


@pytest.mark.parametrize(
    ("flags", "after", "pins", "reason"),
    [
        ("Flag.USER_PIN_LOCKED", "0", [], "has locked its PIN"),
        ("Flag.USER_PIN_FINAL_TRY", "0", [], "one more wrong PIN locks"),
        ("0", "Flag.USER_PIN_FINAL_TRY", ["1234"], "one more wrong PIN locks"),
        ("0", "Flag.USER_PIN_LOCKED", ["1234"], "has locked its PIN"),
        ("0", "Flag.USER_PIN_COUNT_LOW", ["1", "2", "3"], "refused 3 PINs"),
    ],
)
async def test_no_try_that_could_lock_the_card(flags, after, pins, reason):
    with pytest.raises(LoginFailed, match=reason) as caught:
        await card_opened(flags, after, *pins)
    assert "\x1b" not in str(caught.value)


async def test_a_reader_with_a_keypad_is_never_sent_a_pin(caplog):
    statements = "Flag.PROTECTED_AUTHENTICATION_PATH | Flag.USER_PIN_COUNT_LOW"
    with pytest.raises(LoginFailed, match="did not open"):
        await card_opened(statements, "0")
    assert "on its reader" in caplog.text


async def test_nobody_is_waited_for_at_a_keypad(caplog):
    with pytest.raises(LoginFailed, match="has to be typed on its reader, and there is no terminal"):
        await card_opened("Flag.PROTECTED_AUTHENTICATION_PATH", "0", attended=False)
    assert "on its reader" not in caplog.text
