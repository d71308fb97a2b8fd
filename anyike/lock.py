"""One process per profile: an flock on a file that says who holds it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anyike import paths
from anyike.errors import AlreadyRunning, HostSetupFailed, MissingPrivilege

_PID_BYTES = 32
_MODE = 0o600
"""Who may open the file may lock it, and so keep us out."""


@contextmanager
def profile_lock(name: str, directory: Path = paths.RUNTIME) -> Iterator[None]:
    """Hold `directory/NAME.lock`, which contains this process's pid, until the end of the block; then the file is removed.

    The kernel drops the lock of a process that dies, so a file that is left over does not matter.

    Raises:
        AlreadyRunning: another process holds it; names its pid.
        MissingPrivilege, HostSetupFailed: the file cannot be made.
    """
    path = paths.ensure_directory(directory, paths.PUBLIC) / f"{name}.lock"
    descriptor = _acquire(path, name)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        # Removed while it is still locked: whoever waits for this very file sees that it is no longer the one at `path`.
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _acquire(path: Path, name: str) -> int:
    while True:
        descriptor = _open(path)
        try:
            _keep_others_out(path, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, descriptor):
                return descriptor
        except BlockingIOError:
            raise AlreadyRunning(_held_by(descriptor, name)) from None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
    except PermissionError:
        raise MissingPrivilege(
            f"cannot write {path}: permission denied. Run anyike as root (sudo anyike ...)."
        ) from None
    except OSError as error:
        raise HostSetupFailed(f"cannot write {path}: {error.strerror}") from None


def _keep_others_out(path: Path, descriptor: int) -> None:
    owner = os.fstat(descriptor).st_uid
    if owner != os.geteuid():
        raise HostSetupFailed(f"{path} belongs to somebody else (user {owner}): remove it")
    os.fchmod(descriptor, _MODE)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _held_by(descriptor: int, name: str) -> str:
    pid = os.pread(descriptor, _PID_BYTES, 0).decode("ascii", "replace").strip()
    os.close(descriptor)
    holder = f"process {pid}" if pid.isdecimal() else "another process"
    return f"{name} is in use by {holder}: end that one first (kill -INT), or use another profile"
