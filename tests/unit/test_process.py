import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from anyike.errors import ExitCode, HostSetupFailed
from anyike.invoking_user import InvokingUser
from anyike.process import pid_file

ME = InvokingUser(os.getuid(), "me", os.getgid(), Path("/"))
ROOT = InvokingUser(0, "root", 0, Path("/root"))
NOBODY = InvokingUser(65534, "nobody", 65534, Path("/"))

HARDEN = """
import ctypes, resource
from anyike.process import harden
harden()
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""


def test_no_core_dumps():
    done = subprocess.run([sys.executable, "-c", HARDEN], capture_output=True, text=True, check=True)
    assert done.stdout == "(0, 0) 0\n"
    assert resource.getrlimit(resource.RLIMIT_CORE) is not None


BACKGROUND = """
import os, sys
from anyike.process import run_in_background
child = lambda detach: detach() or 0 if sys.argv[1] == "established" else int(sys.argv[1])
os._exit(run_in_background(child))
"""


@pytest.mark.parametrize(
    ("child", "code"), [("established", ExitCode.OK), ("0", ExitCode.INTERRUPTED), ("6", ExitCode.LOGIN_FAILED)]
)
def test_only_an_established_child_is_a_success(child, code):
    done = subprocess.run([sys.executable, "-c", BACKGROUND, child], capture_output=True, check=False, timeout=20)
    assert done.returncode == code


class TestPidFile:
    def test_holds_our_pid_and_is_gone_afterwards(self, tmp_path):
        with pid_file(tmp_path / "pid", ME):
            assert (tmp_path / "pid").read_text() == f"{os.getpid()}\n"
            assert [path.name for path in tmp_path.iterdir()] == ["pid"]
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("content", ["", "1", "1\n", "4194304\n"])
    def test_replaces_an_old_one(self, tmp_path, content):
        (tmp_path / "pid").write_text(content)
        with pid_file(tmp_path / "pid", ME):
            assert (tmp_path / "pid").read_text() == f"{os.getpid()}\n"

    @pytest.mark.parametrize("content", ["precious", "1\n2\n", "1 and more\n", "\n", "12345678901\n", "-1\n"])
    def test_what_is_no_pid_file_is_kept(self, tmp_path, content):
        (tmp_path / "pid").write_text(content)
        with pytest.raises(HostSetupFailed, match=r"/pid exists and is no pid file"), pid_file(tmp_path / "pid", ME):
            pytest.fail("it holds something else")
        assert (tmp_path / "pid").read_text() == content
        assert [path.name for path in tmp_path.iterdir()] == ["pid"]

    @pytest.mark.parametrize("content", ["precious", "1\n"])
    def test_a_link_is_neither_followed_nor_replaced(self, tmp_path, content):
        (tmp_path / "victim").write_text(content)
        (tmp_path / "pid").symlink_to(tmp_path / "victim")
        with pytest.raises(HostSetupFailed, match="no pid file"), pid_file(tmp_path / "pid", ME):
            pytest.fail("that is a link")
        assert (tmp_path / "pid").is_symlink()
        assert (tmp_path / "victim").read_text() == content

    @pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
    def test_something_else_in_its_place(self, tmp_path, make):
        make(tmp_path / "pid")
        with pytest.raises(HostSetupFailed, match="no pid file"), pid_file(tmp_path / "pid", ME):
            pytest.fail("that is no file")
        assert [path.name for path in tmp_path.iterdir()] == ["pid"]

    def test_a_file_of_somebody_else_s_in_the_way_is_kept(self, tmp_path):
        theirs = tmp_path / f".pid.{os.getpid()}"
        theirs.write_text("precious")
        with pytest.raises(HostSetupFailed, match="File exists"), pid_file(tmp_path / "pid", ME):
            pytest.fail("the temporary file cannot be made")
        assert theirs.read_text() == "precious"

    def test_another_one_that_came_meanwhile_is_kept(self, tmp_path):
        with pid_file(tmp_path / "pid", ME):
            (tmp_path / "new").write_text("1\n")
            (tmp_path / "new").replace(tmp_path / "pid")
        assert (tmp_path / "pid").read_text() == "1\n"

    def test_removed_by_somebody_else(self, tmp_path):
        with pid_file(tmp_path / "pid", ME):
            (tmp_path / "pid").unlink()

    def test_gone_after_an_error(self, tmp_path):
        with pytest.raises(ZeroDivisionError), pid_file(tmp_path / "pid", ME):
            raise ZeroDivisionError
        assert not (tmp_path / "pid").exists()

    def test_cannot_be_written(self, tmp_path):
        with (
            pytest.raises(HostSetupFailed, match=r"cannot write the pid file .* with the rights of me: No such file"),
            pid_file(tmp_path / "no" / "pid", ME),
        ):
            pytest.fail("there is no such directory")

    def test_not_wanted(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pid_file(None, ME):
            assert list(tmp_path.iterdir()) == []


@pytest.mark.namespace
class TestPidFileOfAnotherUser:
    """Needs root: who may call anyike through sudo names the file, and gets no more than their own rights by it."""

    @pytest.fixture
    def directory(self):
        """Everybody may go there; root's."""
        directory = Path(tempfile.mkdtemp())
        directory.chmod(0o755)
        yield directory
        shutil.rmtree(directory)

    @pytest.fixture
    def theirs(self, directory):
        """A directory of nobody's."""
        home = directory / "home"
        home.mkdir()
        os.chown(home, NOBODY.uid, NOBODY.gid)
        return home

    def test_is_theirs(self, theirs):
        with pid_file(theirs / "pid", NOBODY):
            assert (theirs / "pid").read_text() == f"{os.getpid()}\n"
            assert (theirs / "pid").stat().st_uid == NOBODY.uid
            assert os.geteuid() == 0
        assert list(theirs.iterdir()) == []

    @pytest.mark.parametrize("content", [None, "", "1\n", "precious"])
    def test_nothing_of_root_s_is_replaced_or_made(self, directory, content):
        victim = directory / "victim"
        if content is not None:
            victim.write_text(content)
        with pytest.raises(HostSetupFailed, match="victim"), pid_file(victim, NOBODY):
            pytest.fail("that is root's")
        assert (victim.read_text() if victim.exists() else None) == content

    def test_a_directory_that_is_exchanged_meanwhile(self, directory, theirs):
        """The pid file's name leads to root's at the end, as a link of the user's says."""
        (directory / "root's").mkdir()
        precious = directory / "root's" / "pid"
        (theirs / "run").mkdir()
        os.chown(theirs / "run", NOBODY.uid, NOBODY.gid)
        with pid_file(theirs / "run/pid", NOBODY):
            os.link(theirs / "run/pid", precious)  # even the same file is root's to keep there
            (theirs / "run").rename(theirs / "away")
            (theirs / "run").symlink_to(directory / "root's")
        assert precious.exists()

    def test_one_that_cannot_be_removed_any_more_is_reported(self, theirs, caplog):
        with pid_file(theirs / "pid", NOBODY):
            os.chown(theirs, 0, 0)
        assert "cannot remove the pid file" in caplog.text

    def test_root_s_own(self, directory):
        with pid_file(directory / "pid", ROOT):
            assert (directory / "pid").stat().st_uid == 0
        assert not (directory / "pid").exists()
