"""A client for the RADIUS back end's dialogue, in process: it reads forms and answers them as section 5 of the notes says."""

from __future__ import annotations

import re
import struct
import xml.etree.ElementTree as ET
from typing import Any
from xml.sax.saxutils import escape

from container.scenario import Scenario
from radius import eap
from radius.accounts import Memory
from radius.dialogue import Dialogue

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<config-auth client="vpn" type="{}" aggregate-auth-version="2">'
OPAQUE = re.compile(r"<opaque  is-for='sg'.*?</opaque>", re.DOTALL)
SENT_AS_PASSWORD = ("answer", "whichpin", "new_password")
NEVER_SENT = ("verify_pin", "verify_password")
IDENTITY = eap.Packet(eap.RESPONSE, 0, eap.IDENTITY, b"*$AnyConnectClient$*")


def response(xml: str, identifier: int = 7) -> eap.Packet:
    data = eap.ANYCONNECT + struct.pack(">HH", eap.XML, len(xml.encode())) + xml.encode()
    return eap.Packet(eap.RESPONSE, identifier, eap.EXPANDED, data)


def document(kind: str, content: str = "") -> eap.Packet:
    return response(f"{HEAD.format(kind)}{content}</config-auth>\n")


def init(group: str, kind: str = "group-access", extra: str = "") -> eap.Packet:
    return document("init", f"{extra}<{kind}>{escape(group)}</{kind}>")


class Client:
    """Answers as a client should, and keeps what the gateway said."""

    def __init__(self, memory: Memory | None = None, now: float = 0.0, **settings: Any) -> None:
        self.steps: list[dict[str, str]] = []
        self.now = now
        self.dialogue = Dialogue(
            Scenario(**settings), "session", "0123456789ab", self._record, memory or Memory(), lambda: self.now
        )
        self.reply = self.dialogue.begin(IDENTITY)

    def _record(self, kind: str, **fields: str) -> None:
        self.steps.append({"type": kind, **fields})

    @property
    def xml(self) -> str:
        return self.reply.packet.data[len(eap.ANYCONNECT) + 4 :].decode()

    @property
    def outcomes(self) -> list[str]:
        """What became of the replies."""
        return [step["outcome"] for step in self.steps if step["type"] == "auth-reply"]

    @property
    def labels(self) -> dict[str, str]:
        """The visible fields of the form that the gateway shows: name to label."""
        return {name: field.get("label", "") for name, field in self.inputs().items() if field.get("type") != "hidden"}

    def inputs(self) -> dict[str, ET.Element]:
        found = ET.fromstring(self.xml).iterfind("auth/form/input")
        return {field.get("name", ""): field for field in found if field.get("type") != "submit"}

    def said(self, path: str) -> str:
        """The text of an element, its parameters filled in."""
        element = ET.fromstring(self.xml).find(path)
        if element is None:
            return ""
        words = element.text or ""
        for name in ("param1", "param2"):
            words = words.replace("%s", element.get(name, ""), 1)
        return words

    def opaque(self) -> str:
        found = OPAQUE.search(self.xml)
        return found[0] if found else ""

    def send(self, packet: eap.Packet) -> str:
        self.reply = self.dialogue.receive(packet)
        return self.reply.verdict

    def fill(self, *, group: str = "", spoil: str = "", more: str = "", **values: str) -> str:
        """Reply to the form; `spoil` is left out of the opaque, `more` is added to the fields."""
        hidden = {name: field.get("value", "") for name, field in self.inputs().items() if name not in self.labels}
        fields = ""
        for name, value in {**hidden, **values}.items():
            if name not in NEVER_SENT:
                element = "password" if name in SENT_AS_PASSWORD else name
                fields += f"<{element}>{escape(value)}</{element}>"
        select = f"<group-select>{group}</group-select>" if group else ""
        opaque = self.opaque().replace(spoil, "") if spoil else self.opaque()
        return self.send(document("auth-reply", f"{opaque}<auth>{fields}{more}</auth>{select}"))

    def enter(self, group: str = "Staff", **values: str) -> str:
        """Begin in a group and reply to its form."""
        self.send(init(group))
        return self.fill(**values)

    def ack(self) -> str:
        return self.send(document("ack"))
