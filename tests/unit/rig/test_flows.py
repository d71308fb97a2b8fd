"""Every way the back end has to ask a user, in process: groups, second factors, rounds, PINs, passwords, banners."""

from __future__ import annotations

import base64
import json

import pytest
from radius.accounts import USERS, Memory
from radius.dialogue import ACCEPT, GO_ON, REJECT
from radius.one_time import TIME_STEP, code

from tests.unit.rig.client import Client, document, init

NOW = 1000.0 * TIME_STEP


def token_code(user: str, counter: int) -> str:
    return code(base64.b32decode(USERS[user].token.secret), counter)


def test_a_group_without_anybody_asked() -> None:
    client = Client(groups=("Staff", "Kiosk"))
    client.send(init("Staff"))
    assert '<option noaaa="1">Kiosk</option>' in client.xml
    client.send(init("Kiosk", "group-select", client.opaque()))
    assert client.labels == {}
    assert client.fill(group="Kiosk") == GO_ON
    assert client.ack() == ACCEPT
    assert client.steps[-1]["user"] == ""


def test_a_group_with_fields_and_labels_of_its_own() -> None:
    client = Client(groups=("Staff", "Workshop"))
    client.send(init("Workshop"))
    assert client.labels == {"badge": "Badge name:", "passcode": "Passcode:"}
    assert 'value="Workshop"' in client.xml
    assert ">Workshop (badges &amp; passcodes)</option>" in client.xml
    assert client.fill(badge="ada", passcode="secret") == GO_ON
    assert client.ack() == ACCEPT


def test_a_group_need_not_be_offered() -> None:
    client = Client()
    assert client.enter("Workshop", badge="ada", passcode="secret") == GO_ON
    assert client.ack() == ACCEPT


def test_an_offered_name_is_a_group() -> None:
    client = Client(groups=("Caf\u00e9 & Bar",))
    assert client.enter("Caf\u00e9 & Bar", username="ada", password="secret") == GO_ON
    assert client.ack() == ACCEPT


def test_a_second_factor_in_the_same_form() -> None:
    client = Client()
    client.send(init("Vault"))
    second = [name for name, field in client.inputs().items() if field.get("second-auth") == "1"]
    assert second == ["secondary_username", "secondary_password"]
    first = {"username": "ada", "password": "secret"}
    assert client.fill(**first, secondary_username="ada", secondary_password="analytical") == GO_ON
    assert client.said("auth/error") == "The second login of ada to the group Vault failed."
    assert client.fill(**first, secondary_username="countess", secondary_password="analytical") == GO_ON
    assert client.ack() == ACCEPT
    assert client.outcomes == ["wrong second factor", "right second factor"]


def test_who_has_no_second_factor_stays_out() -> None:
    client = Client(attempts=1)
    client.enter("Vault", username="alan", password="enigma", secondary_username="", secondary_password="")
    assert client.outcomes == ["wrong second factor"]
    assert client.ack() == REJECT


def test_a_token_may_be_the_second_factor() -> None:
    client = Client(now=NOW)
    values = {"username": "hedy", "password": "frequency", "secondary_username": "hedwig"}
    assert client.enter("Vault", **values, secondary_password=token_code("hedy", 1000)) == GO_ON
    assert client.ack() == ACCEPT


@pytest.mark.parametrize(("user", "counter"), [("hedy", 1000), ("radia", 0)])
def test_a_token_code_is_asked_and_taken_once(user: str, counter: int) -> None:
    memory = Memory()
    for given, outcome in (
        (token_code(user, counter), "right code"),
        (token_code(user, counter), "used code"),
        (token_code(user, counter + 1), "right code"),
        ("123456", "wrong code"),
    ):
        client = Client(memory, NOW)
        client.enter(username=user, password=USERS[user].password)
        assert client.labels == {"answer": "Token code:"}
        client.fill(answer=given)
        assert client.outcomes == ["right password", outcome]
        assert ('type="complete"' in client.xml) is (outcome == "right code")


def test_a_one_time_code() -> None:
    client = Client()
    assert client.enter(username="alan", password="enigma") == GO_ON
    assert '<auth id="challenge">' in client.xml
    assert client.said("auth/message") == "Enter the code 123456."
    assert client.fill(answer="000000") == GO_ON
    assert client.said("auth/error") == "That is not the code."
    assert client.fill(answer="123456") == GO_ON
    assert client.ack() == ACCEPT


def test_rounds_of_codes_each_with_its_own_message() -> None:
    client = Client()
    client.enter(username="joan", password="crib")
    for number, expected in enumerate(USERS["joan"].codes, 1):
        assert client.said("auth/message") == f"Round {number}: enter the code {expected}."
        assert client.fill(answer=expected) == GO_ON
    assert client.ack() == ACCEPT


def test_wrong_codes_are_counted_with_wrong_passwords() -> None:
    client = Client()
    client.enter(username="joan", password="wrong")
    client.fill(username="joan", password="crib")
    client.fill(answer="271828")
    client.fill(answer="271828")
    client.fill(answer="271828")
    assert client.said("error") == "Too many failed logins for joan@example.com."
    assert client.ack() == REJECT


def test_a_pin_is_chosen_once_and_asked_afterwards() -> None:
    memory = Memory()
    client = Client(memory)
    client.enter(username="dorothy", password="bombe")
    assert client.labels == {"whichpin": "New PIN:", "verify_pin": "New PIN again:"}
    assert client.said("auth/message") == "Choose a PIN of 4 to 8 digits."
    client.fill(whichpin="abcd", verify_pin="abcd")
    assert client.said("auth/error") == "A PIN has 4 to 8 digits."
    client.fill(whichpin="2718", verify_pin="2718")
    assert client.ack() == ACCEPT
    client = Client(memory)
    client.enter(username="dorothy", password="bombe")
    client.fill(answer="0000")
    client.fill(answer="2718")
    assert client.ack() == ACCEPT
    assert client.outcomes == ["right password", "wrong PIN", "right PIN"]
    assert "2718" not in json.dumps(client.steps)


def test_a_changed_password_takes_the_place_of_the_old_one() -> None:
    memory = Memory()
    client = Client(memory)
    client.enter(username="edith", password="secret")
    assert client.labels == {"new_password": "New password:", "verify_password": "New password again:"}
    client.fill(new_password="short")
    assert client.said("auth/error") == "A password has 8 to 64 characters."
    client.fill(new_password="a new secret")
    assert client.ack() == ACCEPT
    client = Client(memory)
    client.enter(username="edith", password="secret")
    client.fill(username="edith", password="a new secret")
    assert client.ack() == ACCEPT
    assert client.outcomes == ["wrong password", "right password"]


def test_the_old_password_is_no_new_one() -> None:
    client = Client()
    client.enter(username="edith", password="secret")
    client.fill(new_password="secret")
    assert client.said("auth/error") == "The new password of edith is the old one."
    assert client.outcomes[-1] == "same password"


def test_a_banner_has_to_be_answered() -> None:
    client = Client(terms="Tests & <nothing> else")
    client.enter(username="ada", password="secret")
    assert client.said("auth/banner") == "Tests & <nothing> else"
    assert client.inputs() == {}
    assert client.send(document("ack")) == REJECT
    client = Client(terms="Tests")
    client.enter("Kiosk")
    assert client.send(document("auth-reply", client.opaque())) == REJECT
    client = Client(terms="Tests")
    client.enter("Kiosk")
    assert client.fill() == GO_ON
    assert client.ack() == ACCEPT
    assert client.outcomes == ["nobody asked", "banner accepted"]
