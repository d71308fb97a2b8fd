"""What settings become of a login."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from anyike.config import Settings
from anyike.eap.form import Field, FieldType, Form
from anyike.errors import ConfigurationError, LoginFailed
from anyike.login.form_entries import parse_form_entry
from anyike.login_assembly import respondent

GATEWAY = {"gateway": {"host": "vpn.example.com"}}
PASSWORD = Field("password", FieldType.PASSWORD, "Password")


async def fill(fields, *, form="main", entries=(), **sections):
    answers = respondent(
        Settings.model_validate(GATEWAY | sections), console=None, entries=entries, secret_lines=None, tell=print
    )
    return dict((await answers.answer(Form(form, fields=tuple(fields)))).values)


async def test_user_and_password_command():
    login = {"user": "ada", "password_command": ["/bin/echo", "s3cret"]}
    fields = [Field("username", FieldType.TEXT, "User"), PASSWORD]
    assert await fill(fields, login=login) == {"username": "ada", "password": "s3cret"}


async def test_credentials_of_systemd_come_after_a_command(tmp_path, monkeypatch):
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    credential = tmp_path / "vpn"
    credential.write_text("from systemd\n")
    credential.chmod(0o400)
    assert await fill([PASSWORD], login={"password_credential": "vpn"}) == {"password": "from systemd"}
    both = {"password_credential": "vpn", "password_command": ["/bin/echo", "first"]}
    assert await fill([PASSWORD], login=both) == {"password": "first"}


async def test_the_command_line_wins_over_the_profile():
    field = Field("region", FieldType.TEXT, "Region")
    login = {"form_entries": ["main:region=EU"]}
    assert await fill([field], login=login) == {"region": "EU"}
    entry = parse_form_entry("main:region=US", "--form-entry")
    assert await fill([field], login=login, entries=[entry]) == {"region": "US"}


async def test_secrets_of_other_fields():
    field = Field("secondary_password", FieldType.PASSWORD, "Second password", second_factor=True)
    login = {"secrets": {"secondary_password": {"command": ["/bin/echo", "two"]}}}
    assert await fill([field], login=login) == {"secondary_password": "two"}


async def test_a_token_gives_codes(tmp_path, monkeypatch):
    monkeypatch.setattr("anyike.paths.STATE", tmp_path)
    secret = tmp_path / "secret"
    secret.write_text("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\n")
    secret.chmod(0o600)
    token = {"mode": "hotp", "secret_file": str(secret)}
    answer = Field("answer", FieldType.PASSWORD, "Code")
    # RFC 4226 appendix D, counters 0 and 1.
    assert await fill([answer], form="challenge", token=token) == {"answer": "755224"}
    assert await fill([answer], form="challenge", token=token) == {"answer": "287082"}


@pytest.mark.parametrize("sources", [{}, {"secret_command": ["/bin/true"], "secret_credential": "a"}])
async def test_a_token_has_one_secret(sources):
    with pytest.raises(ConfigurationError, match="exactly one place"):
        await fill([PASSWORD], token={"mode": "totp"} | sources)


async def test_who_is_not_root_runs_everything_as_themselves(monkeypatch):
    monkeypatch.setattr(os, "geteuid", os.getuid)
    login = {"password_command": ["/usr/bin/id", "-u"], "run_as": "nobody"}
    if os.getuid() == 0:
        login.pop("run_as")
    assert await fill([PASSWORD], login=login) == {"password": str(os.getuid())}


@pytest.mark.namespace
async def test_a_service_of_root_runs_them_as_the_user_that_is_named(monkeypatch):
    monkeypatch.delenv("SUDO_UID", raising=False)
    assert await fill([PASSWORD], login={"password_command": ["/usr/bin/id", "-u"], "run_as": "nobody"}) == {
        "password": "65534"
    }


@pytest.mark.namespace
async def test_under_sudo_they_run_as_who_called_whatever_a_profile_says(monkeypatch):
    monkeypatch.setenv("SUDO_UID", "65534")
    assert await fill([PASSWORD], login={"password_command": ["/usr/bin/id", "-u"], "run_as": "root"}) == {
        "password": "65534"
    }


async def test_what_is_missing_is_named():
    with pytest.raises(LoginFailed, match="main:password"):
        await fill([PASSWORD])


def test_a_relative_certificate_is_beside_the_profile():
    settings = Settings.model_validate(
        GATEWAY | {"certificate": {"file": "ada.pem", "key": "pkcs11:token=ada"}},
        context={"directory": Path("/etc/anyike")},
    )
    assert (settings.certificate.file, settings.certificate.key) == ("/etc/anyike/ada.pem", "pkcs11:token=ada")
