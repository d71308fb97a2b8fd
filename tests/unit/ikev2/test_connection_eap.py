"""A login dialogue that goes wrong: EAP, TLVs and XML that break their rules, or are as large as they can be."""

from __future__ import annotations

import pytest

from anyike.errors import GatewayRefused, LoginFailed, ProtocolError
from anyike.ikev2.states import State
from tests.fakes import wire
from tests.fakes.gateway import Profile
from tests.fakes.link import Link
from tests.fakes.script import (
    COMPLETE,
    DECLARATION,
    HELLO,
    SAY_FAILURE,
    SAY_SUCCESS,
    Packet,
    ScriptedLogin,
    document,
    login_form,
    request,
    say,
    tlv,
)
from tests.unit.ikev2.outcomes import assert_over, ends

MAX_EAP = {"ietf": 0xFFFF - 4, "cisco": 0xFFFF - 4 - 8 - 1 - 16 - 4}
"""An EAP payload with its generic header; without RFC 7383 the encrypted payload with IV, padding and ICV has to hold that."""


def test_eap_failure_ends_the_login():
    link = ends(Link(ScriptedLogin([HELLO, login_form(), SAY_FAILURE])), LoginFailed, "rejected the login")
    assert link.gateway.journal.requests[-1][0] == wire.IKE_AUTH


def test_eap_failure_at_once():
    ends(Link(ScriptedLogin([HELLO, SAY_FAILURE])), LoginFailed)


def test_the_identifier_of_success_and_failure_does_not_count():
    """They come protected, so nobody else can have sent them."""
    success = Packet(lambda identifier: bytes([3, identifier + 100, 0, 4]))
    assert Link(ScriptedLogin([HELLO, login_form(), COMPLETE, success])).establish().established
    failure = Packet(lambda identifier: bytes([4, identifier + 100, 0, 4]))
    ends(Link(ScriptedLogin([HELLO, failure])), LoginFailed)


def test_a_final_error_is_shown():
    error = document("auth-request", b'<error id="9" param1="Ada" param2="">The account of %s is locked.</error>')
    ends(Link(ScriptedLogin([HELLO, login_form(), error])), LoginFailed, "The account of Ada is locked.")


@pytest.mark.parametrize(
    ("method", "nak"),
    [(b"\x04", b"\x03\xfe"), (b"\x1a", b"\x03\xfe"), (bytes.fromhex("fe00013700000001"), b"\xfe\0\0\0\0\0\0\x03")],
    ids=["MD5", "MSCHAPv2", "expanded"],
)
def test_an_eap_type_that_we_do_not_speak(method, nak):
    login = ScriptedLogin([say(b"challenge", method), SAY_FAILURE])
    ends(Link(login), GatewayRefused, "AnyConnect EAP")
    assert login.replies[0].packet[4:].startswith(nak)


def test_after_a_nak_the_gateway_may_come_to_our_method():
    login = ScriptedLogin([say(b"challenge", b"\x04"), HELLO, login_form(), COMPLETE])
    assert Link(login).establish().established


@pytest.mark.parametrize(
    "lines",
    [
        [SAY_SUCCESS],
        [HELLO, SAY_SUCCESS],
        [HELLO, login_form(), SAY_SUCCESS],
        [HELLO, Packet(lambda identifier: bytes([3, identifier + 100, 0, 4]))],
        [HELLO, HELLO],
        [HELLO, COMPLETE, COMPLETE],
        [login_form()],
        [HELLO, document("unknown")],
        [Packet(lambda identifier: bytes([2, identifier, 0, 5, 1]))],
        [Packet(lambda _identifier: b"")],
        [Packet(lambda identifier: bytes([1, identifier, 0]))],
        [Packet(lambda identifier: bytes([9, identifier, 0, 4]))],
        [Packet(lambda identifier: bytes([1, identifier, 0, 4]))],
        [Packet(lambda identifier: request(identifier, b"")[:-1])],
        [Packet(lambda identifier: request(identifier, b"") + b"\0")],
        [Packet(lambda identifier: bytes([3, identifier, 0, 5, 0]))],
        [say(b"", b"\x03")],
        [say(b"", b"\x00")],
    ],
)
def test_an_eap_dialogue_that_makes_no_sense(lines):
    ends(Link(ScriptedLogin(lines)), ProtocolError)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"\0\0\0",
        b"\0\0\xff\xff",
        b"\0\0\0\x05four",
        tlv(0, HELLO) + b"\0\1\0",
        tlv(0, HELLO) + b"\0\1\0\x01",
        tlv(0, HELLO) + tlv(0, HELLO),
        tlv(1, b"signature"),
    ],
    ids=["none", "1 byte", "3 bytes", "no value", "short value", "half a header", "past the end", "two", "no document"],
)
def test_tlvs_that_cannot_be_read(content):
    ends(Link(ScriptedLogin([say(content)])), ProtocolError)


def test_an_unknown_tlv_is_ignored():
    assert Link(ScriptedLogin([say(tlv(2, b"?") + tlv(0, HELLO)), login_form(), COMPLETE])).establish().established


BOMB = b"".join(b'<!ENTITY e%d "%s">' % (n, b"&e%d;" % (n - 1) * 10) for n in range(1, 10))
XML = {
    "DTD": b'<!DOCTYPE config-auth><config-auth client="vpn" type="hello"/>',
    "external DTD": b'<!DOCTYPE config-auth SYSTEM "http://127.0.0.1/x.dtd"><config-auth type="hello"/>',
    "entity": b'<!DOCTYPE a [<!ENTITY e "x">]><config-auth type="hello">&e;</config-auth>',
    "external entity": b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><config-auth type="hello">&e;</config-auth>',
    "entity bomb": b'<!DOCTYPE a [<!ENTITY e0 "ha">' + BOMB + b']><config-auth type="hello">&e9;</config-auth>',
    "undeclared entity": b'<config-auth type="hello">&e;</config-auth>',
    "no root": b"",
    "not closed": b'<config-auth type="hello">',
    "two roots": b'<config-auth type="hello"/><config-auth type="hello"/>',
    "text": b"hello",
    "NUL": b'<config-auth type="hello">\0</config-auth>',
    "not UTF-8": b'<config-auth type="hello">\xff\xfe</config-auth>',
    "other root": b'<html type="hello"/>',
    "no type": b"<config-auth/>",
}


@pytest.mark.parametrize("body", XML.values(), ids=XML.keys())
def test_xml_that_is_refused(body):
    link = ends(Link(ScriptedLogin([DECLARATION + body])), ProtocolError)
    assert link.login.replies == []


HEAD = DECLARATION + b'<config-auth client="vpn" type="auth-request" aggregate-auth-version="2">'
TAIL = b"</config-auth>"
FORM = DECLARATION + b'<config-auth client="vpn" type="auth-request"><auth id="main"><form><select name="choice">'
FORM_END = b'</select><input type="password" name="password"/></form></auth></config-auth>'

# What it starts with, what is repeated, what closes each of these, what it ends with.
BOMBS = {
    "deep": (HEAD, b"<a>", b"</a>", TAIL),
    "wide": (HEAD, b"<a/>", b"", TAIL),
    "an attribute again and again": (HEAD[:-1], b' a=""', b"", b">" + TAIL),
    "attributes": (HEAD + b"<a", b" b=''", b"", b"/>" + TAIL),
    "never closed": (HEAD, b"<a>", b"", b""),
    "brackets": (HEAD, b"<", b"", TAIL),
}
GENUINE = {
    "long message": (login_form().partition(b"Please")[0], b"x", b"", b"Please" + login_form().partition(b"Please")[2]),
    "many options": (FORM, b"<option>Staff</option>", b"", FORM_END),
}


def filled(kind: str, start: bytes, unit: bytes, close: bytes, end: bytes) -> bytes:
    """A document that fills one EAP packet."""
    room = MAX_EAP[kind] - 12 - 4 - len(start) - len(end)
    count, rest = divmod(room, len(unit) + len(close))
    return start + unit * count + close * count + end + b" " * rest


@pytest.mark.parametrize("fragmentation", ["ietf", "cisco"])
@pytest.mark.parametrize("parts", BOMBS.values(), ids=BOMBS.keys())
def test_xml_as_large_and_as_deep_as_one_packet_can_hold(parts, fragmentation):
    login = ScriptedLogin([HELLO, filled(fragmentation, *parts)])
    link = ends(Link(login, profile=Profile(fragmentation=fragmentation)), ProtocolError)
    assert link.client.counters["fragments_in"] > 50
    assert login.documents == ["init"]


@pytest.mark.parametrize("fragmentation", ["ietf", "cisco"])
@pytest.mark.parametrize("parts", GENUINE.values(), ids=GENUINE.keys())
def test_a_genuine_form_as_large_as_one_packet_can_hold(parts, fragmentation):
    body = filled(fragmentation, *parts)
    link = Link(ScriptedLogin([HELLO, body, COMPLETE]), profile=Profile(fragmentation=fragmentation))
    link.user.answers = {"username": "ada", "password": "secret", "choice": "Staff"}
    assert link.establish().established


@pytest.mark.parametrize("fragmentation", ["ietf", "cisco", "off"])
def test_an_answer_that_grows_beyond_what_a_message_can_hold(fragmentation):
    """The password fills the answer to every size around the limits of UDP, of SK and of EAP."""
    outcomes = set()
    for size in (*range(64_400, 65_300, 7), 70_000):
        link = Link(ScriptedLogin([HELLO, login_form(), COMPLETE]), profile=Profile(fragmentation=fragmentation))
        link.user.answers = {"username": "ada", "password": "s" * size}
        link.connect().run(60, until=lambda link=link: link.client.state in (State.ESTABLISHED, State.CLOSED))
        outcomes.add(link.client.state)
        if link.client.state is State.CLOSED:
            assert_over(link, type(link.error), "too large" if "too large" in str(link.error) else "65,535")
            assert isinstance(link.error, LoginFailed)
        largest = max(len(data) for _, data, _ in link.sent)
        assert largest <= (0xFFFF - 28 if fragmentation == "off" else 1252)
    assert outcomes == {State.ESTABLISHED, State.CLOSED}


def test_a_login_that_never_ends():
    def again(_reply):
        return [login_form(), again]

    ends(Link(ScriptedLogin([HELLO, again])), ProtocolError, "without an end")
