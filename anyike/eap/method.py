"""What an EAP method offers to the IKE SA that carries it.

A method is pure. It is given packets and answers and returns one `Step` each time; what it cannot know itself (the user's
password, a signature by a private key) leaves as a question and comes back by `answer`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from anyike.eap.question import Answer, Question
from anyike.errors import AnyikeError


@dataclass(frozen=True, slots=True)
class EapContext:
    """What a method may know of the IKE SA around it.

    `initiator_signed_octets`: RFC 7296 2.15, what a client certificate signs. `prf_hash`: "sha256" and so on.
    """

    initiator_signed_octets: bytes = field(repr=False)
    prf_hash: str


@dataclass(frozen=True, slots=True)
class Send:
    """Send this whole EAP packet (code, identifier, length, ...) to the gateway."""

    packet: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ask:
    """Have somebody answer this and come back with `answer`."""

    question: Question


@dataclass(frozen=True, slots=True)
class Succeeded:
    """EAP-Success. `msk` is None for a method that makes no key: AUTH then uses SK_pi and SK_pr (RFC 7296 2.16)."""

    msk: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Failed:
    """The login is over. `error` is what the user reads: LoginFailed, ProtocolError, GatewayRefused ..."""

    error: AnyikeError


Step = Send | Ask | Succeeded | Failed


class EapMethod(Protocol):
    """One EAP method of one login attempt."""

    @property
    def method_type(self) -> bytes:
        """The type as it stands in a packet: one byte, or `fe vendor(3) type(4)` for expanded types (RFC 3748 5.7)."""

    def identity(self) -> str | None:
        """The user's name for an EAP-Identity request, None when it is not known yet (then the method's form asks)."""

    def process(self, identifier: int, type_data: bytes, context: EapContext) -> Step:
        """Handle a Request of this type; `type_data` is what follows the type. Never Succeeded."""

    def answer(self, answer: Answer) -> Step:
        """The answer to the last `Ask`, of the kind that its question wants."""

    def succeed(self) -> Step:
        """EAP-Success came: Succeeded, or Failed when the method had not come to its end."""

    def fail(self) -> AnyikeError:
        """EAP-Failure came: the error to show, with the gateway's last words."""

    def take_notices(self) -> tuple[str, ...]:
        """Texts of the gateway to show (banner, message), each handed out once."""
