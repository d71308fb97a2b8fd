"""`anyike-gateway`: play one login scenario to whoever connects, and show the dialogue. A test tool; see README.md."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from tests.anyike_gateway.materials import Materials
from tests.anyike_gateway.server import Address, Server, check_address
from tests.anyike_gateway.sign_on_page import SignOnPage
from tests.fakes import pki
from tests.fakes.certificate_proof import Trust
from tests.fakes.dialect import DIALECTS, Dialect
from tests.fakes.gateway import Gateway
from tests.fakes.one_time import CodeServer
from tests.fakes.profiles import profile_of
from tests.fakes.scenario import OneTime, Scenario
from tests.fakes.scenario_login import SIGN_ON_TOKEN, ScenarioLogin, Site
from tests.fakes.session import Call
from tests.scenarios.catalogue import SCENARIOS

PORTS = (5500, 5501)
_QUIET_CALLS = {"get result"}


class Show:
    """One scenario on one address: makes a gateway for each login and tells what is said."""

    def __init__(
        self, scenario: Scenario, dialect: Dialect, materials: Materials, sign_on_url: str, journal: TextIO | None
    ) -> None:
        now = materials.now
        self._scenario = scenario
        self._dialect = dialect
        self._journal = journal
        self._site = Site(Trust(pki.authority(now=now).certificate, now), sign_on_url)
        self._profile = profile_of(dialect, pki.gateway_credential(now=now))
        self._codes = CodeServer(self._site.clock, materials.token_secret)
        self.as_expected = False

    def make_gateway(self, peer: Address) -> Gateway:
        """A gateway for one more login."""
        login = ScenarioLogin(self._scenario, self._dialect, self._site, self._codes)
        return Gateway(login, self._profile, on_call=lambda call: self._tell(peer, call))

    def is_over(self, gateway: Gateway) -> bool:
        """Whether this login has come to its end: logged off, or never logged in."""
        login = gateway.login
        assert isinstance(login, ScenarioLogin)
        over = login.ended and (gateway.journal.deleted or login.get_result() is not True)
        if over:
            for deviation in login.deviations:
                print(f"NOT AS EXPECTED: {deviation}", flush=True)
            self.as_expected = not login.deviations and (login.get_result() is True) != bool(self._scenario.ends)
            print("over" if self.as_expected else "over, and not as the scenario has it", flush=True)
        return over

    def _tell(self, peer: Address, call: Call) -> None:
        if call.name not in _QUIET_CALLS:
            print(f"{peer[0]}:{peer[1]} {call}", flush=True)
        if self._journal is not None:
            entry = {
                "time": datetime.now(UTC).isoformat(),
                "peer": list(peer),
                "call": call.name,
                "detail": call.detail,
            }
            print(json.dumps(entry), file=self._journal, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until interrupted, or with --once until the first login is over: then 0 says that it was as expected."""
    arguments = _parser().parse_args(argv)
    if arguments.list:
        for scenario in SCENARIOS.values():
            print(f"{scenario.name:26}{scenario.title}")
            if scenario.guessed:
                print(f"{'':26}guessed: {scenario.guessed}")
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that both leave no files behind
    scenario, dialect = SCENARIOS[arguments.scenario], DIALECTS[arguments.profile]
    with ExitStack() as stack:
        journal = None if arguments.journal is None else stack.enter_context(_private(arguments.journal))
        directory = arguments.directory or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="anyike-gateway-"))
        )
        materials = Materials(directory.absolute(), datetime.now(UTC))
        materials.write()
        sign_on_url = ""
        if "sign-on" in scenario.needs:
            page = SignOnPage(arguments.listen, materials.gateway_pem, by_itself=arguments.page_by_itself)
            stack.callback(page.close)
            sign_on_url = page.url
        show = Show(scenario, dialect, materials, sign_on_url, journal)
        server = Server(arguments.listen, (arguments.port, arguments.nat_port), show.make_gateway)
        stack.callback(server.close)
        profile = materials.directory / f"{scenario.name}-{dialect.name}-{server.ports[0]}.toml"
        profile.write_text(materials.profile(scenario, dialect, arguments.listen, server.ports))
        _introduce(scenario, dialect, profile)
        try:
            server.serve(lambda gateway: show.is_over(gateway) and arguments.once)
        except KeyboardInterrupt:
            return 0
    return 0 if show.as_expected else 1


def _private(path: Path) -> TextIO:
    """It gets to hold whatever somebody types as a password."""
    path.touch(0o600)
    return path.open("w")


def _introduce(scenario: Scenario, dialect: Dialect, profile: Path) -> None:
    print(f"{scenario.name} ({dialect.name}): {scenario.title}")
    if scenario.guessed:
        print(f"guessed: {scenario.guessed}")
    print(f"\n{profile}:\n{profile.read_text()}")
    for label, value in scenario.user:
        print(f"type at {label!r}: {f'the {value.mode.upper()} code' if isinstance(value, OneTime) else value!r}")
    if "sign-on" in scenario.needs:
        print(f"press the button in the browser, or paste as the token: {SIGN_ON_TOKEN}")
    print(f"\nready: anyike connect -c {profile}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="anyike-gateway", description="A test gateway that plays one login scenario.")
    add = parser.add_argument
    add("scenario", nargs="?", default="password", choices=SCENARIOS, metavar="SCENARIO", help="see --list")
    add("--list", action="store_true", help="list the scenarios and end")
    add("--profile", choices=DIALECTS, default="asa", help="the kind of gateway (default: asa)")
    add("--listen", type=_address, default="127.0.0.1", metavar="ADDRESS", help="default: 127.0.0.1")
    add("--port", type=int, default=PORTS[0], help=f"UDP port of the first messages; 0 takes any (default: {PORTS[0]})")
    add("--nat-port", type=int, default=PORTS[1], help=f"UDP port behind NAT; 0 takes any (default: {PORTS[1]})")
    add("--once", action="store_true", help="end with the first login; status 0 if all was as the scenario has it")
    add(
        "--journal", type=Path, metavar="FILE", help="write every call of the EAP session there, one JSON object a line"
    )
    add("--page-by-itself", action="store_true", help="the page of a single sign-on presses its own button")
    add("--directory", type=Path, metavar="DIR", help="where the client's files go (default: a temporary directory)")
    return parser


def _address(text: str) -> str:
    try:
        return check_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    sys.exit(main())
