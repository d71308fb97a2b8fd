"""Imported profiles as files: all of them, or none."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from anyike import paths
from anyike.errors import ConfigurationError, HostSetupFailed
from anyike.profile_import.profile import ImportedHost

_MODE = 0o600


def write_profiles(hosts: Iterable[ImportedHost], directory: Path) -> list[Path]:
    """Write one file `NAME.toml` for each host, readable by its owner alone, and return their paths.

    The directory is made if need be. What is there already stays; after an error there is no new file.

    Raises:
        ConfigurationError: a file of such a name exists.
        HostSetupFailed: the system refuses the directory or a file.
    """
    _make_directory(directory)
    written: list[Path] = []
    path = directory
    try:
        for host in hosts:
            path = directory / f"{host.profile_name}.toml"
            with open(path, "x", encoding="utf-8", opener=_open_private) as file:
                written.append(path)
                file.write(host.text)
    except OSError as error:
        for done in written:
            with suppress(OSError):
                done.unlink()
        if isinstance(error, FileExistsError):
            raise ConfigurationError(
                f"{path}: exists already and is not overwritten; nothing was imported. Move it away, or name another "
                "directory with --output"
            ) from None
        raise HostSetupFailed(f"{path}: cannot be written: {error.strerror}. Nothing was imported") from None
    return written


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(mode=paths.PRIVATE, parents=True, exist_ok=True)
    except OSError as error:
        raise HostSetupFailed(f"cannot create the directory {directory}: {error.strerror}") from None


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, _MODE)
