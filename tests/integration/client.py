"""The client's side of the test gateway: profiles, the command `anyike`, and what its machine looks like."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from anyike_process import AnyikeProcess
from rig import Rig

from anyike.paths import RUNTIME

ANYIKE = Path(sys.executable).with_name("anyike")
SETTLE_LIMIT = 10.0


def profile_text(rig: Rig, changes: Mapping[str, Mapping[str, Any]]) -> str:
    """TOML of a profile for the test gateway over IPv4, with changes; a setting of None is left out."""
    settings: dict[str, dict[str, Any]] = {
        "gateway": {"host": rig.info["gateway_ipv4"], "gateway_id": rig.info["gateway"], "ca_file": str(rig.ca_file)},
        "ike": {"signature_hash_algorithms": True},
        "login": {"group": "Staff"},
    }
    for section, values in changes.items():
        settings.setdefault(section, {}).update(values)
    lines = []
    for section, values in settings.items():
        lines.append(f"[{section}]")
        lines += [f"{name} = {toml(value)}" for name, value in values.items() if value is not None]
    return "\n".join(lines) + "\n"


def toml(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(name)} = {toml(entry)}" for name, entry in value.items()) + "}"
    return json.dumps(value)


class Client:
    """A user of the test gateway; whatever it starts ends with `close`."""

    def __init__(self, rig: Rig, directory: Path) -> None:
        self.rig = rig
        self.profile = directory / f"{rig.name}.toml"
        self.pid_file = directory / "anyike.pid"
        self.processes: list[AnyikeProcess] = []

    def write_profile(self, **changes: Mapping[str, Any]) -> None:
        """Write the profile: sections by name, e.g. gateway={"port": 500}."""
        self.profile.write_text(profile_text(self.rig, changes))

    def start(
        self,
        *arguments: str | Path,
        program: Sequence[str | Path] = (ANYIKE,),
        password: str | None = None,
        terminal: bool = False,
        **changes: Mapping[str, Any],
    ) -> AnyikeProcess:
        """Run `anyike connect -c PROFILE` with more arguments; the lines of `password` are all of its standard input."""
        self.write_profile(**changes)
        given = () if password is None else ("--passwd-on-stdin",)
        command = [*program, "connect", "-c", self.profile, *given, *arguments]
        process = AnyikeProcess(self.rig.in_client_namespace(command), terminal=terminal)
        self.processes.append(process)
        if password is not None:
            process.write(f"{password}\n")
            process.end_input()
        return process

    def up(self, *arguments: str | Path, **options: Any) -> AnyikeProcess:
        """Log in as ada and wait for the tunnel."""
        process = self.start("--user", "ada", *arguments, password="secret", **options)
        process.wait_up()
        return process

    def fail(self, *arguments: str | Path, **options: Any) -> tuple[int, str]:
        """Log in as ada; exit status and output of a command that is to end by itself."""
        process = self.start("--user", "ada", *arguments, **{"password": "secret", **options})
        return process.end(), process.output

    def anyike(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run another command of anyike in the namespace to its end."""
        return self.rig.run_in_client_namespace([ANYIKE, *arguments], check=False)

    def state(self) -> dict[str, Any]:
        """Everything that anyike may change in the namespace, and its files."""
        # The link-local address of a new namespace takes a second to settle.
        deadline = time.monotonic() + SETTLE_LIMIT
        while self.run("ip", "-6", "address", "show", "tentative") and time.monotonic() < deadline:
            time.sleep(0.1)
        commands = [
            [*family, *what.split()]
            for what in ("address show", "route show table all", "rule show")
            for family in (("-4",), ("-6",))
        ] + [["link", "show"]]
        state = {" ".join(c): json.loads(self.run("ip", "-j", *c) or "[]") for c in commands}
        state["files"] = sorted(path.name for path in RUNTIME.glob(f"*{self.rig.name}*"))
        return state

    def run(self, *command: str | Path, **options: Any) -> str:
        """Output of a command in the namespace; CalledProcessError if it fails."""
        return self.rig.run_in_client_namespace(command, **options).stdout

    def close(self) -> None:
        """Leave no process: neither ours nor one that went into the background."""
        for process in self.processes:
            process.close()
        if self.pid_file.exists():
            with suppress(ProcessLookupError):
                os.kill(int(self.pid_file.read_text()), signal.SIGKILL)
        for journal in RUNTIME.glob(f"{self.rig.name}*.undo"):
            self.anyike("cleanup", journal.stem)
        for lock in RUNTIME.glob(f"{self.rig.name}*.lock"):
            lock.unlink()
