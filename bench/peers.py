"""The two clients that are compared, each as a user would start it, with the same gateway, proposal and certificate.

Both run in the gateway's client namespace with a clean environment. A client is a context manager: inside the block its
tunnel is up; after it the process has logged off, and `usage` tells what all of its processes took.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

PROJECT = Path(__file__).resolve().parent.parent
GATEWAY = PROJECT / "tests/strongswan-docker/gateway"
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
PASSWORD = "secret"  # of the test gateway's user ada
UP = b" is up, to "
UP_LIMIT = 30.0  # Seconds.
POLL = 0.001
SOCKET = "/run/charon-client.vici"

# The words of charon's client.conf; INVALID_KE_PAYLOAD does not occur, and both verify the same certificate with SHA-2.
PROFILE = """\
[gateway]
host = "{gateway_ipv4}"
gateway_id = "{gateway}"
ca_file = "{ca_file}"
[ike]
proposals = ["aes256gcm16-prfsha384-ecp384"]
signature_hash_algorithms = true
[esp]
proposals = ["aes256gcm16"]
[login]
user = "ada"
group = "Staff"
"""


class BenchFailed(Exception):
    """A client or the gateway did not do what was measured; the text says what."""


@dataclass
class Usage:
    """What one client took, all of its processes together."""

    up: float = 0.0
    """Seconds from the start of the first process until the tunnel stands."""
    ping: float = 0.0
    """Seconds from the same start until a ping through the tunnel was answered."""
    cpu: float = 0.0
    """User and system seconds from start to exit."""
    memory: float = 0.0
    """MB: peak resident memory of the process that lasts, read while the tunnel stands."""

    def wait(self, process: subprocess.Popen[bytes]) -> None:
        """Wait for a process of the client and add its CPU time, and that of the children it waited for."""
        _, status, resources = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.cpu += resources.ru_utime + resources.ru_stime


class TestGateway:
    """The gateway in its container, started anew."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.info: dict[str, str] = {}
        self.process = 0

    def __enter__(self) -> Self:
        self.info = json.loads(self.run("up"))
        inspect = [self.info["engine"], "inspect", "--format", "{{.State.Pid}}", self.info["container"]]
        self.process = int(subprocess.run(inspect, capture_output=True, check=True, text=True).stdout)
        return self

    def __exit__(self, *_: object) -> None:
        self.run("down")

    def run(self, *arguments: str) -> str:
        """Call the gateway script; its standard output."""
        done = subprocess.run(
            [GATEWAY, "--name", self._name, *arguments], stdout=subprocess.PIPE, check=False, text=True
        )
        if done.returncode:
            raise BenchFailed(f"gateway {' '.join(arguments)} failed")
        return done.stdout

    def in_client(self, *command: str) -> list[str]:
        """The command line that runs another in the client's network namespace; it becomes that process."""
        return ["nsenter", f"--net=/run/netns/{self.info['client_namespace']}", *command]

    def in_client_with_files(self, *command: str) -> list[str]:
        """The same, with the container's files."""
        return ["nsenter", "--target", str(self.process), "--mount", *self.in_client()[1:], *command]

    def ping(self) -> None:
        """One ping to the web server, through whatever tunnel stands."""
        address = self.info["web_ipv4"].removeprefix("http://")
        run(self.in_client("ping", "-q", "-n", "-c", "1", "-W", "2", address))


class Client(ABC):
    """What both clients have in common."""

    def __init__(self, gateway: TestGateway) -> None:
        self.gateway = gateway
        self.usage = Usage()
        self._started = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._started = time.perf_counter()
        try:
            self._connect()
            self.usage.up = self._elapsed()
            self.gateway.ping()
            self.usage.ping = self._elapsed()
            self.usage.memory = peak_memory(self._running().pid)
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._disconnect()
        finally:
            self._kill()

    @abstractmethod
    def _connect(self) -> None:
        """Start the client; return when its tunnel is up."""

    @abstractmethod
    def _disconnect(self) -> None:
        """End it as a user would."""

    def _elapsed(self) -> float:
        return time.perf_counter() - self._started

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def _kill(self) -> None:
        process = self._running()
        if process.returncode is None:
            process.kill()
            process.wait()


class Anyike(Client):
    """`anyike connect`, by AnyConnect EAP."""

    arguments = ("--passwd-on-stdin",)

    def __init__(self, gateway: TestGateway, command: Path, profile: Path) -> None:
        super().__init__(gateway)
        self._command, self._profile = command, profile

    def _connect(self) -> None:
        command = [str(self._command), "connect", "-c", str(self._profile), *self.arguments]
        self._process = subprocess.Popen(
            self.gateway.in_client(*command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=ENVIRONMENT,
        )
        self._process.stdin.write(f"{PASSWORD}\n".encode())
        self._process.stdin.close()
        guard = threading.Timer(UP_LIMIT, self._process.kill)
        guard.start()
        shown = b""
        try:
            for line in self._process.stdout:
                shown += line
                if UP in line:
                    return
        finally:
            guard.cancel()
        raise BenchFailed(f"anyike did not connect:\n{shown.decode()}")

    def _disconnect(self) -> None:
        self._running().send_signal(signal.SIGINT)
        said = self._running().stdout.read().decode()
        self.usage.wait(self._running())
        self._running().stdout.close()
        if self._running().returncode:
            raise BenchFailed(f"anyike did not end well:\n{said}")


class Charon(Client):
    """charon-systemd and swanctl, by EAP-MSCHAPv2; its files are the container's."""

    daemon_file = "/opt/gateway/strongswan.d/client.conf"
    connections_file = "/opt/gateway/swanctl/client.conf"

    def _connect(self) -> None:
        socket = Path(f"/proc/{self.gateway.process}/root{SOCKET}")
        socket.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            self.gateway.in_client_with_files("charon-systemd"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**ENVIRONMENT, "STRONGSWAN_CONF": self.daemon_file},
        )
        deadline = time.monotonic() + UP_LIMIT
        while not socket.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise BenchFailed("charon did not start")
            time.sleep(POLL)
        self._swanctl("--load-all", "--file", self.connections_file)
        said = self._swanctl("--initiate", "--child", "tunnel")
        if b"initiate completed successfully" not in said:
            raise BenchFailed(f"charon did not connect:\n{said.decode()}")

    def _swanctl(self, *arguments: str) -> bytes:
        command = ["swanctl", *arguments, "--uri", f"unix://{SOCKET}"]
        process = subprocess.Popen(
            self.gateway.in_client_with_files(*command),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=ENVIRONMENT,
        )
        said = process.stdout.read()
        process.stdout.close()
        self.usage.wait(process)
        return said

    def _disconnect(self) -> None:
        self._swanctl("--terminate", "--ike", "gateway")
        self._running().terminate()
        self.usage.wait(self._running())


def run(command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    """Run a command with the clean environment; BenchFailed unless it succeeds."""
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, check=False, text=True)
    if done.returncode:
        raise BenchFailed(f"{' '.join(map(str, command))}:\n{done.stdout}{done.stderr}")
    return done


def peak_memory(pid: int) -> float:
    """MB that a process had resident at most. VmHWM starts anew with exec; ru_maxrss would hold the parent's as well."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) * 1024 / 1e6
