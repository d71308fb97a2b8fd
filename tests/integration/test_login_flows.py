"""Everything that a gateway can ask through RADIUS, answered at a terminal and from scripts by the real command."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from anyike_process import UP, AnyikeProcess
from client import Client
from rig import Rig

from anyike.errors import ExitCode
from anyike.login.token_secret import TokenMode, parse_token_secret
from anyike.login.used_codes import UsedCodes
from anyike.paths import STATE

EVERY_GROUP = ("Staff", "Vault", "Kiosk", "Workshop")
TOTP_SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
HOTP_SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
OTHER_SECRET = "MFRGGZDFMZTWQ2LKMFRGGZDFMZTWQ2LK"
NEW_PASSWORD = "correct horse battery"
NEW_PIN = "57721"
SECRETS = ("crib", "frequency", "spanning", "bombe", "analytical", TOTP_SECRET, HOTP_SECRET, NEW_PASSWORD, NEW_PIN)
TIME_STEP = 30
TERMS = "Nobody may print this.\nWhoever goes on agrees."


@pytest.fixture(autouse=True)
def no_secret_is_shown(client: Client) -> Iterator[None]:
    """Whatever a test does, and however much is shown."""
    yield
    for process in client.processes:
        assert [secret for secret in SECRETS if secret in process.output] == []


@pytest.fixture(autouse=True)
def no_used_codes() -> Iterator[None]:
    """The gateway forgets which codes were used whenever it is configured; this machine has to, too."""
    forget_used_codes()
    yield
    forget_used_codes()


def forget_used_codes() -> None:
    """As if the tests' tokens were new here."""
    for mode, secret in ((TokenMode.TOTP, TOTP_SECRET), (TokenMode.HOTP, HOTP_SECRET), (TokenMode.HOTP, OTHER_SECRET)):
        UsedCodes(STATE, parse_token_secret(secret, mode).identifier).path.unlink(missing_ok=True)


def replies(rig: Rig) -> list[str]:
    """What became of the forms that were filled in."""
    return [step["outcome"] for step in rig.radius_log() if step["type"] in ("auth-reply", "mismatch")]


def assert_accepted(rig: Rig, process: AnyikeProcess) -> None:
    """The tunnel is up, the gateway has agreed to everything, and it ends well."""
    process.wait_up()
    assert rig.radius_log()[-1]["outcome"] == "accepted"
    process.signal(2)
    assert process.end() == ExitCode.OK


def secret_file(folder: Path, text: str) -> Path:
    """A file that only its owner can read."""
    file = folder / "secret"
    file.touch(mode=0o600)
    file.write_text(f"{text}\n")
    return file


# --- groups ---------------------------------------------------------------------------------------------------------


def test_a_group_that_asks_nobody_who_they_are(rig: Rig, client: Client) -> None:
    rig.configure(groups=EVERY_GROUP)
    process = client.start("--non-inter", login={"group": "Kiosk"})
    assert_accepted(rig, process)
    assert replies(rig) == ["nobody asked"]


def test_a_group_chosen_by_its_label_has_fields_of_its_own(rig: Rig, client: Client) -> None:
    rig.configure(groups=EVERY_GROUP)
    process = client.start(terminal=True, login={"group": None})
    process.answer("Number or name [Staff]: ", "workshop (badges & passcodes)")
    process.wait_for("Please enter what is on your badge.")
    process.answer("Badge name: ", "ada")
    process.answer("Passcode: ", "wrong")
    process.wait_for("Login failed.")
    process.answer("Badge name [ada]: ", "")
    process.answer("Passcode: ", "secret")
    assert_accepted(rig, process)
    assert "Username" not in process.output
    assert [step["group"] for step in rig.radius_log() if step["type"] == "init"] == ["Staff", "Workshop"]
    assert replies(rig) == ["wrong password", "right password"]


def test_fields_of_a_groups_own_from_a_script(rig: Rig, client: Client) -> None:
    rig.configure(groups=EVERY_GROUP)
    entry = ("-F", "main:badge=ada", "--authgroup", "Workshop", "--non-inter", "-vv")
    assert_accepted(rig, client.start(*entry, password="secret"))
    assert [step["group"] for step in rig.radius_log() if step["type"] == "init"] == ["Workshop"]


def test_the_options_entry_counts_before_the_profiles(rig: Rig, client: Client) -> None:
    rig.configure(groups=EVERY_GROUP)
    login = {"group": "Workshop", "form_entries": ["main:badge=nobody"]}
    process = client.start("--form-entry", "main:badge=ada", "--non-inter", password="secret", login=login)
    assert_accepted(rig, process)


def test_an_entry_for_a_password_is_refused(rig: Rig, client: Client) -> None:
    status, shown = client.fail("-F", "main:password=hush", "--non-inter", password=None)
    assert status == ExitCode.LOGIN_FAILED
    assert "main:password" in shown
    assert "--passwd-on-stdin" in shown
    assert "hush" not in shown
    assert replies(rig) == []


def test_a_list_of_groups_that_nearly_fills_one_packet(rig: Rig, client: Client) -> None:
    offices = tuple(f"Office {number:02}" for number in range(1, 96))
    rig.configure(groups=offices, login_text=0)
    process = client.start("--user", "ada", terminal=True, login={"group": None})
    process.answer("Number or name [Office 01]: ", "95")
    process.answer("Password: ", "secret")
    assert_accepted(rig, process)
    assert "  95) Office 95\n" in process.output
    assert rig.radius_log()[-1]["group"] == "Office 95"


# --- a second login in the same form --------------------------------------------------------------------------------


def test_a_second_name_and_password(rig: Rig, client: Client) -> None:
    rig.configure(groups=EVERY_GROUP)
    process = client.start("--user", "ada", "--authgroup", "Vault", terminal=True)
    process.answer("Password: ", "secret")
    process.answer("Vault username: ", "countess")
    process.wait_for("Vault password: ")
    assert not process.echoes
    process.answer("Vault password: ", "wrong")
    process.wait_for("The second login of ada to the group Vault failed.")
    process.answer("Password: ", "secret")
    process.answer("Vault username [countess]: ", "")
    process.answer("Vault password: ", "analytical")
    assert_accepted(rig, process)
    assert replies(rig) == ["wrong second factor", "right second factor"]


def test_a_second_name_and_password_from_a_script(rig: Rig, client: Client) -> None:
    rig.configure(groups=EVERY_GROUP)
    given = ("--user", "ada", "--authgroup", "Vault", "-F", "main:secondary_username=countess", "--non-inter")
    assert_accepted(rig, client.start(*given, "-vv", password="secret\nanalytical"))


def test_what_is_missing_of_a_second_login_is_named(rig: Rig, client: Client) -> None:
    rig.configure(groups=EVERY_GROUP)
    status, shown = client.fail("--authgroup", "Vault", "--non-inter")
    assert status == ExitCode.LOGIN_FAILED
    assert "main:secondary_username" in shown
    assert "main:secondary_password" in shown
    assert replies(rig) == []


# --- challenges -----------------------------------------------------------------------------------------------------


def test_rounds_of_challenges_each_with_its_own_message(rig: Rig, client: Client) -> None:
    process = client.start("--user", "joan", terminal=True)
    process.answer("Password: ", "crib")
    process.wait_for("Round 1: enter the code 271828.")
    process.answer("Code: ", "271828")
    process.wait_for("Round 2: enter the code 314159.")
    process.answer("Code: ", "000000")
    process.wait_for("That is not the code.")
    process.answer("Code: ", "314159")
    process.wait_for("Round 3: enter the code 161803.")
    process.answer("Code: ", "161803")
    assert_accepted(rig, process)
    assert replies(rig) == ["right password", "right code", "wrong code", "right code", "right code"]


def test_each_line_of_standard_input_answers_one_challenge(rig: Rig, client: Client) -> None:
    process = client.start("--user", "joan", "--non-inter", "-vv", password="crib\n271828\n314159\n161803")
    assert_accepted(rig, process)


def test_standard_input_ends_before_the_last_challenge(rig: Rig, client: Client) -> None:
    status, shown = client.fail("--user", "joan", "--non-inter", password="crib\n271828")
    assert status == ExitCode.LOGIN_FAILED
    assert "--passwd-on-stdin" in shown
    assert "Round 2: enter the code 314159." in shown
    assert replies(rig) == ["right password", "right code"]


# --- tokens ---------------------------------------------------------------------------------------------------------


def test_time_based_codes_are_never_given_twice(rig: Rig, client: Client, tmp_path: Path) -> None:
    token = ("--token-mode", "totp", "--token-secret", f"@{secret_file(tmp_path, TOTP_SECRET)}")
    for _ in range(2):
        process = client.start("--user", "hedy", *token, "--non-inter", "-vv", password="frequency")
        process.wait_for(UP, limit=TIME_STEP + 20)
        assert_accepted(rig, process)
    assert replies(rig) == ["right password", "right code"] * 2


def test_a_time_based_code_as_the_second_password(rig: Rig, client: Client, tmp_path: Path) -> None:
    rig.configure(groups=EVERY_GROUP)
    token = {"mode": "totp", "secret_command": ["cat", str(secret_file(tmp_path, TOTP_SECRET))]}
    given = ("--user", "hedy", "--authgroup", "Vault", "-F", "main:secondary_username=hedwig", "--non-inter")
    process = client.start(*given, "-vv", password="frequency", token=token)
    process.wait_for(UP, limit=TIME_STEP + 20)
    assert_accepted(rig, process)
    assert replies(rig) == ["right code"]


def test_counter_based_codes_are_never_given_twice(rig: Rig, client: Client, tmp_path: Path) -> None:
    token = ("--token-mode", "hotp", "--token-secret", f"@{secret_file(tmp_path, HOTP_SECRET)}")
    for _ in range(3):
        process = client.start("--user", "radia", *token, "--non-inter", "-vv", password="spanning")
        assert_accepted(rig, process)
    assert replies(rig) == ["right password", "right code"] * 3


def test_after_a_code_that_was_rejected_comes_a_new_one(rig: Rig, client: Client, tmp_path: Path) -> None:
    token = {"mode": "hotp", "secret_file": str(secret_file(tmp_path, HOTP_SECRET))}
    for _ in range(2):
        forget_used_codes()
        process = client.start("--user", "radia", "--non-inter", "-vv", password="spanning", token=token)
        assert_accepted(rig, process)
    assert replies(rig) == ["right password", "right code", "right password", "used code", "right code"]


def test_a_token_that_is_not_the_users_is_not_tried_for_ever(rig: Rig, client: Client, tmp_path: Path) -> None:
    rig.configure(attempts=9)
    token = ("--token-mode", "hotp", "--token-secret", f"@{secret_file(tmp_path, OTHER_SECRET)}")
    status, shown = client.fail("--user", "radia", *token, "--non-inter", password="spanning")
    assert status == ExitCode.LOGIN_FAILED
    assert "The token of radia shows another code." in shown
    assert replies(rig) == ["right password", "wrong code", "wrong code"]


# --- new PINs and passwords -----------------------------------------------------------------------------------------


def test_a_new_pin_is_chosen_and_used(rig: Rig, client: Client) -> None:
    process = client.start("--user", "dorothy", terminal=True)
    process.answer("Password: ", "bombe")
    process.wait_for("Choose a PIN of 4 to 8 digits.")
    process.answer("New PIN: ", NEW_PIN)
    process.answer("New PIN again: ", "57722")
    process.wait_for("The two entries are not the same.")
    process.answer("New PIN: ", "123")
    process.answer("New PIN again: ", "123")
    process.wait_for("A PIN has 4 to 8 digits.")
    process.answer("New PIN: ", NEW_PIN)
    process.answer("New PIN again: ", NEW_PIN)
    assert_accepted(rig, process)
    assert_accepted(rig, client.start("--user", "dorothy", "--non-inter", "-vv", password=f"bombe\n{NEW_PIN}"))
    assert replies(rig) == ["right password", "bad PIN", "PIN chosen", "right password", "right PIN"]


def test_a_password_is_changed(rig: Rig, client: Client) -> None:
    process = client.start("--user", "edith", terminal=True)
    process.answer("Password: ", "secret")
    process.wait_for("Your password has expired. Choose a new one.")
    process.answer("New password: ", "secret")
    process.answer("New password again: ", "secret")
    process.wait_for("The new password of edith is the old one.")
    process.answer("New password: ", NEW_PASSWORD)
    process.answer("New password again: ", NEW_PASSWORD)
    assert_accepted(rig, process)
    status, shown = client.fail("--user", "edith", "--non-inter", password="secret")
    assert (status, "Login failed." in shown) == (ExitCode.LOGIN_FAILED, True)
    assert_accepted(rig, client.start("--user", "edith", "--non-inter", "-vv", password=NEW_PASSWORD))
    changed = ["right password", "same password", "password changed"]
    assert replies(rig) == [*changed, "wrong password", "right password"]


def test_the_gateway_forgets_a_changed_password_when_it_is_configured(rig: Rig, client: Client) -> None:
    for _ in range(2):
        process = client.start("--user", "edith", terminal=True)
        process.answer("Password: ", "secret")
        process.answer("New password: ", NEW_PASSWORD)
        process.answer("New password again: ", NEW_PASSWORD)
        assert_accepted(rig, process)
        rig.configure()


def test_a_password_is_changed_by_a_script(rig: Rig, client: Client, tmp_path: Path) -> None:
    source = {"command": ["cat", str(secret_file(tmp_path, NEW_PASSWORD))]}
    login = {"secrets": {"main:new_password": source}}
    assert_accepted(rig, client.start("--user", "edith", "--non-inter", "-vv", password="secret", login=login))
    assert replies(rig) == ["right password", "password changed"]


def test_a_new_password_is_never_taken_from_where_the_old_one_is(rig: Rig, client: Client) -> None:
    login = {"password_command": ["echo", "secret"]}
    status, shown = client.fail("--user", "edith", "--non-inter", password=None, login=login)
    assert status == ExitCode.LOGIN_FAILED
    assert "new_password" in shown
    assert replies(rig) == ["right password"]


# --- banners --------------------------------------------------------------------------------------------------------


def test_a_banner_is_accepted(rig: Rig, client: Client) -> None:
    rig.configure(terms=TERMS)
    process = client.start("--user", "ada", terminal=True)
    process.answer("Password: ", "secret")
    process.wait_for(TERMS)
    process.answer("Number or name: ", "accept")
    assert_accepted(rig, process)
    assert replies(rig) == ["right password", "banner accepted"]


def test_a_banner_is_declined(rig: Rig, client: Client) -> None:
    rig.configure(terms=TERMS)
    before = client.state()
    process = client.start("--user", "ada", terminal=True)
    process.answer("Password: ", "secret")
    process.answer("Number or name: ", "decline")
    assert process.end() == ExitCode.LOGIN_FAILED
    assert "The gateway's banner was not accepted." in process.output
    assert replies(rig) == ["right password"]
    assert client.state() == before


def test_a_banner_is_accepted_from_a_script(rig: Rig, client: Client) -> None:
    rig.configure(terms=TERMS)
    process = client.start("--user", "ada", "-F", "banner:accept=accept", "--non-inter", password="secret")
    assert_accepted(rig, process)


def test_nobody_accepts_a_banner_by_saying_nothing(rig: Rig, client: Client) -> None:
    rig.configure(terms=TERMS)
    status, shown = client.fail("--non-inter")
    assert status == ExitCode.LOGIN_FAILED
    assert "banner:accept" in shown
    assert replies(rig) == ["right password"]


def test_the_banner_of_the_finished_login_is_accepted_if_the_profile_wants_that(rig: Rig, client: Client) -> None:
    process = client.start("--user", "ada", terminal=True, login={"accept_banner": True})
    process.answer("Password: ", "secret")
    process.wait_for("Welcome to the anyike test gateway")
    process.answer("Number or name: ", "accept")
    process.wait_for("This network is for tests only")
    process.answer("Number or name", "accept")
    assert_accepted(rig, process)


# --- where passwords come from --------------------------------------------------------------------------------------


def test_a_command_gives_the_password(rig: Rig, client: Client) -> None:
    login = {"user": "joan", "password_command": ["echo", "crib"]}
    process = client.start("--non-inter", "-vv", login=login)
    process.wait_for("Round 1: enter the code 271828.")
    assert replies(rig) == ["right password"]


def test_the_command_is_not_asked_again_for_a_password_that_was_rejected(
    rig: Rig, client: Client, tmp_path: Path
) -> None:
    script = tmp_path / "password"
    script.write_text(f"#!/bin/sh\necho asked >> {tmp_path}/log\necho wrong\n")
    script.chmod(0o755)
    login = {"password_command": [str(script)]}
    status, shown = client.fail("--non-inter", password=None, login=login)
    assert status == ExitCode.LOGIN_FAILED
    assert "rejected the answer from login.password_command" in shown
    assert "Login failed." in shown
    assert (tmp_path / "log").read_text() == "asked\n"
    assert replies(rig) == ["wrong password"]


def test_the_command_runs_as_the_user_who_is_named(rig: Rig, client: Client) -> None:
    command = ["sh", "-c", 'test "$(id -un) $(id -Gn)" = "nobody nogroup" && echo secret']
    login = {"user": "ada", "password_command": command, "run_as": "nobody"}
    assert_accepted(rig, client.start("--non-inter", login=login))


def test_no_secret_is_in_the_arguments_or_the_environment_of_a_process(
    rig: Rig, client: Client, tmp_path: Path
) -> None:
    login = {"user": "joan", "password_command": ["cat", str(secret_file(tmp_path, "crib"))]}
    process = client.start(terminal=True, login=login)
    process.wait_for("Round 1: enter the code")
    for name in ("cmdline", "environ"):
        shown = Path(f"/proc/{process.pid}/{name}").read_bytes()
        assert shown
        assert b"crib" not in shown


def test_a_command_that_fails_says_why(rig: Rig, client: Client) -> None:
    login = {"password_command": ["sh", "-c", "echo analytical; echo the safe is locked >&2; exit 7"]}
    status, shown = client.fail("--non-inter", password=None, login=login)
    assert status == ExitCode.LOGIN_FAILED
    assert "login.password_command" in shown
    assert "the safe is locked" in shown
    assert replies(rig) == []


def test_a_credential_of_systemd_gives_the_password(
    rig: Rig, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    secret_file(tmp_path, "secret")
    login = {"user": "ada", "password_credential": "secret"}
    assert_accepted(rig, client.start("--non-inter", login=login))


def test_secrets_of_single_fields(rig: Rig, client: Client) -> None:
    rig.configure(groups=EVERY_GROUP)
    login = {
        "user": "ada",
        "group": "Vault",
        "form_entries": ["main:secondary_username=countess"],
        "password_command": ["echo", "secret"],
        "secrets": {"secondary_password": {"command": ["echo", "analytical"]}},
    }
    assert_accepted(rig, client.start("--non-inter", "-vv", login=login))


def test_interrupting_the_question_about_a_banner_accepts_nothing(rig: Rig, client: Client) -> None:
    """The configuration's banner comes when the tunnel stands at the gateway: it must not stand here by ^C."""
    rig.configure()
    before = client.state()
    process = client.start(terminal=True, login={"user": "ada", "accept_banner": True})
    process.answer("Password: ", "secret")
    process.answer("Number or name: ", "Accept")
    process.wait_for("This network is for tests only")
    process.wait_for("Number or name: ", after=process.output.index("This network is for tests only"))
    process.signal(signal.SIGINT)
    assert process.end() == ExitCode.INTERRUPTED
    assert " is up" not in process.output
    assert client.state() == before
