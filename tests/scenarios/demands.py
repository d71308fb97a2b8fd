"""Logins that want more of the client's machine: a host scan, a browser."""

from __future__ import annotations

from tests.fakes.scenario import (
    PASSWORD,
    USERNAME,
    Ack,
    AuthReply,
    AuthRequest,
    Complete,
    Hello,
    HostScan,
    Init,
    Input,
    Scenario,
    SignedOn,
    SignOn,
)
from tests.scenarios.certificates import REQUEST
from tests.scenarios.passwords import ADA, ADA_TYPES, ENTER

SCAN = HostScan()

HOST_SCAN = Scenario(
    "host-scan",
    "A host scan beside authentication-complete, as in the observed login; its token comes back",
    (
        Hello(),
        Init(),
        REQUEST,
        Init(certificate=True),
        AuthRequest(authentication_complete=True, host_scan=SCAN),
        AuthReply(host_scan_token=SCAN.token),
        Complete(),
        Ack(),
    ),
    needs=frozenset({"certificate", "host scan"}),
)

HOST_SCAN_AND_PASSWORD = Scenario(
    "host-scan-and-password",
    "A host scan beside a form",
    (
        Hello(),
        Init(),
        AuthRequest(message=ENTER, form=(USERNAME, PASSWORD), host_scan=SCAN),
        AuthReply(ADA, host_scan_token=SCAN.token),
        Complete(),
        Ack(),
    ),
    user=ADA_TYPES,
    needs=frozenset({"host scan"}),
    guessed="that both may come together",
)

SIGN_ON = Scenario(
    "sign-on",
    "A single sign-on in a browser of the client's own; the token comes back",
    (
        Hello(),
        Init(),
        AuthRequest(
            message="Please complete the authentication process in the browser.",
            form=(Input("sso", "sso-token", "SSO"),),
            sign_on=SignOn(),
        ),
        SignedOn(),
        Complete(),
        Ack(),
    ),
    needs=frozenset({"sign-on"}),
    guessed="all of it is known from the same dialect over TLS, and nobody has seen it inside IKEv2",
)

ALL = (HOST_SCAN, HOST_SCAN_AND_PASSWORD, SIGN_ON)
