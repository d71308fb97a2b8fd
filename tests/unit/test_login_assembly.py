"""What settings become of a login."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from anyike.config import Settings
from anyike.eap.form import Field, FieldType, Form
from anyike.eap.question import CertificateProof, CertificateUse, ProofRequest, SignOn
from anyike.errors import ConfigurationError, LoginFailed
from anyike.login.form_entries import parse_form_entry
from anyike.login_assembly import respondent
from tests.fakes import pki
from tests.unit.openssl import openssl
from tests.unit.pseudo_terminal import person_at_a_terminal

GATEWAY = {"gateway": {"host": "vpn.example.com"}}
PASSWORD = Field("password", FieldType.PASSWORD, "Password")


async def fill(fields, *, form="main", entries=(), **sections):
    answers = respondent(
        Settings.model_validate(GATEWAY | sections),
        console=None,
        entries=entries,
        secret_lines=None,
        tell=print,
        kept={},
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


async def test_what_runs_while_nobody_is_asked_has_no_way_to_ask(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":0")
    login = {"password_command": ["/bin/sh", "-c", "echo display is ${DISPLAY-unset}"]}
    assert await fill([PASSWORD], login=login) == {"password": "display is unset"}
    settings = Settings.model_validate(GATEWAY | {"login": login})
    with person_at_a_terminal() as person:
        asked = respondent(settings, console=person.console, entries=(), secret_lines=None, tell=print)
        assert (await asked.answer(Form("main", fields=(PASSWORD,)))).values == {"password": "display is :0"}


async def test_each_certificate_has_a_pass_phrase_of_its_own(tmp_path, monkeypatch):
    """Neither is tried on the other's key, whichever is asked for first."""
    certificate = {}
    for setting, use in (("", "machine"), ("user_", "ada")):
        key, file = tmp_path / f"{use}.key", tmp_path / f"{use}.pem"
        openssl("req", "-x509", "-newkey", "rsa:2048", "-passout", f"pass:{use} phrase", "-keyout", key, "-out", file,
                "-days", "90", "-subj", f"/CN={use}")  # fmt: skip
        key.chmod(0o600)
        certificate |= {f"{setting}file": str(file), f"{setting}key": str(key)}
        script = f"echo once >> {tmp_path}/{use}.read; echo {use} phrase"
        certificate[f"{setting}pass_phrase_command"] = ["/bin/sh", "-c", script]
    settings = Settings.model_validate(GATEWAY | {"certificate": certificate})
    asked = respondent(settings, console=None, entries=(), secret_lines=None, tell=print)
    for use in (CertificateUse.USER, CertificateUse.CLIENT):
        assert isinstance(await asked.answer(ProofRequest(b"octets", ("sha256",), use)), CertificateProof)
    assert [(tmp_path / f"{use}.read").read_text() for use in ("machine", "ada")] == ["once\n"] * 2
    del certificate["user_pass_phrase_command"]
    settings = Settings.model_validate(GATEWAY | {"certificate": certificate})
    asked = respondent(settings, console=None, entries=(), secret_lines=None, tell=print)
    with pytest.raises(LoginFailed, match=r"ada\.key' is needed, and there is no terminal"):
        await asked.answer(ProofRequest(b"octets", ("sha256",), CertificateUse.USER))


@pytest.mark.parametrize(
    ("gateway", "sign_on", "reason"),
    [
        ({}, {"browser": "chromium"}, "neither vpn.example.com, which was connected to, nor a name in its certificate"),
        ({"servercert": [f"pin-sha256:{'A' * 43}="]}, {"browser": "chromium"}, "its certificate is accepted by a pin"),
        ({}, {"browser": "chromium", "chromium": "/nowhere", "final_hosts": ["idp.example"]}, "/nowhere"),
        ({}, {"final_hosts": ["idp.example"]}, "there is no terminal to ask on"),
    ],
)
async def test_where_a_sign_on_may_end(gateway, sign_on, reason):
    settings = Settings.model_validate({"gateway": GATEWAY["gateway"] | gateway, "sign_on": sign_on})
    asked = respondent(settings, console=None, entries=(), secret_lines=None, tell=print)
    asked.meet("vpn.example.com", pki.gateway_credential(now=datetime.now(UTC)).certificate)
    question = SignOn("https://vpn.example.com/", "https://idp.example/", "session", "", "")
    with pytest.raises(LoginFailed, match=reason):
        await asked.answer(question)


async def test_what_is_missing_is_named():
    with pytest.raises(LoginFailed, match="main:password"):
        await fill([PASSWORD])


def test_a_relative_certificate_is_beside_the_profile():
    settings = Settings.model_validate(
        GATEWAY | {"certificate": {"file": "ada.pem", "key": "pkcs11:token=ada"}},
        context={"directory": Path("/etc/anyike")},
    )
    assert (settings.certificate.file, settings.certificate.key) == ("/etc/anyike/ada.pem", "pkcs11:token=ada")
