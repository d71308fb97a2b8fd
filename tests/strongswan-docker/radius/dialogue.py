"""One client's AnyConnect EAP login, from hello to ack (AnyConnect-EAP notes, section 5).

Pure but for the clock it is given: an EAP response goes in, a Reply comes out, and each step is told to `record`.
"""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass

from container.scenario import Scenario

from radius import documents, eap, groups
from radius.accounts import Memory
from radius.forms import TICKET, Problem, problem
from radius.steps import Login, Person, Step, following

Record = Callable[..., None]
GO_ON, ACCEPT, REJECT = "go on", "accept", "reject"


@dataclass(frozen=True)
class Reply:
    """What RADIUS is to answer: Access-Challenge, Access-Accept or Access-Reject."""

    verdict: str
    packet: eap.Packet
    keys: tuple[bytes, bytes] | None = None
    """The halves of the MSK, of a method that generates one."""


def text(root: ET.Element, name: str) -> str:
    """The text of the first element of that name, or ""."""
    return root.findtext(f".//{name}") or ""


class Dialogue:
    """The login of one client; `expect` names the messages that may come next, `steps` are what is still to be asked."""

    def __init__(
        self,
        scenario: Scenario,
        session: str,
        nonce: str,
        record: Record,
        memory: Memory,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.scenario = scenario
        self.session = session
        self.nonce = nonce
        self.record = record
        self.person = Person(memory, now)
        self.expect = "init"
        self.steps: list[Step] = []
        self.forms_sent = 0
        self.failures = 0
        self.opaque = ""
        self.certificate_asked = False

    @property
    def ticket(self) -> str:
        """The hidden field of the form that was sent last: another one each time."""
        return f"<{self.nonce} & {self.forms_sent}>"

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
        """The client names its group: show that group's form."""
        self.person.name = ""
        wanted = text(root, "group-select") or text(root, "group-access").rpartition("/")[2]
        self.person.group = wanted or groups.DEFAULT
        self.record("init", group=self.person.group, outcome="received")
        if groups.find(self.person.group, self.scenario.groups) is None:
            return self._final_error(packet, problem(1, "There is no group %s.", self.person.group))
        if self.scenario.certificate_request and not self.certificate_asked:
            self.certificate_asked = True
            self._told("certificate wanted")
            return self._send(packet, documents.auth_request("<client-cert-request/>"))
        self.opaque = documents.opaque(self.person.group, self.nonce)
        # Another group may be chosen by a new init instead of a reply.
        self.expect = "auth-reply init"
        self.steps = [Login(self.person.group, self.scenario.groups, documents.terms(self.scenario.login_text))]
        return self._ask(packet)

    def _ask(self, packet: eap.Packet, refused: Problem | None = None) -> Reply:
        """Show the form of the next step, with the reason why the last answer to it was refused."""
        step = self.steps[0]
        self._told(f"{step.asked} again" if refused else step.asked)
        self.forms_sent += 1
        auth = step.form().xml(self.ticket, refused)
        return self._send(packet, documents.auth_request(auth, self.opaque))

    def _auth_reply(self, packet: eap.Packet, root: ET.Element) -> Reply:
        """The client filled in a form."""
        step = self.steps[0]
        fields = {element.tag: element.text or "" for element in root.iterfind("auth/*")}
        mismatch = self._mismatch(step, root, fields)
        if mismatch:
            self._told("rejected", "mismatch", problem=mismatch)
            return self._reject(packet)
        judgement = step.judge(self.person, fields)
        self._told(judgement.outcome, "auth-reply")
        if judgement.problem:
            return self._refuse(packet, judgement.problem, final=judgement.final)
        self.steps.pop(0)
        if isinstance(step, Login):
            self.expect = "auth-reply"
            self.steps += following(self.person, self.scenario)
        return self._ask(packet) if self.steps else self._complete(packet)

    def _mismatch(self, step: Step, root: ET.Element, fields: dict[str, str]) -> str:
        """What a reply has, or lacks, that the form did not ask; "" if nothing."""
        form = step.form()
        expected = form.reply_names()
        if root.find("auth") is None:
            return "the reply has no <auth>"
        if sorted(element.tag for element in root.iterfind("auth/*")) != sorted(expected):
            return f"the reply has the fields {sorted(fields)}, not {sorted(expected)}"
        if form.ticket and fields[TICKET] != self.ticket:
            return "the hidden field is not what was sent"
        selected = text(root, "group-select")
        if form.choice and selected not in ("", self.person.group):
            return f"the reply is for the group {selected}"
        return ""

    def _refuse(self, packet: eap.Packet, refused: Problem, *, final: bool) -> Reply:
        """Ask again, unless it was the last attempt."""
        self.failures += 1
        if final:
            return self._final_error(packet, refused)
        if self.failures >= self.scenario.attempts:
            user = f"{self.person.name}@example.com"
            return self._final_error(packet, problem(14, "Too many failed logins for %s.", user))
        return self._ask(packet, refused)

    def _complete(self, packet: eap.Packet) -> Reply:
        self.expect = "ack"
        self._told("sent", "complete")
        token = self.nonce.upper()
        return self._send(packet, documents.complete(self.session, token, self.scenario.login_banner))

    def _ack(self, packet: eap.Packet, _root: ET.Element) -> Reply:
        """All is done: Access-Accept, without keys since the method generates none."""
        self._told("accepted", "ack")
        return Reply(ACCEPT, eap.Packet(eap.SUCCESS, packet.identifier))

    def _final_error(self, packet: eap.Packet, refused: Problem) -> Reply:
        """An error without a form; whatever the client answers is rejected."""
        self.expect = ""
        self._told("final error")
        content = '<auth id="main"><title>Login</title></auth>' + refused.xml()
        return self._send(packet, documents.auth_request(content, self.opaque))

    def _send(self, packet: eap.Packet, xml: bytes) -> Reply:
        following_identifier = (packet.identifier + 1) % 256
        return Reply(GO_ON, eap.anyconnect_request(following_identifier, xml))

    def _reject(self, packet: eap.Packet) -> Reply:
        return Reply(REJECT, eap.Packet(eap.FAILURE, packet.identifier))

    def _told(self, outcome: str, kind: str = "auth-request", **more: str) -> None:
        self.record(kind, user=self.person.name, group=self.person.group, outcome=outcome, **more)
