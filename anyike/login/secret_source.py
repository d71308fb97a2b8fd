"""Where a password or another secret comes from when nobody is asked: a command, the keyring, systemd, a file."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from anyike.errors import ConfigurationError, LoginFailed
from anyike.invoking_user import MAX_OUTPUT_BYTES, Finished, InvokingUser, invoking_uid, read_file, run
from anyike.text import printable_line
from anyike.trusted_file import read_trusted

MAX_SECRET_BYTES = MAX_OUTPUT_BYTES
"""Implementation limit: no answer to a gateway is longer than one EAP packet."""
_TIMEOUT = 60.0
"""Seconds: a keyring or a command may have to ask its user to unlock something."""
_MAX_SHOWN = 300
_CREDENTIALS = "CREDENTIALS_DIRECTORY"
"""Where systemd puts the credentials of a service: systemd.exec(5), "Credentials"."""


class SecretSource(Protocol):
    """Something that knows a secret."""

    @property
    def name(self) -> str:
        """The setting, for messages: "login.password_command"."""

    async def read(self) -> str:
        """The secret, without its line end. LoginFailed says what went wrong and what to do."""


@dataclass(frozen=True, slots=True)
class CommandSource:
    """The first line of what a program of the user's writes, such as `pass show work/vpn`. `timeout` is in seconds."""

    name: str
    user: InvokingUser
    argv: tuple[str, ...]
    timeout: float = _TIMEOUT

    async def read(self) -> str:
        """The line, without its end. LoginFailed says how the program failed, in the words of its standard error."""
        finished = await _run(self.name, self.user, self.argv, self.timeout)
        if finished.status != 0:
            raise LoginFailed(f"{self.name}: {_program(self.argv)} {_how_it_ended(finished)}")
        return _secret(f"{self.name}: the output of {_program(self.argv)}", finished.output.partition(b"\n")[0])


@dataclass(frozen=True, slots=True)
class KeyringSource:
    """An entry of the user's keyring (Secret Service, KWallet), read by keyring's own command. `timeout` is in seconds."""

    name: str
    user: InvokingUser
    service: str
    account: str
    timeout: float = _TIMEOUT

    async def read(self) -> str:
        """The entry. LoginFailed says whether there is none, or no keyring at all."""
        # -P: a keyring.py that lies in the working directory is not the library.
        argv = (sys.executable, "-P", "-m", "keyring", "get", "--", self.service, self.account)
        try:
            finished = await _run(self.name, self.user, argv, self.timeout, {"PYTHONIOENCODING": "utf-8"})
        except _NotStarted as error:
            raise LoginFailed(f"{error}. {self._unreadable}") from None
        if finished.status == 0:
            return _secret(f"{self.name}: the keyring's entry", finished.output)
        reason = _last_line(finished.errors)
        if "No module named" in reason:
            raise LoginFailed(
                f"{self.name}: {self.user.name} cannot use {sys.executable}: {reason}. {self._unreadable}"
            )
        if reason:
            raise LoginFailed(
                f"{self.name}: the keyring of {self.user.name} cannot be read: {reason}. It needs a Secret Service (GNOME "
                "Keyring, KWallet) in the user's desktop session, unlocked; without one use a command or a systemd credential"
            )
        command = shlex.join(["keyring", "set", self.service, self.account])
        raise LoginFailed(
            f"{self.name}: the keyring of {self.user.name} has no such entry. Make it, as that user: {command}"
        )

    @property
    def _unreadable(self) -> str:
        return (
            f"The keyring is read by anyike's own Python with the rights of {self.user.name}: install anyike where every user "
            "may read it (below /opt, not in root's home), or use a command in place of the keyring"
        )


@dataclass(frozen=True, slots=True)
class CredentialSource:
    """A credential that systemd hands to the service that anyike runs in (LoadCredential=, LoadCredentialEncrypted=)."""

    name: str
    credential: str

    async def read(self) -> str:
        """The credential. LoginFailed says why there is none."""
        if invoking_uid() != os.getuid():
            # Who calls us names the directory then, and we would read it with root's rights.
            raise LoginFailed(
                f"{self.name}: only a service has credentials, and this anyike was called by a user through sudo, pkexec or doas: "
                "use a command or the keyring, or let systemd run anyike"
            )
        directory = os.environ.get(_CREDENTIALS, "")
        if not directory:
            raise LoginFailed(
                f"{self.name}: ${_CREDENTIALS} is not set: only a systemd service with LoadCredential={self.credential}:... "
                "has it"
            )
        if "/" in self.credential or "\0" in self.credential or self.credential in {"", ".", ".."}:
            raise LoginFailed(
                f"{self.name}: {self.credential!r} is no name of a credential: it is no path, and has no slash"
            )
        path = Path(directory, self.credential)
        try:
            content = read_trusted(path, os.geteuid(), MAX_SECRET_BYTES)
        except FileNotFoundError:
            raise LoginFailed(
                f"{self.name}: the service has no credential {self.credential!r}: add LoadCredential={self.credential}:... to "
                "its unit"
            ) from None
        except OSError as error:
            raise LoginFailed(f"{self.name}: {path} cannot be read: {error.strerror}") from None
        except ConfigurationError as error:
            raise LoginFailed(f"{self.name}: {error}") from None
        return _secret(f"{self.name}: {path}", content)


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file that the user may read and nobody else."""

    name: str
    user: InvokingUser
    path: Path

    async def read(self) -> str:
        """The content. LoginFailed says why it cannot be read, or must not be used."""
        try:
            content = read_file(self.user, self.path, MAX_SECRET_BYTES, secret=True)
        except OSError as error:
            raise LoginFailed(
                f"{self.name}: {self.path} cannot be read with the rights of {self.user.name}: {error.strerror}"
            ) from None
        except ConfigurationError as error:
            raise LoginFailed(f"{self.name}: {error}") from None
        except ValueError:
            raise LoginFailed(f"{self.name}: {str(self.path)!r} is no file name") from None
        return _secret(f"{self.name}: {self.path}", content)


class _NotStarted(LoginFailed):
    """A program cannot be started."""


async def _run(
    name: str, user: InvokingUser, argv: Sequence[str], limit: float, environment: Mapping[str, str] | None = None
) -> Finished:
    try:
        return await run(user, argv, timeout=limit, environment=environment, limit=MAX_SECRET_BYTES)
    except TimeoutError:
        raise LoginFailed(f"{name}: {_program(argv)} did not end within {limit:g} seconds and was stopped") from None
    except OSError as error:
        raise _NotStarted(f"{name}: {user.name} cannot run {_program(argv)}: {error.strerror}") from None
    except ValueError as error:
        raise LoginFailed(f"{name}: {_program(argv)}: {error}") from None


def _program(argv: Sequence[str]) -> str:
    return printable_line(argv[0])


def _how_it_ended(finished: Finished) -> str:
    """The status and the last words on standard error; never the standard output, where a secret may be."""
    if finished.status < 0:
        how = f"was ended by signal {-finished.status} ({signal.strsignal(-finished.status)})"
    else:
        how = f"failed with status {finished.status}"
    reason = _last_line(finished.errors)
    return f"{how}: {reason}" if reason else f"{how} and said nothing"


def _last_line(output: bytes) -> str:
    lines = [line for line in map(printable_line, output.decode(errors="replace").splitlines()) if line]
    return lines[-1][:_MAX_SHOWN].rstrip(".") if lines else ""


def _secret(where: str, content: bytes) -> str:
    """The text without its one line end. LoginFailed repeats nothing of it."""
    if len(content) > MAX_SECRET_BYTES:
        raise LoginFailed(f"{where} has more than {MAX_SECRET_BYTES} bytes, which is no secret")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise LoginFailed(f"{where} is not UTF-8 text") from None
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret:
        raise LoginFailed(f"{where} is empty")
    return secret
