"""The test gateway as the integration tests see it: `tests/strongswan-docker/gateway` in Python.

One gateway per test session; `configure` puts a scenario in force for one test.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PLACE = Path(__file__).resolve().parent.parent / "strongswan-docker"
sys.path.append(str(PLACE))

from container.scenario import Scenario  # noqa: E402

GATEWAY = PLACE / "gateway"
RUNTIME = Path("/run/anyike-gateway")  # One directory for each gateway, by its name.
START_LIMIT = 600.0  # The first start on a machine makes the image.
COMMAND_LIMIT = 60.0
CAPTURE_LIMIT = 5.0
SILENCE = 0.1


class RigError(Exception):
    """The test gateway does not work; the text is its own words."""


class Rig:
    """A running gateway, its client namespace and what both have seen."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name or f"test{os.getpid()}"
        self.info: dict[str, str] = {}
        self.scenario = Scenario()
        self._radius_start = 0
        self._charon_start = 0

    def start(self) -> None:
        """Build if needed and start; RigError with the reason if that fails.

        What a killed test session left (its process is gone) is removed first.
        """
        for state in RUNTIME.glob("test*"):
            if state.is_dir() and not Path("/proc", state.name.removeprefix("test")).exists():
                self._gateway("down", name=state.name)
        self._gateway("up", limit=START_LIMIT)
        self.info = json.loads(self._gateway("info"))

    def stop(self) -> None:
        """Remove container, namespaces, interfaces and files."""
        self._gateway("down")

    def configure(self, **settings: Any) -> Scenario:
        """Put a scenario in force (`Scenario` names the settings); charon starts anew.

        The logs start anew too: radius_log and charon_log show only what comes after.
        """
        self.scenario = Scenario(**settings)
        self._gateway("configure", self.scenario.to_json())
        self._radius_start = self._radius_file.stat().st_size
        self._charon_start = self._charon_file.stat().st_size
        return self.scenario

    @property
    def namespace(self) -> str:
        """The client's network namespace."""
        return self.info["client_namespace"]

    @property
    def ca_file(self) -> Path:
        """The CA that signed every certificate but `other-ca`."""
        return Path(self.info["ca_file"])

    @property
    def web_ipv4(self) -> str:
        """Address of the web server behind the gateway; /bytes/N, /sha256/N, /address, PUT."""
        return self.info["web_ipv4"]

    @property
    def web_ipv6(self) -> str:
        """The same server over IPv6."""
        return self.info["web_ipv6"]

    def in_client_namespace(self, arguments: Sequence[str | Path]) -> list[str]:
        """The command line that runs another in the client's namespace."""
        return ["ip", "netns", "exec", self.namespace, *map(str, arguments)]

    def run_in_client_namespace(
        self, arguments: Sequence[str | Path], *, check: bool = True, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there as subprocess.run does, its text output captured."""
        options = {"capture_output": True, "text": True, "timeout": COMMAND_LIMIT, **options}
        return subprocess.run(self.in_client_namespace(arguments), check=check, **options)

    def start_in_client_namespace(self, arguments: Sequence[str | Path], **options: Any) -> subprocess.Popen[str]:
        """Start a command there as subprocess.Popen does, with pipes for all three streams."""
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        options = {**pipes, "text": True, **options}
        return subprocess.Popen(self.in_client_namespace(arguments), **options)

    def run_in_gateway(self, *arguments: str) -> str:
        """Run a command in the container and return its output."""
        return self._gateway("exec", *arguments)

    def radius_log(self) -> list[dict[str, str]]:
        """The steps of all logins since `configure`: type, user, group, outcome, ..."""
        lines = self._radius_file.read_bytes()[self._radius_start :].splitlines()
        return [json.loads(line) for line in lines]

    def charon_log(self) -> str:
        """What the gateway's charon has logged since `configure`."""
        return self._charon_file.read_bytes()[self._charon_start :].decode(errors="replace")

    def gateway_sas(self) -> str:
        """The gateway's IKE and CHILD SAs, as `swanctl --list-sas` prints them; "" if none."""
        return self._gateway("sas")

    def terminate(self) -> None:
        """Let the gateway delete all IKE SAs of AnyConnect clients."""
        self.run_in_gateway("swanctl", "--terminate", "--ike", "anyconnect")

    def rekey(self, what: str) -> None:
        """Let the gateway begin to rekey: `what` is "child" or "ike"."""
        name = {"child": "tunnel", "ike": "anyconnect"}[what]
        self.run_in_gateway("swanctl", "--rekey", f"--{what}", name)

    @contextmanager
    def capture(self, file: Path, expression: str = "") -> Iterator[Path]:
        """Record the client's outside traffic to a pcap file while the block runs."""
        command = ["tcpdump", "-i", "uplink", "-Z", "root", "-B", "65536", "-U", "--immediate-mode", "-w"]
        tcpdump = self.start_in_client_namespace([*command, file, *expression.split()])
        try:
            self._wait_for_capture(tcpdump, file)
            yield file
        finally:
            self._wait_for_silence(file)
            tcpdump.send_signal(signal.SIGINT)
            summary = tcpdump.communicate(timeout=CAPTURE_LIMIT)[1]
        if "\n0 packets dropped by kernel" not in summary:
            raise RigError(f"the capture is not complete: {summary}")

    @contextmanager
    def charon_client(self) -> Iterator[None]:
        """A tunnel by charon as the client (EAP-MSCHAPv2) while the block runs; RigError if it is refused."""
        command = [str(GATEWAY), "--name", self.name, "charon-client"]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        with subprocess.Popen(command, text=True, **pipes) as client:
            if client.stdout.readline() != "up\n":
                raise RigError(client.communicate(timeout=COMMAND_LIMIT)[1])
            try:
                yield
            finally:
                client.communicate(timeout=COMMAND_LIMIT)

    @property
    def _radius_file(self) -> Path:
        return Path(self.info["state"], "radius.jsonl")

    @property
    def _charon_file(self) -> Path:
        return Path(self.info["state"], "charon.log")

    @staticmethod
    def _wait_for_capture(tcpdump: subprocess.Popen[str], file: Path) -> None:
        """The file's header is written once tcpdump listens."""
        deadline = time.monotonic() + CAPTURE_LIMIT
        while not (file.exists() and file.stat().st_size):
            if tcpdump.poll() is not None or time.monotonic() > deadline:
                tcpdump.kill()
                raise RigError(f"tcpdump does not capture: {tcpdump.communicate()[1]}")
            time.sleep(0.01)

    @staticmethod
    def _wait_for_silence(file: Path) -> None:
        """tcpdump forgets what it has not yet read when it is told to end."""
        deadline, size = time.monotonic() + CAPTURE_LIMIT, -1
        while file.stat().st_size != size and time.monotonic() < deadline:
            size = file.stat().st_size
            time.sleep(SILENCE)

    def _gateway(self, *arguments: str, limit: float = COMMAND_LIMIT, name: str = "") -> str:
        """Run the gateway script, for this gateway or one of another name, and return its output."""
        command = [str(GATEWAY), "--name", name or self.name, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
        if done.returncode:
            raise RigError(f"gateway {' '.join(arguments)}: {done.stderr}{done.stdout}")
        return done.stdout
