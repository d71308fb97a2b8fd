"""The table of what a gateway's messages may hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyike.ikev2.constants import ConfigurationType, ExchangeType, NotifyType, ProtocolId
from anyike.ikev2.message import InvalidMajorVersion, InvalidSyntax, UnsupportedCriticalPayload
from anyike.ikev2.payloads import (
    Authentication,
    Certificate,
    CertificateRequest,
    Configuration,
    Delete,
    Eap,
    IdInitiator,
    IdResponder,
    KeyExchange,
    Nonce,
    Notify,
    SecurityAssociation,
    TsInitiator,
    TsResponder,
    UnknownPayload,
    VendorId,
)
from anyike.ikev2.rules import RULES, check, notify_for
from anyike.wire import DecodeError
from tests.unit.ikev2.samples import chains

SA = SecurityAssociation(())
KE = KeyExchange(14, b"")
NONCE = Nonce(bytes(32))
IDR = IdResponder(2, b"")
CERT = Certificate(4, b"")
AUTH = Authentication(1, b"")
EAP = Eap(b"")
CP = Configuration(ConfigurationType.CFG_REPLY, ())
TSI, TSR = TsInitiator(()), TsResponder(())
DELETE = Delete(ProtocolId.IKE, ())
ERROR = Notify(NotifyType.NO_PROPOSAL_CHOSEN)

LEGAL = [
    (ExchangeType.IKE_SA_INIT, True, [SA, KE, NONCE]),
    (ExchangeType.IKE_SA_INIT, True, [SA, KE, NONCE, CertificateRequest(4, b""), CertificateRequest(12, b"")]),
    (ExchangeType.IKE_SA_INIT, True, [Notify(NotifyType.COOKIE, b"c")]),
    (ExchangeType.IKE_SA_INIT, True, [ERROR]),
    (ExchangeType.IKE_AUTH, True, [IDR, CERT, CERT, CERT, AUTH, EAP]),
    (ExchangeType.IKE_AUTH, True, [EAP]),
    (ExchangeType.IKE_AUTH, True, [AUTH, CP, SA, TSI, TSR]),
    (ExchangeType.IKE_AUTH, True, [AUTH, Notify(NotifyType.TS_UNACCEPTABLE)]),
    (ExchangeType.IKE_AUTH, True, [ERROR]),
    (ExchangeType.IKE_AUTH, True, []),
    (ExchangeType.CREATE_CHILD_SA, False, [SA, NONCE, KE, TSI, TSR]),
    (ExchangeType.CREATE_CHILD_SA, False, [SA, NONCE, KE]),
    (ExchangeType.CREATE_CHILD_SA, True, [SA, NONCE, KE, TSI, TSR]),
    (ExchangeType.CREATE_CHILD_SA, True, [SA, NONCE, KE]),
    (ExchangeType.CREATE_CHILD_SA, True, [ERROR]),
    (ExchangeType.INFORMATIONAL, False, []),
    (ExchangeType.INFORMATIONAL, False, [DELETE, Delete(ProtocolId.ESP, (bytes(4),))]),
    (ExchangeType.INFORMATIONAL, True, [DELETE]),
    (ExchangeType.INFORMATIONAL, True, [CP]),
]
ILLEGAL = [
    (ExchangeType.IKE_SA_INIT, True, [SA, KE, NONCE, NONCE], "Nonce stands in this message 2 times"),
    (ExchangeType.IKE_SA_INIT, True, [SA, SA, KE, NONCE], "SecurityAssociation stands"),
    (ExchangeType.IKE_SA_INIT, True, [SA, KE, NONCE, AUTH], "Authentication has no place"),
    (ExchangeType.IKE_SA_INIT, True, [SA, KE, NONCE, CP], "Configuration has no place"),
    (ExchangeType.IKE_AUTH, True, [IdInitiator(2, b""), AUTH], "IdInitiator has no place"),
    (ExchangeType.IKE_AUTH, True, [AUTH, AUTH], "Authentication stands"),
    (ExchangeType.IKE_AUTH, True, [EAP, EAP], "Eap stands"),
    (ExchangeType.IKE_AUTH, True, [AUTH, KE], "KeyExchange has no place"),
    (ExchangeType.IKE_AUTH, True, [AUTH, DELETE], "Delete has no place"),
    (ExchangeType.IKE_AUTH, False, [AUTH], "no IKE_AUTH request"),
    (ExchangeType.IKE_SA_INIT, False, [SA, KE, NONCE], "no IKE_SA_INIT request"),
    (ExchangeType.CREATE_CHILD_SA, False, [SA], "NONCE is missing"),
    (ExchangeType.CREATE_CHILD_SA, False, [NONCE], "SA is missing"),
    (ExchangeType.CREATE_CHILD_SA, False, [SA, NONCE, EAP], "Eap has no place"),
    (ExchangeType.CREATE_CHILD_SA, True, [SA, SA, NONCE], "SecurityAssociation stands"),
    (ExchangeType.CREATE_CHILD_SA, True, [SA, NONCE, IDR], "IdResponder has no place"),
    (ExchangeType.INFORMATIONAL, False, [AUTH], "Authentication has no place"),
    (ExchangeType.INFORMATIONAL, True, [SA], "SecurityAssociation has no place"),
    (43, True, [], "no 43 response"),
]


@pytest.mark.parametrize(("exchange", "is_response", "payloads"), LEGAL)
@pytest.mark.parametrize("more", [[], [Notify(40963), VendorId(b"v"), UnknownPayload(200, b""), Notify(40963)]])
def test_legal(exchange, is_response, payloads, more):
    """In any order: RFC 7296 2.5 lets the order of payloads vary."""
    assert (exchange, is_response) in RULES
    check(exchange, [*more, *payloads], is_response=is_response)
    check(exchange, [*reversed(payloads), *more], is_response=is_response)


@pytest.mark.parametrize(("exchange", "is_response", "payloads", "reason"), ILLEGAL)
def test_illegal(exchange, is_response, payloads, reason):
    with pytest.raises(InvalidSyntax, match=reason) as caught:
        check(exchange, payloads, is_response=is_response)
    assert notify_for(caught.value) == Notify(NotifyType.INVALID_SYNTAX)


def test_every_row_has_a_legal_example():
    assert {(exchange, is_response) for exchange, is_response, _ in LEGAL} == set(RULES)


@given(st.integers(30, 45), st.booleans(), chains)
def test_any_message_is_legal_or_a_decode_error(exchange, is_response, payloads):
    try:
        check(exchange, payloads, is_response=is_response)
    except DecodeError:
        return
    assert (exchange, is_response) in RULES
    assert {p.TYPE for p in payloads if not isinstance(p, UnknownPayload)} <= {41, 43, *RULES[exchange, is_response]}


@pytest.mark.parametrize(
    ("error", "notify"),
    [
        (UnsupportedCriticalPayload(200, 0), Notify(NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD, b"\xc8")),
        (InvalidMajorVersion("IKE version 1"), Notify(NotifyType.INVALID_MAJOR_VERSION)),
        (InvalidSyntax("odd"), Notify(NotifyType.INVALID_SYNTAX)),
        (DecodeError("cut short"), Notify(NotifyType.INVALID_SYNTAX)),
    ],
)
def test_what_the_sender_is_told(error, notify):
    assert notify_for(error) == notify
