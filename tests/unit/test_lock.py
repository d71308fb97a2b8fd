import os
import subprocess
import sys

import pytest

from anyike.errors import AlreadyRunning, HostSetupFailed, MissingPrivilege
from anyike.lock import profile_lock

HOLD = """
import sys
from pathlib import Path
from anyike.lock import profile_lock
with profile_lock("work", Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_holds_our_pid_and_is_gone_afterwards(tmp_path):
    with profile_lock("work", tmp_path):
        assert (tmp_path / "work.lock").read_text() == f"{os.getpid()}\n"
    assert list(tmp_path.iterdir()) == []


def test_released_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), profile_lock("work", tmp_path):
        raise ZeroDivisionError
    with profile_lock("work", tmp_path):
        assert (tmp_path / "work.lock").exists()


def test_another_process_is_named_and_keeps_its_lock(tmp_path, holder):
    for _ in range(2):
        with (
            pytest.raises(AlreadyRunning, match=f"work is in use by process {holder.pid}"),
            profile_lock("work", tmp_path),
        ):
            pytest.fail("locked twice")


def test_other_profiles_are_free(tmp_path, holder):
    with profile_lock("home", tmp_path):
        assert (tmp_path / "home.lock").exists()


def test_a_killed_holder_does_not_matter(tmp_path, holder):
    holder.kill()
    holder.wait()
    assert (tmp_path / "work.lock").exists()
    with profile_lock("work", tmp_path):
        assert (tmp_path / "work.lock").read_text() == f"{os.getpid()}\n"


def test_a_longer_pid_before_is_overwritten(tmp_path):
    (tmp_path / "work.lock").write_text("123456789012345\n")
    with profile_lock("work", tmp_path):
        assert (tmp_path / "work.lock").read_text() == f"{os.getpid()}\n"


def test_a_file_that_was_removed_by_its_holder_is_not_the_lock(tmp_path, monkeypatch):
    """Between our open and our flock the holder ends: what we locked is then nobody's file any more."""
    import fcntl

    real, removed = fcntl.flock, []

    def flock(descriptor: int, operation: int) -> None:
        if not removed:
            removed.append((tmp_path / "work.lock").stat().st_ino)
            (tmp_path / "work.lock").unlink()
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with profile_lock("work", tmp_path):
        assert (tmp_path / "work.lock").read_text() == f"{os.getpid()}\n"
    assert removed


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "work.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(HostSetupFailed, match=r"work\.lock"), profile_lock("work", tmp_path):
        pytest.fail("locked a link")
    assert (tmp_path / "victim").read_text() == "precious"


def test_the_directory_is_made(tmp_path):
    with profile_lock("work", tmp_path / "run"):
        assert (tmp_path / "run").stat().st_mode & 0o777 == 0o755


def test_without_the_right_to_write(tmp_path, monkeypatch):
    def refuse(*args: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(MissingPrivilege, match="Run anyike as root"), profile_lock("work", tmp_path):
        pytest.fail("locked without the right")


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o666])
def test_nobody_else_may_open_and_so_lock_it(tmp_path, mode):
    if mode != 0o600:
        (tmp_path / "work.lock").touch()
        (tmp_path / "work.lock").chmod(mode)
    with profile_lock("work", tmp_path):
        assert (tmp_path / "work.lock").stat().st_mode & 0o777 == 0o600


def test_a_file_of_somebody_else_is_refused_and_stays(tmp_path, monkeypatch):
    (tmp_path / "work.lock").touch(0o666)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(HostSetupFailed, match="belongs to somebody else"), profile_lock("work", tmp_path):
        pytest.fail("locked what is not ours")
    assert (tmp_path / "work.lock").exists()
