"""Which way a single sign-on goes, the pasted token, and what is known of the user's own browser."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import pwd
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from anyike.eap.question import SignOn, SignOnToken
from anyike.errors import LoginFailed
from anyike.invoking_user import InvokingUser
from anyike.login import external_browser
from anyike.login.chromium import is_final, origin_of, read_token
from anyike.login.external_browser import PORT, describe, read_request
from anyike.login.sign_on import Browser, SignOnSettings, sign_on
from anyike.login.user_programs import find_program
from tests.unit.pseudo_terminal import Person, person_at_a_terminal

TOKEN = "5E6B8D41C0A29F73D1B4A6E8"
LOGIN = "https://vpn.example.com/+CSCOE+/saml/sp/login?tgname=Staff"
FINAL = "https://vpn.example.com/+CSCOE+/saml_ac_login.html"
QUESTION = SignOn(LOGIN, FINAL, "acSamlv2Token", "acSamlv2Error", "")
NOBODY = pwd.getpwnam("nobody")


def somebody(uid: int = NOBODY.pw_uid) -> InvokingUser:
    return InvokingUser(uid, "nobody", NOBODY.pw_gid, Path("/"))


@pytest.fixture
def person() -> Iterator[Person]:
    with person_at_a_terminal() as person:
        yield person


@pytest.fixture(autouse=True)
def no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def the_token_is_in_no_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    assert TOKEN not in caplog.text
    assert "tgname" not in caplog.text


async def failed(question: SignOn = QUESTION, settings: SignOnSettings | None = None) -> str:
    """What the user is told when nobody is there to paste anything."""
    with pytest.raises(LoginFailed) as caught:
        await sign_on(question, settings or SignOnSettings(somebody(), Browser.PRINT), None, lambda text: None)
    return str(caught.value)


# A token that is pasted


async def test_the_address_is_shown_and_the_token_is_pasted_without_echo(person: Person) -> None:
    told: list[str] = []
    settings = SignOnSettings(somebody(), Browser.PRINT)
    answer = asyncio.create_task(sign_on(QUESTION, settings, person.console, told.append))
    await person.answer("Token: ", f"  {TOKEN} \n")
    assert await answer == SignOnToken(TOKEN)
    assert TOKEN not in person.look()
    (text,) = told
    assert text.index(LOGIN) < text.index(FINAL) < text.index("acSamlv2Token")


async def test_what_is_no_token_may_be_pasted_again_but_not_for_ever(person: Person) -> None:
    told: list[str] = []
    settings = SignOnSettings(somebody(), Browser.PRINT)
    answer = asyncio.create_task(sign_on(QUESTION, settings, person.console, told.append))
    await person.answer("Token: ", "\n")
    await person.answer("Token: ", "two words\n")
    await person.answer("Token: ", "umläut\n")
    with pytest.raises(LoginFailed, match="in 3 tries"):
        await answer
    assert [text[:19] for text in told[1:]] == ["This is no token: i"] * 3


async def test_the_input_ends(person: Person) -> None:
    answer = asyncio.create_task(
        sign_on(QUESTION, SignOnSettings(somebody(), Browser.PRINT), person.console, lambda text: None)
    )
    await person.answer("Token: ", "\x04")
    with pytest.raises(LoginFailed, match="input ended"):
        await answer


async def test_nobody_pastes_in_time(person: Person) -> None:
    settings = SignOnSettings(somebody(), Browser.PRINT, timeout=0.05)
    with pytest.raises(LoginFailed, match=r"within 0\.05 s \(sign_on\.timeout\)"):
        await sign_on(QUESTION, settings, person.console, lambda text: None)
    assert person.echoes


async def test_without_a_terminal_there_is_nothing_to_paste_into() -> None:
    assert "no terminal to ask on, or --non-inter" in await failed()


# Which way


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (SignOnSettings(somebody(), Browser.AUTO, Path("/nowhere/chromium")), "/nowhere/chromium (sign_on.chromium) is no program"),
        (SignOnSettings(somebody(), Browser.AUTO, Path("/bin/true")), "there is no display"),
        (SignOnSettings(somebody(0), Browser.AUTO, Path("/bin/true")), "root does not browse"),
    ],
)  # fmt: skip
async def test_without_a_browser_the_token_is_pasted_and_the_reason_told(
    settings: SignOnSettings, reason: str, person: Person
) -> None:
    told: list[str] = []
    answer = asyncio.create_task(sign_on(QUESTION, settings, person.console, told.append))
    await person.answer("Token: ", f"{TOKEN}\n")
    assert await answer == SignOnToken(TOKEN)
    assert reason in told[0]
    assert reason in await failed(settings=settings)


async def test_no_chromium_on_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "none of chromium, chromium-browser, google-chrome" in await failed(settings=SignOnSettings(somebody()))


async def test_a_browser_that_is_demanded_is_not_replaced(person: Person) -> None:
    settings = SignOnSettings(somebody(0), Browser.CHROMIUM, Path("/bin/true"))
    with pytest.raises(LoginFailed, match=r'sign_on\.browser = "chromium"\): root does not browse'):
        await sign_on(QUESTION, settings, person.console, lambda text: None)


@pytest.mark.parametrize(
    "url",
    [
        "http://vpn.example.com/", "file:///etc/passwd", "javascript:alert(1)", "https://", "https:///path", "vpn.example.com",
        "https://user@vpn.example.com/", "https://vpn.example.com/\x1b[2J", "https://vpn.example.com/a b", "-https://x/", "",
        'https://vpn.example.com/"', "https://vpn.example.com:99999/", "https://vpn.example.com/\n", "https://vpn.example.com/ü",
        "https://[::1/", "https://vpn.example.com/" + "a" * 20_000,
    ],
)  # fmt: skip
@pytest.mark.parametrize("which", ["login_url", "final_url"])
async def test_an_address_that_no_browser_may_be_sent_to(which: str, url: str) -> None:
    said = await failed(replace(QUESTION, **{which: url}))
    assert "is no https address that a browser may be sent to" in said
    assert "\x1b" not in said
    assert len(said) < 600


async def test_an_unknown_browser_mode_is_refused() -> None:
    assert "does not know: 'holographic'" in await failed(replace(QUESTION, browser_mode="holographic"))


async def test_a_cookie_name_that_drives_the_terminal_is_refused() -> None:
    assert "no name" in await failed(replace(QUESTION, token_cookie="a\x1b[2J"))


@pytest.mark.parametrize(
    ("address", "final", "answer"),
    [
        (FINAL, FINAL, True),
        ("https://VPN.example.com:443/+CSCOE+/saml_ac_login.html#top", FINAL, True),
        (FINAL + "?more=1", FINAL, True),
        (FINAL, FINAL + "?a=1", False),
        (FINAL + "?a=1", FINAL + "?a=1", True),
        (FINAL.replace("https", "http"), FINAL, False),
        (FINAL + "/", FINAL, False),
        (FINAL.replace("vpn.", "vpn.example.com."), FINAL, False),
        (FINAL.replace("example.com", "example.com:8443"), FINAL, False),
        (FINAL.replace("https://", "https://vpn.example.com@elsewhere.example/"), FINAL, False),
        ("https://vpn.example.com/" + FINAL, FINAL, False),
        ("about:blank", FINAL, False),
        ("https://[bad/", FINAL, False),
        ("https://x:bad/", FINAL, False),
    ],
)
def test_where_a_login_ends(address: str, final: str, answer: bool) -> None:
    assert is_final(address, final) is answer


def test_of_an_address_only_its_origin_is_logged() -> None:
    assert origin_of(LOGIN) == "https://vpn.example.com"
    assert origin_of("https://user:secret@x.example:8443/a?b") == "https://x.example:8443"
    assert origin_of("https://[bad/") == "an unreadable address"


@pytest.mark.parametrize("value", ["", " ", "a b", "a\nb", "\x1b", "ü", "x" * 16385])
def test_what_is_no_token(value: str) -> None:
    with pytest.raises(ValueError, match="what came is empty"):
        read_token(value)


def test_a_token_is_not_in_its_repr() -> None:
    assert TOKEN not in repr(read_token(TOKEN))


# The user's own browser


def envelope() -> bytes:
    """An encrypted token as its receiver gets it, made with a real key."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    parts = {
        1: key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        2: os.urandom(12),
        3: os.urandom(24),
        4: os.urandom(12),
    }
    return b"\0\1" + b"".join(
        tag.to_bytes(2, "big") + len(part).to_bytes(2, "big") + part for tag, part in parts.items()
    )


def test_what_came_is_described_without_its_values() -> None:
    assert describe(envelope()) == (
        "an encrypted token: public key of 91 bytes, authentication tag of 12 bytes, ciphertext of 24 bytes, "
        "initialisation vector of 12 bytes"
    )
    assert describe(b"\0\1\0\x09\0\1x") == "an encrypted token: unknown type 9 of 1 bytes"
    for other in (b"", b"\0", TOKEN.encode(), envelope()[:-1], b"\0\1\0", b"\0\1\0\1\xff\xff", b"\0\1" + bytes(4) * 17):
        assert describe(other) == f"{len(other)} bytes, not in the known envelope of an encrypted token"


@pytest.mark.parametrize(
    "head",
    [
        "GET / HTTP/1.1\r\nHost: localhost:29786",
        "POST /api/sso/AAEA HTTP/1.1\r\nHost: localhost:29786",
        "GET /api/sso/ HTTP/1.1\r\nHost: localhost:29786",
        "GET /api/sso/*** HTTP/1.1\r\nHost: localhost:29786",
        "GET /api/sso/AAEA HTTP/1.1\r\nHost: evil.example:29786",
        "GET /api/sso/AAEA HTTP/1.1",
        "GET /api/sso/AAEA HTTP/1.1\r\nHost: localhost:29786\r\nHost: evil.example",
        "GET /api/sso/AAEA",
        "\0\xff",
        "",
    ],
)
def test_a_request_that_is_not_the_end_of_a_login(head: str) -> None:
    assert read_request(f"{head}\r\n\r\n".encode("latin-1")) is None


@pytest.fixture
def own_port(monkeypatch: pytest.MonkeyPatch) -> int:
    """A free one, so that tests do not get in each other's way."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    monkeypatch.setattr(external_browser, "PORT", port)
    return port


async def get(port: int, path: str) -> str:
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nX: {'y' * 100}\r\n\r\n".encode())
        answer = (await reader.read()).decode()
        writer.close()
    return answer


def test_the_port_is_the_one_that_gateways_know() -> None:
    assert PORT == 29786


async def test_the_users_own_browser_brings_a_token_that_cannot_be_read(
    own_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    told = asyncio.Queue[str]()
    question = replace(QUESTION, browser_mode="external")
    login = asyncio.create_task(sign_on(question, SignOnSettings(somebody(0)), None, told.put_nowait))
    text = await asyncio.wait_for(told.get(), 10)
    assert LOGIN in text
    assert "not known to work over IKEv2" in text
    assert (await get(own_port, "/favicon.ico")).startswith("HTTP/1.1 404 ")
    assert not login.done()
    blob = envelope()
    address = f"/api/sso/{quote(base64.b64encode(blob).decode(), safe='')}?return={quote(FINAL)}"
    answer = await get(own_port, address)
    assert answer.startswith("HTTP/1.1 200 ")
    assert "anyike cannot use this sign-on" in answer
    with pytest.raises(LoginFailed, match="how its key is agreed over IKEv2 is not known"):
        await asyncio.wait_for(login, 10)
    assert "the browser brought an encrypted token: public key of 91 bytes" in caplog.text
    assert base64.b64encode(blob).decode() not in caplog.text
    with pytest.raises(ConnectionRefusedError):
        await get(own_port, "/")


async def test_a_token_in_the_clear_is_not_taken(own_port: int) -> None:
    question = replace(QUESTION, browser_mode="external")
    told = asyncio.Queue[str]()
    login = asyncio.create_task(sign_on(question, SignOnSettings(somebody(0)), None, told.put_nowait))
    await asyncio.wait_for(told.get(), 10)
    await get(own_port, f"/api/sso/{base64.b64encode(TOKEN.encode()).decode()}")
    with pytest.raises(LoginFailed, match="cannot read"):
        await asyncio.wait_for(login, 10)


async def test_the_port_is_taken(own_port: int) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", own_port))
        other.listen()
        said = await failed(replace(QUESTION, browser_mode="external"), SignOnSettings(somebody(0)))
    assert f"needs port {own_port} on 127.0.0.1" in said
    assert "Address already in use" in said


async def test_the_users_own_browser_has_a_time_limit_and_a_slow_request_none(own_port: int) -> None:
    question = replace(QUESTION, browser_mode="external")
    told = asyncio.Queue[str]()
    login = asyncio.create_task(sign_on(question, SignOnSettings(somebody(0), timeout=0.3), None, told.put_nowait))
    await asyncio.wait_for(told.get(), 10)
    _, writer = await asyncio.open_connection("127.0.0.1", own_port)
    writer.write(b"GET /api/sso/")
    with pytest.raises(LoginFailed, match=r"within 0\.3 s"):
        await asyncio.wait_for(login, 10)
    writer.close()


async def test_an_explicit_setting_goes_before_the_gateways_mode(person: Person) -> None:
    settings = SignOnSettings(somebody(), Browser.PRINT)
    question = replace(QUESTION, browser_mode="external")
    answer = asyncio.create_task(sign_on(question, settings, person.console, lambda text: None))
    await person.answer("Token: ", f"{TOKEN}\n")
    assert await answer == SignOnToken(TOKEN)


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory of nobody's, where it can be reached."""
    with tempfile.TemporaryDirectory(prefix="anyike-test-home-") as name:
        os.chown(name, NOBODY.pw_uid, NOBODY.pw_gid)
        yield Path(name)


@pytest.mark.namespace
async def test_the_users_own_browser_is_opened_as_the_user_and_is_not_ours(
    own_port: int, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opener = home / "xdg-open"
    opener.write_text(
        f'#!/bin/sh\necho "$(id -u) $(ps -o sid= -p $$) $$ $1" > {home}/seen.new\nmv {home}/seen.new {home}/seen\nsleep 30\n'
    )
    opener.chmod(0o755)
    monkeypatch.setenv("PATH", f"{home}:/usr/bin:/bin")
    question = replace(QUESTION, browser_mode="external")
    login = asyncio.create_task(sign_on(question, SignOnSettings(somebody()), None, lambda text: None))
    seen = home / "seen"
    async with asyncio.timeout(20):
        while not seen.exists():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    uid, session, process, address = seen.read_text().split()
    await get(own_port, "/api/sso/AAEA")
    with pytest.raises(LoginFailed, match="cannot read"):
        await asyncio.wait_for(login, 10)
    try:
        assert int(uid) == NOBODY.pw_uid
        assert address == LOGIN
        assert session == process, "a session of its own"
        os.kill(int(process), 0)  # the user's browser outlives the login
    finally:
        os.killpg(int(process), 9)


@pytest.mark.namespace
def test_programs_are_found_with_the_users_rights(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = replace(somebody(), home=home)
    for directory, mode in ((tmp_path, 0o755), (home, 0o755)):
        (directory / "browser").write_text("#!/bin/sh\n")
        (directory / "browser").chmod(mode)
    tmp_path.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:relative::{home}")
    assert find_program(user, ("missing", "browser")) == home / "browser"
    assert find_program(user, (str(tmp_path / "browser"),)) is None
    assert find_program(user, (str(home / "browser"),)) == home / "browser"
    (home / "browser").chmod(0o644)
    assert find_program(user, ("browser",)) is None
    assert os.geteuid() == 0
