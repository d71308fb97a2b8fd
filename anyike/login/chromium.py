"""Single sign-on in a browser of its own: a Chromium of the user's that is watched until the login has left its token.

The gateway says where the login starts, where it ends, and which cookie then holds the token (AnyConnect-EAP notes, section
5; openconnect waits for exactly that final address as well). Chromium runs as the user, with a profile made for this one
login, and is driven over a pipe.

Nothing is typed or clicked here, no page is changed, and no page's address is logged: it may hold tokens of its own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from anyike.eap.question import SignOn, SignOnToken
from anyike.errors import LoginFailed
from anyike.invoking_user import InvokingUser, end, rights_of, start
from anyike.login.devtools import BrowserGone, CommandRefused, DevTools, Event, connect
from anyike.login.user_programs import find_program
from anyike.text import printable_line

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""The names under which distributions and Google install it."""
START_SECONDS = 60.0
"""Implementation limit: how long a browser may take until it shows its first, empty page."""
COOKIE_SECONDS = 10.0
"""Implementation limit: how long after the final page the cookie may appear; a script of that page may set it."""
MAX_ERROR_CHARACTERS = 500

_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")
"""What a cookie can hold (RFC 6265 4.1.1), as large as several EAP packets."""
_COOKIE_POLL_SECONDS = 0.1
_CLOSE_SECONDS = 3.0
_REMOVAL_ATTEMPTS = 50
_LAST_WORDS_BYTES = 2000
_HTTPS_PORT = 443

_ARGUMENTS = (
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-breakpad",  # no crash report of a login
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--password-store=basic",  # a new profile must not ask for the desktop's keyring
)

# The pipe must be file descriptors 3 and 4, and whoever starts a program can only hand on descriptors under the numbers
# that they have. Chromium reads the one and writes the other, and one socket can be both.
_LAUNCHER = """\
import os, sys
pipe = int(sys.argv[1])
os.dup2(pipe, 3)
os.dup2(pipe, 4)
if pipe > 4:
    os.close(pipe)
os.execv(sys.argv[2], sys.argv[2:])
"""

_EVENTS = (
    "Inspector.targetCrashed",
    "Page.frameNavigated",
    "Target.targetCrashed",
    "Target.targetCreated",
    "Target.targetDestroyed",
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Page:
    """The one page of a browser: `target` is its number there, `session` that of our talk with it."""

    devtools: DevTools
    target: str
    session: str

    async def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """A command of the DevTools protocol to this page. BrowserGone, CommandRefused."""
        return await self.devtools.call(method, self.session, **parameters)

    async def next_address(self) -> str:
        """Where the page goes next, once that is loading. BrowserGone when there is no more page."""
        while True:
            event = await self.devtools.next_event()
            if event.method == "Page.frameNavigated" and event.session == self.session:
                frame = event.parameters.get("frame", {})
                if "parentId" not in frame:
                    return str(frame.get("url", ""))
            elif self._is_its_end(event):
                crashed = "Crashed" in event.method
                raise BrowserGone("The page in the browser crashed." if crashed else "The browser window was closed.")

    def _is_its_end(self, event: Event) -> bool:
        if event.method == "Inspector.targetCrashed":
            return event.session == self.session
        return event.method != "Target.targetCreated" and event.parameters.get("targetId") == self.target


@asynccontextmanager
async def open_browser(program: Path, user: InvokingUser, arguments: Sequence[str] = ()) -> AsyncIterator[Page]:
    """A Chromium with an empty page and a profile of its own; at the end nothing is left of it.

    `arguments` go to Chromium beside those that are needed here.

    Raises:
        LoginFailed: it does not start.
    """
    profile = _make_profile(user)
    try:
        ours, theirs = socket.socketpair()
        browser = (str(program), *_ARGUMENTS, f"--user-data-dir={profile}", *arguments, "about:blank")
        try:
            argv = (*_launcher(user), str(theirs.fileno()), *browser)
            # Its sockets and temporary files go into the profile too, to be removed with it.
            process = await start(user, argv, environment={"TMPDIR": str(profile)}, pass_fds=(theirs.fileno(),))
        except (OSError, LoginFailed) as error:
            ours.close()
            raise LoginFailed(
                f"The browser cannot be started as the user {user.name}: {error}. "
                'sign_on.browser = "print" does without.'
            ) from None
        finally:
            theirs.close()
        try:
            async with _connected(ours, process, program) as page:
                yield page
        finally:
            await end(process)
    finally:
        await _remove_profile(profile, user)


async def token_from(page: Page, question: SignOn) -> SignOnToken:
    """Send the page to the login and wait, without a time limit, until it has ended with a token.

    Raises:
        LoginFailed: the window was closed, the browser ended, or the gateway left an error or nothing instead of a token.
    """
    # Its answer comes only when the page does, or when the browser says why none comes.
    navigation = asyncio.create_task(page.call("Page.navigate", url=question.login_url))
    try:
        while True:
            address = await page.next_address()
            log.debug("single sign-on: the browser is at %s", origin_of(address))
            if is_final(address, question.final_url):
                return await _wait_for_token(page, question)
            if _is_same_host(address, question.final_url):
                await _check_error(page, question)
    except BrowserGone as gone:
        raise LoginFailed(f"The single sign-on was not completed. {gone}{_trouble(navigation)}") from None
    finally:
        navigation.cancel()
        await asyncio.gather(navigation, return_exceptions=True)


def _trouble(navigation: asyncio.Task[dict[str, Any]]) -> str:
    """What the browser said of the first page, as a sentence; "" when that came or is still awaited."""
    if not navigation.done() or navigation.exception() is not None:
        return ""
    said = printable_line(str(navigation.result().get("errorText", "")))[:MAX_ERROR_CHARACTERS]
    return f" Before that it said {said}." if said else ""


def is_final(address: str, final_url: str) -> bool:
    """Whether a page is the one at which the login ends: scheme, host, port and path; the query where the gateway names one."""
    if not _is_same_host(address, final_url):
        return False
    here, final = urlsplit(address), urlsplit(final_url)
    return (here.scheme, here.path) == (final.scheme, final.path) and final.query in ("", here.query)


def origin_of(address: str) -> str:
    """Scheme and host of an address, which may be logged; its path and query may hold tokens."""
    try:
        parts = urlsplit(address)
        return printable_line(f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}")
    except ValueError:
        return "an unreadable address"


def read_token(value: str) -> SignOnToken:
    """The token as a cookie's value or as pasted. ValueError when it cannot be one; it is never repeated."""
    if not _TOKEN.fullmatch(value):
        raise ValueError("what came is empty, too long, or has characters that no token has")
    return SignOnToken(value)


def _is_same_host(address: str, other: str) -> bool:
    try:
        here, there = ((parts.hostname, parts.port or _HTTPS_PORT) for parts in map(urlsplit, (address, other)))
    except ValueError:
        return False  # an address without a readable host or port
    return here == there


async def _wait_for_token(page: Page, question: SignOn) -> SignOnToken:
    for _ in range(round(COOKIE_SECONDS / _COOKIE_POLL_SECONDS)):
        await _check_error(page, question)
        if value := await _cookie(page, question, question.token_cookie):
            try:
                return read_token(value)
            except ValueError as error:
                raise LoginFailed(f"The single sign-on ended with a token that is none: {error}.") from None
        await asyncio.sleep(_COOKIE_POLL_SECONDS)
    raise LoginFailed(
        f"The single sign-on reached its end at {origin_of(question.final_url)}, and there is no cookie "
        f"{printable_line(question.token_cookie)!r} for that host."
    )


async def _check_error(page: Page, question: SignOn) -> None:
    if question.error_cookie and (said := await _cookie(page, question, question.error_cookie)):
        raise LoginFailed(f"The gateway refused the single sign-on: {printable_line(said)[:MAX_ERROR_CHARACTERS]}")


async def _cookie(page: Page, question: SignOn, name: str) -> str:
    """The value of a cookie that the host of the final address has set for itself; "" without one.

    A cookie for a parent domain, which a browser would send there too, could come from any of that domain's hosts.
    """
    host = urlsplit(question.final_url).hostname
    # Asked of the browser and not of the page, which has no answer while it moves to another process or has crashed.
    cookies = (await page.devtools.call("Storage.getCookies")).get("cookies", [])
    values = [
        str(cookie["value"])
        for cookie in cookies
        if cookie.get("name") == name and str(cookie.get("domain", "")).removeprefix(".").lower() == host
    ]
    return next(filter(None, values), "")


def _launcher(user: InvokingUser) -> tuple[str, ...]:
    """Any Python will do; our own may be in a home that the user has no access to."""
    python = find_program(user, (os.path.realpath(sys.executable), "python3"))
    if python is None:
        raise LoginFailed("there is no Python that this user may run")
    return (str(python), "-I", "-S", "-c", _LAUNCHER)


@asynccontextmanager
async def _connected(pipe: socket.socket, process: asyncio.subprocess.Process, program: Path) -> AsyncIterator[Page]:
    assert process.stdin is not None
    process.stdin.close()
    last_words = bytearray()
    drains = [
        asyncio.create_task(_drain(process.stdout, bytearray())),
        asyncio.create_task(_drain(process.stderr, last_words)),
    ]
    devtools = await connect(pipe, _EVENTS)
    try:
        try:
            async with asyncio.timeout(START_SECONDS):
                page = await _first_page(devtools)
        except (BrowserGone, CommandRefused, TimeoutError) as error:
            reason = str(error) or f"It showed no page within {START_SECONDS:g} s."
            # Before any page was loaded nothing in it can be a secret of the login.
            said = printable_line(last_words.decode(errors="replace"))[-MAX_ERROR_CHARACTERS:]
            raise LoginFailed(
                f"The browser {program} (sign_on.chromium) did not start. {reason} "
                f'{f"Its last words: {said} " if said else ""}sign_on.browser = "print" does without.'
            ) from None
        yield page
        await _close(devtools, process)
    finally:
        await devtools.close()
        for drain in drains:
            drain.cancel()


async def _first_page(devtools: DevTools) -> Page:
    await devtools.call("Target.setDiscoverTargets", discover=True)
    while True:
        target = (await devtools.next_event()).parameters.get("targetInfo", {})
        if target.get("type") == "page":
            attached = await devtools.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
            page = Page(devtools, target["targetId"], attached["sessionId"])
            await page.call("Page.enable")
            return page


async def _close(devtools: DevTools, process: asyncio.subprocess.Process) -> None:
    """Let the browser end by itself, should it do so soon."""
    with suppress(TimeoutError, LoginFailed):
        async with asyncio.timeout(_CLOSE_SECONDS):
            await devtools.call("Browser.close")
            await process.wait()


async def _drain(stream: asyncio.StreamReader | None, last_words: bytearray) -> None:
    assert stream is not None
    while chunk := await stream.read(4096):
        last_words += chunk
        del last_words[:-_LAST_WORDS_BYTES]


def _make_profile(user: InvokingUser) -> Path:
    try:
        with rights_of(user):
            return Path(tempfile.mkdtemp(prefix="anyike-sign-on-"))
    except OSError as error:
        raise LoginFailed(f"There is no place for the browser's temporary profile: {error.strerror}") from None


async def _remove_profile(profile: Path, user: InvokingUser) -> None:
    """A last process of the browser may still be writing."""
    for _ in range(_REMOVAL_ATTEMPTS):
        if _removed(profile, user):
            return
        await asyncio.sleep(0.1)
    log.warning("the browser's temporary profile %s could not be removed; it holds cookies of the login", profile)


def _removed(profile: Path, user: InvokingUser) -> bool:
    """As its owner, who may have put links into it."""
    with rights_of(user):
        shutil.rmtree(profile, ignore_errors=True)
        return not profile.exists()
