"""No secret in a log, a repr or an error."""

from __future__ import annotations

import logging
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyike.eap.form import Answers, Form
from anyike.eap.method import Ask, Failed, Send
from tests.unit.eap_anyconnect.dialogue import COMPLETE, LOGIN_FIELDS, OPAQUE, Dialogue, eap_request, login, tlv

PASSWORD = "correct-horse"
SECRETS = (PASSWORD, "TOKEN-s3cret", "1367268141499")


def test_a_login_at_the_highest_log_level(caplog):
    caplog.set_level(logging.DEBUG)
    dialogue = Dialogue()
    dialogue.hello()
    question = dialogue.says(login(before=OPAQUE))
    answers = Answers({"username": "ada", "password": PASSWORD})
    step = dialogue.peer.answer(answers)
    assert isinstance(step, Send)
    assert PASSWORD.encode() in step.packet
    pending = dict(vars(dialogue.method))
    dialogue.says(COMPLETE, "complete")
    shown = [question, answers, step, dialogue.method, dialogue.method.session, dialogue.peer, pending["_go_on"]]
    printed = caplog.text + " ".join(map(repr, shown))
    assert "auth-request" in printed
    assert [secret for secret in SECRETS if secret in printed] == []


@pytest.mark.parametrize("password", [PASSWORD + "\x1b", PASSWORD + "\udc80", PASSWORD * 6_000])
def test_an_error_about_an_answer_does_not_quote_it(password, caplog):
    caplog.set_level(logging.DEBUG)
    dialogue = Dialogue()
    dialogue.hello()
    dialogue.says(login())
    step = dialogue.answers(username="ada", password=password)
    assert isinstance(step, Failed)
    seen = caplog.text
    error = step.error
    while error is not None:
        seen += repr(error) + repr(vars(error)) + "".join(traceback.format_exception(error))
        error = error.__context__
    assert PASSWORD not in seen


bodies = st.lists(
    st.sampled_from(
        [
            LOGIN_FIELDS, OPAQUE, b'<auth id="main">', b"</auth>", b"<auth/>", b"<form>", b"</form>", b"<form/>",
            b'<input type="text" name="x"/>', b"<error>no</error>", b"<host-scan/>", b"<client-cert-request/>",
            b"<authentication-complete/>", b"<session-id>1</session-id>",
            b'<select name="group_list"><option>A</option>',
            b"<option/></select>", b"<banner>b</banner>", b"<message>%s</message>", b"text", b"<!DOCTYPE a>",
        ]
    ),
    max_size=7,
).map(b"".join)  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(["hello", "auth-request", "complete", "x"]), bodies), max_size=4))
def test_any_dialogue_gives_steps_and_never_raises(script):
    dialogue = Dialogue()
    dialogue.hello()
    for kind, body in script:
        step = dialogue.says(body, kind)
        for _ in range(3):
            if isinstance(step, Ask) and isinstance(step.question, Form):
                step = dialogue.answers(**{field.name: field.value for field in step.question.fields})
        assert dialogue.peer.take_notices() is not None


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_arbitrary_type_data_ends_in_one_error(first, document):
    for type_data in (first, tlv(0, document)):
        dialogue = Dialogue()
        step = dialogue.peer.receive(eap_request(1, type_data), dialogue.context)
        assert isinstance(step, Failed)
