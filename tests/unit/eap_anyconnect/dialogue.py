"""A gateway that says what a test writes, and reads replies with its own code: struct, xml.etree."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from xml.etree import ElementTree as ET

from anyike.eap.form import Answers
from anyike.eap.method import Ask, EapContext, Failed, Send, Succeeded
from anyike.eap.peer import EapPeer
from anyike.eap.question import Answer
from anyike.eap_anyconnect.method import AnyConnectEap
from anyike.eap_anyconnect.settings import DeviceIdentity, LoginSettings

GOLDEN = Path(__file__).parents[2] / "vectors" / "anyconnect" / "anyconnect-cert-login.txt"
TYPE = bytes.fromhex("fe000009") + b"DBRP"
DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>\n'

DEVICE = DeviceIdentity(computer_name="box", platform_version="6.1", unique_id="00FF")
SETTINGS = LoginSettings(device=DEVICE, group_access="Staff", username="ada")

OPAQUE = b'<opaque is-for="sg"><tunnel-group>Staff</tunnel-group><config-hash>1367268141499</config-hash></opaque>'
LOGIN_FIELDS = (
    b'<input type="text" name="username" label="Username:"/><input type="password" name="password" label="Password:"/>'
)
GROUPS = b'<select name="group_list" label="GROUP:"><option selected="true">Staff</option><option>Lab</option></select>'
COMPLETE = (
    b"<session-id>77</session-id><session-token>TOKEN-s3cret</session-token>"
    b'<auth id="success"><message id="0" param1="" param2=""/></auth>'
)


def login(fields: bytes = LOGIN_FIELDS, before: bytes = b"", inside: bytes = b"", after: bytes = b"") -> bytes:
    """The body of an auth-request like that of the notes."""
    return (
        b'<version who="sg">9.16(4)</version>' + before + b'<csport>443</csport><auth id="main"><title>Login</title>'
        b"<message>Please enter your username and password.</message>" + inside + b"<form>" + fields + b"</form></auth>"
        + after
    )  # fmt: skip


def golden_documents() -> list[bytes]:
    """Every XML document of the golden exchange, in the order of the dialogue."""
    return re.findall(rb"-----XML-----\n(.*?\n)-----END XML", GOLDEN.read_bytes(), re.DOTALL)


def eap_request(identifier: int, type_data: bytes) -> bytes:
    return struct.pack("!BBH", 1, identifier, 12 + len(type_data)) + TYPE + type_data


def tlv(number: int, value: bytes) -> bytes:
    return struct.pack("!HH", number, len(value)) + value


class Reply:
    """One message of the client: its document as bytes and as a tree."""

    def __init__(self, packet: bytes) -> None:
        code, self.identifier, length = struct.unpack("!BBH", packet[:4])
        assert (code, length, packet[4:12]) == (2, len(packet), TYPE)
        self.tlvs, rest = [], packet[12:]
        while rest:
            number, size = struct.unpack("!HH", rest[:4])
            self.tlvs.append((number, rest[4 : 4 + size]))
            rest = rest[4 + size :]
        number, self.xml = self.tlvs[-1]
        assert number == 0
        self.root = ET.fromstring(self.xml)
        self.type = self.root.get("type")
        self.children = [child.tag for child in self.root]

    @property
    def answers(self) -> list[tuple[str, str]]:
        return [(child.tag, child.text or "") for child in self.root.find("auth")]


class Dialogue:
    """One login: `says` gives the client a document, `answers` plays the user."""

    def __init__(self, settings: LoginSettings = SETTINGS) -> None:
        self.method = AnyConnectEap(settings)
        self.peer = EapPeer(self.method)
        self.identifier = 0
        self.context = EapContext(b"", "sha256")

    def says(self, body: bytes, kind: str = "auth-request"):
        root = b'<config-auth client="vpn" type="%b" aggregate-auth-version="2">%b</config-auth>\n'
        return self.sends(tlv(0, DECLARATION + root % (kind.encode(), body)))

    def sends(self, type_data: bytes):
        self.identifier += 1
        return self._checked(self.peer.receive(eap_request(self.identifier, type_data), self.context))

    def answers(self, **values: str):
        return self.given(Answers(values))

    def given(self, answer: Answer):
        return self._checked(self.peer.answer(answer))

    def ends(self, code: int):
        return self.peer.receive(struct.pack("!BBH", code, self.identifier, 4), self.context)

    def hello(self) -> Reply:
        return self.says(b"", "hello")

    def _checked(self, step):
        if not isinstance(step, Send):
            return step
        reply = Reply(step.packet)
        assert reply.identifier == self.identifier
        return reply


def asked(step) -> list[str]:
    """The names of the visible fields of a question."""
    assert isinstance(step, Ask), step
    return [field.name for field in step.question.fields if field.type != "hidden"]


def error_of(step, kind: type) -> str:
    """The text of the one clear error that ended the login."""
    assert isinstance(step, Failed), step
    assert type(step.error) is kind
    return str(step.error)


def accepted(dialogue: Dialogue) -> None:
    """Play the end of a login that the gateway accepts."""
    assert dialogue.says(COMPLETE, "complete").type == "ack"
    assert dialogue.ends(3) == Succeeded(None)
