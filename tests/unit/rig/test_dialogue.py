"""The RADIUS back end's XML dialogue, in process, against a client written for this test."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
from container.scenario import LOGIN_TEXT_LIMIT, Scenario
from hypothesis import given
from hypothesis import strategies as st
from pyrad.dictionary import Dictionary
from pyrad.packet import AccessChallenge, AccessReject, AuthPacket
from radius import eap, server
from radius.accounts import USERS
from radius.dialogue import ACCEPT, GO_ON, REJECT, Dialogue

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<config-auth client="vpn" type="{}" aggregate-auth-version="2">'
OPAQUE = re.compile(rb"<opaque  is-for='sg'.*?</opaque>", re.DOTALL)
HIDDEN = re.compile(r'name="ticket" value="(.*?)"')


def response(xml: str, identifier: int = 7) -> eap.Packet:
    data = eap.ANYCONNECT + struct.pack(">HH", eap.XML, len(xml.encode())) + xml.encode()
    return eap.Packet(eap.RESPONSE, identifier, eap.EXPANDED, data)


def init(group: str, kind: str = "group-access", extra: str = "") -> eap.Packet:
    return response(HEAD.format("init") + f"{extra}<{kind}>{group}</{kind}></config-auth>\n")


class Client:
    """Answers as a client should, and keeps what the gateway said."""

    def __init__(self, **settings: Any) -> None:
        self.steps: list[dict[str, str]] = []
        scenario = Scenario(**settings)
        self.dialogue = Dialogue(scenario, "session", "0123456789ab", self._record)
        identity = eap.Packet(eap.RESPONSE, 0, eap.IDENTITY, b"*$AnyConnectClient$*")
        self.reply = self.dialogue.begin(identity)

    def _record(self, kind: str, **fields: str) -> None:
        self.steps.append({"type": kind, **fields})

    @property
    def xml(self) -> bytes:
        return self.reply.packet.data[len(eap.ANYCONNECT) + 4 :]

    def send(self, packet: eap.Packet) -> str:
        self.reply = self.dialogue.receive(packet)
        return self.reply.verdict

    def fill(self, user: str, password: str, group: str = "Staff", spoil: bytes = b"") -> str:
        opaque = OPAQUE.search(self.xml)[0]
        opaque = opaque.replace(spoil, b"") if spoil else opaque
        ticket = HIDDEN.search(self.xml.decode())[1]
        fields = f"<username>{escape(user)}</username><password>{escape(password)}</password><ticket>{ticket}</ticket>"
        body = f"{opaque.decode()}<auth>{fields}</auth><group-select>{group}</group-select>"
        return self.send(response(HEAD.format("auth-reply") + body + "</config-auth>\n"))

    def ack(self) -> str:
        return self.send(response(HEAD.format("ack") + "</config-auth>\n"))


def test_hello_is_the_observed_107_bytes() -> None:
    assert len(Client().xml) == 107


@pytest.mark.parametrize(
    ("user", "group"), [("ada", "Staff"), ("ada", "Lab"), ("grace", "Lab")], ids=lambda value: value
)
def test_login(user: str, group: str) -> None:
    client = Client()
    assert client.send(init(group)) == GO_ON
    assert client.fill(user, USERS[user].password, group) == GO_ON
    assert b'type="complete"' in client.xml
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
        assert client.dialogue.group == group
        assert f'<option selected="true">{group}</option>'.encode() in client.xml


def test_another_group_by_a_new_init() -> None:
    client = Client()
    client.send(init("Staff"))
    opaque = OPAQUE.search(client.xml)[0].decode()
    assert client.send(init("Lab", "group-select", opaque)) == GO_ON
    assert client.fill("grace", USERS["grace"].password, "Lab") == GO_ON
    assert client.ack() == ACCEPT


def test_wrong_passwords_end_in_an_error_without_a_form() -> None:
    client = Client()
    client.send(init("Staff"))
    for _ in range(2):
        assert client.fill("ada", "wrong") == GO_ON
        assert b"<error" in client.xml
        assert b"<form" in client.xml
    assert client.fill("ada", "wrong") == GO_ON
    assert b"<error" in client.xml
    assert b"<form" not in client.xml
    assert client.ack() == REJECT


def test_a_second_try_succeeds() -> None:
    client = Client()
    client.send(init("Staff"))
    client.fill("ada", "wrong")
    assert client.fill("ada", "secret") == GO_ON
    assert client.ack() == ACCEPT


@pytest.mark.parametrize(
    ("user", "password", "words"),
    [
        ("mallory", "secret", b"Your account is locked."),
        ("nobody", "", b"Too many failed logins"),
        ("grace", "p<ss & w\u00f6rd", b"Too many failed logins"),
    ],
)
def test_who_may_not_log_in_to_staff(user: str, password: str, words: bytes) -> None:
    client = Client(attempts=1)
    client.send(init("Staff"))
    assert client.fill(user, password) == GO_ON
    assert b"<form" not in client.xml
    assert words in client.xml
    assert client.ack() == REJECT


def test_an_unknown_group_is_final() -> None:
    client = Client()
    assert client.send(init("Nowhere")) == GO_ON
    assert b"There is no group Nowhere." in client.xml
    assert client.ack() == REJECT


def test_a_one_time_code() -> None:
    client = Client()
    client.send(init("Staff"))
    assert client.fill("alan", "enigma") == GO_ON
    assert b'<auth id="challenge">' in client.xml
    opaque = OPAQUE.search(client.xml)[0].decode()
    answer = HEAD.format("auth-reply") + opaque + "<auth><password>{}</password></auth></config-auth>\n"
    assert client.send(response(answer.format("000000"))) == GO_ON
    assert b"That is not the code." in client.xml
    assert client.send(response(answer.format("123456"))) == GO_ON
    assert client.ack() == ACCEPT


def test_a_certificate_is_asked_for_first() -> None:
    client = Client(certificate_request=True)
    assert client.send(init("Staff")) == GO_ON
    assert b"<client-cert-request/>" in client.xml
    assert b"<opaque" not in client.xml
    assert client.send(init("Staff", extra="<client-cert-fail/>")) == GO_ON
    assert client.fill("ada", "secret") == GO_ON


@pytest.mark.parametrize("spoil", [b"\n", b" />", b"<![CDATA["])
def test_a_changed_opaque_is_noticed(spoil: bytes) -> None:
    client = Client()
    client.send(init("Staff"))
    assert spoil in client.xml
    verdict = client.fill("ada", "secret", spoil=spoil)
    assert verdict == REJECT
    assert client.steps[-1]["type"] in ("mismatch", "malformed")


@pytest.mark.parametrize(
    "packet",
    [
        eap.Packet(eap.RESPONSE, 7, eap.NAK, b"\x1a"),
        eap.Packet(eap.RESPONSE, 7, eap.EXPANDED, eap.ANYCONNECT + b"\0\0\0"),
        response("<config-auth"),
        response("<other/>"),
        response(HEAD.format("ack") + "</config-auth>"),
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


class Nas:
    """Sends RADIUS as charon's eap-radius does: by pyrad, with chunks and State."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.server = server.Server(folder / "log", lambda: Scenario(**settings))
        self.dictionary = Dictionary(str(Path(server.__file__).with_name("dictionary")))
        self.state = b""

    def request(self, message: bytes) -> AuthPacket:
        packet = AuthPacket(secret=server.SECRET, dict=self.dictionary)
        packet[server.EAP_MESSAGE] = [message[at : at + 253] for at in range(0, len(message), 253)]
        if self.state:
            packet[server.STATE] = [self.state]
        packet.add_message_authenticator()
        return packet

    def send(self, message: bytes) -> tuple[int, bytes]:
        packet = self.request(message)
        raw = self.server.handle(packet.RequestPacket())
        assert raw is not None
        assert len(raw) <= server.LARGEST_PACKET
        reply = packet.CreateReply(packet=raw)
        assert packet.VerifyReply(reply, raw)
        assert reply.verify_message_authenticator(original_authenticator=packet.authenticator)
        self.state = reply.get(server.STATE, [self.state])[0]
        return reply.code, b"".join(reply[server.EAP_MESSAGE])


IDENTITY = eap.Packet(eap.RESPONSE, 0, eap.IDENTITY, b"*$AnyConnectClient$*").encode()


def test_the_longest_form_fits_one_radius_packet(tmp_path: Path) -> None:
    nas = Nas(tmp_path, login_text=LOGIN_TEXT_LIMIT)
    code, hello = nas.send(IDENTITY)
    assert (code, hello[:5]) == (AccessChallenge, bytes([1, 1, *struct.pack(">H", len(hello)), 254]))
    code, form = nas.send(init("Staff").encode())
    assert code == AccessChallenge
    assert len(form) > LOGIN_TEXT_LIMIT
    code, answer = nas.send(response("<other/>").encode())
    assert (code, answer) == (AccessReject, bytes([4, 7, 0, 4]))


def test_a_repeated_request_gets_the_same_answer_and_is_taken_once(tmp_path: Path) -> None:
    nas = Nas(tmp_path)
    raw = nas.request(IDENTITY).RequestPacket()
    assert nas.server.handle(raw) == nas.server.handle(raw)
    assert len((tmp_path / "log").read_text().splitlines()) == 1


def test_a_wrong_message_authenticator_is_ignored(tmp_path: Path) -> None:
    nas = Nas(tmp_path)
    raw = nas.request(IDENTITY).RequestPacket()
    assert nas.server.handle(raw[:-1] + bytes([raw[-1] ^ 1])) is None


def test_an_unknown_state_is_rejected(tmp_path: Path) -> None:
    nas = Nas(tmp_path)
    nas.state = b"nonsense"
    assert nas.send(init("Staff").encode()) == (AccessReject, bytes([4, 7, 0, 4]))


@pytest.mark.parametrize(
    "settings", [{"certificate": "none"}, {"login_text": LOGIN_TEXT_LIMIT + 1}, {"login_text": -1}]
)
def test_a_scenario_refuses_nonsense(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        Scenario(**settings)


def test_a_scenario_survives_json() -> None:
    scenario = Scenario(split_include=("10.0.0.0/8", "192.168.0.0/16"), cookie=True)
    assert Scenario.from_json(scenario.to_json()) == scenario
    with pytest.raises(TypeError, match="cookies"):
        Scenario.from_json('{"cookies": true}')
