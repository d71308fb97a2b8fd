"""What the client does to its machine, and that all of it is undone, however it ends; and its exit codes."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from anyike_process import LINE_LIMIT
from client import ANYIKE, Client
from rig import Rig

from anyike.errors import ExitCode
from anyike.paths import RUNTIME, SYSTEM_PROFILES

READ_ALL = "+dac_read_search"  # The interpreter may be in a directory that only root may enter.
AS_NOBODY = (
    *("setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"),
    *("--inh-caps", READ_ALL, "--ambient-caps", READ_ALL, ANYIKE),
)
WITHOUT_NET_ADMIN = ("setpriv", "--bounding-set=-net_admin", ANYIKE)


def wait_gone(pid: int) -> None:
    deadline = time.monotonic() + LINE_LIMIT
    while Path("/proc", str(pid)).exists():
        assert time.monotonic() < deadline, "the process does not end"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("split_include", [("10.77.0.0/24",), ()])
def test_a_signal_logs_off_and_undoes_everything(
    rig: Rig, client: Client, number: int, split_include: tuple[str, ...]
) -> None:
    rig.configure(split_include=split_include)
    before = client.state()
    process = client.up()
    during = client.state()
    assert during["-4 rule show"] != before["-4 rule show"]
    assert process.end(number) == ExitCode.OK
    assert process.output.endswith("\nlogged off\n")
    assert "received DELETE for IKE_SA anyconnect" in rig.charon_log()
    assert rig.gateway_sas() == ""
    assert client.state() == before


def test_a_second_connect_of_the_profile_is_refused(client: Client) -> None:
    first = client.up()
    status, shown = client.fail()
    assert status == ExitCode.ALREADY_RUNNING
    assert f"process {first.pid}" in shown
    client.run("ping", "-c", "1", "-W", "5", "10.77.0.2")
    assert first.end(signal.SIGINT) == ExitCode.OK


def test_two_tunnels_side_by_side(client: Client) -> None:
    before = client.state()
    first = client.up()
    client.profile = client.profile.with_stem(f"{client.profile.stem}-second")
    second = client.up()
    assert "anyike0 is up" in first.output
    assert "anyike1 is up" in second.output
    assert first.end(signal.SIGINT) == ExitCode.OK
    client.run("ping", "-c", "1", "-W", "5", "10.77.0.2")
    assert second.end(signal.SIGINT) == ExitCode.OK
    assert client.state() == before


def test_a_profile_by_its_name(client: Client) -> None:
    client.write_profile(login={"user": "ada", "group": "Staff"})
    existed = SYSTEM_PROFILES.is_dir()
    SYSTEM_PROFILES.mkdir(exist_ok=True)
    installed = SYSTEM_PROFILES / client.profile.name
    installed.write_text(client.profile.read_text())
    try:
        done = client.anyike("connect", installed.stem, "--non-inter")
    finally:
        installed.unlink()
        if not existed:
            with suppress(OSError):  # another run of these tests has a profile there
                SYSTEM_PROFILES.rmdir()
    assert "gateway verified" in done.stdout
    assert "main:password" in done.stderr
    assert done.returncode == ExitCode.LOGIN_FAILED


def test_in_the_background_and_quiet(rig: Rig, client: Client) -> None:
    before = client.state()
    starter = client.start("--user", "ada", "-b", "-q", "--pid-file", client.pid_file, password="secret")
    assert starter.end() == ExitCode.OK
    assert starter.output == ""
    pid = int(client.pid_file.read_text())
    assert pid != starter.pid
    client.run("ping", "-c", "1", "-W", "5", "10.77.0.2")
    assert os.getsid(pid) == pid
    os.kill(pid, signal.SIGTERM)
    wait_gone(pid)
    assert not client.pid_file.exists()
    assert client.state() == before
    assert rig.gateway_sas() == ""


def test_a_login_that_fails_in_the_background_is_heard_of(rig: Rig, client: Client) -> None:
    status, shown = client.fail("-b", "--pid-file", client.pid_file, password="wrong")
    assert status == ExitCode.LOGIN_FAILED
    assert "Login failed." in shown
    assert not client.pid_file.exists()


@pytest.mark.parametrize("split_include", [("10.77.0.0/24",), ()])
def test_what_a_killed_client_left_is_cleaned_up(rig: Rig, client: Client, split_include: tuple[str, ...]) -> None:
    rig.configure(split_include=split_include)
    before = client.state()
    process = client.up()
    process.signal(signal.SIGKILL)
    process.end()
    assert client.state()["-4 rule show"] != before["-4 rule show"]
    done = client.anyike("cleanup", rig.name)
    assert (done.returncode, done.stderr) == (ExitCode.OK, "")
    assert "rules and routes were removed" in done.stdout
    assert {**client.state(), "files": []} == {**before, "files": []}


def test_the_next_connect_cleans_up_what_a_killed_client_left(rig: Rig, client: Client) -> None:
    before = client.state()
    process = client.up()
    process.signal(signal.SIGKILL)
    process.end()
    process = client.up()
    client.run("ping", "-c", "1", "-W", "5", "10.77.0.2")
    assert process.end(signal.SIGINT) == ExitCode.OK
    assert client.state() == before


def test_a_cleanup_leaves_a_live_tunnel_alone(rig: Rig, client: Client) -> None:
    process = client.up()
    during = client.state()
    assert "nothing was touched" in client.anyike("cleanup", rig.name).stdout
    assert client.state() == during
    assert process.end(signal.SIGINT) == ExitCode.OK


def test_the_interface_is_removed_by_somebody_else(rig: Rig, client: Client) -> None:
    before = client.state()
    process = client.up()
    client.run("ip", "link", "delete", "anyike0")
    assert process.end() == ExitCode.HOST_SETUP
    assert "was removed by somebody else" in process.output
    assert client.state() == before
    assert rig.gateway_sas() == ""


def test_an_interface_name_that_is_taken(rig: Rig, client: Client) -> None:
    before = client.state()
    status, shown = client.fail("--interface", "uplink")
    assert status == ExitCode.HOST_SETUP
    assert "uplink" in shown
    assert client.state() == before
    assert rig.radius_log() == []


@pytest.mark.parametrize("program", [AS_NOBODY, WITHOUT_NET_ADMIN], ids=["nobody", "without CAP_NET_ADMIN"])
def test_missing_privilege(client: Client, program: tuple[str | Path, ...]) -> None:
    before = client.state()
    RUNTIME.mkdir(exist_ok=True)
    client.profile.parent.chmod(0o755)
    status, shown = client.fail(program=program)
    assert status == ExitCode.PRIVILEGE
    assert "as root" in shown
    assert client.state() == before


def test_an_identity_that_the_gateway_does_not_know(rig: Rig, client: Client) -> None:
    status, shown = client.fail(ike={"local_id": {"type": "key-id", "value": "nobody"}})
    assert status == ExitCode.REFUSED
    assert "AUTHENTICATION_FAILED" in shown
    assert "ike.local_id" in shown
    assert rig.gateway_sas() == ""


def test_a_faulty_profile(client: Client) -> None:
    status, shown = client.fail(tunnel={"mtu": 42, "colour": "blue"})
    assert status == ExitCode.CONFIGURATION
    assert f"{client.profile}: tunnel.mtu = 42" in shown
    assert "tunnel.colour is not a setting" in shown


def test_a_profile_that_is_not_there(client: Client) -> None:
    done = client.anyike("connect", "-c", client.profile.with_name("none.toml"))
    assert done.returncode == ExitCode.CONFIGURATION
    assert "there is no such file" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--mtu", "42"), "--mtu 42"),
        (("--servercert", "sha1:00"), "--servercert"),
        (("--password", "secret"), "--password"),
    ],
)
def test_a_faulty_command_line(client: Client, arguments: tuple[str, ...], words: str) -> None:
    status, shown = client.fail(*arguments)
    assert status == ExitCode.USAGE
    assert words in shown


def test_without_anything_to_connect_to(client: Client) -> None:
    done = client.anyike("connect")
    assert done.returncode == ExitCode.USAGE
    assert "say what to connect to" in done.stderr
