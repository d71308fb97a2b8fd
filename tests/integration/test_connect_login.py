"""The login as the user sees it: options, questions, the gateway's words, and how often it may be tried."""

from __future__ import annotations

import re
import signal

import pytest
from client import Client
from rig import Rig

from anyike.errors import ExitCode

INTERRUPT = "\x03"


def outcomes(rig: Rig) -> list[str]:
    """What became of the forms that were filled in."""
    return [step["outcome"] for step in rig.radius_log() if step["type"] == "auth-reply"]


def assert_told_that_we_left(rig: Rig) -> None:
    """charon acknowledges it, but keeps its half of an unfinished login for some seconds more."""
    assert re.search(r"parsed INFORMATIONAL request \d+ \[ N\(AUTH_FAILED\) \]", rig.charon_log())


def test_name_group_and_password_are_given(rig: Rig, client: Client) -> None:
    process = client.start("--user", "grace", "--authgroup", "Lab", "-vv", password="p<ss & wörd")
    process.wait_up()
    assert "wörd" not in process.output
    *_, reply, complete, ack = rig.radius_log()
    assert (reply["user"], reply["group"], reply["outcome"]) == ("grace", "Lab", "right password")
    assert (complete["type"], ack["outcome"]) == ("complete", "accepted")
    stages = ["resolving", "IKE_SA_INIT", "gateway verified", "login", "tunnel"]
    begun = re.findall(rf"(?m)^ *[0-9.]+ s  ({'|'.join(stages)})  ", process.output)
    assert list(dict.fromkeys(begun)) == stages
    assert process.end(signal.SIGINT) == ExitCode.OK


def test_questions_at_a_terminal(rig: Rig, client: Client) -> None:
    process = client.start(terminal=True, login={"group": None})
    process.answer("Number or name [Staff]: ", "lab")
    process.answer("Username: ", "ada")
    process.answer("Password: ", "secret")
    shown = process.wait_up()
    assert "1) Staff\n" in shown
    assert "Please enter your username and password." in shown
    assert "Username: ada\n" in shown
    assert "secret" not in shown
    assert process.echoes
    assert rig.radius_log()[-1]["group"] == "Lab"
    process.write(INTERRUPT)
    assert process.end() == ExitCode.OK
    assert rig.gateway_sas() == ""


def test_an_interrupt_at_the_password_leaves_nothing(rig: Rig, client: Client) -> None:
    before = client.state()
    process = client.start("--user", "ada", terminal=True)
    process.wait_for("Password: ")
    assert not process.echoes
    process.write(INTERRUPT)
    assert process.end() == ExitCode.INTERRUPTED
    assert process.echoes
    assert "interrupted" in process.output
    assert client.state() == before
    assert_told_that_we_left(rig)
    assert outcomes(rig) == []


def test_a_wrong_password_then_the_right_one(rig: Rig, client: Client) -> None:
    process = client.start("--user", "ada", terminal=True)
    process.answer("Password: ", "wrong")
    process.wait_for("Login failed.")
    process.answer("Password: ", "secret")
    process.wait_up()
    assert outcomes(rig) == ["wrong password", "right password"]
    assert process.end(signal.SIGTERM) == ExitCode.OK


def test_the_gateway_ends_it_after_three_wrong_passwords(rig: Rig, client: Client) -> None:
    before = client.state()
    process = client.start("--user", "ada", terminal=True)
    for _ in range(3):
        process.answer("Password: ", "wrong")
    assert process.end() == ExitCode.LOGIN_FAILED
    assert "Too many failed logins for ada@example.com." in process.output
    assert outcomes(rig) == ["wrong password"] * 3
    assert client.state() == before
    assert_told_that_we_left(rig)


def test_we_end_it_after_three_wrong_passwords(rig: Rig, client: Client) -> None:
    rig.configure(attempts=9)
    process = client.start("--user", "ada", terminal=True)
    for _ in range(3):
        process.answer("Password: ", "wrong")
    assert process.end() == ExitCode.LOGIN_FAILED
    assert "3 times" in process.output
    assert process.output.rstrip().endswith("Login failed.")
    assert outcomes(rig) == ["wrong password"] * 3
    assert_told_that_we_left(rig)


def test_a_wrong_password_on_standard_input_is_tried_once(rig: Rig, client: Client) -> None:
    status, shown = client.fail(password="wrong")
    assert status == ExitCode.LOGIN_FAILED
    assert "rejected the answer from --passwd-on-stdin. The gateway says: Login failed." in shown
    assert outcomes(rig) == ["wrong password"]


def test_a_locked_user_sees_the_final_words(rig: Rig, client: Client) -> None:
    status, shown = client.fail("--user", "mallory")
    assert status == ExitCode.LOGIN_FAILED
    assert "Your account is locked. Call the help desk." in shown
    assert outcomes(rig) == ["locked"]


def test_a_one_time_code(rig: Rig, client: Client) -> None:
    process = client.start("--user", "alan", terminal=True)
    process.answer("Password: ", "enigma")
    process.wait_for("Enter the code 123456.")
    process.answer("Code: ", "000000")
    process.wait_for("That is not the code.")
    process.answer("Code: ", "123456")
    process.wait_up()
    assert outcomes(rig) == ["right password", "wrong code", "right code"]


def test_a_code_cannot_be_asked_for_without_a_terminal(client: Client) -> None:
    status, shown = client.fail("--user", "alan", password="enigma")
    assert status == ExitCode.LOGIN_FAILED
    assert "asks for 'Code'" in shown


@pytest.mark.parametrize("terminal", [True, False])
def test_nothing_is_asked_if_asking_is_forbidden(rig: Rig, client: Client, *, terminal: bool) -> None:
    status, shown = client.fail("--non-inter", password=None, terminal=terminal)
    assert status == ExitCode.LOGIN_FAILED
    assert "main:password" in shown
    assert "--non-inter" in shown
    assert outcomes(rig) == []
    assert_told_that_we_left(rig)


def test_a_group_that_is_not_there(rig: Rig, client: Client) -> None:
    status, shown = client.fail("--authgroup", "Nowhere")
    assert status == ExitCode.LOGIN_FAILED
    assert "There is no group Nowhere." in shown
    assert outcomes(rig) == []


def test_a_group_that_is_not_the_users(rig: Rig, client: Client) -> None:
    status, shown = client.fail("--user", "grace", "--authgroup", "Staff", password="p<ss & wörd")
    assert status == ExitCode.LOGIN_FAILED
    assert "Login failed." in shown


def test_a_gateway_that_would_like_a_certificate_takes_a_password(rig: Rig, client: Client) -> None:
    rig.configure(certificate_request=True)
    process = client.up()
    assert "going on without one: certificate.file (--certificate) is not set." in process.output
    assert rig.radius_log()[-1]["outcome"] == "accepted"
