"""What a gateway can demand besides a form: certificates, a host scan, a single sign-on, a banner that is accepted."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from anyike.eap.method import Ask, EapContext
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
from tests.unit.eap_anyconnect.dialogue import (
    COMPLETE,
    DECLARATION,
    GROUPS,
    LOGIN_FIELDS,
    OPAQUE,
    SETTINGS,
    Dialogue,
    accepted,
    asked,
    error_of,
    login,
)

CERTIFICATE = b"<csport>443</csport><client-cert-request/>"
NONE = NoCertificate("none is configured")
PROOF = CertificateProof((b"\x30\x01a", b"\x30\x01b"), b"s" * 256, "sha384")
SCAN = (
    b"<host-scan><host-scan-ticket>T1</host-scan-ticket><host-scan-token>K2</host-scan-token>"
    b"<host-scan-base-uri>/CACHE</host-scan-base-uri><host-scan-wait-uri>/wait.html</host-scan-wait-uri></host-scan>"
)
SSO = (
    b"<sso-v2-login>https://idp/start</sso-v2-login><sso-v2-login-final>https://gw/final</sso-v2-login-final>"
    b"<sso-v2-token-cookie-name>acSamlv2Token</sso-v2-token-cookie-name>"
    b"<sso-v2-error-cookie-name>acSamlv2Error</sso-v2-error-cookie-name>"
)
SSO_FIELD = b'<input type="sso" name="sso-token"/>'
MULTIPLE = (
    b"<multiple-client-cert-request><hash-algorithm>sha256</hash-algorithm><hash-algorithm>sha512</hash-algorithm>"
    b"<hash-algorithm>md5</hash-algorithm></multiple-client-cert-request><random>F00</random><cert-authenticated/>"
)


@pytest.fixture
def dialogue():
    """A login that has come as far as the client's init."""
    begun = Dialogue()
    begun.context = EapContext(b"octets of the initiator", "sha384")
    assert begun.hello().type == "init"
    return begun


class TestCertificate:
    def test_the_octets_of_the_exchange_are_to_be_signed_with_the_hash_of_the_prf(self, dialogue):
        assert dialogue.says(CERTIFICATE) == Ask(ProofRequest(b"octets of the initiator", ("sha384",)))

    def test_certificates_signature_and_init_go_out_in_this_order(self, dialogue):
        dialogue.says(CERTIFICATE)
        reply = dialogue.given(PROOF)
        assert [number for number, _ in reply.tlvs] == [3, 1, 0]
        assert reply.tlvs[0][1].index(b"\x30\x01a") < reply.tlvs[0][1].index(b"\x30\x01b")
        assert reply.tlvs[1][1] == b"s" * 256
        assert (reply.type, "client-cert-fail" in reply.children) == ("init", False)

    def test_certificate_alone(self, dialogue):
        dialogue.says(CERTIFICATE)
        dialogue.given(PROOF)
        reply = dialogue.says(OPAQUE + b'<auth id="main"><authentication-complete/></auth>')
        assert (reply.type, reply.answers) == ("auth-reply", [])
        accepted(dialogue)

    def test_certificate_and_password(self, dialogue):
        dialogue.says(CERTIFICATE)
        dialogue.given(PROOF)
        assert asked(dialogue.says(login())) == ["username", "password"]

    def test_without_one_init_says_so_and_the_user_is_told(self, dialogue):
        dialogue.says(CERTIFICATE)
        reply = dialogue.given(NONE)
        assert (reply.type, [number for number, _ in reply.tlvs]) == ("init", [0])
        assert "client-cert-fail" in reply.children
        assert "going on without one: none is configured" in dialogue.peer.take_notices()[0]
        assert asked(dialogue.says(login())) == ["username", "password"]

    @pytest.mark.parametrize(
        ("answer", "words"), [(NONE, "none to send: none is configured"), (PROOF, "it was sent, and asked for again")]
    )
    def test_a_second_request_is_final(self, dialogue, answer, words):
        dialogue.says(CERTIFICATE)
        dialogue.given(answer)
        assert words in error_of(dialogue.says(CERTIFICATE), LoginFailed)

    def test_a_failure_without_a_reason_remembers_the_certificate(self, dialogue):
        dialogue.says(CERTIFICATE)
        dialogue.given(NONE)
        assert "none is configured" in error_of(dialogue.ends(4), LoginFailed)

    def test_every_group_may_ask_for_one(self, dialogue):
        dialogue.says(CERTIFICATE)
        dialogue.given(NONE)
        dialogue.says(login(LOGIN_FIELDS + GROUPS))
        dialogue.answers(group_list="Lab")
        dialogue.says(CERTIFICATE)
        reply = dialogue.given(PROOF)
        assert (reply.root.findtext("group-select"), len(reply.tlvs)) == ("Lab", 3)

    def test_more_than_a_packet_holds(self, dialogue):
        dialogue.says(CERTIFICATE)
        words = error_of(dialogue.given(replace(PROOF, chain=(b"c" * 60_000, b"c" * 6_000))), LoginFailed)
        assert "cannot be more than 65,535" in words


class TestSecondCertificate:
    @pytest.fixture
    def dialogue(self, dialogue):
        """A login that has proved the machine's certificate."""
        dialogue.says(CERTIFICATE)
        dialogue.given(PROOF)
        return dialogue

    def test_the_gateways_document_is_to_be_signed_with_the_best_hash_it_takes(self, dialogue):
        step = dialogue.says(MULTIPLE)
        document = (
            DECLARATION + b'<config-auth client="vpn" type="auth-request" aggregate-auth-version="2">%b</config-auth>\n'
        )
        assert step == Ask(ProofRequest(document % MULTIPLE, ("sha512", "sha256"), CertificateUse.USER))

    def test_the_reply(self, dialogue):
        dialogue.says(OPAQUE + MULTIPLE)
        reply = dialogue.given(replace(PROOF, hash_name="sha512"))
        machine, user = reply.root.findall("auth/client-cert-chain")
        assert (machine.attrib, [child.tag for child in machine]) == (
            {"cert-store": "1M"},
            ["client-cert-sent-via-protocol"],
        )
        certificate, signature = user
        assert (user.attrib, certificate.attrib) == ({"cert-store": "1U"}, {"cert-format": "pkcs7"})
        assert b"\x30\x01a" in base64.b64decode(certificate.text)
        assert (signature.attrib, base64.b64decode(signature.text)) == (
            {"hash-algorithm-chosen": "sha512"},
            PROOF.signature,
        )
        assert OPAQUE in reply.xml

    def test_there_is_none(self, dialogue):
        dialogue.says(MULTIPLE)
        assert "second client certificate, the user's: none is" in error_of(dialogue.given(NONE), LoginFailed)

    @pytest.mark.parametrize("first", [None, NONE])
    def test_the_first_one_is_never_claimed_without_having_been_sent(self, first):
        dialogue = Dialogue()
        dialogue.hello()
        if first is not None:
            dialogue.says(CERTIFICATE)
            dialogue.given(first)
        assert "without having had the first one" in error_of(dialogue.says(MULTIPLE), LoginFailed)

    def test_nothing_is_signed_twice(self, dialogue):
        dialogue.says(MULTIPLE)
        dialogue.given(PROOF)
        again = MULTIPLE.replace(b"F00", b"F01")
        assert "nothing is signed twice for one login" in error_of(dialogue.says(again), LoginFailed)

    @pytest.mark.parametrize(
        ("besides", "words"),
        [
            (login(), "and a form in one answer"),
            (SCAN, "and a host scan in one answer"),
            (login(SSO_FIELD, inside=SSO, after=SCAN), "and a form and a host scan and a single sign-on in one answer"),
        ],
    )
    def test_nothing_that_is_demanded_with_it_is_dropped(self, dialogue, besides, words):
        assert words in error_of(dialogue.says(MULTIPLE + besides), LoginFailed)

    def test_a_banner_with_it_is_accepted_first(self, dialogue):
        assert asked(dialogue.says(MULTIPLE + b"<auth><banner>Be good</banner></auth>")) == ["accept"]
        assert dialogue.answers(accept="accept").question.use is CertificateUse.USER


class TestHostScan:
    def test_the_scan_comes_first_and_its_token_goes_back(self, dialogue):
        step = dialogue.says(b'<csport>444</csport><auth id="main"><authentication-complete/></auth>' + SCAN)
        assert step == Ask(HostScan("T1", "K2", "/CACHE", "/wait.html", 444, ""))
        reply = dialogue.given(HostScanDone())
        assert (reply.type, reply.root.findtext("host-scan-token")) == ("auth-reply", "K2")
        accepted(dialogue)

    def test_beside_a_form(self, dialogue):
        dialogue.says(login(after=SCAN))
        assert asked(dialogue.given(HostScanDone())) == ["username", "password"]
        reply = dialogue.answers(username="ada", password="x")
        assert reply.root.findtext("host-scan-token") == "K2"
        assert reply.answers == [("password", "x"), ("username", "ada")]

    def test_it_is_told_the_group(self):
        dialogue = Dialogue(replace(SETTINGS, group="Staff"))
        dialogue.hello()
        assert dialogue.says(login(LOGIN_FIELDS + GROUPS, after=SCAN)).question.group == "Staff"


class TestSignOn:
    def test_the_token_goes_back_in_the_field_that_was_made_for_it(self, dialogue):
        step = dialogue.says(login(SSO_FIELD, inside=SSO))
        assert step == Ask(SignOn("https://idp/start", "https://gw/final", "acSamlv2Token", "acSamlv2Error", ""))
        reply = dialogue.given(SignOnToken("T0KEN"))
        assert reply.answers == [("sso-token", "T0KEN")]
        accepted(dialogue)

    def test_other_fields_are_asked_too_and_the_group_comes_first(self, dialogue):
        assert asked(dialogue.says(login(SSO_FIELD + LOGIN_FIELDS + GROUPS, inside=SSO))) == ["group_list"]
        assert isinstance(dialogue.answers(group_list="Staff").question, SignOn)
        assert asked(dialogue.given(SignOnToken("T"))) == ["username", "password"]
        reply = dialogue.answers(username="ada", password="x")
        assert reply.answers == [("password", "x"), ("username", "ada"), ("sso-token", "T")]

    def test_a_page_without_a_field_is_not_guessed(self, dialogue):
        words = error_of(dialogue.says(login(inside=SSO)), LoginFailed)
        assert "0 fields for the token and a page" in words

    def test_a_token_never_shows(self, dialogue):
        assert "T0KEN" not in repr(SignOnToken("T0KEN"))


class TestBanner:
    BANNER = b'<auth id="main"><banner>Be good</banner><form><input type="hidden" name="x" value="1"/></form></auth>'

    def test_a_banner_alone_waits_for_a_yes(self, dialogue):
        step = dialogue.says(self.BANNER)
        assert (step.question.id, step.question.message, asked(step)) == ("banner", "Be good", ["accept"])
        assert dialogue.answers(accept="accept").answers == [("x", "1")]

    def test_a_no_ends_the_login(self, dialogue):
        dialogue.says(self.BANNER)
        assert "not accepted" in error_of(dialogue.answers(accept="decline"), LoginFailed)

    def test_filling_in_a_form_is_a_yes_unless_the_settings_want_one(self):
        for wants, first in ((False, ["username", "password"]), (True, ["accept"])):
            dialogue = Dialogue(replace(SETTINGS, accept_banner=wants))
            dialogue.hello()
            assert asked(dialogue.says(login(inside=b"<banner>Be good</banner>"))) == first

    def test_the_banner_of_complete(self):
        dialogue = Dialogue(replace(SETTINGS, accept_banner=True))
        dialogue.hello()
        dialogue.says(login())
        dialogue.answers(username="ada", password="x")
        assert asked(dialogue.says(COMPLETE.replace(b"</auth>", b"<banner>Hi</banner></auth>"), "complete")) == [
            "accept"
        ]
        assert dialogue.answers(accept="accept").type == "ack"
