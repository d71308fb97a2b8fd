"""Memory over many logins in one process: the slope of what is resident, after a warm-up, in KiB per login.

The gateway is new for each login and lives in a process of its own, so that only the client's memory is counted.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import sys
from array import array
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import linear_regression

from figures import spread
from in_process import Exchange, Login, to_gateway

from tests.fakes.pki import authority
from tests.fakes.script import password_login

WARM_UP = 100
EVERY = 50
"""Logins between two readings, each after a collection of garbage: rarely, so that there is some, as in life."""
FIRST_PORT = 500
"""Only IKE_SA_INIT goes there, since the gateway is told of a NAT."""
PAGE = os.sysconf("SC_PAGE_SIZE")
SPAWN = get_context("spawn")
"""No memory is inherited from whatever ran before."""


READINGS = ("resident, KiB", "C heap in use, KiB", "Python objects")


@dataclass(frozen=True)
class Process:
    """What one process shows: growth per login by least squares, one of each of READINGS, and MB resident at the end."""

    slopes: tuple[float, ...]
    resident: float


class HeapStatistics(ctypes.Structure):
    """struct mallinfo2 of glibc (mallinfo(3))."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


LIBC = ctypes.CDLL(None)
LIBC.mallinfo2.restype = HeapStatistics


def measure(logins: int, repetitions: int) -> list[Process]:
    """Each repetition is a new process."""
    found = []
    for _ in range(repetitions):
        with ProcessPoolExecutor(1, SPAWN) as process:
            found.append(process.submit(log_in, logins).result())
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return found


def log_in(logins: int) -> Process:
    """WARM_UP logins, then so many that count."""
    numbers = range(0, logins + 1, EVERY)
    readings = [array("d", bytes(8 * len(numbers))) for _ in READINGS]  # made now, so that they do not grow themselves
    loop = asyncio.new_event_loop()
    with gateway_process() as (root, exchange):
        for number in range(-WARM_UP, logins + 1):
            Login(root, loop).run(exchange)
            if number in numbers:
                for reading, value in zip(readings, read_memory(), strict=True):
                    reading[number // EVERY] = value
    loop.close()
    return Process(
        tuple(linear_regression(numbers, reading).slope for reading in readings), readings[0][-1] * 1024 / 1e6
    )


def read_memory() -> tuple[float, ...]:
    """READINGS, of what is reachable."""
    gc.collect()
    # Its 4,096 entries fill over thousands of logins, and each holds a name.
    sys._clear_type_cache()  # noqa: SLF001  the documented function, whatever its name
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE
    heap = LIBC.mallinfo2()
    return resident / 1024, (heap.uordblks + heap.hblkhd) / 1024, sys.getallocatedblocks()


def table(processes: list[Process]) -> str:
    """The figures, in Markdown."""
    lines = ["| growth per login | |", "|---|---|"]
    for position, name in enumerate(READINGS):
        lines.append(f"| {name} | {spread([process.slopes[position] for process in processes], '.4f')} |")
    lines.append(f"| resident at the end, MB | {spread([process.resident for process in processes], '.1f')} |")
    return "\n".join(lines)


@contextmanager
def gateway_process() -> Iterator[tuple[bytes, Exchange]]:
    """Gateways in another process: the CA that issued their certificate (DER), and the way to the current one."""
    here, there = SPAWN.Pipe()
    process = SPAWN.Process(target=serve, args=(there,))
    process.start()
    there.close()
    try:
        yield here.recv_bytes(), partial(ask, here)
    finally:
        here.close()
        process.join()


def ask(gateway: Connection, message: bytes, port: int) -> list[bytes]:
    gateway.send((message, port))
    return gateway.recv()


def serve(client: Connection) -> None:
    """Answer messages until the client goes; the first of a login goes to a new gateway."""
    client.send_bytes(authority().certificate)
    exchange = None
    while True:
        try:
            message, port = client.recv()
        except EOFError:
            return
        if port == FIRST_PORT:
            exchange = to_gateway(password_login())
        client.send(exchange(message, port))
