"""Every scenario, played by the client's core against the gateway of the fakes: the code path of the command without its shell."""

from __future__ import annotations

import pytest

from anyike.errors import LoginFailed
from anyike.ikev2.states import State
from tests.fakes.dialect import ASA, DIALECTS, Dialect
from tests.fakes.profiles import IOS_PROFILE
from tests.fakes.scenario import Scenario
from tests.scenarios.catalogue import SCENARIOS
from tests.scenarios.playing import play

every_scenario = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
every_dialect = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
PRFS = ("prfsha1", "prfsha256", "prfsha384", "prfsha512")


@every_dialect
@every_scenario
def test_the_scenario(scenario: Scenario, dialect: Dialect) -> None:
    played = play(scenario, dialect)
    assert played.login.deviations == [], played.journal
    assert played.user.left == [], played.journal
    assert played.established == (not scenario.ends), played.journal
    for words in scenario.shows:
        assert words in played.shown, played.journal
    if scenario.ends:
        assert type(played.link.error) is LoginFailed, played.journal
        assert scenario.ends in str(played.link.error)
        return
    assert played.link.gateway.journal.client_authentic, played.journal
    assert not played.login.ended or played.login.get_result(), played.journal
    played.link.close().run(until=lambda: played.link.client.state is State.CLOSED)
    assert played.login.ended


@pytest.mark.parametrize("prf", PRFS)
@pytest.mark.parametrize("key_kind", ["rsa", "ecdsa"])
def test_a_proof_by_certificate_with_every_prf(prf: str, key_kind: str) -> None:
    played = play(SCENARIOS["certificate"], ASA, ike=f"aes128gcm16-{prf}-x25519", key_kind=key_kind)
    assert played.established, played.journal
    assert played.login.clients == ["machine"]


def test_the_two_certificates_are_the_machines_and_the_users() -> None:
    played = play(SCENARIOS["two-certificates"], ASA)
    assert played.login.clients == ["machine", "ada"], played.journal


def test_what_a_host_scan_is_told() -> None:
    played = play(SCENARIOS["host-scan"], ASA)
    scan = played.user.questions[-1]
    assert (scan.ticket, scan.token) == ("73CDA0F380B1369A4D7F0D32", "F880653271FE8E12485BD83F")
    assert (scan.base_uri, scan.wait_uri, scan.csport) == ("/CACHE", "/+CSCOE+/sdesktop/wait.html", 443)


def test_what_a_browser_is_told() -> None:
    (page,) = play(SCENARIOS["sign-on"], ASA).user.questions
    assert page.login_url == "https://vpn.example.com/+CSCOE+/saml/sp/login"
    assert page.final_url == "https://vpn.example.com/+CSCOE+/saml/sp/login_ac_login.html"
    assert (page.token_cookie, page.error_cookie, page.browser_mode) == ("acSamlv2Token", "acSamlv2Error", "")


def test_a_long_login_comes_in_fragments_of_payload_132() -> None:
    fragments = play(SCENARIOS["long"], ASA).link.gateway.journal.fragments
    assert fragments["gateway, 132"] > 32
    certificates = play(SCENARIOS["certificate"], ASA).link.gateway.journal.fragments
    assert certificates["client, 132"] > 1
    assert not certificates["client, RFC 7383"]


def test_a_long_login_comes_in_fragments_of_rfc_7383() -> None:
    fragments = play(SCENARIOS["long"], DIALECTS["ios"]).link.gateway.journal.fragments
    assert fragments["gateway, RFC 7383"] > 32
    assert not fragments["gateway, 132"]


def test_a_gateway_for_key_ids_refuses_the_usual_identity() -> None:
    played = play(SCENARIOS["password"], ASA, profile=IOS_PROFILE)
    assert not played.established
    assert "refused the client identity" in played.journal


def test_the_fakes_ask_again_after_a_wrong_answer_and_end_after_three() -> None:
    wrong = SCENARIOS["password"]
    user = (("Username:", "ada"), ("Password:", "wrong")) * 3
    played = play(type(wrong)(**{**vars(wrong), "user": user}), ASA)
    assert len(played.login.deviations) == 3
    assert "auth/password is 'wrong', and 's3cret-of-ada' is expected" in played.login.deviations[0]
    assert not played.established
