"""The RADIUS server (RFC 2865, RFC 3579): UDP datagrams to logins and back.

Every step of a login is one JSON line in /state/radius.jsonl; passwords are never written.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from container import scenario as settings
from container.scenario import Scenario
from pyrad.dictionary import Dictionary
from pyrad.packet import AccessAccept, AccessChallenge, AccessReject, AuthPacket, PacketError

from radius import eap
from radius.accounts import Memory
from radius.dialogue import ACCEPT, GO_ON, Dialogue, Reply
from radius.mschapv2 import MSCHAPv2, hide_key

ADDRESS = ("127.0.0.1", 1812)
SECRET = b"gateway"
LARGEST_PACKET = 4096
SESSION_LIMIT = 256
CODES = {GO_ON: AccessChallenge, ACCEPT: AccessAccept}

# Attribute types.
STATE, EAP_MESSAGE, MESSAGE_AUTHENTICATOR = 24, 79, 80
EAP_CHUNK = 253
# MS-MPPE-Recv-Key and MS-MPPE-Send-Key, (vendor, type).
MPPE_KEYS = ((311, 17), (311, 16))

ANYCONNECT_IDENTITY = b"*$AnyConnectClient$*"


class Login(Protocol):
    """A login under way, whatever its EAP method."""

    def begin(self, identity: eap.Packet) -> Reply:
        """Answer the EAP-Identity response."""

    def receive(self, packet: eap.Packet) -> Reply:
        """Answer any later EAP response."""


class Server:
    """Sessions by their State attribute; the oldest is forgotten when there are too many.

    What logins change (passwords, PINs, used codes) lasts until `since` tells that a scenario was put in force.
    """

    def __init__(
        self,
        log: Path,
        scenario: Callable[[], Scenario] = settings.load,
        since: Callable[[], int] = settings.since,
    ) -> None:
        self.log = log
        self.scenario = scenario
        self.since = since
        self.memory = Memory()
        self.memory_since = 0
        self.dictionary = Dictionary(str(Path(__file__).with_name("dictionary")))
        self.sessions: OrderedDict[bytes, Login] = OrderedDict()
        self.answers: OrderedDict[bytes, bytes] = OrderedDict()

    def record(self, session: str, kind: str, **fields: str) -> None:
        """Append one step to the log."""
        line = {"time": round(time.time(), 3), "session": session, "type": kind, **fields}
        with self.log.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def handle(self, raw: bytes) -> bytes | None:
        """Answer one Access-Request; None for one that is not ours or not authentic."""
        if raw in self.answers:
            return self.answers[raw]
        try:
            request = AuthPacket(packet=raw, secret=SECRET, dict=self.dictionary)
            message = eap.Packet.decode(b"".join(dict.get(request, EAP_MESSAGE, [])))
        except (PacketError, eap.MalformedError) as error:
            self.record("", "malformed", outcome="ignored", problem=repr(error))
            return None
        if not authentic(raw):
            self.record("", "malformed", outcome="ignored", problem="Message-Authenticator")
            return None
        state, reply = self.advance(dict.get(request, STATE, [b""])[0], message)
        answer = self.encode(request, state, reply)
        # charon repeats a request that was not answered in time: never take it twice.
        self.answers[raw] = answer
        while len(self.answers) > SESSION_LIMIT:
            self.answers.popitem(last=False)
        return answer

    def advance(self, state: bytes, message: eap.Packet) -> tuple[bytes, Reply]:
        """Hand the message to its session, a new one for an EAP-Identity response."""
        if state in self.sessions:
            return state, self.sessions[state].receive(message)
        if message.kind != eap.IDENTITY:
            return state, Reply("reject", eap.Packet(eap.FAILURE, message.identifier))
        state = os.urandom(8)
        name = state.hex()

        def record(kind: str, **fields: str) -> None:
            self.record(name, kind, **fields)

        if message.data == ANYCONNECT_IDENTITY:
            login: Login = Dialogue(self.scenario(), name, os.urandom(6).hex(), record, self.current_memory())
        else:
            login = MSCHAPv2(os.urandom(16), record)
        self.sessions[state] = login
        while len(self.sessions) > SESSION_LIMIT:
            self.sessions.popitem(last=False)
        return state, login.begin(message)

    def current_memory(self) -> Memory:
        """What is remembered since the scenario was put in force."""
        if self.since() != self.memory_since:
            self.memory, self.memory_since = Memory(), self.since()
        return self.memory

    def encode(self, request: AuthPacket, state: bytes, reply: Reply) -> bytes:
        """The RADIUS answer with its Message-Authenticator; ValueError if it is too long."""
        answer = request.CreateReply()
        answer.code = CODES.get(reply.verdict, AccessReject)
        message = reply.packet.encode()
        if reply.verdict == GO_ON:
            answer[STATE] = [state]
        answer[EAP_MESSAGE] = [message[at : at + EAP_CHUNK] for at in range(0, len(message), EAP_CHUNK)]
        for kind, key in zip(MPPE_KEYS, reply.keys or (), strict=False):
            answer[kind] = [hide_key(key, SECRET, request.authenticator)]
        answer[MESSAGE_AUTHENTICATOR] = [bytes(16)]
        unsigned = answer.ReplyPacket()
        signed = unsigned[:4] + request.authenticator + unsigned[20:]
        answer[MESSAGE_AUTHENTICATOR] = [hmac.digest(SECRET, signed, hashlib.md5)]
        raw: bytes = answer.ReplyPacket()
        if len(raw) > LARGEST_PACKET:
            raise ValueError(f"a RADIUS packet of {len(raw)} bytes")
        return raw


def authentic(raw: bytes) -> bool:
    """Does a request hold the right Message-Authenticator (RFC 3579 section 3.2)?"""
    offset = 20
    while offset + 2 <= len(raw) and raw[offset + 1] >= 2:
        if raw[offset] == MESSAGE_AUTHENTICATOR and raw[offset + 1] == 18:
            start = offset + 2
            blank = raw[:start] + bytes(16) + raw[start + 16 :]
            expected = hmac.digest(SECRET, blank, hashlib.md5)
            return hmac.compare_digest(expected, raw[start : start + 16])
        offset += raw[offset + 1]
    return False


def main() -> None:
    """Serve for ever."""
    server = Server(settings.RADIUS_LOG)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind(ADDRESS)
        server.log.touch()
        while True:
            raw, client = link.recvfrom(LARGEST_PACKET)
            answer = server.handle(raw)
            if answer is not None:
                link.sendto(answer, client)


if __name__ == "__main__":
    main()
