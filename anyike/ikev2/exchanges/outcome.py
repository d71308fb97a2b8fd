"""What an exchange says after a response or an answer from outside."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from anyike.errors import AnyikeError
from anyike.ikev2.payloads import Payload


@dataclass(frozen=True, slots=True)
class Again:
    """Send this next request of the same exchange."""

    payloads: tuple[Payload, ...]


@dataclass(frozen=True, slots=True)
class Restart:
    """Send IKE_SA_INIT once more, changed as `reason` says, with message ID 0 again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Something outside must answer first; events say what."""


@dataclass(frozen=True, slots=True)
class Done:
    """The exchange is complete; its results are attributes of the exchange."""


class Goodbye(Enum):
    """How the gateway learns that we leave (RFC 7296 2.21.2)."""

    NONE = auto()
    """It knows: it ended the exchange itself."""
    NOTIFY = auto()
    """AUTHENTICATION_FAILED in an INFORMATIONAL: the IKE SA never came to be."""
    DELETE = auto()
    """The IKE SA stands and is deleted."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The exchange is over, for good."""

    error: AnyikeError
    goodbye: Goodbye


@dataclass(frozen=True, slots=True)
class Noted:
    """An unauthenticated response that reports or makes an error: remembered, and believed only after a grace period."""

    error: AnyikeError


@dataclass(frozen=True, slots=True)
class Stale:
    """An unauthenticated response to an earlier form of our request, or a repeated demand: dropped and counted."""

    reason: str


Outcome = Again | Restart | Wait | Done | Failed | Noted | Stale
