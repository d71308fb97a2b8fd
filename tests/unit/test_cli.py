import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from anyike import __version__, cli
from anyike.errors import ExitCode, GatewayRefused

WAIT = 20
NOBODY = 65534

# `anyike` with directories of the test's, and a connection that does what the test says in place of anyike.client.
COMMAND = """
import asyncio, json, os, signal, sys, types
from pathlib import Path
from anyike import cli, errors, paths

home = Path(os.environ["TEST_DIRECTORY"])
paths.RUNTIME = home / "run"
paths.SYSTEM_PROFILES = home / "etc"

async def connect(settings, profile, ui, make_respondent):
    from anyike.eap.form import Field, FieldType, Form
    from anyike.ui import Stage, TunnelSummary
    print(json.dumps([profile, settings.model_dump(mode="json")]), file=sys.stderr)
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    sent = [signal.Signals[step] for step in os.environ["TEST_STEPS"].split() if step.startswith("SIG")]
    for number in sent[:1]:
        signal.raise_signal(number)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    ui.stage(Stage.RESOLVE, settings.gateway.host)
    for step in os.environ["TEST_STEPS"].split():
        match step:
            case "ask":
                answers = await make_respondent().answer(Form("f", fields=(Field("password", FieldType.PASSWORD, "Password"),)))
                ui.notice("length " + str(len(answers.values["password"])))
            case "established":
                nothing = {"addresses": (), "mtu": 1, "ike_algorithms": "", "esp_algorithms": ""}
                ui.established(TunnelSummary(interface="t0", gateway="g", **nothing))
            case "descriptors":
                Path(home, "descriptors").write_text(json.dumps([os.readlink(f"/proc/self/fd/{n}") for n in range(3)]))
            case "banner":
                ui.notice("B\\u00e4nner \\u20ac")
            case "wait":
                await stop.wait()
            case "leave":
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    loop.remove_signal_handler(number)
                signal.raise_signal(getattr(signal, os.environ["TEST_SIGNAL"]))
            case "refuse":
                raise errors.GatewayRefused("no\\nbecause")
            case "crash":
                raise ZeroDivisionError("hunter2")
    ui.ended("logged off")
    return errors.ExitCode.OK

sys.modules["anyike.client"] = types.SimpleNamespace(connect=connect)
import anyike.logs
anyike.logs._SYSLOG = home / "log"
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.fixture
def home(tmp_path) -> Path:
    (tmp_path / "etc").mkdir()
    return tmp_path


def environment(home: Path, steps: str, **more: str) -> dict[str, str]:
    callers = {"SUDO_UID", "PKEXEC_UID", "DOAS_USER"}
    kept = {name: value for name, value in os.environ.items() if name not in callers}
    return kept | {"TEST_DIRECTORY": str(home), "TEST_STEPS": steps, "TMPDIR": str(home)} | more


def run(home: Path, *arguments: str, steps: str = "", **more) -> subprocess.CompletedProcess[str]:
    variables = more.pop("variables", {})
    return subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments],
        env=environment(home, steps, **variables),
        check=False,
        capture_output=True,
        text=True,
        timeout=WAIT,
        start_new_session=True,  # no controlling terminal, wherever the tests run
        **({"stdin": subprocess.DEVNULL} | more if "input" not in more else more),
    )


def told(done: subprocess.CompletedProcess[str]) -> tuple[str, dict]:
    """Profile name and settings that the connection got."""
    name, settings = json.loads(next(line for line in done.stderr.splitlines() if line.startswith("[")))
    return name, settings


class TestStartUp:
    @pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["connect", "--help"], ["connect", "--bogus"]])
    def test_loads_next_to_nothing(self, arguments):
        code = (
            "import sys\nfrom anyike.cli import main\n"
            "try: main(sys.argv[1:])\nexcept SystemExit: pass\n"
            "print(sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)\n"
            "print(sorted(name for name in sys.modules if name.startswith('anyike')), file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
        roots, ours = done.stderr.splitlines()[-2:]
        for name in ("pydantic", "lxml", "cryptography", "pyroute2", "asyncio", "logging", "ctypes", "tomllib"):
            assert f"'{name}'" not in roots
        assert ours == "['anyike', 'anyike.cli', 'anyike.errors']"

    def test_version(self):
        done = subprocess.run([sys.executable, "-m", "anyike", "--version"], capture_output=True, text=True, check=True)
        assert done.stdout == f"anyike {__version__}\n"


class TestUsage:
    @pytest.mark.parametrize(
        ("arguments", "hint"),
        [
            ([], "required: COMMAND"),
            (["fly"], "invalid choice: 'fly'"),
            (["connect"], "say what to connect to"),
            (["connect", "a", "b"], "unrecognized arguments: b"),
            (["connect", "a", "--mtu", "big"], "argument -m/--mtu: invalid int value: 'big'"),
            (["connect", "a", "--mtu", "20"], "--mtu 20: must be greater than or equal to 576"),
            (["connect", "a", "--servercert", "sha1:00"], '--servercert ["sha1:00"]: must be pin-sha256:'),
            (["connect", "https://vpn.example.com/"], "must be a host name or an IP address alone"),
            (["connect", "a", "-q", "-v"], "not allowed with argument"),
        ],
    )  # fmt: skip
    def test_faults_exit_2_and_say_what_to_do(self, home, arguments, hint):
        done = run(home, *arguments)
        assert (done.returncode, done.stdout) == (ExitCode.USAGE, "")
        assert hint in done.stderr
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize("option", ["--password=x", "--passwd=x", "-p x", "--passwd-on-stdin=x"])
    def test_no_option_takes_a_password(self, home, option):
        assert run(home, "connect", "a", *option.split()).returncode == ExitCode.USAGE


class TestSettings:
    def test_every_option_reaches_its_setting(self, home):
        pin = "pin-sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
        done = run(
            home, "connect", "vpn.example.com", "-u", "ada", "--authgroup", "Staff", "--cafile", "ca.pem",
            "--servercert", pin, "--servercert", pin, "-i", "tun7", "-m", "1300", cwd=home,
        )  # fmt: skip
        name, settings = told(done)
        assert done.returncode == ExitCode.OK
        assert name == "vpn.example.com"
        assert settings["gateway"]["host"] == "vpn.example.com"
        assert settings["gateway"]["ca_file"] == str(home / "ca.pem")
        assert settings["gateway"]["servercert"] == [pin, pin]
        assert (settings["login"]["user"], settings["login"]["group"]) == ("ada", "Staff")
        assert (settings["tunnel"]["interface"], settings["tunnel"]["mtu"]) == ("tun7", 1300)

    def test_a_profile_and_the_command_line_on_top(self, home):
        profile = home / "etc/work.toml"
        profile.write_text("[gateway]\nhost = 'vpn.example.com'\n[login]\nuser = 'ada'\n[tunnel]\nmtu = 1300\n")
        name, settings = told(run(home, "connect", "work", "--user", "bob"))
        assert name == "work"
        assert settings["gateway"]["host"] == "vpn.example.com"
        assert (settings["login"]["user"], settings["tunnel"]["mtu"]) == ("bob", 1300)

    def test_a_file_and_another_host(self, home):
        profile = home / "lab.toml"
        profile.write_text("[gateway]\nhost = 'vpn.example.com'\n")
        name, settings = told(run(home, "connect", "192.0.2.1", "-c", str(profile)))
        assert (name, settings["gateway"]["host"]) == ("lab", "192.0.2.1")

    def test_a_faulty_profile(self, home):
        (home / "etc/work.toml").write_text("[gateway]\nhost = 'a'\nport = 0\n")
        done = run(home, "connect", "work")
        assert done.returncode == ExitCode.CONFIGURATION
        assert done.stderr == f"anyike: {home}/etc/work.toml: gateway.port = 0: must be greater than or equal to 1\n"


class TestErrors:
    def test_one_clear_line_and_its_exit_code(self, home):
        done = run(home, "connect", "a", steps="refuse")
        assert done.returncode == GatewayRefused.exit_code
        assert done.stderr.endswith("anyike: no\nbecause\n")
        assert "Traceback" not in done.stderr

    def test_a_fault_of_ours_goes_to_a_file(self, home):
        done = run(home, "connect", "a", steps="crash")
        assert done.returncode == ExitCode.INTERNAL
        last = done.stderr.splitlines()[-1]
        assert last.startswith("anyike: a fault of anyike itself: ZeroDivisionError. What led to it is in ")
        assert "Traceback" not in done.stderr
        (trace,) = home.glob("anyike-fault-*.txt")
        assert "ZeroDivisionError" in trace.read_text()
        assert trace.stat().st_mode & 0o777 == 0o600

    def test_or_to_the_user_who_asked_for_more(self, home):
        done = run(home, "connect", "a", "-v", steps="crash")
        assert "Traceback" in done.stderr
        assert list(home.glob("anyike-fault-*")) == []

    def test_interrupted_before_there_was_anything(self, monkeypatch):
        def interrupted(arguments) -> int:
            raise KeyboardInterrupt

        monkeypatch.setattr(cli, "_connect", interrupted)
        assert cli.main(["connect", "a"]) == 130

    def test_nothing_is_left_behind(self, home):
        for steps in ("", "refuse", "crash"):
            run(home, "connect", "a", "-v", "--pid-file", str(home / "pid"), steps=steps)
        assert list((home / "run").iterdir()) == []
        assert not (home / "pid").exists()

    @pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
    @pytest.mark.parametrize("when", ["before the connection minds signals", "after it did"])
    def test_a_signal_leaves_nothing_behind(self, home, when, number):
        steps = number if when.startswith("before") else "leave"
        done = run(
            home, "connect", "a", "--pid-file", str(home / "pid"), steps=steps, variables={"TEST_SIGNAL": number}
        )
        assert (done.returncode, "Traceback" in done.stderr) == (ExitCode.INTERRUPTED, False)
        assert list((home / "run").iterdir()) == []
        assert not (home / "pid").exists()

    def test_no_place_for_the_trace_of_a_fault(self, monkeypatch, capsys):
        def crash(arguments) -> int:
            raise ZeroDivisionError

        def nowhere(*args: object, **kwargs: object) -> None:
            raise FileNotFoundError(2, "No usable temporary directory found")

        monkeypatch.setattr(cli, "_connect", crash)
        monkeypatch.setattr("tempfile.NamedTemporaryFile", nowhere)
        assert cli.main(["connect", "a"]) == ExitCode.INTERNAL
        assert "cannot be written to a file (No usable temporary directory found)" in capsys.readouterr().err

    def test_no_error_drives_the_terminal(self, home):
        (home / "etc/work.toml").write_text('[gateway]\nhost = "a"\n"\\u001b[2J" = 1\n"\\u202e" = 2\n')
        done = run(home, "connect", "work")
        assert done.returncode == ExitCode.CONFIGURATION
        assert '"\\u001b[2J"' in done.stderr
        done = run(home, "connect", "-c", "a\x1b[2J.toml")
        assert "there is no such file" in done.stderr
        assert "\x1b" not in done.stderr


class TestOutput:
    def test_stages_on_standard_output(self, home):
        assert run(home, "connect", "a").stdout == "resolving         a\nlogged off\n"

    def test_quiet(self, home):
        done = run(home, "connect", "a", "-q", steps="established refuse")
        assert done.stdout == ""
        assert done.stderr.endswith("anyike: no\nbecause\n")

    def test_a_locale_that_cannot_show_the_banner(self, home):
        done = run(home, "connect", "a", steps="banner", variables={"PYTHONIOENCODING": "ascii"})
        assert (done.returncode, done.stdout.splitlines()[1]) == (ExitCode.OK, "  | B?nner ?")

    def test_a_reader_who_goes_away(self, home):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, "connect", "a"],
            env=environment(home, "established banner"),
            check=False,
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=WAIT,
        )
        os.close(writer)
        assert done.returncode == ExitCode.OK
        assert "Broken" not in done.stderr


class TestClosedStandardFiles:
    """`anyike ... <&- >&- 2>&-`: what is meant for the user must not end up in a file of ours."""

    @pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
    def test_go_nowhere(self, home, closed):
        script = f'exec "$0" "$@" {closed}'
        done = subprocess.run(
            ["/bin/sh", "-c", script, sys.executable, "-c", COMMAND, "connect", "a", "--pid-file", str(home / "pid")],
            env=environment(home, "descriptors established banner"), check=False, capture_output=True, text=True,
            timeout=WAIT, start_new_session=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert (done.returncode, "Traceback" in done.stderr) == (ExitCode.OK, False)
        assert (">&-" in closed.split()) == (done.stdout == "")
        places = json.loads((home / "descriptors").read_text())
        assert [f"{standard}: {place}" for standard, place in enumerate(places) if str(home) in place] == []
        numbers = {"<&-": 0, ">&-": 1, "2>&-": 2}
        assert {places[numbers[one]] for one in closed.split()} == {"/dev/null"}


class TestQuestions:
    def test_password_on_standard_input(self, home):
        done = run(home, "connect", "a", "--passwd-on-stdin", "--non-inter", steps="ask", input="hunter2\n")
        assert "length 7" in done.stdout
        assert "hunter2" not in done.stdout + done.stderr

    @pytest.mark.parametrize("options", [["--non-inter"], []])
    def test_nobody_to_ask(self, home, options):
        done = run(home, "connect", "a", *options, steps="ask")
        assert done.returncode == ExitCode.LOGIN_FAILED
        assert "f:password" in done.stderr

    def test_on_the_controlling_terminal_whatever_standard_output_is(self, home):
        answered, shown = at_a_terminal(home, ["connect", "a", "-q"], "ask")
        assert answered == ExitCode.OK
        assert "Password: " in shown
        assert "hunter2" not in shown


class TestBackground:
    def start(self, home: Path, steps: str, *options: str) -> subprocess.CompletedProcess[str]:
        return run(home, "connect", "a", "-b", "--pid-file", str(home / "pid"), *options, steps=steps)

    @contextmanager
    def running(self, home: Path) -> Iterator[tuple[int, str]]:
        """The process number and the output of a client in the background."""
        done = self.start(home, "established wait")
        assert done.returncode == ExitCode.OK
        pid = int((home / "pid").read_text())
        try:
            yield pid, done.stdout
        finally:
            os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not (home / "pid").exists() and not (home / "run/a.lock").exists())

    def test_returns_when_the_tunnel_is_up(self, home):
        with self.running(home) as (pid, output):
            assert "t0 is up" in output
            assert (home / "run/a.lock").read_text() == f"{pid}\n"
            assert os.getsid(pid) == pid

    @pytest.mark.namespace  # nobody but root may look into a process that protects its memory
    def test_lets_go_of_the_terminal_and_the_directory(self, home):
        with self.running(home) as (pid, _):
            assert {os.readlink(f"/proc/{pid}/fd/{standard}") for standard in range(3)} == {"/dev/null"}
            assert os.readlink(f"/proc/{pid}/cwd") == "/"

    @pytest.mark.parametrize(
        ("steps", "code"), [("refuse", ExitCode.REFUSED), ("crash", ExitCode.INTERNAL), ("", ExitCode.INTERRUPTED)]
    )
    def test_what_happens_before_is_the_exit_status(self, home, steps, code):
        done = self.start(home, steps)
        assert done.returncode == code
        assert done.stderr.count("anyike: ") == (code != ExitCode.INTERRUPTED)
        assert not (home / "pid").exists()

    def test_later_errors_go_to_the_system_log(self, home):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as system:
            system.bind(str(home / "log"))
            system.settimeout(WAIT)
            done = self.start(home, "established refuse")
            assert "a: no" in system.recv(1000).decode()
        assert done.returncode == ExitCode.OK

    def test_a_signal_for_the_waiting_parent_reaches_the_child(self, home):
        parent = subprocess.Popen(
            [sys.executable, "-c", COMMAND, "connect", "a", "-b", "--pid-file", str(home / "pid")],
            env=environment(home, "wait"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert parent.stdout.readline() == "resolving         a\n"
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(WAIT) == ExitCode.INTERRUPTED
        assert parent.stdout.read() == "logged off\n"
        parent.stdout.close()
        assert not (home / "pid").exists()

    @pytest.mark.namespace
    def test_the_pid_file_is_the_caller_s(self, home):
        """sudo: it is made where they may write, and removed long afterwards, both with their rights."""
        with tempfile.TemporaryDirectory() as theirs:
            os.chown(theirs, NOBODY, NOBODY)
            path = Path(theirs, "pid")
            done = run(
                home, "connect", "a", "-b", "--pid-file", str(path), steps="established wait",
                variables={"SUDO_UID": str(NOBODY)},
            )  # fmt: skip
            assert done.returncode == ExitCode.OK, done.stderr
            assert path.stat().st_uid == NOBODY
            os.kill(int(path.read_text()), signal.SIGTERM)
            wait_for(lambda: not path.exists())

    @pytest.mark.namespace
    def test_no_file_of_root_s_is_a_pid_file(self, home):
        victim = home / "victim"
        victim.write_text("1\n")
        done = run(home, "connect", "a", "--pid-file", str(victim), variables={"SUDO_UID": str(NOBODY)})
        assert done.returncode == ExitCode.HOST_SETUP
        assert "with the rights of nobody: Permission denied" in done.stderr
        assert victim.read_text() == "1\n"

    def test_asks_on_the_terminal_first(self, home):
        status, shown = at_a_terminal(home, ["connect", "a", "-b", "-q"], "ask established")
        assert status == ExitCode.OK
        assert "hunter2" not in shown

    @pytest.mark.namespace  # nobody but root may look into a process that protects its memory
    def test_keeps_no_terminal_open(self, home):
        status, _ = at_a_terminal(home, ["connect", "a", "-b", "--pid-file", str(home / "pid")], "ask established wait")
        assert status == ExitCode.OK
        pid = int((home / "pid").read_text())
        try:
            files = {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()}
        finally:
            os.kill(pid, signal.SIGTERM)
        assert [name for name in files if "tty" in name or "/pts/" in name] == []
        assert "/dev/null" in files
        wait_for(lambda: not (home / "pid").exists())

    def test_a_second_one_is_refused(self, home):
        self.start(home, "established wait")
        pid = int((home / "pid").read_text())
        try:
            second = self.start(home, "established wait")
            assert second.returncode == ExitCode.ALREADY_RUNNING
            assert f"a is in use by process {pid}" in second.stderr
            assert int((home / "pid").read_text()) == pid
        finally:
            os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not (home / "pid").exists())


class TestCleanup:
    @pytest.fixture(autouse=True)
    def _runtime(self, tmp_path, monkeypatch):
        monkeypatch.setattr("anyike.paths.RUNTIME", tmp_path)

    def test_nothing_left_behind(self, capsys):
        assert cli.main(["cleanup"]) == ExitCode.OK
        assert capsys.readouterr().out == "nothing was left behind\n"

    def test_one_that_left_nothing(self, capsys):
        assert cli.main(["cleanup", "work"]) == ExitCode.OK
        assert capsys.readouterr().out == "work: there is no journal\n"

    def test_of_all_and_those_that_cannot_be_read_are_named(self, capsys, tmp_path):
        record = {"version": 1, "pid": 1, "boot_id": "another", "namespace": "0:0", "interface": "x", "table": 24900}
        (tmp_path / "good.undo").write_text(json.dumps(record))
        for name in ("a", "b"):
            (tmp_path / f"{name}.undo").write_text("{")
        assert cli.main(["cleanup"]) == ExitCode.HOST_SETUP
        output = capsys.readouterr()
        assert output.out == "good: the journal was of another boot: nothing was left to remove\n"
        assert [f"{name}.undo" in output.err for name in ("a", "b", "good")] == [True, True, False]


def at_a_terminal(home: Path, arguments: list[str], steps: str) -> tuple[int, str]:
    """Run with a controlling terminal at which "hunter2" is typed; the status and what was seen."""
    child, master = pty.fork()
    if child == 0:
        os.execve(sys.executable, [sys.executable, "-c", COMMAND, *arguments], environment(home, steps))
    shown, typed, until = "", False, time.monotonic() + WAIT
    while time.monotonic() < until:
        if not select.select([master], [], [], 0.1)[0]:
            continue
        try:
            data = os.read(master, 4096)
        except OSError:  # the last process let go of the terminal
            break
        shown += data.decode()
        if "Password: " in shown and not typed:
            os.write(master, b"hunter2\n")
            typed = True
    os.close(master)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown


def wait_for(condition) -> None:
    until = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)
