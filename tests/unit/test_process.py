import os
import resource
import subprocess
import sys

import pytest

from anyike.errors import ExitCode, HostSetupFailed
from anyike.process import pid_file

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
        with pid_file(tmp_path / "pid"):
            assert (tmp_path / "pid").read_text() == f"{os.getpid()}\n"
            assert [path.name for path in tmp_path.iterdir()] == ["pid"]
        assert list(tmp_path.iterdir()) == []

    def test_replaces_an_old_one(self, tmp_path):
        (tmp_path / "pid").write_text("1 and more\n")
        with pid_file(tmp_path / "pid"):
            assert (tmp_path / "pid").read_text() == f"{os.getpid()}\n"

    def test_a_link_is_replaced_and_not_followed(self, tmp_path):
        (tmp_path / "victim").write_text("precious")
        (tmp_path / "pid").symlink_to(tmp_path / "victim")
        with pid_file(tmp_path / "pid"):
            assert not (tmp_path / "pid").is_symlink()
        assert (tmp_path / "victim").read_text() == "precious"

    def test_gone_after_an_error(self, tmp_path):
        with pytest.raises(ZeroDivisionError), pid_file(tmp_path / "pid"):
            raise ZeroDivisionError
        assert not (tmp_path / "pid").exists()

    def test_cannot_be_written(self, tmp_path):
        with (
            pytest.raises(HostSetupFailed, match=r"cannot write the pid file .*: No such file"),
            pid_file(tmp_path / "no" / "pid"),
        ):
            pytest.fail("there is no such directory")

    def test_a_directory_in_its_place(self, tmp_path):
        (tmp_path / "pid").mkdir()
        with pytest.raises(HostSetupFailed, match="Is a directory"), pid_file(tmp_path / "pid"):
            pytest.fail("that is a directory")
        assert [path.name for path in tmp_path.iterdir()] == ["pid"]

    def test_not_wanted(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        with pid_file(None):
            assert list(tmp_path.iterdir()) == []
