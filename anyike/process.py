"""This process as the system sees it: no core dumps of its secrets, its pid file, its way into the background."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from anyike.errors import ExitCode, HostSetupFailed

_PR_SET_DUMPABLE = 4
_ESTABLISHED = b"\x01"


def harden() -> None:
    """Keep keys and passwords out of core dumps, and other processes of the same user out of our memory (PR_SET_DUMPABLE)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise HostSetupFailed(f"cannot switch core dumps off: {os.strerror(ctypes.get_errno())}")


@contextmanager
def pid_file(path: Path | None) -> Iterator[None]:
    """Have our pid in the file during the block, written in one step; None does nothing. HostSetupFailed."""
    if path is None:
        yield
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise HostSetupFailed(f"cannot write the pid file {path}: {error.strerror}") from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def run_in_background(run: Callable[[Callable[[], None]], int]) -> int:
    """Fork; the child runs, the parent waits until it is established or over and returns its status.

    `run` gets the function to call once the tunnel is up: it lets go of the terminal, and the parent then returns 0. Until
    then the child asks its questions on the terminal. Both return from here, so this must come before any event loop.
    A child that ends by itself before that, and without an error, was interrupted.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        return run(lambda: _detach(writer))
    os.close(writer)
    return _wait(child, reader)


def _detach(writer: int) -> None:
    os.setsid()
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    if null > 2:
        os.close(null)
    os.write(writer, _ESTABLISHED)
    os.close(writer)


def _wait(child: int, reader: int) -> int:
    # A terminal's ^C reaches the child by itself; what is sent to us alone is passed on. The child decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: os.kill(child, received))
    with open(reader, "rb") as pipe:
        if pipe.read(1) == _ESTABLISHED:
            return ExitCode.OK
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == ExitCode.OK:
        return ExitCode.INTERRUPTED
    return status if status >= 0 else 128 - status
