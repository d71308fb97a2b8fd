"""Logins with certificates (AnyConnect-EAP notes, section 6)."""

from __future__ import annotations

from tests.fakes.scenario import (
    PASSWORD,
    USERNAME,
    Ack,
    AuthReply,
    AuthRequest,
    Complete,
    Error,
    Hello,
    Init,
    Scenario,
    SecondCertificate,
)
from tests.scenarios.passwords import ADA, ADA_TYPES, ENTER

WITH_CERTIFICATE = frozenset({"certificate"})
REQUEST = AuthRequest(group=None, certificate=True)
"""The observed gateway sends no opaque with it."""

CERTIFICATE = Scenario(
    "certificate",
    "A certificate and nothing else: the observed login",
    (
        Hello(),
        Init(),
        REQUEST,
        Init(certificate=True),
        AuthRequest(authentication_complete=True),
        AuthReply(),
        Complete(),
        Ack(),
    ),
    needs=WITH_CERTIFICATE,
)

CERTIFICATE_AND_PASSWORD = Scenario(
    "certificate-and-password",
    "A certificate, then name and password",
    (
        Hello(),
        Init(),
        REQUEST,
        Init(certificate=True),
        AuthRequest(message=ENTER, form=(USERNAME, PASSWORD)),
        AuthReply(ADA),
        Complete(),
        Ack(),
    ),
    user=ADA_TYPES,
    needs=WITH_CERTIFICATE,
    guessed="the order of the two",
)

PASSWORD_INSTEAD = Scenario(
    "no-certificate",
    "The client has no certificate, and a password will do",
    (
        Hello(),
        Init(),
        REQUEST,
        Init(certificate_fails=True),
        AuthRequest(message=ENTER, form=(USERNAME, PASSWORD)),
        AuthReply(ADA),
        Complete(),
        Ack(),
    ),
    user=ADA_TYPES,
    guessed="<client-cert-fail/> is known from the same dialect over TLS",
)

CERTIFICATE_MISSING = Scenario(
    "certificate-missing",
    "The client has no certificate, and nothing else will do",
    (
        Hello(),
        Init(),
        REQUEST,
        Init(certificate_fails=True),
        AuthRequest(group=None, error=Error("Certificate Validation Failure")),
    ),
    ends="Certificate Validation Failure",
    guessed="<client-cert-fail/> is known from the same dialect over TLS, and so are the words of the error",
)

TWO_CERTIFICATES = Scenario(
    "two-certificates",
    "The machine's certificate as usual, then the user's, which signs the gateway's document",
    (
        Hello(),
        Init(),
        REQUEST,
        Init(certificate=True),
        AuthRequest(second_certificate=("sha256", "sha384", "sha512")),
        SecondCertificate(),
        Complete(),
        Ack(),
    ),
    needs=frozenset({"certificate", "user certificate"}),
    guessed="all of the second step is known from the same dialect over TLS, and nobody has seen it inside IKEv2",
)

ALL = (CERTIFICATE, CERTIFICATE_AND_PASSWORD, PASSWORD_INSTEAD, CERTIFICATE_MISSING, TWO_CERTIFICATES)
