"""Single sign-on: where the user logs in, and how the token of that login gets here.

Experimental: the elements are known from AnyConnect over TLS (AnyConnect-EAP notes, section 5); over IKEv2 nobody has
reported them. What the gateway asks for beyond what is known is logged and refused.

Ways, by `sign_on.browser`:

- `chromium`: a browser of its own, which is watched (`chromium.py`).
- `print`: the address is shown, the user logs in anywhere and pastes the token.
- `auto`: what the gateway wants. For `external` that is the user's own browser (`external_browser.py`); else `chromium` where
  there is one and a display to show it on, else `print`. Where nobody is to be asked (no console) it does none of that.

In every way the login has to end at the gateway itself (`final_page.py`), whose cookie is the token.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from anyike.eap.question import SignOn, SignOnToken
from anyike.errors import LoginFailed
from anyike.invoking_user import InvokingUser
from anyike.login.chromium import PROGRAMS, open_browser, origin_of, read_token, token_from
from anyike.login.external_browser import sign_on_externally
from anyike.login.final_page import is_of_gateway
from anyike.login.gateway_facts import GatewayFacts
from anyike.login.user_programs import find_program
from anyike.prompt import Console
from anyike.text import printable_line

MAX_URL_CHARACTERS = 16 * 1024
MAX_NAME_CHARACTERS = 256
PASTE_TRIES = 3
_COOKIE_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
"""RFC 6265 4.1.1 (a token of RFC 9110 5.6.2): no white space and no brackets."""
_EMBEDDED = ("", "embedded")
_EXTERNAL = "external"
_ROOT = 0

log = logging.getLogger(__name__)


class Browser(StrEnum):
    """The setting `sign_on.browser`."""

    AUTO = "auto"
    CHROMIUM = "chromium"
    PRINT = "print"


@dataclass(frozen=True, slots=True)
class SignOnSettings:
    """How single sign-ons are to be done.

    `user`: whose browser it is. `chromium`: the program, None for the first that is found. `timeout`: for the whole sign-on,
    in seconds. `chromium_arguments`: for Chromium, beside its own. `final_hosts`: where a sign-on may end besides the gateway's
    own host and, where `trust_names`, the names in its certificate.
    """

    user: InvokingUser
    browser: Browser = Browser.AUTO
    chromium: Path | None = None
    timeout: float = 300.0
    chromium_arguments: tuple[str, ...] = ()
    final_hosts: tuple[str, ...] = ()
    trust_names: bool = True


async def sign_on(
    question: SignOn,
    gateway: GatewayFacts,
    settings: SignOnSettings,
    console: Console | None,
    tell: Callable[[str], None],
) -> SignOnToken:
    """Have the user log in and bring back the token.

    Args:
        question: what the gateway wants.
        gateway: who it is.
        settings: how to do it.
        console: where a token can be pasted; None when there is no terminal, or nobody is to be asked.
        tell: shows the user a text of one or more lines.

    Raises:
        LoginFailed: there is no token, for whatever reason.
    """
    _check(question)
    _check_final_host(question, gateway, settings)
    if console is None and settings.browser is not Browser.CHROMIUM:
        raise LoginFailed(
            "The gateway wants a single sign-on in a browser, for which somebody has to be there, and there is no terminal to ask "
            'on, or --non-inter was given. sign_on.browser = "chromium" opens a browser all the same.'
        )
    log.info(
        "single sign-on from %s to %s, browser mode %r; over IKEv2 this is experimental",
        origin_of(question.login_url),
        origin_of(question.final_url),
        printable_line(question.browser_mode)[:MAX_NAME_CHARACTERS],
    )
    try:
        async with asyncio.timeout(settings.timeout):
            return await _sign_on(question, settings, console, tell)
    except TimeoutError:
        raise LoginFailed(
            f"The single sign-on was not completed within {settings.timeout:g} s (sign_on.timeout)."
        ) from None


async def _sign_on(
    question: SignOn, settings: SignOnSettings, console: Console | None, tell: Callable[[str], None]
) -> SignOnToken:
    tell(
        f"The gateway wants a single sign-on: a login that begins at {origin_of(question.login_url)} and ends at "
        f"{origin_of(question.final_url)}, whose cookie {question.token_cookie} it gets."
    )
    if settings.browser is Browser.PRINT:
        return await _pasted(question, console, tell, "")
    if settings.browser is Browser.AUTO and question.browser_mode == _EXTERNAL:
        return await sign_on_externally(question, settings.user, tell)
    names = PROGRAMS if settings.chromium is None else (str(settings.chromium),)
    program = find_program(settings.user, names)
    obstacle = _obstacle(settings, program)
    if program is None or obstacle:
        if settings.browser is Browser.CHROMIUM:
            raise LoginFailed(f'The single sign-on cannot start a browser (sign_on.browser = "chromium"): {obstacle}.')
        return await _pasted(question, console, tell, f"There is no browser to log in with: {obstacle}.\n")
    tell("Please log in, in the browser window that opens.")
    async with open_browser(program, settings.user, settings.chromium_arguments) as page:
        return await token_from(page, question)


def _check(question: SignOn) -> None:
    for name, url in (("login", question.login_url), ("final", question.final_url)):
        if not _is_plain_https(url):
            raise LoginFailed(
                f"The gateway's {name} address of the single sign-on is no https address that a browser may be sent to: "
                f"{printable_line(url)[:MAX_NAME_CHARACTERS]!r}"
            )
    if not _COOKIE_NAME.fullmatch(question.token_cookie):
        raise LoginFailed("The gateway's name for the cookie of the single sign-on is no name.")
    if question.browser_mode not in (*_EMBEDDED, _EXTERNAL):
        raise LoginFailed(
            "The gateway wants the single sign-on in a browser mode that anyike does not know: "
            f"{printable_line(question.browser_mode)[:MAX_NAME_CHARACTERS]!r}"
        )


def _check_final_host(question: SignOn, gateway: GatewayFacts, settings: SignOnSettings) -> None:
    names, others = settings.trust_names, settings.final_hosts
    if not is_of_gateway(question.final_url, gateway, trust_names=names, other_hosts=others):
        certificate = (
            "a name in its certificate" if names else "shown to be its own (its certificate is accepted by a pin)"
        )
        raise LoginFailed(
            f"The gateway wants the single sign-on to end at {origin_of(question.final_url)} and to be given the cookie "
            f"{question.token_cookie} from there. That host is neither {gateway.host}, which was connected to, nor "
            f"{certificate}, and whoever has the cookie could pass for you there. If the gateway's administrator says that it is "
            "right, name the host in sign_on.final_hosts."
        )


def _is_plain_https(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and not set(url) & set(" \"'\\<>`") and len(url) <= MAX_URL_CHARACTERS
    return plain and parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc and port != 0


def _obstacle(settings: SignOnSettings, program: Path | None) -> str:
    """Why no browser can be opened; "" when one can. A display is not asked for where Chromium is demanded."""
    if program is None:
        if settings.chromium is not None:
            return f"{settings.chromium} (sign_on.chromium) is no program that {settings.user.name} may run"
        return f"none of {', '.join(PROGRAMS)} is installed (sign_on.chromium names another)"
    if settings.user.uid == _ROOT:
        # Chromium would run only with its sandbox switched off, on pages from the network, as root.
        return "root does not browse. Run anyike with sudo from your own account, or name yours in login.run_as"
    environment = settings.user.environment()
    if settings.browser is Browser.AUTO and not (environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")):
        return "there is no display (neither DISPLAY nor WAYLAND_DISPLAY is set)"
    return ""


async def _pasted(question: SignOn, console: Console | None, tell: Callable[[str], None], reason: str) -> SignOnToken:
    assert console is not None  # without one only a browser is opened
    tell(
        f"{reason}Please log in with any browser at\n\n{question.login_url}\n\nuntil it is at\n\n{question.final_url}\n\n"
        f"Then paste the value of the cookie {question.token_cookie} of that page here "
        "(in most browsers: F12, then Application or Storage, then Cookies)."
    )
    for _ in range(PASTE_TRIES):
        try:
            return read_token((await console.ask("Token: ", secret=True)).strip())
        except EOFError:
            raise LoginFailed("The input ended before the token of the single sign-on came.") from None
        except ValueError:
            # Its own text may repeat what was typed.
            tell("This is no token: it is empty, too long, or has characters that no token has.")
    raise LoginFailed(f"No token of the single sign-on came in {PASTE_TRIES} tries.")
