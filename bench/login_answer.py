"""From the last answer of the user to EAP-Success, at the real gateway: anyike next to charon.

Both log in through the same gateway and RADIUS server, and with both the last credential takes two round trips: it is sent,
what the gateway says to it is acknowledged, and EAP-Success comes. The times are those of the datagrams in the client's
namespace. The last IKE_AUTH exchange is AUTH, so the one before it ends with EAP-Success (RFC 7296 2.16).
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from figures import comparison, spread
from peers import ENVIRONMENT, PASSWORD, PROFILE, UP, UP_LIMIT, Anyike, BenchFailed, Charon, Client, TestGateway

INTERFACE = "uplink"
CLIENT_ADDRESS = bytes([192, 0, 2, 2])
IKE_AUTH = 35
PROMPT = b"Password:"
ACCEPTED = b"accepted"

# Of a pcap file with nanoseconds (draft-ietf-opsawg-pcap), Ethernet, IPv4, UDP and IKE (RFC 7296 3.1): lengths and places.
FILE_HEADER = 24
NANOSECOND_MAGIC = 0xA1B23C4D
ETHERNET = 14
UDP = 8
NON_ESP_MARKER = bytes(4)
EXCHANGE, FLAGS, MESSAGE_ID = 18, 19, 20
RESPONSE = 0x20


@dataclass(frozen=True)
class Turns:
    """Seconds of one login. `answered`: from the answer (charon: the challenge that its configuration answers) until it leaves;
    `acknowledged`: from what the gateway says to it until that is acknowledged; `waited`: for the gateway, both times."""

    answered: float
    acknowledged: float
    waited: float

    @property
    def own(self) -> float:
        return self.answered + self.acknowledged

    @property
    def total(self) -> float:
        return self.own + self.waited


@dataclass
class Rounds:
    """What was measured, one entry for each round; `shown` is from the typed answer until "accepted" can be read."""

    anyike: list[Turns] = field(default_factory=list)
    charon: list[Turns] = field(default_factory=list)
    shown: list[float] = field(default_factory=list)


class TypedAnyike(Anyike):
    """`anyike connect` with somebody at its terminal, who types the password when asked."""

    def __init__(self, gateway: TestGateway, command: Path, profile: Path) -> None:
        super().__init__(gateway, command, profile)
        self.typed = 0.0
        self.accepted = 0.0
        self._terminal = -1

    def _connect(self) -> None:
        self._terminal, terminal = os.openpty()
        command = [str(self._command), "connect", "-c", str(self._profile)]
        self._process = subprocess.Popen(
            self.gateway.in_client(*command),
            stdin=terminal,
            stdout=subprocess.PIPE,
            stderr=terminal,
            env=ENVIRONMENT,
            start_new_session=True,
        )
        os.close(terminal)
        guard = threading.Timer(UP_LIMIT, self._process.kill)
        guard.start()
        shown = b""
        try:
            self._type_password()
            for line in self._process.stdout:
                shown += line
                if line.rstrip().endswith(ACCEPTED):
                    self.accepted = time.time()
                if UP in line:
                    return
        finally:
            guard.cancel()
        raise BenchFailed(f"anyike did not connect:\n{shown.decode()}")

    def _type_password(self) -> None:
        """Wait for the prompt; the line comes all at once."""
        shown = b""
        while PROMPT not in shown:
            try:
                shown += os.read(self._terminal, 4096)
            except OSError:
                raise BenchFailed(f"anyike ended before it asked for the password:\n{shown.decode()}") from None
        self.typed = time.time()
        os.write(self._terminal, f"{PASSWORD}\n".encode())

    def _disconnect(self) -> None:
        super()._disconnect()
        os.close(self._terminal)


class Capture:
    """What tcpdump sees in the client's namespace, from the first to the last line of the block."""

    def __init__(self, gateway: TestGateway, file: Path) -> None:
        self._gateway, self._file = gateway, file

    def __enter__(self) -> Self:
        command = ["tcpdump", "-i", INTERFACE, "-w", str(self._file), "-U", "--immediate-mode", "-Z", "root"]
        command += ["--time-stamp-precision=nano", "udp and (port 500 or port 4500)"]
        self._process = subprocess.Popen(
            self._gateway.in_client(*command), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ENVIRONMENT
        )
        line = self._process.stderr.readline()
        if b"listening on" not in line:
            raise BenchFailed(f"tcpdump does not run: {line.decode()}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.communicate()

    def turns(self, typed: float | None = None) -> Turns:
        """The turns of the login; `typed` is when the answer was there, if not with the challenge."""
        return read_turns(self._file.read_bytes(), typed)


def read_turns(capture: bytes, typed: float | None = None) -> Turns:
    """The end of the login in a capture; times are seconds since 1970."""
    sent: dict[int, float] = {}
    received: dict[int, float] = {}
    for moment, from_client, message in ike_messages(capture):
        number = int.from_bytes(message[MESSAGE_ID : MESSAGE_ID + 4], "big")
        if message[EXCHANGE] != IKE_AUTH:
            continue
        if from_client and not message[FLAGS] & RESPONSE:
            sent.setdefault(number, moment)
        elif not from_client and message[FLAGS] & RESPONSE:
            received[number] = moment  # that of the last fragment
    last = max(sent, default=0)
    credential, acknowledgement = last - 2, last - 1
    if credential < 2 or not set(sent) == set(received) == set(range(1, last + 1)):
        raise BenchFailed(
            f"no whole login was captured: IKE_AUTH requests {sorted(sent)}, responses {sorted(received)}"
        )
    challenged = received[credential - 1] if typed is None else typed
    return Turns(
        answered=sent[credential] - challenged,
        acknowledged=sent[acknowledgement] - received[credential],
        waited=received[credential] - sent[credential] + received[acknowledgement] - sent[acknowledgement],
    )


def ike_messages(capture: bytes) -> Iterator[tuple[float, bool, bytes]]:
    """Time, whether the client sent it, and the IKE message or fragment."""
    if int.from_bytes(capture[:4], sys.byteorder) != NANOSECOND_MAGIC:
        raise BenchFailed("the capture is no pcap file with nanoseconds")
    position = FILE_HEADER
    while position + 16 <= len(capture):
        seconds, nanoseconds, length, _ = struct.unpack_from("=IIII", capture, position)
        packet = capture[position + 16 + ETHERNET : position + 16 + length]
        position += 16 + length
        payload = packet[(packet[0] & 0xF) * 4 + UDP :].removeprefix(NON_ESP_MARKER)
        if len(payload) >= MESSAGE_ID + 4:
            yield seconds + nanoseconds / 1e9, packet[12:16] == CLIENT_ADDRESS, payload


def measure(gateway: TestGateway, command: Path, directory: Path, count: int) -> Rounds:
    """One round of each to warm the caches, then `count` that are kept, the two in turn."""
    profile, file = directory / "login.toml", directory / "login.pcap"
    profile.write_text(PROFILE.format(**gateway.info))
    rounds = Rounds()
    for number in range(count + 1):
        anyike = TypedAnyike(gateway, command, profile)
        ours = captured(gateway, anyike, file, lambda client=anyike: client.typed)
        theirs = captured(gateway, Charon(gateway), file, lambda: None)
        print(".", end="", file=sys.stderr, flush=True)
        if number > 0:
            rounds.anyike.append(ours)
            rounds.charon.append(theirs)
            rounds.shown.append(anyike.accepted - anyike.typed)
    print(file=sys.stderr)
    return rounds


def captured(gateway: TestGateway, client: Client, file: Path, typed: Callable[[], float | None]) -> Turns:
    """The turns of this client's login."""
    with Capture(gateway, file) as capture, client:
        pass
    return capture.turns(typed())


ROWS: tuple[tuple[str, Callable[[Turns], float]], ...] = (
    ("answer to EAP-Success", lambda turns: turns.total),
    ("of this the client: until the credential leaves", lambda turns: turns.answered),
    ("of this the client: until the acknowledgement leaves", lambda turns: turns.acknowledged),
    ("of this waiting for the gateway", lambda turns: turns.waited),
)


def table(rounds: Rounds) -> str:
    """The figures, in Markdown."""
    lines = ["| ms | anyike | charon | anyike / charon |", "|---|---|---|---|"]
    for label, value in ROWS:
        ours, theirs = ([1000 * value(turns) for turns in login] for login in (rounds.anyike, rounds.charon))
        lines.append(comparison(label, ours, theirs, ".2f"))
    shown = [1000 * seconds for seconds in rounds.shown]
    lines.append(f'| answer typed to "accepted" shown | {spread(shown, ".2f")} | | |')
    return "\n".join(lines)
