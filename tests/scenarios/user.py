"""The user of a scenario, in process: answers every question of the login with what the scenario has for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pyotp

from anyike.eap.form import Answers, Field, FieldType, Form
from anyike.eap.question import (
    Answer,
    CertificateProof,
    CertificateUse,
    HostScan,
    HostScanDone,
    NoCertificate,
    ProofRequest,
    Question,
    SignOn,
    SignOnToken,
)
from tests.fakes import pki
from tests.fakes.link import User
from tests.fakes.one_time import SECRET
from tests.fakes.scenario import OneTime, Scenario
from tests.fakes.scenario_login import SIGN_ON_TOKEN


@dataclass
class ScenarioUser(User):
    """Types what the scenario says, in its order; an empty line keeps what the field has or was given before."""

    scenario: Scenario | None = None
    clock: Callable[[], float] = lambda: 0.0
    key_kind: str = "rsa"
    questions: list[Question] = field(default_factory=list)

    def __post_init__(self) -> None:
        assert self.scenario is not None
        self.left = list(self.scenario.user)
        self._kept: dict[str, str] = {}
        self._counter = -1

    def answer(self, question: Question) -> Answer:
        self.questions.append(question)
        match question:
            case Form():
                self.forms.append(question)
                return Answers({field.name: self._type(field) for field in question.fields if _is_asked(field)})
            case ProofRequest():
                return self._prove(question)
            case HostScan():
                self._need("host scan")
                return HostScanDone()
            case SignOn():
                self._need("sign-on")
                return SignOnToken(SIGN_ON_TOKEN)
        raise AssertionError(question)

    def _type(self, field: Field) -> str:
        assert self.left, f"{field.label} is asked, and the scenario's user has nothing more to say"
        label, value = self.left.pop(0)
        assert label == field.label
        if isinstance(value, OneTime):
            return self._code(value.mode)
        if field.type is FieldType.SELECT:
            return next(option.value for option in field.options if value in (option.label, option.value))
        if field.type is FieldType.TEXT:
            value = self._kept[field.name] = value or self._kept.get(field.name, field.value)
        return value

    def _code(self, mode: str) -> str:
        self._need(mode)
        if mode == "totp":
            return pyotp.TOTP(SECRET).at(int(self.clock()))
        self._counter += 1
        return pyotp.HOTP(SECRET).at(self._counter)

    def _prove(self, request: ProofRequest) -> CertificateProof | NoCertificate:
        second = request.use is CertificateUse.USER
        if ("user certificate" if second else "certificate") not in self.scenario.needs:
            return NoCertificate("there is none")
        credential = pki.client_credential("ada" if second else "machine", self.key_kind)
        chain = (credential.certificate, pki.intermediate().certificate)
        hash_name = request.hash_names[0]
        return CertificateProof(chain, credential.bare_signature(request.octets, hash_name), hash_name)

    def _need(self, what: str) -> None:
        assert what in self.scenario.needs, f"the client was asked for a {what}"


def _is_asked(field: Field) -> bool:
    return field.type is not FieldType.HIDDEN
