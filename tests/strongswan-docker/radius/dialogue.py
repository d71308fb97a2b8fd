"""One client's AnyConnect EAP login, from hello to ack (AnyConnect-EAP notes, section 5).

Pure: an EAP response goes in, a Reply comes out, and each step is told to `record`.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass

from container.scenario import Scenario

from radius import accounts, documents, eap

Record = Callable[..., None]
GO_ON, ACCEPT, REJECT = "go on", "accept", "reject"


@dataclass(frozen=True)
class Reply:
    """What RADIUS is to answer: Access-Challenge, Access-Accept or Access-Reject."""

    verdict: str
    packet: eap.Packet
    keys: tuple[bytes, bytes] | None = None
    """The halves of the MSK, of a method that generates one."""


def texts(root: ET.Element, name: str) -> str:
    """The text of the first element of that name, or ""."""
    return root.findtext(f".//{name}") or ""


class Dialogue:
    """The login of one client; `expect` names the message that must come next."""

    def __init__(self, scenario: Scenario, session: str, nonce: str, record: Record) -> None:
        self.scenario = scenario
        self.session = session
        self.nonce = nonce
        self.record = record
        self.expect = "init"
        self.group = ""
        self.user = ""
        self.failures = 0
        self.opaque = ""
        self.certificate_asked = False
        self.code = ""

    def begin(self, identity: eap.Packet) -> Reply:
        """Answer the EAP-Identity response with hello."""
        self.record("hello", outcome="sent", identity=identity.data.decode(errors="replace"))
        return self._send(identity, documents.hello())

    def receive(self, packet: eap.Packet) -> Reply:
        """Answer one EAP response; whatever is wrong with it ends in a Reject."""
        if packet.kind == eap.NAK:
            self.record("nak", outcome="rejected", wanted=packet.data.hex())
            return self._reject(packet)
        try:
            xml = eap.anyconnect_tlvs(packet)[eap.XML]
            root = ET.fromstring(xml)
        except (eap.MalformedError, KeyError, ET.ParseError) as error:
            self.record("malformed", outcome="rejected", problem=repr(error))
            return self._reject(packet)
        kind = root.get("type", "")
        if root.tag != "config-auth" or kind not in self.expect.split():
            self.record(kind, outcome="rejected", problem=f"expected {self.expect}")
            return self._reject(packet)
        if self.opaque and kind != "ack" and self.opaque.encode() not in xml:
            self.record("mismatch", outcome="rejected", problem="opaque is not what was sent")
            return self._reject(packet)
        handler = {"init": self._init, "auth-reply": self._auth_reply, "ack": self._ack}[kind]
        return handler(packet, root)

    def _init(self, packet: eap.Packet, root: ET.Element) -> Reply:
        """The client names its group: show the form."""
        wanted = texts(root, "group-select") or texts(root, "group-access").rpartition("/")[2]
        self.group = wanted or accounts.DEFAULT_GROUP
        self.record("init", group=self.group, outcome="received")
        if self.group not in accounts.GROUPS:
            return self._final_error(packet, f"There is no group {self.group}.", 1)
        if self.scenario.certificate_request and not self.certificate_asked:
            self.certificate_asked = True
            self._told("certificate wanted")
            return self._send(packet, documents.auth_request("<client-cert-request/>"))
        self.opaque = documents.opaque(self.group, self.nonce)
        return self._form(packet)

    def _form(self, packet: eap.Packet, problem: str = "", outcome: str = "form") -> Reply:
        """Show the login form, with an error if there was one."""
        # Another group may be chosen by a new init instead of a reply.
        self.expect = "auth-reply init"
        self._told(outcome)
        text = documents.terms(self.scenario.login_text)
        form = documents.login_form(self.group, f"<{self.nonce}>", text, problem)
        return self._send(packet, documents.auth_request(form, self.opaque))

    def _auth_reply(self, packet: eap.Packet, root: ET.Element) -> Reply:
        """The client filled in a form: the login form, or the one for a code."""
        if self.code:
            return self._challenge_reply(packet, root)
        self.user = texts(root, "auth/username")
        self.group = texts(root, "group-select") or self.group
        if texts(root, "auth/ticket") != f"<{self.nonce}>":
            self._told("rejected", "mismatch", problem="the hidden field is not what was sent")
            return self._reject(packet)
        user = accounts.find(self.user, self.group, texts(root, "auth/password"))
        if user is None:
            self.failures += 1
            self._told("wrong password", "auth-reply")
            if self.failures >= self.scenario.attempts:
                return self._final_error(packet, "Too many failed logins for %s.", 14)
            return self._form(packet, documents.error(13, "Login failed."), "form again")
        if user.locked:
            self._told("locked", "auth-reply")
            return self._final_error(packet, "Your account is locked. Call the help desk.", 15)
        self._told("right password", "auth-reply")
        if user.code:
            self.code = user.code
            return self._challenge(packet)
        return self._complete(packet)

    def _challenge(self, packet: eap.Packet, problem: str = "") -> Reply:
        self.expect = "auth-reply"
        self._told("challenge")
        form = documents.challenge_form(problem)
        return self._send(packet, documents.auth_request(form, self.opaque))

    def _challenge_reply(self, packet: eap.Packet, root: ET.Element) -> Reply:
        """A field named `answer` is sent as `password`."""
        if texts(root, "auth/password") == self.code:
            self._told("right code", "auth-reply")
            return self._complete(packet)
        self.failures += 1
        self._told("wrong code", "auth-reply")
        if self.failures >= self.scenario.attempts:
            return self._final_error(packet, "Too many wrong codes.", 16)
        return self._challenge(packet, documents.error(17, "That is not the code."))

    def _complete(self, packet: eap.Packet) -> Reply:
        self.expect = "ack"
        self._told("sent", "complete")
        token = self.nonce.upper()
        return self._send(packet, documents.complete(self.session, token, self.scenario.login_banner))

    def _ack(self, packet: eap.Packet, _root: ET.Element) -> Reply:
        """All is done: Access-Accept, without keys since the method generates none."""
        self._told("accepted", "ack")
        return Reply(ACCEPT, eap.Packet(eap.SUCCESS, packet.identifier))

    def _final_error(self, packet: eap.Packet, text: str, number: int) -> Reply:
        """An error without a form; whatever the client answers is rejected."""
        self.expect = ""
        self._told("final error")
        content = '<auth id="main"><title>Login</title></auth>' + documents.error(number, text)
        return self._send(packet, documents.auth_request(content, self.opaque))

    def _send(self, packet: eap.Packet, xml: bytes) -> Reply:
        following = (packet.identifier + 1) % 256
        return Reply(GO_ON, eap.anyconnect_request(following, xml))

    def _reject(self, packet: eap.Packet) -> Reply:
        return Reply(REJECT, eap.Packet(eap.FAILURE, packet.identifier))

    def _told(self, outcome: str, kind: str = "auth-request", **more: str) -> None:
        self.record(kind, user=self.user, group=self.group, outcome=outcome, **more)
