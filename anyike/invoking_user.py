"""The user who called anyike, and everything of theirs: programs that run, and files that are read, with their rights alone.

anyike itself holds the privileges of a tunnel. A password command, a browser, a smart card's driver or a key file are the
user's: they get the user's rights, environment and files, and none of ours.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import pwd
import shlex
import signal
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeGuard

from anyike.errors import ConfigurationError, MissingPrivilege

MAX_OUTPUT_BYTES = 64 * 1024
"""Implementation limit: no answer to a gateway is longer than one EAP packet."""

_KEPT_VARIABLES = (
    "PATH", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "TERM", "TZ",
    "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "GPG_TTY", "SSH_TTY",
)  # fmt: skip
"""What sudo leaves (or an administrator keeps) of the user's session, and means the same to the user's programs."""
_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
_LINGER = 0.5
"""Seconds for what a program that has ended left in its pipes; a daemon that it started may keep them open for ever."""
_KILL_LIMIT = 5.0
"""Seconds to wait for a killed program. Only one that the kernel cannot end, or that is not ours to end, takes longer."""
_POLL = 0.02
_MAX_UID_DIGITS = 20
_PR_GET_DUMPABLE = 3
_PR_SET_DUMPABLE = 4
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
# Resolved here, since between fork and exec no library may be loaded; the kernel reads five unsigned longs.
_prctl = ctypes.CDLL(None).prctl
_prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]


@dataclass(frozen=True, slots=True)
class InvokingUser:
    """Who called the command: with sudo, pkexec or doas not the user that it runs as."""

    uid: int
    name: str
    gid: int
    home: Path
    shell: str = "/bin/sh"

    def environment(self) -> dict[str, str]:
        """What the user's programs see: who they are, and how to reach their desktop session."""
        if os.getuid() == self.uid:
            return dict(os.environ)
        found = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        found.setdefault("PATH", _DEFAULT_PATH)
        found |= {"HOME": str(self.home), "USER": self.name, "LOGNAME": self.name, "SHELL": self.shell}
        runtime = Path(f"/run/user/{self.uid}")
        if runtime.is_dir():
            found["XDG_RUNTIME_DIR"] = str(runtime)
        if (runtime / "bus").exists():
            found["DBUS_SESSION_BUS_ADDRESS"] = f"unix:path={runtime / 'bus'}"
        return found


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that has ended: its exit status, its standard output and standard error."""

    status: int
    output: bytes = field(repr=False)
    errors: bytes = field(repr=False)


def invoking_uid() -> int:
    """The number of the user who called us, looked through sudo, pkexec and doas.

    Raises:
        ConfigurationError: they name several users, or one whom the system does not know.
    """
    if os.geteuid() != 0:
        return os.getuid()
    claims = (_number_in("SUDO_UID"), _number_in("PKEXEC_UID"), _user_in("DOAS_USER"))
    named = {uid for uid in claims if uid is not None and uid != 0}
    if len(named) > 1:
        # doas may keep what its caller had in the environment: nobody becomes somebody else, nor root, by that.
        raise ConfigurationError(
            "SUDO_UID, PKEXEC_UID and DOAS_USER name different users: unset those that are not of the program by which anyike "
            "was called"
        )
    return named.pop() if named else os.getuid()


def _number_in(variable: str) -> int | None:
    """What sudo and pkexec write; anything else is not theirs."""
    value = os.environ.get(variable, "")
    is_number = value.isascii() and value.isdecimal() and len(value) <= _MAX_UID_DIGITS
    return int(value) if is_number else None


def _user_in(variable: str) -> int | None:
    """The number of the user whom doas names."""
    name = os.environ.get(variable)
    if not name:
        return None
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise ConfigurationError(f"{variable}: the system has no user {name!r}") from None


def invoking_user(run_as: str | None = None) -> InvokingUser:
    """The user who called us, looked through sudo, pkexec and doas; `run_as` instead where that is root itself (a service).

    Nobody gets more than their own rights by it: only root may name somebody else.

    Raises:
        ConfigurationError: the system does not know that user, or it is not clear who called.
    """
    uid = invoking_uid()
    try:
        if run_as is not None and uid == 0:
            return _entry(pwd.getpwnam(run_as))
        return _entry(pwd.getpwuid(uid))
    except (KeyError, OverflowError, ValueError):
        if run_as is not None and uid == 0:
            raise ConfigurationError(f"login.run_as: the system has no user {run_as!r}") from None
        raise ConfigurationError(
            f"the system has no user with the number {uid}, who called anyike and with whose rights it reads files and runs "
            "programs: give that number a name (in /etc/passwd, say), or call anyike as a user who has one"
        ) from None


def _entry(entry: pwd.struct_passwd) -> InvokingUser:
    home = Path(entry.pw_dir or "/")
    return InvokingUser(entry.pw_uid, entry.pw_name, entry.pw_gid, home, entry.pw_shell or "/bin/sh")


@contextmanager
def rights_of(user: InvokingUser | None) -> Iterator[None]:
    """Touch files as this user would: a link in a home leads root nowhere that its owner may not go.

    The rights are those of the whole process with all its threads, so hold them no longer than it takes to open a file.

    Raises:
        MissingPrivilege: this root may not become another user.
    """
    if not _is_foreign(user):
        yield
        return
    gid, groups = os.getegid(), os.getgroups()
    dumpable = _prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0)
    try:
        _take_rights(user)
        yield
    finally:
        os.seteuid(0)
        os.setegid(gid)
        if os.getgroups() != groups:
            os.setgroups(groups)
        _prctl(_PR_SET_DUMPABLE, dumpable, 0, 0, 0)  # the kernel sets it anew whenever the user changes


def _is_foreign(user: InvokingUser | None) -> TypeGuard[InvokingUser]:
    """Whether we are root, and the user is not."""
    return user is not None and os.geteuid() == 0 and user.uid != 0


def _take_rights(user: InvokingUser) -> None:
    try:
        os.setgroups(os.getgrouplist(user.name, user.gid))
        os.setegid(user.gid)
        os.seteuid(user.uid)
    except OSError as error:
        raise MissingPrivilege(
            f"cannot take the rights of the user {user.name}: {error.strerror}. Give anyike CAP_SETUID and CAP_SETGID"
        ) from None


def read_file(user: InvokingUser, path: Path, limit: int, *, secret: bool = False) -> bytes:
    """The content of a regular file of at most `limit` bytes that this user may read. Links are followed.

    A `secret` must be out of everybody else's reach: the user's or root's, and closed to group and others.

    Raises:
        ConfigurationError: it is not such a file.
        MissingPrivilege: this root may not become another user.
        OSError: the user cannot read it.
    """
    with rights_of(user):
        # O_NONBLOCK: opening a named pipe must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigurationError(f"{path}: is not a regular file")
        if secret:
            _check_secrecy(path, status, user)
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(limit + 1)
    finally:
        os.close(descriptor)
    if len(content) > limit:
        raise ConfigurationError(f"{path}: has more than {limit} bytes")
    return content


def _check_secrecy(path: Path, status: os.stat_result, user: InvokingUser) -> None:
    if status.st_uid not in {0, user.uid}:
        raise ConfigurationError(f"{path}: belongs to somebody else (user {status.st_uid}); it must be yours or root's")
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigurationError(
            f"{path}: others may read the secret in it; run: chmod go-rwx {shlex.quote(str(path))}"
        )


async def start(
    user: InvokingUser,
    argv: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> asyncio.subprocess.Process:
    """Start a program as this user, without a shell, in a session of its own with pipes at its standard files.

    Another user's program starts in that user's home. `environment` is added to the user's; `end` must be called in the end.

    Raises:
        OSError: it cannot be started.
        ValueError: what it was to be given cannot be an argument or an environment variable.
    """
    drops = _is_foreign(user)
    creation = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**user.environment(), **(environment or {})},
            pass_fds=tuple(pass_fds),
            start_new_session=True,
            user=user.uid if drops else None,
            group=user.gid if drops else None,
            extra_groups=os.getgrouplist(user.name, user.gid) if drops else None,
            preexec_fn=_before_execution(user.home if drops else None),
        )
    )
    # The program runs before its pipes are connected: asyncio's own cancellation in between forgets its children and pipes.
    try:
        return await asyncio.shield(creation)
    except asyncio.CancelledError:
        await asyncio.wait([creation])
        if creation.exception() is None:
            await end(creation.result())
        raise


def _before_execution(home: Path | None) -> Callable[[], None]:
    """What the new process does with the user's rights already, so that a directory leads nowhere that they may not go."""

    def prepare() -> None:
        # A service may hold CAP_NET_ADMIN as an ambient capability, which would pass to every program that it starts.
        _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
        if home is not None:
            try:
                os.chdir(home)
            except OSError:
                os.chdir("/")

    return prepare


async def run(
    user: InvokingUser,
    argv: Sequence[str],
    *,
    timeout: float,  # noqa: ASYNC109  a program's own limit, which ends the program and not only the wait for it
    input_data: bytes = b"",
    environment: Mapping[str, str] | None = None,
    limit: int = MAX_OUTPUT_BYTES,
) -> Finished:
    """Run a program as this user to its end; `timeout` in seconds, `limit` in bytes for each of its two outputs.

    However this ends, the program and whatever it started in its session are gone.

    Raises:
        OSError: it cannot be started.
        TimeoutError: it did not end in time.
        ValueError: it wrote more than `limit` bytes, or what it was to be given cannot be an argument.
    """
    process = await start(user, argv, environment=environment)
    output, errors = bytearray(), bytearray()
    try:
        async with asyncio.timeout(timeout), asyncio.TaskGroup() as group:
            streams = [
                group.create_task(_read(process.stdout, output, limit)),
                group.create_task(_read(process.stderr, errors, limit)),
                group.create_task(_write(process.stdin, input_data)),
            ]
            status = await _exit_status(process)
            _kill_session(process)
            _, held_open = await asyncio.wait(streams, timeout=_LINGER)
            for stream in held_open:
                stream.cancel()
        return Finished(status, bytes(output), bytes(errors))
    except ExceptionGroup as group_error:
        raise group_error.exceptions[0] from None
    finally:
        await end(process)


async def end(process: asyncio.subprocess.Process) -> None:
    """Kill the program and whatever it left running in its session, take its exit status and close its pipes."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_KILL_LIMIT):
            while _kill_session(process):  # noqa: ASYNC110  nobody tells when the last of them is gone
                await asyncio.sleep(_POLL)
            await _exit_status(process)
    # There is no public way to let go of the pipes, which a daemon that left the session may keep open at its end.
    process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001


async def _exit_status(process: asyncio.subprocess.Process) -> int:
    # Process.wait() would wait until the pipes are closed as well.
    while process.returncode is None:  # noqa: ASYNC110  there is no event for it
        await asyncio.sleep(_POLL)
    return process.returncode


def _kill_session(process: asyncio.subprocess.Process) -> bool:
    """Kill what lives in the session of the program; whether anything did. Job control splits a session into groups."""
    members = _session_members(process.pid)
    if process.returncode is not None and process.pid in members:
        return False  # the number went to a stranger, which it can only when our session is empty
    for pid in sorted(members):  # parents first, so that none goes on as if its children had come to their end
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    return bool(members)


def _session_members(session: int) -> set[int]:
    """The living processes of a session (proc_pid_stat(5): state and session are the first and fourth after the name)."""
    members = set()
    for directory in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, _, _, number = (directory / "stat").read_bytes().rpartition(b")")[2].split()[:4]
            if int(number) == session and state not in {b"Z", b"X"}:
                members.add(int(directory.name))
    return members


async def _read(stream: asyncio.StreamReader | None, received: bytearray, limit: int) -> None:
    assert stream is not None
    while chunk := await stream.read(4096):
        received += chunk
        if len(received) > limit:
            raise ValueError(f"it wrote more than {limit} bytes")


async def _write(stream: asyncio.StreamWriter | None, data: bytes) -> None:
    assert stream is not None
    with suppress(ConnectionError):
        stream.write(data)
        await stream.drain()
    stream.close()
