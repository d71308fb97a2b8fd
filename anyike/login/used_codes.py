"""Which one-time code of a token was used last: one number on the disk, written before the code leaves us."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from anyike import paths
from anyike.errors import ConfigurationError, HostSetupFailed
from anyike.trusted_file import read_trusted

LOCK_LIMIT = 5.0
"""Seconds. Others hold the lock for as long as a disk takes to write one number."""
_POLL = 0.05
_MODE = 0o600
_LOCK = "one-time-codes.lock"
_MAX_BYTES = 32


class UsedCodes:
    """The last counter or time step of one token.

    Args:
        directory: where it is kept, made if need be.
        identifier: of the token, as a part of file names.
    """

    def __init__(self, directory: Path, identifier: str) -> None:
        self._directory = directory
        self.path = directory / f"one-time-code-{identifier}"

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Keep every other process out from reading what was used last until the next one is stored.

        Raises:
            MissingPrivilege, HostSetupFailed: the files cannot be made, or another process does not let go of them.
        """
        path = paths.ensure_directory(self._directory, paths.PRIVATE) / _LOCK
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
        except OSError as error:
            raise self._unusable(path, error) from None
        try:
            await _lock(path, descriptor)
            yield
        finally:
            os.close(descriptor)

    def last(self) -> int | None:
        """The number that was used last, None when there was none. HostSetupFailed: nobody can tell."""
        try:
            content = read_trusted(self.path, os.geteuid(), _MAX_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(self.path, error) from None
        except ConfigurationError as error:
            raise HostSetupFailed(
                f"{error}. Without knowing which one-time code was used last, none can be used"
            ) from None
        number = content.removesuffix(b"\n")
        if not (number.isdigit() and len(content) <= _MAX_BYTES):
            raise HostSetupFailed(
                f"{self.path} does not say which one-time code was used last, so none can be used. Remove it; with HOTP first "
                "put the next counter behind the token's secret: SECRET,COUNTER"
            )
        return int(number)

    def store(self, number: int) -> None:
        """Have the number on the disk, whatever happens next. HostSetupFailed: it may not be there."""
        temporary = self.path.with_suffix(".new")
        try:
            temporary.unlink(missing_ok=True)  # of somebody who crashed: we hold the lock
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
            with open(descriptor, "wb") as file:
                file.write(f"{number}\n".encode("ascii"))
                file.flush()
                os.fsync(descriptor)
            temporary.replace(self.path)
            self._keep_name()
        except OSError as error:
            raise self._unusable(self.path, error) from None

    def _keep_name(self) -> None:
        """The directory too, which has the file's new name."""
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @staticmethod
    def _unusable(path: Path, error: OSError) -> HostSetupFailed:
        return HostSetupFailed(
            f"{path}: {error.strerror}. Which one-time code was used last has to be kept there, or none can be used"
        )


async def _lock(path: Path, descriptor: int) -> None:
    try:
        async with asyncio.timeout(LOCK_LIMIT):
            while not _try_lock(descriptor):  # noqa: ASYNC110  the kernel tells nobody
                await asyncio.sleep(_POLL)
    except TimeoutError:
        raise HostSetupFailed(
            f"{path}: another process has held this lock for {LOCK_LIMIT:g} seconds: end it"
        ) from None


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
