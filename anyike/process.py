"""This process as the system sees it: no core dumps of its secrets, its pid file, its way into the background."""

from __future__ import annotations

import ctypes
import logging
import os
import re
import resource
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from anyike.errors import ExitCode, HostSetupFailed
from anyike.invoking_user import InvokingUser, rights_of

_PR_SET_DUMPABLE = 4
_ESTABLISHED = b"\x01"
_PID = re.compile(rb"(?:[0-9]{1,10}\n?)?")
"""What a pid file holds; an empty one may have been made beforehand, to have its name."""
_MAX_PID_BYTES = 11

logger = logging.getLogger(__name__)


def harden() -> None:
    """Keep keys and passwords out of core dumps, and other processes of the same user out of our memory (PR_SET_DUMPABLE)."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise HostSetupFailed(f"cannot switch core dumps off: {os.strerror(ctypes.get_errno())}")


@contextmanager
def pid_file(path: Path | None, user: InvokingUser) -> Iterator[None]:
    """Have our pid in the file during the block, written in one step; None does nothing.

    It is made and removed with the rights of `user`: who may call us through sudo names the file, and root could replace any.

    Raises:
        HostSetupFailed: it cannot be written, or what is there is no pid file and would be lost.
        MissingPrivilege: this root may not become another user.
    """
    if path is None:
        yield
        return
    try:
        with rights_of(user):
            written = _write_pid(path)
    except OSError as error:
        raise HostSetupFailed(
            f"cannot write the pid file {path} with the rights of {user.name}: {error.strerror}. Name one where that user may "
            "write by --pid-file"
        ) from None
    try:
        yield
    finally:
        _remove_pid(path, user, written)


def _write_pid(path: Path) -> os.stat_result:
    """Put a new file with our pid there; its status."""
    if not _is_replaceable(path):
        raise HostSetupFailed(f"{path} exists and is no pid file: remove it, or name another by --pid-file")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        # Bytes: for text Python may have to load a codec, and with a user's rights it cannot where it lies in root's home.
        with open(descriptor, "wb") as file:
            file.write(b"%d\n" % os.getpid())
            written = os.fstat(descriptor)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return written


def _is_replaceable(path: Path) -> bool:
    """Whether nothing is there, or what a process that was killed left of its own. A link is no pid file, wherever it leads."""
    try:
        is_file = stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return True
    if not is_file:
        return False
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        return _PID.fullmatch(os.read(descriptor, _MAX_PID_BYTES + 1)) is not None
    finally:
        os.close(descriptor)


def _remove_pid(path: Path, user: InvokingUser, written: os.stat_result) -> None:
    """Remove our own file; what somebody else put into its place meanwhile is theirs."""
    try:
        with rights_of(user):
            if os.path.samestat(path.lstat(), written):
                path.unlink()
    except FileNotFoundError:
        return
    except OSError as error:
        logger.warning("cannot remove the pid file %s: %s", path, error.strerror)


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
