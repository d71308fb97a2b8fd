"""A real Chromium (Debian: chromium), an ordinary user to run it as, and a check that nothing of a login is left."""

from __future__ import annotations

import asyncio
import logging
import os
import pwd
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from anyike.eap.question import SignOn
from anyike.invoking_user import InvokingUser
from anyike.login.gateway_facts import GatewayFacts
from tests.integration_browser.login_site import LoginSite, make_certificate, serving

HERE = Path(__file__).resolve().parent
GATEWAY = GatewayFacts("vpn.example.com", b"unread")
TOKEN = "5E6B8D41C0A29F73D1B4A6E8"

QUESTION = SignOn(
    login_url="https://vpn.example.com/+CSCOE+/saml/sp/login?tgname=Staff&acsamlcap=v2",
    final_url="https://vpn.example.com/+CSCOE+/saml_ac_login.html",
    token_cookie="acSamlv2Token",
    error_cookie="acSamlv2Error",
    browser_mode="embedded",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs root, for another user to be, and an installed Chromium."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.namespace)


@pytest.fixture
def user() -> Iterator[InvokingUser]:
    """Somebody without any rights, with a home of their own."""
    entry = pwd.getpwnam("nobody")
    home = Path(tempfile.mkdtemp(prefix="anyike-test-home-", dir="/tmp"))
    os.chown(home, entry.pw_uid, entry.pw_gid)
    yield InvokingUser(entry.pw_uid, entry.pw_name, entry.pw_gid, home)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("site"))


@pytest.fixture
async def site(certificate: Path) -> AsyncIterator[LoginSite]:
    async with serving(certificate) as site:
        yield site


def browser_processes() -> list[int]:
    """The main processes of browsers that a login of this test started: no `--type` of a helper is among the arguments."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                arguments = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if f"--user-data-dir={tempfile.gettempdir()}/".encode() in arguments and b"--type=" not in arguments:
                found.append(int(entry.name))
    return found


def profiles() -> set[Path]:
    return set(Path(tempfile.gettempdir()).iterdir())


@pytest.fixture
def temporary_directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One for this test alone, for everybody to write to."""
    with tempfile.TemporaryDirectory(prefix="anyike-test-") as name:
        Path(name).chmod(0o1777)
        monkeypatch.setattr(tempfile, "tempdir", name)
        yield


@pytest.fixture(autouse=True)
async def nothing_is_left(temporary_directory: None, caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """Neither a profile nor a process, nor the token or an address's secret in any log, at the highest level."""
    caplog.set_level(logging.DEBUG)
    yield
    assert not profiles()
    async with asyncio.timeout(10):
        while browser_processes():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    logged = "\n".join(f"{record.getMessage()} {record.exc_text}" for record in caplog.get_records("call"))
    assert TOKEN not in logged
    assert "tgname" not in logged
    assert "SAML" not in logged
