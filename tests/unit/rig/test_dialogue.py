"""The RADIUS back end's XML dialogue, in process, against a client written for this test."""

from __future__ import annotations

import json

import pytest
from container.scenario import TEXT_LIMIT, Scenario
from hypothesis import given
from hypothesis import strategies as st
from radius import eap
from radius.accounts import USERS
from radius.dialogue import ACCEPT, GO_ON, REJECT

from tests.unit.rig.client import HEAD, Client, document, init, response


def test_hello_is_the_observed_107_bytes() -> None:
    assert len(Client().xml) == 107


@pytest.mark.parametrize(
    ("user", "group"), [("ada", "Staff"), ("ada", "Lab"), ("grace", "Lab")], ids=lambda value: value
)
def test_login(user: str, group: str) -> None:
    client = Client()
    assert client.send(init(group)) == GO_ON
    assert client.fill(username=user, password=USERS[user].password, group=group) == GO_ON
    assert 'type="complete"' in client.xml
    assert client.ack() == ACCEPT
    assert client.reply.packet.encode() == bytes([3, 7, 0, 4])
    assert client.reply.keys is None
    assert client.steps[-1] == {"type": "ack", "user": user, "group": group, "outcome": "accepted"}
    assert USERS[user].password not in json.dumps(client.steps)


def test_the_group_may_be_a_url_or_selected_or_left_to_the_gateway() -> None:
    for packet, group in (
        (init("https://vpn.example.com/Lab"), "Lab"),
        (init("Lab", "group-select"), "Lab"),
        (init(""), "Staff"),
    ):
        client = Client()
        assert client.send(packet) == GO_ON
        assert client.dialogue.person.group == group
        assert f'<option selected="true">{group}</option>' in client.xml


def test_another_group_by_a_new_init() -> None:
    client = Client()
    client.send(init("Staff"))
    assert client.send(init("Lab", "group-select", client.opaque())) == GO_ON
    assert client.fill(username="grace", password=USERS["grace"].password) == GO_ON
    assert client.ack() == ACCEPT


def test_another_group_than_the_forms_is_a_mismatch() -> None:
    client = Client()
    client.send(init("Staff"))
    assert client.fill(username="ada", password="secret", group="Lab") == REJECT
    assert client.steps[-1]["problem"] == "the reply is for the group Lab"


def test_wrong_passwords_end_in_an_error_without_a_form() -> None:
    client = Client()
    client.send(init("Staff"))
    for _ in range(2):
        assert client.fill(username="ada", password="wrong") == GO_ON
        assert client.said("auth/error") == "Login failed."
        assert "<form" in client.xml
    assert client.fill(username="ada", password="wrong") == GO_ON
    assert client.said("error") == "Too many failed logins for ada@example.com."
    assert "<form" not in client.xml
    assert client.ack() == REJECT


def test_a_second_try_succeeds() -> None:
    client = Client()
    client.enter(username="ada", password="wrong")
    assert client.fill(username="ada", password="secret") == GO_ON
    assert client.ack() == ACCEPT


@pytest.mark.parametrize(
    ("user", "password", "words"),
    [
        ("mallory", "secret", "Your account is locked. Call the help desk."),
        ("nobody", "", "Too many failed logins for nobody@example.com."),
        ("grace", "p<ss & w\u00f6rd", "Too many failed logins for grace@example.com."),
    ],
)
def test_who_may_not_log_in_to_staff(user: str, password: str, words: str) -> None:
    client = Client(attempts=1)
    assert client.enter(username=user, password=password) == GO_ON
    assert "<form" not in client.xml
    assert client.said("error") == words
    assert client.ack() == REJECT


def test_an_unknown_group_is_final() -> None:
    client = Client()
    assert client.send(init("Nowhere")) == GO_ON
    assert client.said("error") == "There is no group Nowhere."
    assert client.ack() == REJECT


def test_a_certificate_is_asked_for_first() -> None:
    client = Client(certificate_request=True)
    assert client.send(init("Staff")) == GO_ON
    assert "<client-cert-request/>" in client.xml
    assert "<opaque" not in client.xml
    assert client.send(init("Staff", extra="<client-cert-fail/>")) == GO_ON
    assert client.fill(username="ada", password="secret") == GO_ON


@pytest.mark.parametrize("spoil", ["\n", " />", "<![CDATA["])
def test_a_changed_opaque_is_noticed(spoil: str) -> None:
    client = Client()
    client.send(init("Staff"))
    assert spoil in client.opaque()
    assert client.fill(username="ada", password="secret", spoil=spoil) == REJECT
    assert client.steps[-1]["type"] in ("mismatch", "malformed")


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("<verify_password>secret</verify_password>", "the reply has the fields"),
        ("<password>secret</password>", "the reply has the fields"),
        ("", "the hidden field is not what was sent"),
    ],
)
def test_a_reply_with_more_or_less_than_the_form_asked_is_noticed(more: str, problem: str) -> None:
    client = Client()
    client.send(init("Staff"))
    spoilt = {} if more else {"ticket": "<0123456789ab & 0>"}
    assert client.fill(username="ada", password="secret", more=more, **spoilt) == REJECT
    assert problem in client.steps[-1]["problem"]
    assert "secret" not in client.steps[-1]["problem"]


def test_each_form_has_a_hidden_value_of_its_own() -> None:
    client = Client()
    client.send(init("Staff"))
    first = client.inputs()["ticket"].get("value")
    client.fill(username="ada", password="wrong")
    assert client.inputs()["ticket"].get("value") != first
    assert client.fill(username="ada", password="secret", ticket=first) == REJECT


@pytest.mark.parametrize(
    "packet",
    [
        eap.Packet(eap.RESPONSE, 7, eap.NAK, b"\x1a"),
        eap.Packet(eap.RESPONSE, 7, eap.EXPANDED, eap.ANYCONNECT + b"\0\0\0"),
        response("<config-auth"),
        response("<other/>"),
        document("ack"),
        response(HEAD.format("auth-reply") + "</config-auth>"),
    ],
)
def test_what_is_not_expected_is_rejected_and_told(packet: eap.Packet) -> None:
    client = Client()
    assert client.send(packet) == REJECT
    assert client.reply.packet.encode() == bytes([4, 7, 0, 4])
    assert client.steps[-1]["outcome"] == "rejected"


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_packet_or_malformed(raw: bytes) -> None:
    try:
        packet = eap.Packet.decode(raw)
    except eap.MalformedError:
        assert len(raw) < 5 or raw[0] != eap.RESPONSE or int.from_bytes(raw[2:4], "big") != len(raw)
    else:
        assert packet.encode() == raw


@given(st.binary(max_size=60))
def test_arbitrary_tlvs_are_values_or_malformed(data: bytes) -> None:
    packet = eap.Packet(eap.RESPONSE, 1, eap.EXPANDED, eap.ANYCONNECT + data)
    try:
        found = eap.anyconnect_tlvs(packet)
    except eap.MalformedError:
        assert data
    else:
        assert sum(4 + len(value) for value in found.values()) == len(data)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"certificate": "none"}, "certificate"),
        ({"login_text": TEXT_LIMIT}, "login_text"),
        ({"login_text": -1}, "login_text"),
        ({"groups": ("Branch",) * 1000}, "login_text"),
        ({"terms": "x" * (TEXT_LIMIT + 1)}, "terms"),
    ],
)
def test_a_scenario_refuses_nonsense(settings: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Scenario(**settings)


def test_a_scenario_survives_json() -> None:
    scenario = Scenario(split_include=("10.0.0.0/8", "192.168.0.0/16"), cookie=True)
    assert Scenario.from_json(scenario.to_json()) == scenario
    with pytest.raises(TypeError, match="cookies"):
        Scenario.from_json('{"cookies": true}')
