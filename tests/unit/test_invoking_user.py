"""The user's programs and files, with the user's rights alone: as root for nobody, for real, and for ourselves."""

import asyncio
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

from anyike import invoking_user as module
from anyike.errors import ConfigurationError, MissingPrivilege
from anyike.interruption import InterruptibleLoop
from anyike.invoking_user import (
    MAX_OUTPUT_BYTES,
    InvokingUser,
    end,
    invoking_uid,
    invoking_user,
    read_file,
    rights_of,
    run,
    start,
)

NOBODY = 65534
ME = InvokingUser(os.getuid(), "me", os.getgid(), Path("/"))


@pytest.fixture
def home_of_nobody():
    directory = Path(tempfile.mkdtemp())
    os.chown(directory, NOBODY, NOBODY)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def nobody(home_of_nobody) -> InvokingUser:
    return InvokingUser(NOBODY, "nobody", NOBODY, home_of_nobody)


def rights() -> tuple[object, ...]:
    return os.getresuid(), os.getresgid(), os.getgroups(), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)


def status_fields(output: bytes) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in output.decode().splitlines() if ":\t" in line)


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


def gone_soon(pid: int) -> bool:
    deadline = time.monotonic() + 5
    while lives(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not lives(pid)


class TestWho:
    def test_a_service_names_its_user(self, monkeypatch):
        monkeypatch.setattr(module, "invoking_uid", lambda: 0)
        assert invoking_user("nobody").uid == NOBODY

    def test_who_is_not_root_stays_who_they_are(self, monkeypatch):
        monkeypatch.setattr(module, "invoking_uid", lambda: NOBODY)
        assert invoking_user("root").uid == NOBODY

    @pytest.mark.parametrize("name", ["no-such-user", "", "a\0b"])
    def test_a_name_that_the_system_does_not_know(self, monkeypatch, name):
        monkeypatch.setattr(module, "invoking_uid", lambda: 0)
        with pytest.raises(ConfigurationError, match=r"login\.run_as: the system has no user"):
            invoking_user(name)

    @pytest.mark.parametrize("number", ["", "-1", "0x1", "1 ", "\u0661", "9" * 5000])
    def test_what_sudo_never_writes_is_not_a_user(self, monkeypatch, number):
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setenv("SUDO_UID", number)
        assert invoking_uid() == os.getuid()


class TestCalledThrough:
    """sudo and pkexec say who called by a number, doas by a name."""

    @pytest.fixture(autouse=True)
    def as_root(self, monkeypatch):
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr(os, "getuid", lambda: 0)
        for variable in ("SUDO_UID", "PKEXEC_UID", "DOAS_USER"):
            monkeypatch.delenv(variable, raising=False)

    @pytest.mark.parametrize(
        ("variable", "value"), [("SUDO_UID", str(NOBODY)), ("PKEXEC_UID", str(NOBODY)), ("DOAS_USER", "nobody")]
    )
    def test_each_of_them(self, monkeypatch, variable, value):
        monkeypatch.setenv(variable, value)
        assert invoking_uid() == NOBODY
        assert (invoking_user("root").uid, invoking_user("root").name) == (NOBODY, "nobody")

    @pytest.mark.parametrize("value", [str(NOBODY), "nobody"])
    @pytest.mark.parametrize("variable", ["SUDO_UID", "PKEXEC_UID", "DOAS_USER"])
    def test_who_is_not_root_cannot_claim_it(self, monkeypatch, variable, value):
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        monkeypatch.setattr(os, "getuid", lambda: 1000)
        monkeypatch.setenv(variable, value)
        assert invoking_uid() == 1000

    def test_several_that_agree(self, monkeypatch):
        monkeypatch.setenv("SUDO_UID", str(NOBODY))
        monkeypatch.setenv("DOAS_USER", "nobody")
        assert invoking_uid() == NOBODY

    @pytest.mark.parametrize("root", [("SUDO_UID", "0"), ("PKEXEC_UID", "0"), ("PKEXEC_UID", "00")])
    def test_doas_that_keeps_the_environment_makes_nobody_root(self, monkeypatch, root):
        monkeypatch.setenv(*root)
        assert invoking_uid() == 0
        monkeypatch.setenv("DOAS_USER", "nobody")
        assert invoking_uid() == NOBODY

    def test_nor_somebody_else(self, monkeypatch):
        monkeypatch.setenv("SUDO_UID", "1")
        monkeypatch.setenv("DOAS_USER", "nobody")
        with pytest.raises(ConfigurationError, match="SUDO_UID, PKEXEC_UID and DOAS_USER name different users"):
            invoking_uid()

    @pytest.mark.parametrize("value", ["nobody", "-1", " 65534", "9" * 5000])
    def test_what_pkexec_never_writes(self, monkeypatch, value):
        monkeypatch.setenv("PKEXEC_UID", value)
        assert invoking_uid() == 0

    @pytest.mark.parametrize("name", ["no-such-user", "65534", "a\udcff"])
    def test_a_name_that_the_system_does_not_know_is_not_root(self, monkeypatch, name):
        monkeypatch.setenv("DOAS_USER", name)
        with pytest.raises(ConfigurationError, match="DOAS_USER: the system has no user"):
            invoking_uid()

    def test_an_empty_name(self, monkeypatch):
        monkeypatch.setenv("DOAS_USER", "")
        assert invoking_uid() == 0

    def test_a_number_without_a_user(self, monkeypatch):
        monkeypatch.setenv("SUDO_UID", "4294967000")
        with pytest.raises(
            ConfigurationError, match=r"no user with the number 4294967000, .*: give that number a name"
        ):
            invoking_user()


class TestEnvironment:
    def test_our_own_is_ours(self, monkeypatch):
        monkeypatch.setenv("PASSWORD_STORE_DIR", "/somewhere")
        assert ME.environment() == dict(os.environ)

    def test_that_of_another_holds_nothing_of_ours(self, monkeypatch):
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials")
        monkeypatch.setenv("LD_PRELOAD", "evil.so")
        monkeypatch.setenv("DISPLAY", ":7")
        monkeypatch.delenv("PATH")
        found = InvokingUser(os.getuid() + 4711, "ada", 4711, Path("/home/ada"), "/bin/zsh").environment()
        assert found["PATH"] == "/usr/local/bin:/usr/bin:/bin"
        assert {name: found[name] for name in ("HOME", "USER", "LOGNAME", "SHELL", "DISPLAY")} == {
            "HOME": "/home/ada",
            "USER": "ada",
            "LOGNAME": "ada",
            "SHELL": "/bin/zsh",
            "DISPLAY": ":7",
        }
        assert not {"CREDENTIALS_DIRECTORY", "LD_PRELOAD", "XDG_RUNTIME_DIR"} & found.keys()


class TestRun:
    async def test_status_and_both_outputs(self):
        done = await run(ME, ["sh", "-c", "cat; echo words >&2; exit 7"], timeout=20, input_data=b"in")
        assert (done.status, done.output, done.errors) == (7, b"in", b"words\n")
        assert repr(done) == "Finished(status=7)"

    async def test_arguments_are_no_shell_s(self):
        argument = "$(id); `id` > /dev/null 'x"
        assert (await run(ME, ["printf", "%s", argument], timeout=20)).output == argument.encode()

    async def test_environment_is_added(self):
        done = await run(ME, ["sh", "-c", 'echo "$EXTRA $HOME"'], timeout=20, environment={"EXTRA": "more"})
        assert done.output.decode() == f"more {os.environ['HOME']}\n"

    async def test_a_signal(self):
        assert (await run(ME, ["sh", "-c", "kill -9 $$"], timeout=20)).status == -signal.SIGKILL

    async def test_a_program_that_does_not_exist(self):
        with pytest.raises(FileNotFoundError):
            await run(ME, ["/no/such/program"], timeout=20)

    async def test_a_program_that_does_not_read_its_input(self):
        done = await run(ME, ["sh", "-c", "exec 0<&-; echo done"], timeout=20, input_data=bytes(4 * 1024 * 1024))
        assert done.output == b"done\n"

    @pytest.mark.parametrize("stream", ["1", "2"])
    async def test_endless_output(self, stream):
        with pytest.raises(ValueError, match=f"more than {MAX_OUTPUT_BYTES} bytes"):
            await run(ME, ["sh", "-c", f"yes >&{stream}"], timeout=20)

    async def test_output_of_the_limit_s_size(self):
        done = await run(ME, ["head", "-c", "100", "/dev/zero"], timeout=20, limit=100)
        assert len(done.output) == 100
        with pytest.raises(ValueError, match="more than 99 bytes"):
            await run(ME, ["head", "-c", "100", "/dev/zero"], timeout=20, limit=99)

    async def test_the_program_cannot_reach_our_terminal(self):
        assert (await run(ME, ["sh", "-c", "exec 3</dev/tty"], timeout=20)).status != 0

    async def test_a_daemon_with_our_pipes_does_not_hold_us_up(self, tmp_path):
        command = f"setsid sh -c 'echo $$ >{tmp_path}/pid; exec sleep 600' & sleep 0.2; echo secret"
        begin = time.monotonic()
        done = await run(ME, ["sh", "-c", command], timeout=60)
        assert (done.status, done.output) == (0, b"secret\n")
        assert time.monotonic() - begin < 20
        daemon = int((tmp_path / "pid").read_text())
        assert lives(daemon)  # who leaves the session on purpose, such as gpg-agent, is none of our business
        os.kill(daemon, signal.SIGKILL)

    async def test_no_descriptor_is_left_open(self):
        before = len(os.listdir("/proc/self/fd"))
        await run(ME, ["true"], timeout=20)
        with pytest.raises(TimeoutError):
            await run(ME, ["sleep", "600"], timeout=0.1)
        await asyncio.sleep(0)  # a closed pipe goes at the next turn of the loop
        await asyncio.sleep(0)
        assert len(os.listdir("/proc/self/fd")) == before

    def test_under_our_own_event_loop(self):
        loop = InterruptibleLoop()
        asyncio.set_event_loop(loop)
        try:
            assert loop.run_until_complete(run(ME, ["echo", "x"], timeout=20)).output == b"x\n"
        finally:
            loop.close()
            asyncio.set_event_loop(None)


FAMILY = """
set -m
sleep 600 & echo $! >>{pids}
sh -c 'echo $$ >>{pids}; sh -c "echo \\$\\$ >>{pids}; exec sleep 600"; true' &
(trap '' TERM INT HUP; exec sleep 600) & echo $! >>{pids}
while [ $(wc -l <{pids}) -lt 4 ]; do sleep 0.01; done
echo ready >{pids}.ready
"""
"""Children and a grandchild; job control puts them into process groups of their own."""


class TestTheWholeFamilyEnds:
    @pytest.fixture
    def pids(self, tmp_path):
        return tmp_path / "pids"

    @staticmethod
    def check(pids: Path) -> None:
        numbers = [int(line) for line in pids.read_text().split()]
        assert len(numbers) == 4
        assert all(gone_soon(number) for number in numbers)

    @staticmethod
    async def when_ready(pids: Path) -> None:
        ready = Path(f"{pids}.ready")
        async with asyncio.timeout(20):
            while not ready.exists():  # noqa: ASYNC110, ASYNC240  another process makes it
                await asyncio.sleep(0.01)

    async def test_in_time(self, pids):
        assert (await run(ME, ["bash", "-c", FAMILY.format(pids=pids)], timeout=30)).status == 0
        self.check(pids)

    async def test_at_the_time_limit(self, pids):
        with pytest.raises(TimeoutError):
            await run(ME, ["bash", "-c", f"{FAMILY.format(pids=pids)} wait"], timeout=2)
        self.check(pids)

    async def test_when_cancelled(self, pids):
        task = asyncio.create_task(run(ME, ["bash", "-c", f"{FAMILY.format(pids=pids)} wait"], timeout=60))
        await self.when_ready(pids)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        self.check(pids)

    @pytest.mark.parametrize("turns", range(8))
    async def test_when_cancelled_at_the_start(self, pids, turns):
        """The program is on its way already when the event loop still connects its pipes."""
        task = asyncio.create_task(run(ME, ["bash", "-c", f"{FAMILY.format(pids=pids)} wait"], timeout=60))
        for _ in range(turns):
            await asyncio.sleep(0)
        ready, deadline = Path(f"{pids}.ready"), time.monotonic() + 20
        while turns > 1 and not ready.exists() and time.monotonic() < deadline:  # noqa: ASYNC240
            time.sleep(0.01)  # noqa: ASYNC251  the loop has to stand still meanwhile
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(20):
                await task
        started = pids.read_text().split() if pids.exists() else []
        assert all(gone_soon(int(number)) for number in started)
        assert turns < 2 or len(started) == 4

    async def test_by_end_and_end_again(self, pids):
        process = await start(ME, ["bash", "-c", f"{FAMILY.format(pids=pids)} wait"])
        await self.when_ready(pids)
        await end(process)
        await end(process)
        assert process.returncode == -signal.SIGKILL
        self.check(pids)

    async def test_a_stranger_with_the_number_of_a_program_that_ended_lives_on(self):
        process = await start(ME, ["true"])
        await end(process)
        stranger = await start(ME, ["sleep", "600"])
        try:
            process.pid = stranger.pid
            await end(process)
            assert stranger.returncode is None
            assert lives(stranger.pid)
        finally:
            await end(stranger)


@pytest.mark.namespace
class TestAsRootForNobody:
    """Needs root."""

    async def test_only_the_rights_of_the_user(self, nobody):
        fields = status_fields((await run(nobody, ["cat", "/proc/self/status"], timeout=20)).output)
        assert fields["Uid"].split() == [str(NOBODY)] * 4
        assert fields["Gid"].split() == [str(NOBODY)] * 4
        assert {int(group) for group in fields["Groups"].split()} == set(os.getgrouplist("nobody", NOBODY))
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(fields[name], 16) == 0, name

    async def test_supplementary_groups(self, nobody, monkeypatch):
        """Those of the user, and not root's."""
        monkeypatch.setattr(os, "getgrouplist", lambda name, gid: [gid, 4711, 4712])
        fields = status_fields((await run(nobody, ["cat", "/proc/self/status"], timeout=20)).output)
        assert {int(group) for group in fields["Groups"].split()} == {NOBODY, 4711, 4712}

    async def test_environment_and_directory(self, nobody, monkeypatch):
        monkeypatch.setenv("SECRET_OF_ROOT", "x")
        done = await run(nobody, ["sh", "-c", "env; pwd; umask"], timeout=20)
        lines = done.output.decode().splitlines()
        assert f"HOME={nobody.home}" in lines
        assert str(nobody.home) in lines
        assert not any("SECRET_OF_ROOT" in line or line.startswith("SUDO") for line in lines)

    @pytest.mark.parametrize("missing", [True, False])
    async def test_a_home_where_they_may_not_go(self, nobody, missing):
        """Root could, and would take the program into a directory that is closed to its user."""
        if missing:
            nobody.home.rmdir()
        else:
            os.chown(nobody.home, 0, 0)
        try:
            done = await run(nobody, ["pwd"], timeout=20)
        finally:
            nobody.home.mkdir(exist_ok=True)
        assert done.output == b"/\n"

    async def test_a_program_that_only_root_may_run(self, nobody, tmp_path):
        program = tmp_path / "program"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o700)
        with pytest.raises(PermissionError):
            await run(nobody, [str(program)], timeout=20)

    async def test_no_descriptor_of_ours(self, nobody, tmp_path):
        with (tmp_path / "secret").open("w") as file:
            os.set_inheritable(file.fileno(), True)
            done = await run(nobody, ["ls", "-l", "/proc/self/fd"], timeout=20)
        assert b"secret" not in done.output

    async def test_the_time_limit(self, nobody):
        with pytest.raises(TimeoutError):
            await run(nobody, ["sleep", "600"], timeout=0.2)

    def test_ambient_capabilities_end_with_us(self, tmp_path):
        """A service without root but with CAP_NET_ADMIN, as systemd starts it with AmbientCapabilities=."""
        code = (
            "import asyncio, os, pathlib\n"
            "from anyike.invoking_user import InvokingUser, run\n"
            "me = InvokingUser(os.getuid(), 'nobody', os.getgid(), pathlib.Path('/'))\n"
            "print(open('/proc/self/status').read(), end='')\n"
            "print(asyncio.run(run(me, ['cat', '/proc/self/status'], timeout=20)).output.decode(), end='')\n"
        )
        command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=+net_admin"]
        done = subprocess.run(
            [*command, "--ambient-caps=+net_admin", sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        ours, theirs = (
            [int(line.split()[1], 16) for line in done.stdout.splitlines() if line.startswith(f"{name}:")]
            for name in ("CapAmb", "CapEff")
        )
        assert ours == [1 << 12, 0]
        assert theirs == [1 << 12, 0]


@pytest.mark.namespace
class TestRights:
    """Needs root."""

    @pytest.mark.parametrize("dumpable", [0, 1])
    def test_given_back_with_what_was_hardened(self, nobody, dumpable):
        libc = ctypes.CDLL(None)
        before, meanwhile = libc.prctl(3, 0, 0, 0, 0), []
        libc.prctl(4, dumpable, 0, 0, 0)
        try:
            held = rights()
            with suppress(ZeroDivisionError), rights_of(nobody):
                meanwhile.append((os.geteuid(), os.getegid(), set(os.getgroups()), libc.prctl(3, 0, 0, 0, 0) == 1))
                raise ZeroDivisionError
            # Never dumpable: no other process of the user looks into our memory.
            assert meanwhile == [(NOBODY, NOBODY, set(os.getgrouplist("nobody", NOBODY)), False)]
            assert rights() == held
            assert held[-1] == dumpable
        finally:
            libc.prctl(4, before, 0, 0, 0)

    @pytest.mark.parametrize("user", [None, InvokingUser(0, "root", 0, Path("/root"))])
    def test_root_s_own_are_held_already(self, user):
        before = rights()
        with rights_of(user):
            assert rights() == before

    @pytest.mark.parametrize("capability", ["setgid", "setuid"])
    def test_a_root_that_may_not_change_its_user(self, capability):
        code = (
            "import os, pathlib\n"
            "from anyike.errors import MissingPrivilege\n"
            "from anyike.invoking_user import InvokingUser, rights_of\n"
            "before = os.getresuid(), os.getresgid(), os.getgroups()\n"
            "try:\n"
            "    with rights_of(InvokingUser(65534, 'nobody', 65534, pathlib.Path('/'))):\n"
            "        print('taken')\n"
            "except MissingPrivilege as error:\n"
            "    print(error)\n"
            "assert (os.getresuid(), os.getresgid(), os.getgroups()) == before\n"
        )
        done = subprocess.run(
            ["setpriv", f"--bounding-set=-{capability}", sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.startswith("cannot take the rights of the user nobody: Operation not permitted"), done.stderr
        assert done.returncode == 0, done.stderr


class TestReadFile:
    def test_content(self, tmp_path):
        path = tmp_path / "file"
        path.write_bytes(b"12345")
        assert read_file(ME, path, 5) == b"12345"
        with pytest.raises(ConfigurationError, match="has more than 4 bytes"):
            read_file(ME, path, 4)

    def test_what_is_no_file(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
            with pytest.raises(ConfigurationError, match="is not a regular file"):
                read_file(ME, path, 5)
        with pytest.raises(FileNotFoundError):
            read_file(ME, tmp_path / "none", 5)

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610])
    def test_a_secret_that_others_can_reach(self, tmp_path, mode):
        path = tmp_path / "the file"
        path.touch()
        path.chmod(mode)
        assert read_file(ME, path, 5) == b""
        with pytest.raises(ConfigurationError, match=f"others may read the secret in it; run: chmod go-rwx '{path}'"):
            read_file(ME, path, 5, secret=True)
        path.chmod(0o400)
        assert read_file(ME, path, 5, secret=True) == b""

    @pytest.mark.namespace
    def test_with_the_rights_of_the_user(self, nobody):
        path = nobody.home / "file"
        path.write_bytes(b"root's")
        path.chmod(0o600)
        before = rights()
        with pytest.raises(PermissionError):
            read_file(nobody, path, 100)
        (nobody.home / "link").symlink_to(path)
        with pytest.raises(PermissionError):
            read_file(nobody, nobody.home / "link", 100, secret=True)
        os.chown(path, NOBODY, NOBODY)
        assert read_file(nobody, nobody.home / "link", 100, secret=True) == b"root's"
        assert rights() == before

    @pytest.mark.namespace
    def test_a_secret_of_a_third_user(self, tmp_path):
        path = tmp_path / "file"
        path.touch(0o600)
        os.chown(path, 4711, 4711)
        with pytest.raises(ConfigurationError, match=r"belongs to somebody else \(user 4711\)"):
            read_file(InvokingUser(0, "root", 0, Path("/root")), path, 100, secret=True)


def test_a_root_without_the_capability_is_told_so(monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "setgroups", refuse)
    monkeypatch.setattr(os, "seteuid", lambda _: None)
    monkeypatch.setattr(os, "setegid", lambda _: None)
    with (
        pytest.raises(MissingPrivilege, match="CAP_SETUID and CAP_SETGID"),
        rights_of(InvokingUser(1, "daemon", 1, Path("/"))),
    ):
        pytest.fail("rights that nobody gave")
