"""`anyike connect` and `anyike-gateway` in a network namespace of their own, and the user at the terminal."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from anyike.login.token_secret import TokenMode, parse_token_secret
from anyike.paths import STATE
from tests.fakes.dialect import Dialect
from tests.fakes.scenario import AuthRequest, Input, OneTime, Scenario, Select
from tests.fakes.scenario_login import SIGN_ON_TOKEN
from tests.integration.anyike_process import AnyikeProcess

ANYIKE = Path(sys.executable).with_name("anyike")
ROOT = Path(__file__).parents[2]
ACCEPT = "Accept and go on?"
BANNER = "banner"
READY_LIMIT = 20.0


@contextmanager
def network_namespace() -> Iterator[str]:
    """A namespace with nothing but loopback in it."""
    name = f"anyike-{os.getpid()}-scenario"
    _run("ip", "netns", "add", name)
    try:
        _run("ip", "-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        _run("ip", "netns", "del", name)


@dataclass
class Stage:
    """A gateway that plays one scenario once, ready to be connected to."""

    namespace: str
    scenario: Scenario
    dialect: Dialect
    directory: Path
    clients: list[AnyikeProcess] = field(default_factory=list)

    def __enter__(self) -> Self:
        command = [*self._inside, sys.executable, "-m", "tests.anyike_gateway", self.scenario.name]
        command += ["--profile", self.dialect.name, "--port", "0", "--nat-port", "0", "--once"]
        command += ["--page-by-itself", "--directory", str(self.directory), "--journal", str(self._journal)]
        self._gateway = AnyikeProcess(["env", f"PYTHONPATH={ROOT}", *command])
        shown = self._gateway.wait_for("ready: ", READY_LIMIT)
        self.profile = re.search(r"(?m)^(/.*\.toml):$", shown)[1]
        return self

    def __exit__(self, *_: object) -> None:
        for client in self.clients:
            client.close()
        self._gateway.close()
        for mode in TokenMode:
            token = parse_token_secret((self.directory / "token.secret").read_text(), mode)
            (STATE / f"one-time-code-{token.identifier}").unlink(missing_ok=True)

    @property
    def _inside(self) -> list[str]:
        return ["ip", "netns", "exec", self.namespace]

    @property
    def _journal(self) -> Path:
        return self.directory / "journal"

    def connect(self, *arguments: str, terminal: bool = True) -> AnyikeProcess:
        """Run the command, at a terminal of its own or with pipes."""
        command = [*self._inside, str(ANYIKE), "connect", "-c", self.profile, *arguments]
        client = AnyikeProcess(command, terminal=terminal)
        self.clients.append(client)
        return client

    def gateway_status(self) -> int:
        """0 when the gateway saw what the scenario has."""
        return self._gateway.end()

    def story(self) -> str:
        """Both sides, for failing tests."""
        calls = [json.loads(line) for line in self._journal.read_text().splitlines()]
        journal = "\n".join(f"{call['call']}: {call['detail']}" for call in calls)
        shown = "\n".join(client.output for client in self.clients)
        return f"--- journal\n{journal}\n--- gateway\n{self._gateway.output}\n--- anyike\n{shown}"


def play_user(client: AnyikeProcess, scenario: Scenario) -> None:
    """Type what the scenario's user types; one-time codes come from the client itself."""
    choices = {ACCEPT} | {field.label for field in fields(scenario) if isinstance(field, Select)}
    for label, value in scenario.user:
        if isinstance(value, OneTime):
            continue
        shown = label.rstrip(" :")
        prompt = "Number or name" if label in choices else f"{shown}: " if value else f"{shown} ["
        client.answer(prompt, value)
    if "sign-on" in scenario.needs:
        client.answer("Token: ", SIGN_ON_TOKEN)


def given_beforehand(scenario: Scenario) -> tuple[list[str], str]:
    """Options and standard input that answer the same without a terminal; a repetition copies what it repeats."""
    forms = {
        field.label: (turn.id, field)
        for turn in scenario.dialogue
        if isinstance(turn, AuthRequest)
        for field in turn.form or ()
    }
    forms[ACCEPT] = BANNER, Select("accept", ACCEPT, (), "")
    options, lines = [], []
    for label, value in scenario.user:
        form, field = forms[label]
        if isinstance(value, OneTime) or field.name.startswith("verify_") or not value:
            continue
        if isinstance(field, Input) and field.type == "password":
            lines += [value] * (field.name != "new_password" or value not in lines)
        else:
            options += ["-F", f"{form}:{field.name}={value}"]
    return options, "".join(f"{line}\n" for line in lines)


def secrets(scenario: Scenario) -> set[str]:
    """All that must not be seen anywhere: what goes into password fields, and tokens."""
    hidden = {field.label for field in fields(scenario) if isinstance(field, Input) and field.type == "password"}
    typed = {value for label, value in scenario.user if label in hidden and isinstance(value, str)}
    return typed | {SIGN_ON_TOKEN, "E2DA0A@2356658127@E754@AF950966D7CCBB9F7272860E19AE67FFE85F0B39"}


def fields(scenario: Scenario) -> Iterator[Input | Select]:
    for turn in scenario.dialogue:
        if isinstance(turn, AuthRequest):
            yield from turn.form or ()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=30)
