"""The peer's side of one EAP conversation (RFC 3748), around one method.

The method sees only Requests of its own type; Identity, Notification, Nak, repeated Requests and the end of the
conversation are handled here. Packets come over a protected IKE SA, so that whatever breaks a rule ends the login
(`Failed`) instead of being dropped: nobody but the gateway can have sent it.
"""

from __future__ import annotations

import logging
from collections import deque

from anyike.eap.form import Answers, Field, FieldType, Form
from anyike.eap.method import Ask, EapContext, EapMethod, Failed, Send, Step
from anyike.eap.packet import (
    TYPE_EXPANDED,
    TYPE_EXPANDED_NAK,
    TYPE_IDENTITY,
    TYPE_NAK,
    TYPE_NOTIFICATION,
    Code,
    EapPacket,
)
from anyike.eap.question import Answer
from anyike.errors import AnyikeError, GatewayRefused, LoginFailed, ProtocolError
from anyike.text import printable
from anyike.wire import DecodeError

logger = logging.getLogger(__name__)

# Implementation: a login with two factors, a group and a new PIN takes about 10 Requests; a gateway that never comes
# to an end must not hold the client for ever.
MAX_REQUESTS = 64

# Implementation: IKE itself sees to lost messages, so that a repeated Request is odd; each one sends the answer once more,
# passwords included, and wrong ones lock accounts.
MAX_REPETITIONS = 3

# Implementation: notices are shown once per round; more of them than Requests cannot come.
MAX_NOTICES = MAX_REQUESTS

IDENTITY_FORM = Form(
    id="identity",
    message="The gateway asks who you are.",
    fields=(Field("username", FieldType.TEXT, "Username:"),),
)

_METHOD_NAMES = {4: "MD5-Challenge", 6: "GTC", 13: "EAP-TLS", 21: "EAP-TTLS", 25: "PEAP", 26: "EAP-MSCHAPv2"}


class EapPeer:
    """One conversation; `method` decides what is said in it."""

    def __init__(self, method: EapMethod) -> None:
        self._method = method
        self._requests = 0
        self._repetitions = 0
        self._last_request = b""
        self._last_step: Step | None = None
        self._last_response_identifier: int | None = None
        self._identity_identifier: int | None = None
        self._refused_type: bytes | None = None
        self._notices: deque[str] = deque(maxlen=MAX_NOTICES)

    def receive(self, data: bytes, context: EapContext) -> Step:
        """Handle the content of one EAP payload."""
        try:
            packet = EapPacket.decode(data)
        except DecodeError as error:
            return _broken(f"an EAP packet that cannot be read: {error}")
        match packet.code:
            case Code.REQUEST:
                return self._receive_request(packet, data, context)
            case Code.RESPONSE:
                return _broken("an EAP Response where only Requests may come")
            case _:
                return self._finish(packet)

    def answer(self, answer: Answer) -> Step:
        """The answer to the last `Ask`."""
        if self._identity_identifier is None:
            return self._remember(self._method.answer(answer))
        identifier, self._identity_identifier = self._identity_identifier, None
        name = answer.values.get("username", "") if isinstance(answer, Answers) else ""
        if not name:
            return self._remember(Failed(LoginFailed("The gateway asks for a user name and none was given (--user).")))
        return self._remember(_respond(identifier, TYPE_IDENTITY, name.encode()))

    def fail(self) -> AnyikeError:
        """Why the login failed, when EAP-Failure came or the gateway ended IKE_AUTH instead."""
        if self._refused_type is None:
            return self._method.fail()
        return GatewayRefused(
            f"The gateway wants the user to log in by {_describe(self._refused_type)}, which this login does not use."
            " Ask its administrator to allow AnyConnect EAP."
        )

    def take_notices(self) -> tuple[str, ...]:
        """Texts of the gateway to show, safe to print, each handed out once."""
        notices = (*self._notices, *self._method.take_notices())
        self._notices.clear()
        return notices

    def _receive_request(self, packet: EapPacket, data: bytes, context: EapContext) -> Step:
        self._requests += 1
        if self._requests > MAX_REQUESTS:
            return self._remember(_broken(f"more than {MAX_REQUESTS} EAP Requests without an end of the login"))
        # Only the same bytes are a repetition: inside IKEv2 the identifier alone tells nothing (RFC 7296 3.16).
        if data == self._last_request and self._last_step is not None:
            return self._repeat(self._last_step)
        self._last_request = data
        return self._remember(self._answer(packet, context))

    def _repeat(self, step: Step) -> Step:
        self._repetitions += 1
        if self._repetitions > MAX_REPETITIONS:
            return self._remember(_broken(f"EAP Requests that repeat the one before them, {self._repetitions} times"))
        return step

    def _answer(self, packet: EapPacket, context: EapContext) -> Step:
        if packet.method_type == self._method.method_type:
            self._refused_type = None
            return self._method.process(packet.identifier, packet.type_data, context)
        if packet.method_type == TYPE_IDENTITY:
            return self._identify(packet)
        if packet.method_type == TYPE_NOTIFICATION:
            self._notices.append(printable(packet.type_data.decode(errors="replace")))
            return _respond(packet.identifier, TYPE_NOTIFICATION)
        if packet.method_type in {b"\x00", TYPE_NAK, TYPE_EXPANDED_NAK}:
            return _broken(f"an EAP Request of type {packet.method_type.hex()}, which only a Response may have")
        return self._refuse(packet)

    def _identify(self, packet: EapPacket) -> Step:
        name = self._method.identity()
        if name is None:
            self._identity_identifier = packet.identifier
            return Ask(IDENTITY_FORM)
        return _respond(packet.identifier, TYPE_IDENTITY, name.encode())

    def _refuse(self, packet: EapPacket) -> Step:
        """Nak with our own method as the wish: RFC 3748 5.3.1, and 5.3.2 for a Request of an expanded type."""
        logger.info("the gateway wants %s; answering that we speak another method", _describe(packet.method_type))
        self._refused_type = packet.method_type
        wish = self._method.method_type
        if packet.method_type[0] == TYPE_EXPANDED:
            expanded = wish if wish[0] == TYPE_EXPANDED else bytes([TYPE_EXPANDED, 0, 0, 0, 0, 0, 0]) + wish
            return _respond(packet.identifier, TYPE_EXPANDED_NAK, expanded)
        return _respond(packet.identifier, TYPE_NAK, wish[:1])

    def _finish(self, packet: EapPacket) -> Step:
        """A Success or Failure is ours whatever its identifier: the IKE message around it answers our last one.

        RFC 3748 4.2 would discard a foreign one, but inside IKE the identifier has no function (RFC 7296 3.16).
        """
        if self._last_response_identifier not in {None, packet.identifier}:
            logger.info(
                "EAP %s with identifier %d after %s",
                packet.code.name,
                packet.identifier,
                self._last_response_identifier,
            )
        if packet.code is Code.SUCCESS:
            return self._remember(self._method.succeed())
        return self._remember(Failed(self.fail()))

    def _remember(self, step: Step) -> Step:
        self._last_step = step
        if isinstance(step, Send):
            self._last_response_identifier = step.packet[1]
        return step


def _respond(identifier: int, method_type: bytes, type_data: bytes = b"") -> Step:
    try:
        return Send(EapPacket(Code.RESPONSE, identifier, method_type, type_data).encode())
    except ValueError:
        return Failed(LoginFailed("The user name is too long for an EAP packet (65,535 bytes)."))


def _broken(what: str) -> Failed:
    return Failed(ProtocolError(f"The gateway sent {what}. The login ends here."))


def _describe(method_type: bytes) -> str:
    if method_type[0] == TYPE_EXPANDED:
        vendor, number = int.from_bytes(method_type[1:4], "big"), int.from_bytes(method_type[4:], "big")
        return f"an expanded EAP method (vendor {vendor}, type {number})"
    number = method_type[0]
    return f"EAP method {number}" + (f" ({_METHOD_NAMES[number]})" if number in _METHOD_NAMES else "")
