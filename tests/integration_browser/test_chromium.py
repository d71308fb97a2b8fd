"""Single sign-on with a real headless Chromium, from the gateway's page over an identity provider back to the token."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from anyike.eap.question import SignOnToken
from anyike.errors import LoginFailed
from anyike.invoking_user import InvokingUser
from anyike.login import chromium
from anyike.login.chromium import Page, open_browser, token_from
from anyike.login.sign_on import Browser, SignOnSettings, sign_on
from tests.integration_browser.conftest import GATEWAY, QUESTION, TOKEN, browser_processes, profiles
from tests.integration_browser.login_site import LoginSite, Reply

CHROMIUM = Path("/usr/bin/chromium")
LOGIN = "vpn.example.com/+CSCOE+/saml/sp/login"
FINAL = "vpn.example.com/+CSCOE+/saml_ac_login.html"
PROVIDER = "login.example.net/login"
ASSERTED = "vpn.example.com/+CSCOE+/saml/sp/acs"
SECRET_COOKIE = f"acSamlv2Token={TOKEN}; Path=/; Secure; HttpOnly"

FORM = """<!doctype html><title>Log in</title><form method="post" action="/assertion">
<input name="user"><input name="password" type="password"><button style="position: fixed; left: 50px; top: 60px; width: 100px;
height: 40px">Log in</button></form>"""
ASSERTION = """<form method="post" action="https://vpn.example.com/+CSCOE+/saml/sp/acs?tgname=Staff">
<input type="hidden" name="SAMLResponse" value="c2VjcmV0"></form><script>document.forms[0].submit()</script>"""


def goes_to(address: str) -> str:
    return f'<script>location.replace("https://{address}")</script>'


def a_login(site: LoginSite, **pages: Reply) -> None:
    """The whole way, without anybody having to click."""
    site.pages = {
        LOGIN: Reply(location=f"https://{PROVIDER}?SAMLRequest=c2VjcmV0"),
        PROVIDER: Reply(ASSERTION),
        ASSERTED: Reply(goes_to(FINAL), cookies=(SECRET_COOKIE,)),
        FINAL: Reply("You may close this window."),
        **{
            {"login": LOGIN, "provider": PROVIDER, "asserted": ASSERTED, "final": FINAL}[name]: page
            for name, page in pages.items()
        },
    }


def settings(site: LoginSite, user: InvokingUser, timeout: float = 60.0) -> SignOnSettings:
    return SignOnSettings(user, Browser.CHROMIUM, None, timeout, site.browser_arguments)


async def log_in(site: LoginSite, user: InvokingUser, limit: float = 60.0) -> SignOnToken:
    return await sign_on(QUESTION, GATEWAY, settings(site, user, limit), None, lambda text: None)


async def until(what: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not what():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def click(page: Page, x: int, y: int) -> None:
    for kind in ("mousePressed", "mouseReleased"):
        await page.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)


async def test_the_user_types_and_clicks_through_the_login(site: LoginSite, user: InvokingUser) -> None:
    a_login(site, provider=Reply(FORM))
    site.pages["login.example.net/assertion"] = Reply(ASSERTION)
    async with open_browser(CHROMIUM, user, site.browser_arguments) as page:
        login = asyncio.create_task(token_from(page, QUESTION))
        await until(lambda: site.asked("GET", PROVIDER))
        await until_shown(page, "document.forms.length == 1 && document.readyState == 'complete'")
        await page.call("Runtime.evaluate", expression="document.forms[0].user.focus()")
        await page.call("Input.insertText", text="ada")
        await page.call("Runtime.evaluate", expression="document.forms[0].password.focus()")
        await page.call("Input.insertText", text="lovelace")
        assert not login.done()
        await click(page, 100, 80)
        token = await asyncio.wait_for(login, 30)
    assert token.token == TOKEN
    assert [request.body for request in site.asked("POST", "login.example.net/assertion")] == [
        "user=ada&password=lovelace"
    ]
    assert [request.body for request in site.asked("POST", ASSERTED)] == ["SAMLResponse=c2VjcmV0"]
    assert TOKEN not in repr(token)


async def until_shown(page: Page, condition: str) -> None:
    async with asyncio.timeout(30):
        while not (await page.call("Runtime.evaluate", expression=condition))["result"].get("value"):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_login_by_the_same_way_as_the_command(site: LoginSite, user: InvokingUser) -> None:
    a_login(site)
    told: list[str] = []
    token = await sign_on(QUESTION, GATEWAY, settings(site, user), None, told.append)
    assert token.token == TOKEN
    origins, opens = told
    assert (
        "begins at https://vpn.example.com and ends at https://vpn.example.com, whose cookie acSamlv2Token" in origins
    )
    assert opens == "Please log in, in the browser window that opens."
    assert [request.query for request in site.asked("GET", LOGIN)] == ["tgname=Staff&acsamlcap=v2"]


async def test_the_cookie_may_come_with_the_final_page_or_from_its_script(site: LoginSite, user: InvokingUser) -> None:
    a_login(site, asserted=Reply(goes_to(FINAL)), final=Reply("done", cookies=(SECRET_COOKIE,)))
    assert (await log_in(site, user)).token == TOKEN
    script = f'<script>setTimeout(() => {{ document.cookie = "acSamlv2Token={TOKEN}; secure" }}, 300)</script>'
    a_login(site, asserted=Reply(goes_to(FINAL)), final=Reply(script))
    assert (await log_in(site, user)).token == TOKEN


async def goes_on_at(site: LoginSite, user: InvokingUser, method: str, address: str) -> None:
    """The login is still awaited once that page has been shown, and ends when its window is closed."""
    async with open_browser(CHROMIUM, user, site.browser_arguments) as page:
        login = asyncio.create_task(token_from(page, QUESTION))
        await until(lambda: site.asked(method, address))
        await until_shown(page, f"location.href.includes({address!r}) && document.readyState == 'complete'")
        await asyncio.sleep(0.3)
        assert not login.done()
        await page.devtools.call("Target.closeTarget", targetId=page.target)
        with pytest.raises(LoginFailed, match="The single sign-on was not completed"):
            await asyncio.wait_for(login, 30)


async def test_the_cookie_is_not_taken_before_the_end(site: LoginSite, user: InvokingUser) -> None:
    a_login(site, asserted=Reply("not there yet", cookies=(SECRET_COOKIE,)))
    await goes_on_at(site, user, "POST", ASSERTED)


@pytest.mark.parametrize(
    "elsewhere",
    ["vpn.example.com/+CSCOE+/saml_ac_login.html/", "www.example.com/+CSCOE+/saml_ac_login.html", "vpn.example.com/"],
)
async def test_another_page_is_not_the_end(site: LoginSite, user: InvokingUser, elsewhere: str) -> None:
    a_login(site, asserted=Reply(goes_to(elsewhere), cookies=(SECRET_COOKIE,)))
    site.pages[elsewhere] = Reply("nearly", cookies=(SECRET_COOKIE,))
    await goes_on_at(site, user, "GET", elsewhere)


async def test_the_same_cookie_of_other_hosts_is_not_taken(
    site: LoginSite, user: InvokingUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chromium, "COOKIE_SECONDS", 0.5)
    parent = f"acSamlv2Token={TOKEN}; Domain=example.com; Path=/; Secure"
    a_login(site, asserted=Reply(goes_to("www.example.com/"), cookies=()))
    site.pages[PROVIDER] = Reply(ASSERTION, cookies=(SECRET_COOKIE,))
    site.pages["www.example.com/"] = Reply(goes_to(FINAL), cookies=(parent, SECRET_COOKIE))
    with pytest.raises(LoginFailed, match="there is no cookie 'acSamlv2Token' for that host"):
        await log_in(site, user)
    # The browser itself would have sent the parent's cookie there.
    assert TOKEN in site.asked("GET", FINAL)[0].cookies


async def test_the_gateways_error_is_shown_harmless(site: LoginSite, user: InvokingUser) -> None:
    a_login(site, asserted=Reply("sorry", cookies=("acSamlv2Error=Not%20a member of \u202eStaff; Path=/; Secure",)))
    with pytest.raises(LoginFailed, match="The gateway refused the single sign-on: Not%20a member of ") as caught:
        await log_in(site, user)
    assert "\u202e" not in str(caught.value)


async def test_an_error_at_the_final_page_goes_before_a_token(site: LoginSite, user: InvokingUser) -> None:
    a_login(site, final=Reply("", cookies=("acSamlv2Error=locked; Path=/; Secure",)))
    with pytest.raises(LoginFailed, match="refused the single sign-on: locked"):
        await log_in(site, user)


async def test_a_page_that_never_comes(site: LoginSite, user: InvokingUser) -> None:
    a_login(site, provider=Reply("late", delay=60.0))
    with pytest.raises(LoginFailed, match=r"not completed within 3 s \(sign_on\.timeout\)"):
        await log_in(site, user, limit=3.0)


async def test_a_page_that_loads_again_and_again(site: LoginSite, user: InvokingUser) -> None:
    a_login(site, provider=Reply("<script>location.reload()</script>"))
    login = asyncio.create_task(log_in(site, user))
    await until(lambda: len(site.asked("GET", PROVIDER)) > 20)
    assert not login.done()
    site.pages[PROVIDER] = Reply(ASSERTION)
    assert (await asyncio.wait_for(login, 30)).token == TOKEN


async def test_the_browser_is_killed(site: LoginSite, user: InvokingUser) -> None:
    a_login(site, provider=Reply(FORM))
    login = asyncio.create_task(log_in(site, user))
    await until(lambda: site.asked("GET", PROVIDER))
    for process in browser_processes():
        os.kill(process, signal.SIGKILL)
    with pytest.raises(LoginFailed, match=r"was not completed\. The browser has ended"):
        await asyncio.wait_for(login, 30)


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("Page.close", "The browser window was closed|The browser has ended"),
        ("Page.crash", "page in the browser crashed"),
    ],
)
async def test_the_window_is_closed_or_its_page_crashes(
    site: LoginSite, user: InvokingUser, method: str, said: str
) -> None:
    a_login(site, provider=Reply(FORM))
    async with open_browser(CHROMIUM, user, site.browser_arguments) as page:
        login = asyncio.create_task(token_from(page, QUESTION))
        await until(lambda: site.asked("GET", PROVIDER))
        await until_shown(page, "document.forms.length == 1")
        gone = asyncio.create_task(page.call(method))
        with pytest.raises(LoginFailed, match=said):
            await asyncio.wait_for(login, 30)
        gone.cancel()
        await asyncio.wait([gone])


async def test_the_login_is_given_up(site: LoginSite, user: InvokingUser) -> None:
    a_login(site, provider=Reply(FORM))
    login = asyncio.create_task(log_in(site, user))
    await until(lambda: site.asked("GET", PROVIDER))
    assert profiles()
    login.cancel()
    with pytest.raises(asyncio.CancelledError):
        await login


async def test_a_certificate_that_the_browser_does_not_know_is_named(site: LoginSite, user: InvokingUser) -> None:
    a_login(site)
    async with open_browser(CHROMIUM, user, site.browser_arguments[:2]) as page:
        login = asyncio.create_task(token_from(page, QUESTION))
        await asyncio.sleep(1)
        assert not login.done()
        await page.devtools.call("Target.closeTarget", targetId=page.target)
        with pytest.raises(LoginFailed, match=r"Before that it said net::ERR_CERT_AUTHORITY_INVALID\."):
            await asyncio.wait_for(login, 30)
    assert not site.requests


async def test_the_browser_runs_as_the_user_without_an_open_port_and_with_its_sandbox(
    site: LoginSite, user: InvokingUser
) -> None:
    async with open_browser(CHROMIUM, user, site.browser_arguments):
        (process,) = browser_processes()
        process_files = Path(f"/proc/{process}")
        status = (process_files / "status").read_text()
        assert f"Uid:\t{user.uid}\t{user.uid}\t{user.uid}\t{user.uid}" in status
        assert "CapEff:\t0000000000000000" in status
        arguments = (process_files / "cmdline").read_bytes()
        assert b"--no-sandbox" not in arguments
        assert b"--remote-debugging-port" not in arguments
        (profile,) = profiles()
        assert profile.stat().st_uid == user.uid
        assert profile.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("program", ["/bin/false", "/bin/sleep"])
async def test_a_program_that_is_no_browser(site: LoginSite, user: InvokingUser, program: str) -> None:
    with pytest.raises(LoginFailed, match=r"\(sign_on\.chromium\) did not start\. The browser has ended\."):
        await sign_on(QUESTION, GATEWAY, replace(settings(site, user), chromium=Path(program)), None, lambda text: None)


async def test_root_does_not_browse(site: LoginSite) -> None:
    root = InvokingUser(0, "root", 0, Path("/root"))
    with pytest.raises(LoginFailed, match=r"root does not browse.*login\.run_as"):
        await log_in(site, root)


async def test_a_program_that_the_user_may_not_run(site: LoginSite, user: InvokingUser, tmp_path: Path) -> None:
    program = tmp_path / "browser"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    with pytest.raises(LoginFailed, match="is no program that nobody may run"):
        await sign_on(QUESTION, GATEWAY, replace(settings(site, user), chromium=program), None, lambda text: None)
