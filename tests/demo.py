"""`make demo`: one whole connection of anyike with a real strongSwan gateway, in network namespaces of this machine.

Starts the gateway, connects with the real command, pings, moves data both ways, disconnects, and compares what `ip` shows
before, during and after. Everything is removed at the end, whatever happens; exit status 0 only if all of it worked.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

PLACE = Path(__file__).resolve().parent / "strongswan-docker"
sys.path.append(str(PLACE))
sys.dont_write_bytecode = True

from container import scenario, web  # noqa: E402
from host.namespace import interface  # noqa: E402
from network_listing import Comparison, listing, settled_listing  # noqa: E402

GATEWAY = PLACE / "gateway"
ANYIKE = Path(sys.executable).with_name("anyike")
CONNECT_LIMIT = 60.0  # Seconds; a good login takes less than one.
LOG_OFF_LIMIT = 15.0
TRANSFER_LIMIT = 300
LAST_ROW = "lifetimes"  # of what anyike reports once the tunnel is up
PINGS = 5

PROFILE = """\
[gateway]
host = "{gateway}"
ca_file = "{ca_file}"
[ike]
signature_hash_algorithms = true
[login]
user = "ada"
group = "Staff"
[device]
unique_id = "DEMO"
"""
PASSWORD = "secret"  # of the test gateway's user ada


class DemoFailed(Exception):
    """Something did not work; the text says what."""


@dataclass
class Summary:
    """What the last lines say."""

    rows: list[tuple[str, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def add(self, label: str, text: str, *, good: bool = True) -> None:
        """Show a result now, and again in the summary."""
        print(f"  {text}", flush=True)
        self.judge(label, text, good=good)

    def judge(self, label: str, text: str, *, good: bool) -> None:
        """Keep a result for the summary."""
        self.rows.append((label, text))
        if not good:
            self.faults.append(f"{label}: {text}")


def main() -> int:
    """The exit status: 0, 1 for a failure, 128 + signal for an interruption."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="tour", help="name of the test gateway, when several run at a time")
    parser.add_argument("--megabytes", type=int, default=100, help="to fetch and to send (default: 100)")
    arguments = parser.parse_args()
    if os.geteuid():
        print(
            "The demo makes network namespaces and starts a container, so it needs root: sudo make demo",
            file=sys.stderr,
        )
        return 1
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    summary = Summary()
    try:
        run_demo(arguments.name, arguments.megabytes * 1_000_000, summary)
    except (DemoFailed, subprocess.SubprocessError, OSError) as error:
        summary.faults.append(str(error))
    except Interrupted as interruption:
        print(f"\ninterrupted ({interruption.signal.name}); everything was removed", flush=True)
        return 128 + interruption.signal
    return conclude(summary)


def run_demo(name: str, size: int, summary: Summary) -> None:
    """Everything between two looks at this machine."""
    heading("The gateway: strongSwan in a container, with users, a login form and a web server behind it")
    gateway(name, "down")  # what a killed demo left is not to be taken for the machine's own
    others = of_other_gateways(name)
    host_before = listing(without=others)
    with running_gateway(name, summary) as info:
        namespace = info["client_namespace"]
        client_before = settled_listing(namespace)
        with tunnel(info, summary):
            ping(namespace, summary)
            download(namespace, info["web_ipv4"], size, summary)
            upload(namespace, info["web_ipv4"], size, summary)
            client_during = listing(namespace)
        client_after = listing(namespace)
    host_after = listing(without=others)
    heading("What the connection changed, and what is left of it")
    in_client = Comparison(
        "client namespace", {"before": client_before, "connected": client_during, "after": client_after}
    )
    print("\n".join(f"  + {line}" for line in in_client.added("connected")))
    for comparison in (in_client, Comparison("this machine", {"before": host_before, "after": host_after})):
        print(f"\n{comparison.table()}", flush=True)
        summary.judge(comparison.place, comparison.verdict(), good=comparison.same())


# --- gateway ---------------------------------------------------------------------------------------------------------------


@contextmanager
def running_gateway(name: str, summary: Summary) -> Iterator[dict[str, str]]:
    """The gateway's names and addresses; it is removed at the end of the block."""
    start = time.monotonic()
    try:
        info = json.loads(gateway(name, "up"))
        version = gateway(name, "exec", "swanctl", "--version").split()[2]
        took = time.monotonic() - start
        summary.add("gateway", f"strongSwan {version} in {info['engine']}, {info['gateway']}, ready in {took:.1f} s")
        yield info
    finally:
        with uninterrupted():
            gateway(name, "down")


def gateway(name: str, *arguments: str) -> str:
    """Run the gateway script and return what it answers; what it says about its progress is shown.

    It has a session of its own: ^C reaches it through us, so that it never ends in the middle of the clean-up.
    """
    command = [str(GATEWAY), "--name", name, *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    answer = []
    try:
        for line in process.stdout:
            if line.startswith(("installing", "pulling", "building", "no registry")):
                print(f"  {line.rstrip()} ...", flush=True)
            else:
                answer.append(line)
    except BaseException:
        os.killpg(process.pid, signal.SIGINT)
        process.wait()
        raise
    if process.wait():
        raise DemoFailed("".join(answer).strip())
    return "".join(answer)


def of_other_gateways(name: str) -> re.Pattern[str]:
    """Finds the namespaces and interfaces of test gateways with other names, which may come and go meanwhile."""
    client = f"anyike-client-{name}"
    return re.compile(rf"\banyike-client-(?!{re.escape(name)}$)|\bgw(?!{interface(client)[2:]})[0-9a-f]{{10}}\b")


# --- connection ------------------------------------------------------------------------------------------------------------


@contextmanager
def tunnel(info: dict[str, str], summary: Summary) -> Iterator[None]:
    """`anyike connect` in the client's namespace while the block runs, ended as a user ends it: by INT."""
    profile = Path(info["state"], f"{info['client_namespace']}.toml")
    profile.write_text(PROFILE.format(**info))
    heading("$ anyike connect -c demo.toml --passwd-on-stdin")
    command = in_namespace(info["client_namespace"], str(ANYIKE), "connect", "-c", str(profile), "--passwd-on-stdin")
    start = time.monotonic()
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        process.stdin.write(f"{PASSWORD}\n")
        process.stdin.close()
        show_connecting(process, start, summary)
        yield
        heading("^C")
        disconnect(process, summary)
    finally:
        end(process)


def show_connecting(process: subprocess.Popen[str], start: float, summary: Summary) -> None:
    """Show the stages with their times until the last line of anyike's report; DemoFailed if there is no tunnel."""
    guard = threading.Timer(CONNECT_LIMIT, process.terminate)
    guard.start()
    stages: dict[str, float] = {}
    try:
        for line in process.stdout:
            elapsed = time.monotonic() - start
            clock = " " * 8 if line.startswith(" ") else f"{elapsed:6.2f} s"
            print(f"{clock}  {line.rstrip()}", flush=True)
            stages[re.split(r" {2,}", line.strip())[0]] = elapsed
            if line.strip().startswith(LAST_ROW):
                summary.rows.append(("connect", timings(stages)))
                return
    finally:
        guard.cancel()
    raise DemoFailed(f"anyike connect did not connect: exit status {process.wait()}")


def timings(stages: dict[str, float]) -> str:
    """Seconds from the process's start to the end of each stage."""
    names = {
        "IKE_SA_INIT": "IKE_SA_INIT",
        "gateway verified": "gateway verified",
        "login": "logged in",
        "tunnel": "tunnel up",
    }
    return ", ".join(f"{text} {stages[stage]:.2f} s" for stage, text in names.items())


def disconnect(process: subprocess.Popen[str], summary: Summary) -> None:
    """INT, and the exit status must be 0."""
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    guard = threading.Timer(LOG_OFF_LIMIT, process.kill)
    guard.start()
    said = process.stdout.read().strip()
    process.wait()
    guard.cancel()
    took = time.monotonic() - start
    text = f"{said}: exit status {process.returncode} after {took:.2f} s"
    summary.add("disconnect", text, good=process.returncode == 0)


def end(process: subprocess.Popen[str]) -> None:
    """For when it did not come to a disconnect: TERM logs off too; what does not end then is killed."""
    process.terminate()
    try:
        process.wait(timeout=LOG_OFF_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def ping(namespace: str, summary: Summary) -> None:
    """The web server's addresses, IPv4 and IPv6."""
    for address in (scenario.WEB_IPV4, scenario.WEB_IPV6):
        heading(f"$ ping -c {PINGS} {address}")
        command = in_namespace(namespace, "ping", "-q", "-n", "-c", str(PINGS), "-i", "0.2", "-W", "2", address)
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        received = re.search(r"(\d+) received", said)
        average = re.search(r"= [\d.]+/([\d.]+)/", said)
        answers = int(received[1]) if received else 0
        text = f"{answers} of {PINGS} answered{f', {average[1]} ms on average' if average else ''}"
        summary.add(f"ping {'IPv6' if ':' in address else 'IPv4'}", text, good=answers == PINGS)


def download(namespace: str, server: str, size: int, summary: Summary) -> None:
    """Bytes that we know without asking the gateway."""
    heading(f"$ curl -o download {server}/bytes/{size}")
    with tempfile.TemporaryFile() as file:
        _, seconds = curl(namespace, file, "-o", f"/dev/fd/{file.fileno()}", f"{server}/bytes/{size}")
        report("download", size, seconds, sha256(file), web.sha256(size), summary)


def upload(namespace: str, server: str, size: int, summary: Summary) -> None:
    """Fresh random bytes; the server answers with their SHA-256."""
    heading(f"$ curl -T upload {server}/")
    with tempfile.TemporaryFile() as file:
        file.write(os.urandom(size))
        file.flush()
        digest, seconds = curl(namespace, file, "-T", f"/dev/fd/{file.fileno()}", "-H", "Expect:", f"{server}/")
        report("upload", size, seconds, digest, sha256(file), summary)


def report(what: str, size: int, seconds: float, digest: str, expected: str, summary: Summary) -> None:
    """One transfer."""
    same = digest == expected
    speed = size * 8 / seconds / 1e6
    verdict = f"SHA-256 {digest[:12]}... {'as expected' if same else f'is not {expected[:12]}...'}"
    summary.add(what, f"{size / 1e6:.0f} MB in {seconds:.2f} s, {speed:.0f} Mbit/s, {verdict}", good=same)


def curl(namespace: str, file: IO[bytes], *arguments: str) -> tuple[str, float]:
    """Run curl in the namespace with an open file (which has no name, so that nothing is left of it).

    Returns what it wrote to standard output, and the seconds it took.
    """
    command = ["curl", "-sS", "--fail", "--noproxy", "*", "--max-time", str(TRANSFER_LIMIT), "-w", " %{time_total}"]
    done = subprocess.run(
        in_namespace(namespace, *command, *arguments),
        capture_output=True,
        text=True,
        check=False,
        pass_fds=[file.fileno()],
    )
    if done.returncode:
        raise DemoFailed(done.stderr.strip())
    answer, _, seconds = done.stdout.rpartition(" ")
    return answer, float(seconds)


def in_namespace(namespace: str, *command: str) -> list[str]:
    """The command line that runs another in a network namespace."""
    return ["ip", "netns", "exec", namespace, *command]


def sha256(file: IO[bytes]) -> str:
    """Of the whole file, in hexadecimal."""
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


# --- the frame -------------------------------------------------------------------------------------------------------------


class Interrupted(BaseException):
    """A signal ended the demo."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.signal = number


def interrupted(number: int, _frame: object) -> None:
    """Leave by way of all the clean-up."""
    raise Interrupted(signal.Signals(number))


@contextmanager
def uninterrupted() -> Iterator[None]:
    """An impatient second ^C does not spoil the clean-up."""
    before = {
        number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def heading(text: str) -> None:
    """A line apart."""
    bold, plain = ("\x1b[1m", "\x1b[0m") if sys.stdout.isatty() else ("", "")
    print(f"\n{bold}{text}{plain}", flush=True)


def conclude(summary: Summary) -> int:
    """The summary and the exit status."""
    heading("Summary")
    for label, text in summary.rows:
        print(f"  {label:<18}{text}")
    if summary.faults:
        print("\nThe demo FAILED:\n  " + "\n  ".join(summary.faults), flush=True)
        return 1
    print("\nEverything worked, and nothing is left of it.", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
