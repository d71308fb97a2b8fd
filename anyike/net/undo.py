"""What must be taken back when the process that made it is gone: a journal for each tunnel, e.g. /run/anyike/NAME.undo.

The journal is written before the first change it describes. It names the tunnel's routing table, and with our routing
protocol number that finds exactly our rules and routes. Its owner holds a lock (flock) on it as long as it lives,
however it dies, and passes the lock on when it forks into the background: who gets the lock may replay the journal. A
lock file beside the journals makes all of this one at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import Enum
from glob import iglob
from pathlib import Path

from anyike.errors import AlreadyRunning, HostSetupFailed, MissingPrivilege
from anyike.net import host
from anyike.net.netlink import Netlink
from anyike.net.plan import TABLES, Plan
from anyike.paths import PUBLIC, ensure_directory

VERSION = 1
"""Of the journal's format; another one is refused, not guessed at."""

LOCK_NAME = ".lock"
"""Private like the journals: whoever may open it could keep every tunnel waiting."""

MAX_SIZE = 64 * 1024
"""Bytes read of a journal."""


class Undone(Enum):
    """What `undo` found."""

    NOTHING = "there is no journal"
    REPLAYED = "the owner was dead: rules and routes were removed"
    OTHER_BOOT = "the journal was of another boot: nothing was left to remove"
    NAMESPACE_GONE = "the journal was of a network namespace that is gone: nothing was left to remove"
    OTHER_NAMESPACE = "the journal is of another network namespace: run the cleanup there"
    ALIVE = "the owner is alive: nothing was touched"


@dataclass(frozen=True, slots=True)
class Record:
    """The content of a journal, all of it needed to find what is ours, and where. `pid` is only for people."""

    version: int
    pid: int
    boot_id: str
    namespace: str
    interface: str
    table: int


class Journal:
    """A journal that this process owns."""

    def __init__(self, path: Path, record: Record, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor
        self.table = record.table
        """The routing table that this tunnel may use."""

    def close(self) -> None:
        """Delete the journal, once what it describes was removed. Safe to call twice. HostSetupFailed."""
        if self._descriptor < 0:
            return
        try:
            with _locked(self._path.parent):
                _delete(self._path)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Leave the journal to whoever calls `undo` next, as if its owner were dead. Safe to call twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def claim(path: Path, interface: str) -> Journal:
    """Undo what a dead owner left, choose a free routing table and write the journal, as one step among all tunnels.

    AlreadyRunning, HostSetupFailed, MissingPrivilege.
    """
    ensure_directory(path.parent, PUBLIC)
    with _locked(path.parent):
        found = _undo(path)
        if found is Undone.ALIVE:
            raise AlreadyRunning(f"another anyike (process {_read(path).pid}) uses {path}. End it first")
        if found is Undone.OTHER_NAMESPACE:
            raise HostSetupFailed(
                f"{path} belongs to another network namespace. Run `anyike cleanup` there, or delete the file"
            )
        with Netlink() as netlink:
            table = host.free_table(netlink, _claimed_tables(path.parent))
        record = Record(VERSION, os.getpid(), _boot_id(), _namespace(), interface, table)
        return Journal(path, record, _write(path, record))


def take_back(plan: Plan | None, journal: Journal) -> None:
    """Remove what a tunnel changed, then its journal; after a failure the journal stays, for `undo` to replay.

    `plan` (None: there is none yet) may have been applied wholly, partly or not at all. HostSetupFailed,
    MissingPrivilege.
    """
    try:
        if plan is not None:
            host.remove(plan)
    except BaseException:
        journal.abandon()
        raise
    journal.close()


def undo(path: Path) -> Undone:
    """Remove what a dead owner left, and its journal, which stays after HostSetupFailed or MissingPrivilege."""
    if not path.parent.is_dir():
        return Undone.NOTHING
    with _locked(path.parent):
        return _undo(path)


def _undo(path: Path) -> Undone:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return Undone.NOTHING
    except OSError as error:
        raise HostSetupFailed(f"{path} cannot be opened: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return Undone.ALIVE
        found = _replay(_read(path))
        if found is not Undone.OTHER_NAMESPACE:
            _delete(path)
        return found
    finally:
        os.close(descriptor)


def _replay(record: Record) -> Undone:
    if record.boot_id != _boot_id():
        return Undone.OTHER_BOOT
    if record.namespace != _namespace():
        return Undone.OTHER_NAMESPACE if _namespace_exists(record.namespace) else Undone.NAMESPACE_GONE
    with Netlink() as netlink:
        host.remove_table(netlink, record.table)
    return Undone.REPLAYED


def _read(path: Path) -> Record:
    try:
        with path.open("rb") as file:
            fields = json.loads(file.read(MAX_SIZE))
        record = Record(**fields)
        shape = {name: type(value) for name, value in asdict(record).items()}
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise HostSetupFailed(f"{path} cannot be read: {error}. If no anyike is running, delete it") from error
    expected = {"version": int, "pid": int, "boot_id": str, "namespace": str, "interface": str, "table": int}
    if shape != expected or record.version != VERSION or record.table not in TABLES:
        raise HostSetupFailed(
            f"{path} is not a journal of this version of anyike. Clean up with the version that wrote it, or delete it"
        )
    return record


def _write(path: Path, record: Record) -> int:
    """Write the journal under its final name in one step; the open file, locked."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    try:
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(descriptor, json.dumps(asdict(record)).encode() + b"\n")
            os.fsync(descriptor)
            temporary.replace(path)
        except BaseException:
            os.close(descriptor)
            raise
    except OSError as error:
        raise HostSetupFailed(f"{path} cannot be written: {error.strerror}") from error
    return descriptor


def _claimed_tables(directory: Path) -> set[int]:
    """Tables of all journals, whose tunnels may not use them yet; what an unreadable one has the kernel shows."""
    tables = set()
    for path in directory.glob("*.undo"):
        with contextlib.suppress(HostSetupFailed):
            tables.add(_read(path).table)
    return tables


def _delete(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise HostSetupFailed(f"{path} cannot be deleted: {error.strerror}") from error


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    path = directory / LOCK_NAME
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except PermissionError as error:
        raise MissingPrivilege(f"{path} cannot be opened: {error.strerror}. Run as root") from error
    except OSError as error:
        raise HostSetupFailed(f"{path} cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _namespace(path: str = "/proc/thread-self/ns/net") -> str:
    status = os.stat(path)
    return f"{status.st_dev}:{status.st_ino}"


def _namespace_exists(namespace: str) -> bool:
    """Whether a process or a name keeps a network namespace alive."""
    for pattern in ("/run/netns/*", "/proc/[0-9]*/ns/net"):
        for path in iglob(pattern):
            with contextlib.suppress(OSError):
                if _namespace(path) == namespace:
                    return True
    return False
