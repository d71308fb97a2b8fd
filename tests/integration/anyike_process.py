"""The command `anyike` as a user runs it: in the client's namespace, with a profile, a pipe or a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rig import Rig

ANYIKE = Path(sys.executable).with_name("anyike")
RUNTIME = Path("/run/anyike")
LINE_LIMIT = 20.0
END_LIMIT = 15.0
UP, LAST_LINE = " is up, to ", ", in UDP\n"

Profile = Mapping[str, Mapping[str, Any]]


class AnyikeProcessError(Exception):
    """anyike did not do in time what was waited for; the text holds its output."""


def profile_text(rig: Rig, changes: Profile) -> str:
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
        return "{" + ", ".join(f"{name} = {toml(entry)}" for name, entry in value.items()) + "}"
    return json.dumps(value)


class AnyikeProcess:
    """One running command. Its output and errors are one text, as on a screen.

    With `terminal` it has a controlling terminal of its own, for questions; otherwise it has none, and pipes.
    Whoever starts one has to `close` it.
    """

    def __init__(self, command: Sequence[str], *, terminal: bool = False) -> None:
        self.output = ""
        self._answered = 0
        ours, theirs = pty.openpty() if terminal else (-1, subprocess.PIPE)
        self._process = subprocess.Popen(
            ["setsid", "--ctty", *command] if terminal else command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs if terminal else subprocess.STDOUT,
            start_new_session=not terminal,
            env={**os.environ, "NO_COLOR": "1"},
        )
        if terminal:
            os.close(theirs)
            self._reader = self._writer = ours
        else:
            self._reader, self._writer = self._process.stdout.fileno(), self._process.stdin.fileno()
        self._terminal = terminal
        self._closed = False

    def close(self) -> None:
        """End it if it still runs: politely, so that it undoes what it did, then not."""
        if self._closed:
            return
        self._closed = True
        if self.running:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(END_LIMIT)
        self._process.kill()
        self._process.wait()
        if self._terminal:
            os.close(self._reader)
        else:
            self._process.stdout.close()
            with suppress(BrokenPipeError):
                self._process.stdin.close()

    @property
    def pid(self) -> int:
        """Of anyike itself."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Has it not ended?"""
        return self._process.poll() is None

    def write(self, text: str) -> None:
        """Type it."""
        os.write(self._writer, text.encode())

    def wait_for(self, text: str, limit: float = LINE_LIMIT, *, after: int = 0) -> str:
        """Wait until it has shown a text, beyond the first `after` characters; all its output so far."""
        deadline = time.monotonic() + limit
        while text not in self.output[after:]:
            if not self._read(deadline):
                raise AnyikeProcessError(f"anyike did not show {text!r}, but:\n{self.output}")
        return self.output

    def stays_up(self, seconds: float) -> bool:
        """Does it run on for so long?"""
        deadline = time.monotonic() + seconds
        while self._read(deadline):
            pass
        return time.monotonic() >= deadline and self.running

    def wait_up(self) -> str:
        """Wait until the tunnel is up and all of its summary was shown."""
        self.wait_for(UP)
        return self.wait_for(LAST_LINE)

    def answer(self, prompt: str, text: str) -> None:
        """Wait for a prompt that comes after the last answer, and type the answer to it."""
        self.wait_for(prompt, after=self._answered)
        self._answered = self.output.index(prompt, self._answered) + len(prompt)
        self.write(f"{text}\n")

    @property
    def echoes(self) -> bool:
        """Does its terminal show what is typed?"""
        return bool(termios.tcgetattr(self._writer)[3] & termios.ECHO)

    def signal(self, number: int) -> None:
        """Send a signal to anyike."""
        self._process.send_signal(number)

    def end(self, number: int = 0, limit: float = LINE_LIMIT) -> int:
        """Send a signal, unless it is 0, and wait for the end; the exit status."""
        if number:
            self.signal(number)
        deadline = time.monotonic() + limit
        while self._read(deadline):
            pass
        try:
            return self._process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise AnyikeProcessError(f"anyike did not end, but showed:\n{self.output}") from None

    def _read(self, deadline: float) -> bool:
        """Take in what comes next; False at the end of the output, or of the time."""
        ready, _, _ = select.select([self._reader], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            chunk = os.read(self._reader, 65536)
        except OSError:  # a terminal whose other side was closed
            return False
        self.output += chunk.decode(errors="replace").replace("\r\n", "\n")
        return bool(chunk)


class Client:
    """The client's side of the test gateway: a profile, the command, and what this machine looks like."""

    def __init__(self, rig: Rig, directory: Path) -> None:
        self.rig = rig
        self.profile = directory / f"{rig.name}.toml"
        self.pid_file = directory / "anyike.pid"
        self._processes: list[AnyikeProcess] = []

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
        """Run `anyike connect -c PROFILE` with more arguments; `password` goes to its standard input."""
        self.write_profile(**changes)
        given = () if password is None else ("--passwd-on-stdin",)
        command = [*program, "connect", "-c", self.profile, *given, *arguments]
        process = AnyikeProcess(self.rig.in_client_namespace(command), terminal=terminal)
        self._processes.append(process)
        if password is not None:
            process.write(f"{password}\n")
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
        deadline = time.monotonic() + LINE_LIMIT
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
        for process in self._processes:
            process.close()
        if self.pid_file.exists():
            with suppress(ProcessLookupError):
                os.kill(int(self.pid_file.read_text()), signal.SIGKILL)
        self.anyike("cleanup", self.rig.name)
