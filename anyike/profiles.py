"""Which profile `anyike connect NAME` means, and its text, read without trusting what others could have put there."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from anyike import paths
from anyike.errors import ConfigurationError, UsageError
from anyike.trusted_file import invoking_uid, read_trusted

MAX_PROFILE_BYTES = 1024 * 1024
"""Implementation limit: a profile has a few hundred lines at most."""
_MAX_NAME = 200
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class InvokingUser:
    """Who called the command: with sudo not the user that it runs as."""

    uid: int
    name: str
    gid: int
    home: Path


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


def invoking_user() -> InvokingUser:
    """The user who called us, looked through sudo. ConfigurationError when the system does not know them."""
    uid = invoking_uid()
    try:
        entry = pwd.getpwuid(uid)
    except (KeyError, OverflowError):
        raise ConfigurationError(f"the system has no user with the number {uid}: name the profile by -c FILE") from None
    return InvokingUser(uid, entry.pw_name, entry.pw_gid, Path(entry.pw_dir))


def find_profile(target: str | None, file: Path | None, system_profiles: Path = paths.SYSTEM_PROFILES) -> Profile:
    """The profile of a `-c FILE`, of the system, or of the invoking user; else `target` is the gateway's host itself.

    With a `file` the target, if there is one, is the host to use in place of the profile's.

    Raises:
        UsageError: neither a target nor a file.
        ConfigurationError: a profile exists and cannot be read, or must not be trusted.
    """
    user = invoking_user()
    if file is not None:
        with _rights_of(user):
            text = _read(file, user)
        if text is None:
            raise ConfigurationError(f"{file}: there is no such file")
        return Profile(file_name(file.stem), target, text, str(file), file.absolute().parent)
    if target is None:
        raise UsageError("say what to connect to: a host, a profile's name, or -c FILE")
    if _NAME.fullmatch(target):
        for directory, reader in ((system_profiles, None), (user.home / paths.USER_PROFILES, user)):
            path = directory / f"{target}.toml"
            with _rights_of(reader):
                text = _read(path, user)
            if text is not None:
                return Profile(file_name(target), None, text, str(path), directory)
    return Profile(file_name(target), target, "", "settings", Path.cwd())


def file_name(target: str) -> str:
    """A host or a profile's name as a part of file names; a profile's name stays as it is."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", target.lstrip("."))[:_MAX_NAME] or "_"


@contextmanager
def _rights_of(user: InvokingUser | None) -> Iterator[None]:
    """Touch files as this user would: a link in a home leads root nowhere that its owner may not go.

    Of the whole process, so only before there are threads.
    """
    if user is None or os.geteuid() != 0 or user.uid == 0:
        yield
        return
    gid, groups = os.getegid(), os.getgroups()
    try:
        os.setgroups(os.getgrouplist(user.name, user.gid))
        os.setegid(user.gid)
        os.seteuid(user.uid)
        yield
    finally:
        os.seteuid(0)
        os.setegid(gid)
        os.setgroups(groups)


def _read(path: Path, user: InvokingUser) -> str | None:
    """The text of a profile, None when there is none. ConfigurationError says why it cannot be used."""
    try:
        data = read_trusted(path, user.uid, MAX_PROFILE_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigurationError(
            f"{path}: cannot be read: {error.strerror}. Profiles outside {paths.SYSTEM_PROFILES} are read with the rights of the "
            "user who called sudo"
        ) from None
    if len(data) > MAX_PROFILE_BYTES:
        raise ConfigurationError(f"{path}: has more than {MAX_PROFILE_BYTES} bytes, which is no profile")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: is not UTF-8 text, as TOML has to be") from None
