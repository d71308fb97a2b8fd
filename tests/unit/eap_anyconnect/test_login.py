"""Whole logins, as dialogues with a scripted gateway."""

from __future__ import annotations

from dataclasses import replace

import pytest

from anyike.eap.method import Ask, Failed, Succeeded
from anyike.eap.peer import MAX_REQUESTS
from anyike.eap.question import HostScanDone
from anyike.errors import AnyikeError, ConfigurationError, LoginFailed, ProtocolError
from tests.unit.eap_anyconnect.dialogue import (
    COMPLETE,
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

REJECTED = b'<error id="13" param1="" param2="">Login failed.</error>'
LOCKED = b'<error id="7" param1="ada" param2="Friday">User %s is locked until %s (100%s).</error>'


@pytest.fixture
def dialogue():
    """A login that has come as far as the client's init."""
    begun = Dialogue()
    assert begun.hello().type == "init"
    return begun


def test_password_login_of_the_notes(dialogue):
    step = dialogue.says(login(LOGIN_FIELDS + GROUPS, before=OPAQUE))
    assert asked(step) == ["group_list"]
    step = dialogue.answers(group_list="Staff")
    assert asked(step) == ["username", "password"]
    assert (step.question.id, step.question.title) == ("main", "Login")
    assert step.question.message == "Please enter your username and password."
    assert [field.label for field in step.question.fields] == ["Username:", "Password:", "GROUP:"]
    reply = dialogue.answers(username="ada", password="secret")
    assert reply.type == "auth-reply"
    assert (
        b"<session-id/><session-token/>" + OPAQUE + b"<auth><password>secret</password><username>ada</username></auth>"
        b"<group-select>Staff</group-select></config-auth>\n"
    ) in reply.xml
    accepted(dialogue)
    assert dialogue.method.session.session_token == "TOKEN-s3cret"


def test_a_form_without_groups_is_asked_at_once(dialogue):
    assert asked(dialogue.says(login())) == ["username", "password"]
    assert dialogue.answers(username="ada", password="x").children[-1] == "auth"
    accepted(dialogue)


def test_choosing_another_group_starts_over(dialogue):
    dialogue.says(login(LOGIN_FIELDS + GROUPS, before=OPAQUE))
    restart = dialogue.answers(group_list="Lab")
    assert restart.type == "init"
    assert OPAQUE + b"<group-select>Lab</group-select><group-access>Staff</group-access>" in restart.xml
    other = OPAQUE.replace(b"Staff", b"Lab")
    fields = (
        b'<input type="text" name="username"/><select name="group_list"><option>Staff</option>'
        b'<option selected="true">Lab</option></select>'
    )
    assert asked(dialogue.says(login(fields, before=other))) == ["username"]
    reply = dialogue.answers(username="ada")
    assert other in reply.xml
    assert reply.root.findtext("group-select") == "Lab"
    accepted(dialogue)


def test_a_gateway_that_does_not_follow_the_choice_is_not_asked_for_ever(dialogue):
    dialogue.says(login(LOGIN_FIELDS + GROUPS))
    assert dialogue.answers(group_list="Lab").type == "init"
    assert asked(dialogue.says(login(LOGIN_FIELDS + GROUPS))) == ["username", "password"]
    assert dialogue.answers(username="ada", password="x").root.findtext("group-select") == "Lab"


def test_an_error_is_not_lost_when_the_gateway_forgets_the_group(dialogue):
    dialogue.says(login(LOGIN_FIELDS + GROUPS))
    dialogue.answers(group_list="Staff")
    dialogue.answers(username="ada", password="wrong")
    forgotten = GROUPS.replace(b' selected="true"', b"").replace(b"<option>Lab", b'<option selected="true">Lab')
    restart = dialogue.says(login(LOGIN_FIELDS + forgotten, inside=REJECTED))
    assert restart.root.findtext("group-select") == "Staff"
    assert dialogue.peer.take_notices() == ("Login failed.",)


@pytest.mark.parametrize(("group", "first"), [("Staff", "username"), ("Lab", None)])
def test_the_group_of_the_settings_is_not_asked(group, first):
    dialogue = Dialogue(replace(SETTINGS, group=group))
    dialogue.hello()
    step = dialogue.says(login(LOGIN_FIELDS + GROUPS))
    if first is None:
        assert step.root.findtext("group-select") == group
    else:
        assert asked(step) == ["username", "password"]


def test_a_group_may_be_named_by_its_label():
    dialogue = Dialogue(replace(SETTINGS, group="The Lab"))
    dialogue.hello()
    fields = b'<select name="group_list"><option value="s">Staff</option><option value="l">The Lab</option></select>'
    assert dialogue.says(login(fields)).root.findtext("group-select") == "l"


def test_a_group_that_is_not_offered_fails_and_the_offered_ones_are_named():
    dialogue = Dialogue(replace(SETTINGS, group="Nope"))
    dialogue.hello()
    text = error_of(dialogue.says(login(LOGIN_FIELDS + GROUPS)), LoginFailed)
    assert "'Nope' (--authgroup). It offers: Staff, Lab." in text


def test_a_message_names_a_few_of_many_choices_by_short_labels():
    """Where a group is not offered, and where an answer is no choice."""
    options = b"".join(b"<option value='%d'>%b</option>" % (number, b"x" * 1000) for number in range(50))
    fields = b'<select name="%b" label="' + b"l" * 5000 + b'">' + options + b"</select>"
    dialogue = Dialogue(replace(SETTINGS, group="Nope"))
    dialogue.hello()
    texts = [error_of(dialogue.says(login(fields % b"group_list")), LoginFailed)]
    dialogue = Dialogue()
    dialogue.hello()
    dialogue.says(login(fields % b"realm"))
    texts.append(error_of(dialogue.answers(realm="Nope"), LoginFailed))
    dialogue.says(login(fields % b"realm"))
    texts.append(error_of(dialogue.answers(), LoginFailed))
    assert [len(text) < 3000 for text in texts] == [True] * 3
    assert [text.endswith("xxx... and 40 more.") for text in texts] == [True, True, False]


def test_an_unknown_type_or_hash_is_quoted_in_short(dialogue):
    kinds = login(b'<input type="%b" name="eye" label="%b"/>' % (b"t" * 5000, b"l" * 5000))
    hashes = b"<hash-algorithm>" + b"h" * 5000 + b"</hash-algorithm>"
    for body in (kinds, b"<multiple-client-cert-request>" + hashes + b"</multiple-client-cert-request>"):
        assert len(error_of(dialogue.says(body), LoginFailed)) < 600


def test_the_only_group_is_no_question(dialogue):
    fields = LOGIN_FIELDS + b'<select name="group_list"><option>One</option></select>'
    assert asked(dialogue.says(login(fields))) == ["username", "password"]
    assert dialogue.answers(username="ada", password="x").root.findtext("group-select") == "One"


def test_hidden_fields_go_back_as_they_came_whatever_is_answered(dialogue):
    fields = LOGIN_FIELDS + b'<input type="hidden" name="ctx" value=" 1 &lt; 2 "/><input type="submit" name="Login"/>'
    step = dialogue.says(login(fields))
    assert asked(step) == ["username", "password"]
    reply = dialogue.answers(username="ada", password="x", ctx="forged")
    assert reply.answers == [("password", "x"), ("username", "ada"), ("ctx", " 1 < 2 ")]


def test_a_form_of_hidden_fields_alone_is_answered_at_once(dialogue):
    assert dialogue.says(login(b'<input type="hidden" name="ctx" value="1"/>')).answers == [("ctx", "1")]


def test_authentication_complete_is_answered_by_an_empty_auth(dialogue):
    reply = dialogue.says(OPAQUE + b'<csport>443</csport><auth id="main"><authentication-complete/></auth>')
    assert b"<session-id/><session-token/>" + OPAQUE + b"<auth/></config-auth>" in reply.xml
    accepted(dialogue)


@pytest.mark.parametrize(
    "opaque",
    [
        b'<opaque is-for="sg"/>',
        b"<opaque\n\tis-for = 'sg'  ></opaque >",
        b'<opaque b="2" is-for="sg" a="1">\r\n <x> <y/></x>\t</opaque>',
        b'<opaque is-for="sg"><![CDATA[<opaque/> & ]] >]]>&#x41;&amp;&#10;</opaque>',
        b'<q:opaque xmlns:q="urn:q" is-for="sg"><q:a q:b="1"/><!-- > --><?pi /> ?></q:opaque>',
        '<opaque is-for="sg">\N{GRINNING FACE}é</opaque>'.encode(),
        b'<opaque is-for="sg"><opaque is-for="sg"/></opaque>',
    ],
)
def test_the_opaque_element_comes_back_byte_identical(dialogue, opaque):
    dialogue.says(login(before=b"\n  " + opaque + b"\n", after=b'<opaque is-for="vpn-client">no</opaque>'))
    reply = dialogue.answers(username="ada", password="x")
    assert b"<session-token/>" + opaque + b"<auth>" in reply.xml


def test_two_opaque_elements_are_an_error(dialogue):
    assert "2 elements <opaque" in error_of(dialogue.says(login(before=OPAQUE * 2)), ProtocolError)


def test_a_session_named_early_is_named_in_the_reply(dialogue):
    dialogue.says(login(before=b"<session-id>5</session-id><session-token>t</session-token>"))
    reply = dialogue.answers(username="ada", password="x")
    assert b"<session-id>5</session-id><session-token>t</session-token><auth>" in reply.xml


def test_wrong_password_shows_the_gateways_message_and_asks_again(dialogue):
    dialogue.says(login())
    dialogue.answers(username="ada", password="wrong")
    step = dialogue.says(login(inside=REJECTED))
    assert asked(step) == ["username", "password"]
    assert step.question.error == "Login failed."
    dialogue.answers(username="ada", password="right")
    accepted(dialogue)


@pytest.mark.parametrize("max_tries", [1, 3])
def test_tries_are_counted(max_tries):
    dialogue = Dialogue(replace(SETTINGS, max_tries=max_tries))
    dialogue.hello()
    step = dialogue.says(login())
    for _ in range(max_tries):
        assert isinstance(step, Ask)
        dialogue.answers(username="ada", password="wrong")
        step = dialogue.says(login(inside=REJECTED))
    text = error_of(step, LoginFailed)
    assert f"{max_tries} times" in text
    assert "Login failed." in text


@pytest.mark.parametrize(
    "body",
    [
        b'<auth id="main">' + LOCKED + b"</auth>",
        LOCKED,
    ],
)
def test_an_error_without_a_form_is_final(dialogue, body):
    dialogue.says(login())
    dialogue.answers(username="ada", password="x")
    assert error_of(dialogue.says(body), LoginFailed).endswith("User ada is locked until Friday (100%s).")


def test_an_error_without_a_text_is_named_by_its_number(dialogue):
    assert "error 42" in error_of(dialogue.says(b'<auth id="main"><error id="42"/></auth>'), LoginFailed)


def test_an_error_in_complete_is_final(dialogue):
    assert "No licence" in error_of(dialogue.says(b"<error>No licence</error>", "complete"), LoginFailed)


def test_eap_failure_repeats_the_last_error(dialogue):
    dialogue.says(login())
    dialogue.answers(username="ada", password="x")
    dialogue.says(login(inside=REJECTED))
    dialogue.answers(username="ada", password="x")
    assert "Login failed." in error_of(dialogue.ends(4), LoginFailed)


def test_eap_failure_without_a_reason(dialogue):
    assert "no reason" in error_of(dialogue.ends(4), LoginFailed)
    assert "before it asked" in error_of(Dialogue().ends(4), LoginFailed)


def test_banners_are_shown_once_and_harmless(dialogue):
    banner = b"<banner>Be good\n&#x9b;31m</banner>"
    dialogue.says(login(inside=banner))
    assert dialogue.peer.take_notices() == ("Be good\n\ufffd31m",)
    dialogue.answers(username="ada", password="wrong")
    dialogue.says(login(inside=banner + REJECTED))
    assert dialogue.peer.take_notices() == ()
    dialogue.answers(username="ada", password="right")
    dialogue.says(
        b'<session-id>1</session-id><auth id="success"><message id="0" param1="ada">Hello %s</message>'
        b"<banner>Welcome</banner></auth>",
        "complete",
    )
    assert dialogue.peer.take_notices() == ("Hello ada", "Welcome")
    assert dialogue.method.session.banner == "Welcome"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'<auth id="main"><authentication-complete/></auth><host-scan/>', "without a ticket and a token"),
        (login(inside=b"<host-scan><host-scan-ticket>1</host-scan-ticket></host-scan>"), "without a token"),
        (b"<multiple-client-cert-request/>", "no hash that anyike signs with: none at all"),
        (b"<multiple-client-cert-request><hash-algorithm>md5</hash-algorithm></multiple-client-cert-request>", "with: md5"),
        (b'<auth id="main"><sso-v2-login>https://idp/</sso-v2-login></auth>', "<sso-v2-login-final>, <sso-v2-token-cookie-name>"),
        (login(b'<input type="sso" name="sso-token"/>'), "1 fields for the token and no page"),
        (login(b'<input type="retina" name="eye" label="Eye"/>'), "unknown type 'retina'"),
        (login(b'<select name="choice" label="Choice"/>'), "offers none"),
        (b'<auth id="main"><handwave/></auth><csport>1</csport>', "csport, handwave"),
        (b"", "does not know"),
    ],
)  # fmt: skip
def test_demands_that_are_not_spoken_end_in_one_clear_error(dialogue, body, words):
    assert words in error_of(dialogue.says(body), LoginFailed)


@pytest.mark.parametrize(
    "fields",
    [
        b'<input type="text" name="a b"/>',
        b'<input type="text" label="nameless"/>',
        b'<input type="text" name="a&gt;&lt;b"/>',
        LOGIN_FIELDS * 2,
    ],
)
def test_fields_that_no_reply_can_hold(dialogue, fields):
    error_of(dialogue.says(login(fields)), ProtocolError)


def test_challenge_with_any_number_of_rounds(dialogue):
    for code in ("111111", "222222", "333333"):
        step = dialogue.says(
            b'<auth id="challenge"><message>Code?</message><form><input type="password" name="answer"/></form></auth>'
        )
        assert (asked(step), step.question.id, step.question.fields[0].label) == (["answer"], "challenge", "answer")
        assert dialogue.answers(answer=code).answers == [("password", code)]
    accepted(dialogue)


def test_a_new_password_is_repeated_here_and_sent_once(dialogue):
    fields = b'<input type="password" name="new_password"/><input type="password" name="verify_password"/>'
    dialogue.says(login(fields))
    step = dialogue.answers(new_password="one", verify_password="two")
    assert step.question.error == "The two entries are not the same."
    assert dialogue.answers(new_password="one", verify_password="one").answers == [("password", "one")]


def test_repetitions_that_never_match_come_to_an_end(dialogue):
    dialogue.says(login(b'<input type="password" name="new_password"/><input type="password" name="verify_pin"/>'))
    steps = [dialogue.answers(new_password="one", verify_pin="two") for _ in range(3)]
    assert "differed 3 times" in error_of(steps[-1], LoginFailed)


def test_second_factor_fields(dialogue):
    fields = LOGIN_FIELDS + (
        b'<input type="text" name="secondary_username" label="2nd user" second-auth="1"/>'
        b'<input type="password" name="secondary_password" second-auth="1"/>'
    )
    step = dialogue.says(login(fields))
    assert [field.second_factor for field in step.question.fields] == [False, False, True, True]
    reply = dialogue.answers(username="a", password="b", secondary_username="c", secondary_password="d")
    assert [name for name, _ in reply.answers] == ["password", "secondary_password", "username", "secondary_username"]


def test_a_select_that_is_no_group(dialogue):
    fields = (
        b'<select name="realm"><option value="1">One</option><option value="2" selected="true">Two</option></select>'
    )
    step = dialogue.says(login(fields))
    assert step.question.fields[0].value == "2"
    assert dialogue.answers(realm="One").answers == [("realm", "1")]


def test_an_answer_that_is_no_option(dialogue):
    dialogue.says(login(b'<select name="realm" label="Realm"><option>One</option><option>Two</option></select>'))
    assert "'Three' is no choice for 'Realm'; the gateway offers: One, Two" in error_of(
        dialogue.answers(realm="Three"), LoginFailed
    )


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"username": "ada"}, "'Password:' (field password)"),
        ({"username": "ada", "password": "a\x1bb"}, "control characters"),
        ({"username": "ada", "password": "a" * 66_000}, "65,535"),
    ],
)
def test_answers_that_cannot_be_sent(dialogue, answers, words):
    dialogue.says(login())
    assert words in error_of(dialogue.answers(**answers), LoginFailed)


def test_an_unknown_choice(dialogue):
    dialogue.says(login(LOGIN_FIELDS + GROUPS))
    assert "offers: Staff, Lab" in error_of(dialogue.answers(group_list="Nope"), LoginFailed)


def test_an_opaque_element_too_large_to_be_sent_back(dialogue):
    dialogue.says(login(before=OPAQUE.replace(b"Staff", b"x" * 64_800)))
    assert "65,535" in error_of(dialogue.answers(username="ada" * 300, password="x"), LoginFailed)


def test_a_session_token_as_large_as_fits(dialogue):
    token = b"t" * 65_000
    assert dialogue.says(COMPLETE.replace(b"TOKEN-s3cret", token), "complete").type == "ack"
    assert dialogue.method.session.session_token == token.decode()


def test_as_many_groups_as_one_packet_holds(dialogue):
    options = b"".join(b"<option>%d</option>" % n for n in range(2_600))
    step = dialogue.says(login(b'<select name="group_list">' + options + b"</select>"))
    assert len(step.question.fields[0].options) == 2_600


def test_as_many_fields_as_one_packet_holds(dialogue):
    fields = b"".join(b'<input type="text" name="f%d"/>' % n for n in range(1_900))
    step = dialogue.says(login(fields))
    assert len(asked(step)) == 1_900
    assert len(dialogue.answers(**dict.fromkeys(asked(step), "x")).answers) == 1_900


def test_an_error_quotes_a_few_short_names_only(dialogue):
    assert len(error_of(dialogue.says(b"<a/>" * 5_000), LoginFailed)) < 200
    assert len(error_of(Dialogue().says(b"", "x" * 60_000), ProtocolError)) < 200


def test_labels_and_messages_cannot_drive_the_terminal(dialogue):
    fields = '<input type="text" name="username" label="a&#x9b;2J\N{RIGHT-TO-LEFT OVERRIDE}b"/>'.encode()
    step = dialogue.says(login(fields, inside=b"<error>&#x9d;0;title&#x85;</error>"))
    assert step.question.fields[0].label == "a\ufffd2J\ufffdb"
    assert step.question.error == "\ufffd0;title"


def test_forms_that_never_end_are_bounded(dialogue):
    for _ in range(MAX_REQUESTS):
        step = dialogue.says(login(b'<input type="hidden" name="ctx" value="1"/>'))
        if isinstance(step, Failed):
            break
    assert f"more than {MAX_REQUESTS}" in error_of(step, ProtocolError)


@pytest.mark.parametrize(
    ("kind", "before"),
    [
        ("auth-request", []),
        ("complete", []),
        ("hello", ["hello"]),
        ("init", ["hello"]),
        ("hello", ["hello", "complete"]),
    ],
)
def test_documents_out_of_turn(kind, before):
    dialogue = Dialogue()
    for name in before:
        dialogue.says(COMPLETE if name == "complete" else b"", name)
    assert repr(kind) in error_of(dialogue.says(b"", kind), ProtocolError)


def test_success_before_the_end(dialogue):
    assert "before the login was complete" in error_of(dialogue.ends(3), ProtocolError)
    dialogue.says(COMPLETE, "complete")
    assert dialogue.ends(3) == Succeeded(None)


@pytest.mark.parametrize(
    "type_data",
    [
        b"",
        b"\0\0\0\x05<a/>",
        b"\0\0\0\x04<a/>",
        b"\0\0\0\x00",
        b"\0\0\0\x11<!DOCTYPE a><a/> ",
        b"\0\0\0\x06&\0abcd",
        b"\0\0\0\x0e<config-auth/>",
    ],
)
def test_messages_that_cannot_be_read(dialogue, type_data):
    assert "cannot be read" in error_of(dialogue.sends(type_data), ProtocolError)


def test_settings_that_xml_cannot_hold():
    dialogue = Dialogue(replace(SETTINGS, group_access="a\0b"))
    assert "control characters" in error_of(dialogue.hello(), ConfigurationError)


def test_what_was_not_asked_for_is_refused(dialogue):
    error_of(dialogue.answers(username="ada"), AnyikeError)
    dialogue.says(login())
    error_of(dialogue.peer.answer(HostScanDone()), AnyikeError)


@pytest.mark.parametrize("username", ["ada", None])
def test_identity_is_the_user_name_of_the_settings(username):
    assert Dialogue(replace(SETTINGS, username=username)).method.identity() == username


def test_identifiers_that_jump_are_echoed_and_nothing_more(dialogue):
    """Inside IKEv2 they have no function (RFC 7296 3.16): each reply has that of its request (`Dialogue` compares them)."""
    dialogue.identifier = 250
    assert asked(dialogue.says(login())) == ["username", "password"]
    assert dialogue.answers(username="ada", password="x").identifier == 251
    dialogue.identifier = 6
    assert dialogue.says(login(inside=REJECTED)).question.error == "Login failed."
    assert dialogue.answers(username="ada", password="y").identifier == 7
    dialogue.identifier = 6  # and the same number again
    accepted(dialogue)
