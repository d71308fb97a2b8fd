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
from datetime import UTC, datetime
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
from anyike.login.gateway_facts import GatewayFacts
from anyike.login.sign_on import Browser, SignOnSettings, sign_on
from anyike.login.user_programs import find_program
from tests.fakes import pki
from tests.unit.pseudo_terminal import Person, person_at_a_terminal

TOKEN = "5E6B8D41C0A29F73D1B4A6E8"
LOGIN = "https://vpn.example.com/+CSCOE+/saml/sp/login?tgname=Staff"
FINAL = "https://vpn.example.com/+CSCOE+/saml_ac_login.html"
QUESTION = SignOn(LOGIN, FINAL, "acSamlv2Token", "acSamlv2Error", "")
GATEWAY = GatewayFacts("vpn.example.com", b"unread")
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


async def failed(
    question: SignOn = QUESTION, settings: SignOnSettings | None = None, gateway: GatewayFacts = GATEWAY
) -> str:
    """What the user is told when nothing was opened or asked for; the user could be asked."""
    chosen = settings or SignOnSettings(somebody(), Browser.PRINT)
    told: list[str] = []
    with person_at_a_terminal() as person, pytest.raises(LoginFailed) as caught:
        await asyncio.wait_for(sign_on(question, gateway, chosen, person.console, told.append), 20)
    assert not any("Please log in" in text for text in told)
    return str(caught.value)


# A token that is pasted


async def test_the_address_is_shown_and_the_token_is_pasted_without_echo(person: Person) -> None:
    told: list[str] = []
    settings = SignOnSettings(somebody(), Browser.PRINT)
    answer = asyncio.create_task(sign_on(QUESTION, GATEWAY, settings, person.console, told.append))
    await person.answer("Token: ", f"  {TOKEN} \n")
    assert await answer == SignOnToken(TOKEN)
    assert TOKEN not in person.look()
    origins, text = told
    assert (
        "begins at https://vpn.example.com and ends at https://vpn.example.com, whose cookie acSamlv2Token" in origins
    )
    assert text.index(LOGIN) < text.index(FINAL) < text.index("acSamlv2Token")


async def test_what_is_no_token_may_be_pasted_again_but_not_for_ever(person: Person) -> None:
    told: list[str] = []
    settings = SignOnSettings(somebody(), Browser.PRINT)
    answer = asyncio.create_task(sign_on(QUESTION, GATEWAY, settings, person.console, told.append))
    await person.answer("Token: ", "\n")
    await person.answer("Token: ", "two words\n")
    await person.answer("Token: ", "umläut\n")
    with pytest.raises(LoginFailed, match="in 3 tries"):
        await answer
    assert [text[:19] for text in told[2:]] == ["This is no token: i"] * 3


async def test_the_input_ends(person: Person) -> None:
    answer = asyncio.create_task(
        sign_on(QUESTION, GATEWAY, SignOnSettings(somebody(), Browser.PRINT), person.console, lambda text: None)
    )
    await person.answer("Token: ", "\x04")
    with pytest.raises(LoginFailed, match="input ended"):
        await answer


async def test_nobody_pastes_in_time(person: Person) -> None:
    settings = SignOnSettings(somebody(), Browser.PRINT, timeout=0.05)
    with pytest.raises(LoginFailed, match=r"within 0\.05 s \(sign_on\.timeout\)"):
        await sign_on(QUESTION, GATEWAY, settings, person.console, lambda text: None)
    assert person.echoes


@pytest.mark.parametrize("mode", ["", "external"])
@pytest.mark.parametrize("browser", [Browser.AUTO, Browser.PRINT])
async def test_without_a_terminal_nothing_is_opened(
    browser: Browser, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though there is a display, on which somebody else may sit."""
    monkeypatch.setenv("DISPLAY", ":0")
    told: list[str] = []
    settings = SignOnSettings(somebody(), browser, Path("/bin/true"))
    with pytest.raises(LoginFailed, match="no terminal to ask on, or --non-inter"):
        async with asyncio.timeout(10):
            await sign_on(replace(QUESTION, browser_mode=mode), GATEWAY, settings, None, told.append)
    assert told == []


# Where it may end


ELSEWHERE = replace(QUESTION, final_url="https://login.microsoftonline.com/kmsi", token_cookie="ESTSAUTHPERSISTENT")


@pytest.mark.parametrize("mode", ["", "external"])
@pytest.mark.parametrize("browser", list(Browser))
async def test_no_other_sites_cookie_is_brought_to_the_gateway(browser: Browser, mode: str) -> None:
    settings = SignOnSettings(somebody(), browser, Path("/bin/true"))
    said = await failed(replace(ELSEWHERE, browser_mode=mode), settings)
    assert "to end at https://login.microsoftonline.com and to be given the cookie ESTSAUTHPERSISTENT" in said
    assert "neither vpn.example.com, which was connected to, nor a name in its certificate" in said
    assert "sign_on.final_hosts" in said


async def pasted(question: SignOn, settings: SignOnSettings, gateway: GatewayFacts, person: Person) -> SignOnToken:
    answer = asyncio.create_task(sign_on(question, gateway, settings, person.console, lambda text: None))
    await person.answer("Token: ", f"{TOKEN}\n")
    return await answer


@pytest.mark.parametrize(
    "host",
    ["VPN.example.com", "vpn.example.com.", "vpn.example.com:8443", "other.example", "192.0.2.1", "[2001:db8::1]"],
)
async def test_it_may_end_at_the_gateway_or_where_the_user_allows(host: str, person: Person) -> None:
    question = replace(QUESTION, final_url=f"https://{host}/final")
    allowed = ("other.example", "192.0.2.1", "2001:db8:0::1")
    settings = SignOnSettings(somebody(), Browser.PRINT, final_hosts=allowed)
    assert await pasted(question, settings, GATEWAY, person) == SignOnToken(TOKEN)
    for other in ("sub.other.example", "example", "192.0.2.10"):
        assert "final_hosts" in await failed(replace(QUESTION, final_url=f"https://{other}/final"), settings)


async def test_it_may_end_at_a_name_of_the_certificate_unless_nobody_stands_for_that(person: Person) -> None:
    certificate = pki.gateway_credential(now=datetime.now(UTC)).certificate
    gateway = GatewayFacts("192.0.2.1", certificate)
    settings = SignOnSettings(somebody(), Browser.PRINT)
    assert await pasted(QUESTION, settings, gateway, person) == SignOnToken(TOKEN)
    assert "final_hosts" in await failed(ELSEWHERE, settings, gateway)
    said = await failed(QUESTION, replace(settings, trust_names=False), gateway)
    assert "nor shown to be its own (its certificate is accepted by a pin)" in said


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
    answer = asyncio.create_task(sign_on(QUESTION, GATEWAY, settings, person.console, told.append))
    await person.answer("Token: ", f"{TOKEN}\n")
    assert await answer == SignOnToken(TOKEN)
    assert reason in told[1]


async def test_no_chromium_on_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said = await failed(settings=SignOnSettings(somebody(), Browser.CHROMIUM))
    assert "none of chromium, chromium-browser, google-chrome" in said


async def test_a_browser_that_is_demanded_is_not_replaced(person: Person) -> None:
    """With somebody to ask or without."""
    settings = SignOnSettings(somebody(0), Browser.CHROMIUM, Path("/bin/true"))
    with pytest.raises(LoginFailed, match=r'sign_on\.browser = "chromium"\): root does not browse'):
        await sign_on(QUESTION, GATEWAY, settings, person.console, lambda text: None)
    with pytest.raises(LoginFailed, match="root does not browse"):
        await sign_on(QUESTION, GATEWAY, settings, None, lambda text: None)


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


@pytest.mark.parametrize("name", ["a\x1b[2J", "", "a b", "[this machine] PIN", "ü", "a=b", "a;b", "a" * 257])
async def test_what_is_no_name_of_a_cookie_is_refused(name: str) -> None:
    """It is shown, so it must neither drive the terminal nor read as something else."""
    assert "no name" in await failed(replace(QUESTION, token_cookie=name))


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
    own_port: int, caplog: pytest.LogCaptureFixture, person: Person
) -> None:
    told = asyncio.Queue[str]()
    question = replace(QUESTION, browser_mode="external")
    login = asyncio.create_task(
        sign_on(question, GATEWAY, SignOnSettings(somebody(0)), person.console, told.put_nowait)
    )
    assert "ends at https://vpn.example.com" in await asyncio.wait_for(told.get(), 10)
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


async def test_a_token_in_the_clear_is_not_taken(own_port: int, person: Person) -> None:
    question = replace(QUESTION, browser_mode="external")
    told = asyncio.Queue[str]()
    login = asyncio.create_task(
        sign_on(question, GATEWAY, SignOnSettings(somebody(0)), person.console, told.put_nowait)
    )
    for _ in range(2):
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


async def test_the_users_own_browser_has_a_time_limit_and_a_slow_request_none(own_port: int, person: Person) -> None:
    question = replace(QUESTION, browser_mode="external")
    told = asyncio.Queue[str]()
    login = asyncio.create_task(
        sign_on(question, GATEWAY, SignOnSettings(somebody(0), timeout=0.3), person.console, told.put_nowait)
    )
    for _ in range(2):
        await asyncio.wait_for(told.get(), 10)
    _, writer = await asyncio.open_connection("127.0.0.1", own_port)
    writer.write(b"GET /api/sso/")
    with pytest.raises(LoginFailed, match=r"within 0\.3 s"):
        await asyncio.wait_for(login, 10)
    writer.close()


async def test_an_explicit_setting_goes_before_the_gateways_mode(person: Person) -> None:
    settings = SignOnSettings(somebody(), Browser.PRINT)
    question = replace(QUESTION, browser_mode="external")
    answer = asyncio.create_task(sign_on(question, GATEWAY, settings, person.console, lambda text: None))
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
    own_port: int, home: Path, monkeypatch: pytest.MonkeyPatch, person: Person
) -> None:
    opener = home / "xdg-open"
    opener.write_text(
        f'#!/bin/sh\necho "$(id -u) $(ps -o sid= -p $$) $$ $1" > {home}/seen.new\nmv {home}/seen.new {home}/seen\nsleep 30\n'
    )
    opener.chmod(0o755)
    monkeypatch.setenv("PATH", f"{home}:/usr/bin:/bin")
    question = replace(QUESTION, browser_mode="external")
    login = asyncio.create_task(
        sign_on(question, GATEWAY, SignOnSettings(somebody()), person.console, lambda text: None)
    )
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
