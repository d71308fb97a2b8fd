"""Which part answers which question, and what it is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from anyike.eap.form import Field, FieldType, Form
from anyike.eap.question import (
    CertificateProof,
    CertificateUse,
    HostScan,
    HostScanDone,
    NoCertificate,
    ProofRequest,
    SignOn,
    SignOnToken,
)
from anyike.errors import LoginFailed
from anyike.invoking_user import invoking_user
from anyike.login.client_certificate import CertificateSettings
from anyike.login.form_filler import FormFiller
from anyike.login.gateway_facts import GatewayFacts
from anyike.login.host_scan import Wrapper
from anyike.login.key_secrets import KeySecrets
from anyike.login.respondent import Respondent
from tests.fakes.pki import gateway_credential
from tests.unit.login.counting import Source
from tests.unit.openssl import openssl

PROOF = ProofRequest(b"octets", ("sha256",))
SCAN = HostScan("T1", "K2", "/CACHE", "/wait", None, "Staff")
PASS_PHRASE = "k3y phrase"


def source(secret: str = PASS_PHRASE) -> Source:
    return Source("certificate.pass_phrase_command", secret)


async def no_browser(_question: SignOn, _gateway: GatewayFacts) -> SignOnToken:
    raise LoginFailed("no browser here")


def respondent(told: list[str] | None = None, **parts) -> Respondent:
    parts.setdefault("filler", FormFiller(console=None, user="ada"))
    defaults = {"certificates": {}, "wrapper": None, "sign_on": no_browser, "expiry_days": 30}
    return Respondent(**(defaults | parts), tell=(told if told is not None else []).append)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> CertificateSettings:
    """A certificate that ends in twelve days, its key under a pass phrase."""
    place: Path = tmp_path_factory.mktemp("pki")
    key, file = place / "ada.key", place / "ada.pem"
    openssl("req", "-x509", "-newkey", "rsa:2048", "-passout", f"pass:{PASS_PHRASE}", "-keyout", key, "-out", file,
            "-days", "12", "-subj", "/CN=ada")  # fmt: skip
    key.chmod(0o600)
    return CertificateSettings(str(file), str(key), invoking_user())


async def test_forms_are_filled():
    form = Form("main", fields=(Field("username", FieldType.TEXT, "User"),))
    assert (await respondent().answer(form)).values == {"username": "ada"}


def with_certificate(certificate: CertificateSettings, *sources: Source, told: list[str] | None = None) -> Respondent:
    filler = FormFiller(console=None)
    secrets = KeySecrets(sources, filler.ask_secret, attended=False)
    return respondent(told, certificates={CertificateUse.CLIENT: (certificate, secrets)})


async def test_a_sign_on_is_done():
    async def browser(question: SignOn, gateway: GatewayFacts) -> SignOnToken:
        return SignOnToken(f"{question.token_cookie} of {gateway.host}")

    question = SignOn("https://idp/", "https://gw/", "cookie", "", "")
    answers = respondent(sign_on=browser)
    answers.meet("vpn.example.com", b"certificate")
    assert await answers.answer(question) == SignOnToken("cookie of vpn.example.com")


class TestCertificates:
    @pytest.mark.parametrize(
        ("use", "setting"),
        [(CertificateUse.CLIENT, "certificate.file"), (CertificateUse.USER, "certificate.user_file")],
    )
    async def test_none_is_set(self, use, setting):
        answer = await respondent().answer(ProofRequest(b"octets", ("sha256",), use))
        assert isinstance(answer, NoCertificate)
        assert f"{setting}" in answer.reason
        assert answer.reason.endswith("is not set")

    async def test_the_pass_phrase_comes_from_its_source_once(self, certificate, tmp_path):
        command = source()
        answers = with_certificate(certificate, command)
        proof = await answers.answer(PROOF)
        again = await answers.answer(ProofRequest(b"other octets", ("sha384",)))
        assert isinstance(proof, CertificateProof)
        assert isinstance(again, CertificateProof)
        assert (command.reads, proof.hash_name, again.hash_name) == (1, "sha256", "sha384")
        (tmp_path / "octets").write_bytes(b"octets")
        (tmp_path / "signature").write_bytes(proof.signature)
        public = tmp_path / "public.pem"
        public.write_bytes(openssl("x509", "-in", certificate.file, "-noout", "-pubkey"))
        openssl("dgst", "-sha256", "-verify", public, "-signature", tmp_path / "signature", tmp_path / "octets")
        await answers.close()

    async def test_a_certificate_that_ends_soon_is_warned_of_once(self, certificate):
        told: list[str] = []
        answers = with_certificate(certificate, source(), told=told)
        await answers.answer(PROOF)
        await answers.answer(PROOF)
        end = (datetime.now(UTC) + timedelta(days=12)).date().isoformat()
        assert len(told) == 1
        assert told[0].startswith("warning: the client certificate CN=ada expires in 1")
        assert end in told[0]

    async def test_a_wrong_one_from_a_source_is_not_tried_again(self, certificate):
        command = source("wrong")
        answers = with_certificate(certificate, command)
        with pytest.raises(LoginFailed, match="no terminal to ask on"):
            await answers.answer(PROOF)
        assert command.reads == 1


class TestHostScan:
    async def test_nothing_is_set(self):
        answers = respondent()
        answers.meet("vpn.example.com", b"certificate")
        with pytest.raises(LoginFailed, match=r"host_scan\.wrapper or --csd-wrapper"):
            await answers.answer(SCAN)

    async def test_the_wrapper_hears_of_the_gateway(self, tmp_path):
        script, seen = tmp_path / "wrapper", tmp_path / "seen"
        script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$CSD_HOSTNAME" "$@" > {seen}\n')
        script.chmod(0o755)
        answers = respondent(wrapper=Wrapper(script, 10, invoking_user()))
        answers.meet("vpn.example.com", gateway_credential().certificate)
        assert await answers.answer(SCAN) == HostScanDone()
        words = seen.read_text().splitlines()
        assert words[0] == "vpn.example.com"
        assert '"https://vpn.example.com/CACHE"' in words
