"""Which profile `anyike connect NAME` means, and its text, read without trusting what others could have put there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from anyike import paths
from anyike.errors import ConfigurationError, UsageError
from anyike.invoking_user import InvokingUser, invoking_user, rights_of
from anyike.trusted_file import read_trusted

MAX_PROFILE_BYTES = 1024 * 1024
"""Implementation limit: a profile has a few hundred lines at most."""
_MAX_NAME = 200
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Profile:
    """What to connect to. `name` is for locks and other files; `host` is set when the user named a host.

    `text` is TOML from `source`, "" when no profile was found; its relative file names are relative to `directory`.
    """

    name: str
    host: str | None
    text: str
    source: str
    directory: Path


def find_profile(target: str | None, file: Path | None, system_profiles: Path = paths.SYSTEM_PROFILES) -> Profile:
    """The profile of a `-c FILE`, of the system, or of the invoking user; else `target` is the gateway's host itself.

    With a `file` the target, if there is one, is the host to use in place of the profile's.

    Raises:
        UsageError: neither a target nor a file.
        ConfigurationError: a profile exists and cannot be read, or must not be trusted.
    """
    user = invoking_user()
    if file is not None:
        with rights_of(user):
            text = _read(file, user)
        if text is None:
            raise ConfigurationError(f"{file}: there is no such file")
        return Profile(file_name(file.stem), target, text, str(file), file.absolute().parent)
    if target is None:
        raise UsageError("say what to connect to: a host, a profile's name, or -c FILE")
    if _NAME.fullmatch(target):
        for directory, reader in ((system_profiles, None), (user.home / paths.USER_PROFILES, user)):
            path = directory / f"{target}.toml"
            with rights_of(reader):
                text = _read(path, user)
            if text is not None:
                return Profile(file_name(target), None, text, str(path), directory)
    return Profile(file_name(target), target, "", "settings", Path.cwd())


def file_name(target: str) -> str:
    """A host or a profile's name as a part of file names; a profile's name stays as it is."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", target.lstrip("."))[:_MAX_NAME] or "_"


def _read(path: Path, user: InvokingUser) -> str | None:
    """The text of a profile, None when there is none. ConfigurationError says why it cannot be used."""
    try:
        data = read_trusted(path, user.uid, MAX_PROFILE_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigurationError(
            f"{path}: cannot be read: {error.strerror}. Profiles outside {paths.SYSTEM_PROFILES} are read with the rights of "
            f"{user.name}, who called anyike"
        ) from None
    if len(data) > MAX_PROFILE_BYTES:
        raise ConfigurationError(f"{path}: has more than {MAX_PROFILE_BYTES} bytes, which is no profile")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: is not UTF-8 text, as TOML has to be") from None
