"""Numbered UDP packets and a TCP stream, both ways between the client's namespace and the one behind the gateway.

Both ends are one process, so that one clock times everything: `NumberedTraffic` runs this file as a program and reads what
it has written. Times are seconds since 1970, as tcpdump's are.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import socket
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

RATE = 1000
"""Packets a second, each way."""
PACKET = 200
"""Bytes of UDP payload."""
CHUNK = 1000
"""Bytes that each end of the TCP stream sends at a time."""
CHUNK_EVERY = 10
"""Packets between two chunks, so that the stream carries 0.8 Mbit/s each way."""
PORT = 7001
NEVER = 0.0
LATE = 1.0
"""Seconds for which packets are awaited after the last one was sent."""
RECEIVE_BUFFER = 4 * 1024 * 1024
START_LIMIT = 20.0
END_LIMIT = 30.0
CLONE_NEWNET = 0x40000000
SO_RCVBUFFORCE = 33
ARRAYS = ("up_sent", "up_received", "down_sent", "down_received")


@dataclass(frozen=True)
class Direction:
    """When each packet was sent and when it arrived, by number; NEVER stands for a packet that did not arrive."""

    sent: array[float]
    received: array[float]

    def missing(self) -> list[float]:
        """When the packets that never arrived were sent."""
        return [sent for sent, received in zip(self.sent, self.received, strict=True) if received == NEVER]

    def longest_gap(self, begin: float, end: float) -> float:
        """The longest time without an arrival that touches the interval; infinite if nothing arrived after it."""
        arrivals = sorted(moment for moment in self.received if moment != NEVER)
        longest, previous = 0.0, begin
        for moment in arrivals:
            if moment >= begin:
                longest = max(longest, moment - previous)
                if moment > end:
                    return longest
            previous = moment
        return float("inf")

    def first_arrival_of_packet_sent_after(self, moment: float) -> float:
        """When the first packet arrived of those that were sent at that time or later; infinite if none did."""
        pairs = zip(self.sent, self.received, strict=True)
        return min((got for sent, got in pairs if sent >= moment and got != NEVER), default=float("inf"))


@dataclass(frozen=True)
class Stream:
    """What became of the TCP stream: `error` is empty if nothing; `longest_pause` is in seconds, of either direction."""

    error: str
    bytes: int
    longest_pause: float


@dataclass(frozen=True)
class Traffic:
    """What went through the tunnel."""

    up: Direction
    down: Direction
    stream: Stream


class NumberedTraffic:
    """The program, running while the block does; `result` afterwards.

    Args:
        client: file of the client's network namespace.
        inside: file of the namespace behind the gateway.
        address: IPv4 address there.
        directory: where the program may write.
    """

    def __init__(self, client: Path, inside: Path, address: str, directory: Path) -> None:
        self._command = [sys.executable, __file__, str(client), str(inside), address, str(directory)]
        self._directory = directory
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        ready, _, _ = select.select([self._process.stdout], [], [], START_LIMIT)
        if not ready or self._process.stdout.readline() != "ready\n":
            self._process.kill()
            raise RuntimeError(f"no traffic: {self._process.communicate()[1]}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._process.communicate(timeout=END_LIMIT)
        finally:
            self._process.kill()
            self._process.wait()

    def result(self) -> Traffic:
        """What was sent and what arrived."""
        arrays = []
        for name in ARRAYS:
            read = array("d")
            read.frombytes((self._directory / name).read_bytes())
            arrays.append(read)
        stream = Stream(**json.loads((self._directory / "stream").read_text()))
        return Traffic(Direction(*arrays[:2]), Direction(*arrays[2:]), stream)


# --- the program -----------------------------------------------------------------------------------------------------------


def socket_in(namespace: str, kind: socket.SocketKind) -> socket.socket:
    """A socket of a network namespace: it stays there whatever the process does next."""
    with Path(namespace).open("rb") as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {namespace}")
    made = socket.socket(socket.AF_INET, kind)
    made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
    return made


@dataclass
class Packets:
    """One direction of UDP, filled as it goes."""

    sent: array[float] = field(default_factory=lambda: array("d"))
    received: array[float] = field(default_factory=lambda: array("d"))

    def send(self, sender: socket.socket, receiver: tuple[str, int]) -> None:
        """Send the next number; one that the kernel refuses is as lost as any other."""
        number = len(self.sent)
        self.sent.append(time.time())
        self.received.append(NEVER)
        with suppress(OSError):
            sender.sendto(number.to_bytes(8, "big").ljust(PACKET, b"."), receiver)

    def receive(self, receiver: socket.socket) -> tuple[str, int] | None:
        """Take in what waits; where the last one came from."""
        sender = None
        for packet, source in arriving(receiver):
            number, sender = int.from_bytes(packet[:8], "big"), source
            if number < len(self.received) and self.received[number] == NEVER:
                self.received[number] = time.time()
        return sender


def arriving(receiver: socket.socket) -> Iterator[tuple[bytes, tuple[str, int]]]:
    """Datagrams until there is none; an error that ICMP brought is none."""
    while True:
        try:
            yield receiver.recvfrom(2 * PACKET)
        except BlockingIOError:
            return
        except OSError:
            continue


class StreamEnd:
    """One end of the TCP stream."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.bytes = 0
        self.longest_pause = 0.0
        self.error = ""
        self._last = time.time()

    def send(self) -> None:
        """Send a chunk, or as much as there is room for."""
        self._guarded(lambda: self.connection.send(bytes(CHUNK)))

    def receive(self) -> None:
        """Take in what waits."""
        data = self._guarded(lambda: self.connection.recv(1 << 20))
        now = time.time()
        if data:
            self.bytes += len(data)
            self.longest_pause = max(self.longest_pause, now - self._last)
            self._last = now
        elif data == b"":
            self.error = self.error or "ended by the other side"

    def _guarded(self, what: Callable[[], bytes | int]) -> bytes | int | None:
        if self.error:
            return None
        try:
            return what()
        except BlockingIOError:
            return None
        except OSError as error:
            self.error = str(error)
            return None


def main(client: str, inside: str, address: str, directory: str) -> None:
    """Send and receive until standard input ends."""
    with suppress(PermissionError):
        os.nice(-20)  # it measures the others
    listener = socket_in(inside, socket.SOCK_STREAM)
    server = socket_in(inside, socket.SOCK_DGRAM)
    caller = socket_in(client, socket.SOCK_STREAM)
    user = socket_in(client, socket.SOCK_DGRAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, PORT))
    listener.listen()
    server.bind((address, PORT))
    user.bind(("0.0.0.0", PORT))
    caller.settimeout(START_LIMIT / 2)
    caller.connect((address, PORT))
    streams = (StreamEnd(caller), StreamEnd(listener.accept()[0]))
    for each in (server, user, *(stream.connection for stream in streams)):
        each.setblocking(False)
    print("ready", flush=True)
    up, down = Packets(), Packets()
    exchange(up, down, user, server, address, streams)
    for name, values in zip(ARRAYS, (up.sent, up.received, down.sent, down.received), strict=True):
        Path(directory, name).write_bytes(values.tobytes())
    stream = {
        "error": "; ".join(stream.error for stream in streams if stream.error),
        "bytes": sum(stream.bytes for stream in streams),
        "longest_pause": max(stream.longest_pause for stream in streams),
    }
    Path(directory, "stream").write_text(json.dumps(stream))


def exchange(
    up: Packets,
    down: Packets,
    user: socket.socket,
    server: socket.socket,
    address: str,
    streams: tuple[StreamEnd, StreamEnd],
) -> None:
    """Every 1/RATE s a packet each way, and sometimes a chunk. The server sends to where it last heard the user from."""
    listening: dict[object, StreamEnd | None] = dict.fromkeys((sys.stdin, user, server))
    listening.update({stream.connection: stream for stream in streams})
    due, end, user_address = time.monotonic(), float("inf"), None
    while (now := time.monotonic()) < end:
        while due <= now:
            due += 1 / RATE
            if end == float("inf"):
                up.send(user, (address, PORT))
                if user_address is not None:
                    down.send(server, user_address)
                if len(up.sent) % CHUNK_EVERY == 0:
                    for stream in streams:
                        stream.send()
        wanted = [key for key, stream in listening.items() if stream is None or not stream.error]
        ready, _, _ = select.select(wanted, [], [], max(0.0, due - time.monotonic()))
        for key in ready:
            stream = listening.get(key)
            if stream is not None:
                stream.receive()
            elif key is server:
                user_address = up.receive(server) or user_address
            elif key is user:
                down.receive(user)
            else:
                del listening[sys.stdin]
                end = time.monotonic() + LATE


if __name__ == "__main__":
    main(*sys.argv[1:])
