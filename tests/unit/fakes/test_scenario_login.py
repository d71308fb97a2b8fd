"""The authenticator that plays scenarios, told by hand what a client may say."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from tests.fakes import pki
from tests.fakes.certificate_proof import Trust
from tests.fakes.dialect import ASA, IOS
from tests.fakes.eap import FAILURE, SUCCESS
from tests.fakes.gateway_documents import auth_request
from tests.fakes.one_time import hotp
from tests.fakes.scenario import AuthRequest, HostScan
from tests.fakes.scenario_login import SIGN_ON_TOKEN, Site
from tests.scenarios.catalogue import SCENARIOS
from tests.unit.fakes import golden
from tests.unit.fakes.client import ACCESS, ACK, INIT, Client, auth_reply, document
from tests.unit.fakes.test_certificate_proof import OCTETS, container

OPAQUE = ASA.opaque_of("Staff")
ADA = "<password>s3cret-of-ada</password><username>ada</username>"
SITE = Site(Trust(pki.authority().certificate, pki.NOW), clock=lambda: 59.0)


def at_the_form(name: str = "password") -> Client:
    client = Client(SCENARIOS[name], SITE, OCTETS)
    client.say(INIT)
    return client


def assert_ended(client: Client, words: str) -> None:
    """Refused for this reason, with EAP-Failure."""
    assert client.heard == bytes([FAILURE, client.identifier, 0, 4])
    assert client.login.get_result() is False
    (reason,) = client.login.deviations
    assert words in reason


def test_a_login_from_begin_to_end():
    client = Client(SCENARIOS["password"])
    assert client.login.identity == b"\xc9\0\0\0*$AnyConnectClient$*"
    assert b'type="hello"' in client.heard
    assert b'name="password"' in client.say(INIT)
    assert b'type="complete"' in client.say(auth_reply(OPAQUE, ADA))
    assert client.login.get_result() is None
    assert client.say(ACK) == bytes([SUCCESS, client.identifier, 0, 4])
    assert client.login.get_result() is True
    assert client.login.deviations == []
    client.login.end()
    assert client.login.ended


def test_the_form_comes_again_for_a_wrong_password_and_the_end_after_three():
    client = at_the_form()
    wrong = auth_reply(OPAQUE, "<password>nope</password><username>ada</username>")
    for _ in range(2):
        assert b'<error id="13" param1="ada" param2="">Login failed.</error>' in client.say(wrong)
        assert b"<form>" in client.heard
    assert b"Too many failed logins." in client.say(wrong)
    assert b"<form>" not in client.heard
    assert "auth/password is 'nope'" in client.login.deviations[0]


def test_the_right_password_after_a_wrong_one():
    client = at_the_form()
    client.say(auth_reply(OPAQUE, "<password>nope</password><username>ada</username>"))
    assert b'type="complete"' in client.say(auth_reply(OPAQUE, ADA))


@pytest.mark.parametrize(
    "said",
    [
        auth_reply("", ADA),
        auth_reply(OPAQUE.replace("Staff", "staff"), ADA),
        auth_reply(OPAQUE.replace("<tunnel-group>", " <tunnel-group>"), ADA),
        auth_reply(OPAQUE.replace('"', "'"), ADA),
    ],
    ids=["missing", "changed", "white space", "quotes"],
)
def test_the_opaque_element_has_to_come_back_as_it_was(said):
    client = at_the_form()
    client.say(said)
    assert_ended(client, "opaque")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (auth_reply(OPAQUE, "<password>s3cret-of-ada</password>"), "elements of auth: ['password']"),
        (auth_reply(OPAQUE, f"{ADA}<answer>1</answer>"), "elements of auth"),
        (auth_reply(OPAQUE, ADA, "<group-select>Staff</group-select>"), "elements"),
        (document("auth-reply", f"{OPAQUE}<auth>{ADA}</auth>"), "elements"),
        (document("auth-reply", f"<session-token/><session-id/>{OPAQUE}<auth>{ADA}</auth>"), "elements"),
        (document("init", f"{OPAQUE}{ACCESS}"), "type of the document: 'init'"),
        (ACK, "type of the document: 'ack'"),
        (auth_reply(OPAQUE, ADA).replace(b'client="vpn"', b'client="web"'), "root"),
        (auth_reply(OPAQUE, ADA).removesuffix(b"\n"), "not framed"),
        (auth_reply(OPAQUE, ADA) + b"\0", "not framed"),
        (auth_reply(OPAQUE, "<password>&nope;</password>"), "no XML"),
    ],
)
def test_replies_that_are_not_the_expected_one(said, words):
    client = at_the_form()
    client.say(said)
    assert_ended(client, words)


def test_other_tlvs_than_one_document():
    client = at_the_form()
    client.say(auth_reply(OPAQUE, ADA), (0, auth_reply(OPAQUE, ADA)))
    assert_ended(client, "TLVs: [0, 0], and [0] is expected")
    client = at_the_form()
    client.send(b"")
    assert_ended(client, "TLVs: []")


def test_an_identifier_that_is_not_echoed():
    client = at_the_form()
    client.say(auth_reply(OPAQUE, ADA), identifier=7)
    assert_ended(client, "identifier: 7, and 2 is expected")


# --- certificates --------------------------------------------------------------------------------------------------


def proof(octets: bytes = OCTETS) -> tuple[tuple[int, bytes], tuple[int, bytes]]:
    credential = pki.client_credential()
    chain = container(credential.certificate, pki.intermediate().certificate)
    return (3, chain), (1, credential.bare_signature(octets, "sha256"))


def test_a_proof_by_certificate():
    client = at_the_form("certificate")
    assert b"<client-cert-request/>" in client.heard
    assert b"<authentication-complete/>" in client.say(INIT, *proof())
    assert client.login.clients == ["ada"]
    assert b'type="complete"' in client.say(auth_reply(OPAQUE, ""))
    assert client.login.deviations == []


def test_a_proof_over_other_octets():
    client = at_the_form("certificate")
    client.say(INIT, *proof(OCTETS[:-1]))
    assert_ended(client, "does not fit the octets")
    assert client.login.clients == []


def test_a_proof_with_the_certificates_in_the_wrong_order():
    client = at_the_form("certificate")
    chain = container(pki.intermediate().certificate, pki.client_credential().certificate)
    client.say(INIT, (3, chain), proof()[1])
    assert_ended(client, "ada is no CA")


def test_the_tlvs_of_a_proof_have_an_order():
    client = at_the_form("certificate")
    client.say(INIT, *reversed(proof()))
    assert_ended(client, "TLVs: [1, 3, 0]")
    client = at_the_form("certificate")
    client.say(INIT)
    assert_ended(client, "TLVs: [0], and [3, 1, 0] is expected")


def test_no_certificate_is_said_in_words():
    client = at_the_form("no-certificate")
    client.say(document("init", ACCESS))
    assert_ended(client, "client-cert-fail")
    client = at_the_form("no-certificate")
    assert b"<form>" in client.say(document("init", ACCESS.replace("<cap", "<client-cert-fail/><cap")))


# --- the rest ------------------------------------------------------------------------------------------------------


def test_another_group_is_asked_for_with_the_opaque_of_the_first():
    client = at_the_form("other-group")
    client.say(document("init", f"<group-select>Lab</group-select>{ACCESS}"))
    assert_ended(client, "elements")
    client = at_the_form("other-group")
    form = client.say(document("init", f"{OPAQUE}<group-select>Lab</group-select>{ACCESS}"))
    assert b"<tunnel-group>Lab</tunnel-group>" in form
    badge = "<password>7391468205</password><username>4711</username>"
    client.say(auth_reply(OPAQUE, badge, "<group-select>Lab</group-select>"))
    assert_ended(client, "opaque")


def test_the_token_of_a_host_scan_has_to_come_back():
    reply = auth_reply(OPAQUE, ADA, "<host-scan-token>F880653271FE8E12485BD83F</host-scan-token>")
    client = at_the_form("host-scan-and-password")
    assert b'type="complete"' in client.say(reply)
    client = at_the_form("host-scan-and-password")
    client.say(reply.replace(b"F880", b"F881"))
    assert_ended(client, "host-scan-token")


def test_the_token_of_a_sign_on_has_to_come_back():
    client = at_the_form("sign-on")
    assert b"<sso-v2-token-cookie-name>acSamlv2Token</sso-v2-token-cookie-name>" in client.heard
    assert b'type="complete"' in client.say(auth_reply(OPAQUE, f"<sso-token>{SIGN_ON_TOKEN}</sso-token>"))


def test_a_one_time_code_is_taken_once():
    client = at_the_form("hotp")
    client.say(auth_reply(OPAQUE, ADA))
    code = auth_reply(OPAQUE, f"<password>{hotp(0)}</password>")
    assert b"One code is not enough." in client.say(code)
    assert b"Login failed." in client.say(code)
    assert b'type="complete"' in client.say(auth_reply(OPAQUE, f"<password>{hotp(1)}</password>"))


# --- dialects ------------------------------------------------------------------------------------------------------


def test_the_golden_documents_are_those_of_the_asa():
    """Without the element that only debug output shows."""
    seen = replace(ASA, version="", opaque=ASA.opaque.replace("1367268141499", "162340012345659"))
    assert seen.document("hello") == golden.DOCUMENTS[0]
    assert auth_request(seen, AuthRequest(group=None, certificate=True), "", "") == golden.DOCUMENTS[2]
    scan = AuthRequest(group="Tunnel-Group1", authentication_complete=True, host_scan=HostScan())
    assert auth_request(seen, scan, "", "") == golden.DOCUMENTS[4]


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_both_dialects_say_the_same_of_a_form(scenario):
    """The second writes it otherwise in every way that XML allows; opaque, version and csport are its own."""
    for said in scenario.dialogue:
        if isinstance(said, AuthRequest):
            first, second = (auth_request(dialect, said, "ada", "https://x/") for dialect in (ASA, IOS))
            assert first != second
            assert b"/>" not in second.replace(b"<x/>", b"")
            assert infoset(first) == infoset(second)


def infoset(data: bytes) -> list[object]:
    """Elements with attributes and text, in their order, without what a dialect has of its own."""
    root = ET.fromstring(data)
    own = {"opaque", "version", "csport"}
    elements = [element for child in root if child.tag not in own for element in child.iter()]
    return [
        (element.tag, element.tag == "error" or sorted(element.attrib.items()), told(element)) for element in elements
    ]


def told(element: ET.Element) -> str:
    standard = element.tag in ("banner", "error")
    return "" if standard else (element.text or "").strip()


def test_the_wildest_opaque_is_well_formed():
    root = ET.fromstring(IOS.opaque_of("Staff"))
    assert root.findtext("aaa-session") == "\n\t<id> & ]] >A&\n"
