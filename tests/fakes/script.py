"""A login as data: what the gateway says in turn, in EAP packets of AnyConnect EAP (AnyConnect-EAP notes, sections 4, 5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.fakes.eap import FAILURE, SUCCESS, TYPE, Reply, request, tlv
from tests.fakes.session import IkeAttributes

DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>\n'

OPAQUE = b'<opaque is-for="sg"><tunnel-group>Staff</tunnel-group><config-hash>1367268141499</config-hash></opaque>'
FIELDS = (
    b'<input type="text" name="username" label="Username:"/><input type="password" name="password" label="Password:"/>'
)


@dataclass(frozen=True)
class Packet:
    """A whole EAP packet, made from the identifier that is due."""

    make: Callable[[int], bytes]


Line = bytes | Packet
Branch = Callable[[Reply], "list[Step]"]
Step = Line | Branch


def document(kind: str, body: bytes = b"") -> bytes:
    root = b'<config-auth client="vpn" type="%b" aggregate-auth-version="2"' % kind.encode()
    return DECLARATION + root + (b">" + body + b"</config-auth>\n" if body else b"/>\n")


LONG_FORM = b"Read the rules. " * 300
"""A message that makes a form need several fragments."""

HELLO = document("hello")
COMPLETE = document(
    "complete",
    b"<session-id>77</session-id><session-token>TOKEN-s3cret</session-token>"
    b'<auth id="success"><message id="0" param1="" param2=""/></auth>',
)


def login_form(fields: bytes = FIELDS, *, error: bytes = b"", filler: bytes = b"") -> bytes:
    """An auth-request with a form; `error` is a whole `<error>` element, `filler` makes the message long."""
    head = b"<title>Login</title><message>Please enter your username and password." + filler + b"</message>"
    form = b'<auth id="main">' + head + error + b"<form>" + fields + b"</form></auth>"
    return document("auth-request", OPAQUE + b"<csport>443</csport>" + form)


def say(content: bytes, method_type: bytes = TYPE) -> Packet:
    """A Request with this content behind its type, whatever it is."""
    return Packet(lambda identifier: request(identifier, content, method_type))


SAY_FAILURE = Packet(lambda identifier: bytes([FAILURE, identifier, 0, 4]))
SAY_SUCCESS = Packet(lambda identifier: bytes([SUCCESS, identifier, 0, 4]))


class ScriptedLogin:
    """Says its lines in turn: a document, a packet, or a branch that reads the Response and gives the lines to say instead.

    Success follows the last one.
    """

    def __init__(self, lines: Sequence[Step]) -> None:
        self._lines = list(lines)
        self._identifier = 0
        self.identity = b""
        self.replies: list[Reply] = []
        self.result: bool | None = None

    def begin(self, identity: bytes, attributes: IkeAttributes) -> None:
        self.identity = identity

    def receive_packet(self, packet: bytes) -> None:
        self.replies.append(Reply(packet))

    def send_packet(self) -> bytes:
        return self._next(self.replies[-1] if self.replies else None)

    def get_result(self) -> bool | None:
        return self.result

    def end(self) -> None:
        """Nothing is left to do."""

    @property
    def documents(self) -> list[str]:
        """The types of the documents that the client has sent."""
        return [reply.root.get("type", "") for reply in self.replies if reply.method_type == TYPE]

    def _next(self, reply: Reply | None) -> bytes:
        line = self._lines.pop(0) if self._lines else SAY_SUCCESS
        while not isinstance(line, bytes | Packet):
            assert reply is not None
            self._lines[:0] = line(reply)
            line = self._lines.pop(0)
        if isinstance(line, bytes):
            line = say(tlv(0, line))
        packet = line.make(self._identifier + 1)
        if packet[:1] in (bytes([SUCCESS]), bytes([FAILURE])):
            packet = line.make(self._identifier)  # Success and Failure carry the identifier of the last Response
            self.result = packet[0] == SUCCESS
        else:
            self._identifier += 1
        return packet


def password_login(user: str = "ada", password: str = "secret", *, filler: bytes = b"") -> ScriptedLogin:
    """hello, the form until the password is right (three tries), complete."""

    def judge(tries_left: int) -> Branch:
        def branch(reply: Reply) -> list[Step]:
            if (reply.text("auth/username"), reply.text("auth/password")) == (user, password):
                return [COMPLETE]
            if not tries_left:
                return [SAY_FAILURE]
            error = b'<error id="13" param1="" param2="">Login failed.</error>'
            return [login_form(error=error, filler=filler), judge(tries_left - 1)]

        return branch

    return ScriptedLogin([HELLO, login_form(filler=filler), judge(2)])
