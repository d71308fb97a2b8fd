"""Reading of files that decide whom to trust: nobody else may have put them there, and none of them holds us up."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from anyike.errors import ConfigurationError


def read_trusted(path: Path, owner: int, limit: int) -> bytes:
    """The content of a regular file of root's or the owner's, to which nobody else may write. Links are followed.

    Of a file with more than `limit` bytes one byte more than that comes, by which it is told.

    Raises:
        ConfigurationError: it must not be trusted.
        OSError: it cannot be read.
    """
    # O_NONBLOCK: opening a named pipe must not wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        _check(path, os.fstat(descriptor), owner)
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(limit + 1)
    finally:
        os.close(descriptor)


def _check(path: Path, status: os.stat_result, owner: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError(f"{path}: is not a regular file")
    if status.st_uid not in {0, owner}:
        raise ConfigurationError(f"{path}: belongs to somebody else (user {status.st_uid}); it must be yours or root's")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigurationError(f"{path}: others may write to it; run: chmod go-w {path}")
