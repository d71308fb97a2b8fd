"""What all payloads have in common (RFC 7296 3.2)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

from anyike.ikev2.constants import PayloadType
from anyike.wire import Reader


@dataclass(frozen=True, slots=True)
class Payload(ABC):
    """What all payloads have in common."""

    TYPE: ClassVar[int]

    @abstractmethod
    def encode(self) -> bytes:
        """The body."""

    @classmethod
    @abstractmethod
    def decode(cls, reader: Reader) -> Self:
        """The value, or DecodeError."""


@dataclass(frozen=True, slots=True)
class UnknownPayload(Payload):
    """A payload that nothing here reads and whose critical bit is not set."""

    type: int
    data: bytes

    def encode(self) -> bytes:
        """The body as it came."""
        return self.data

    @classmethod
    def decode(cls, reader: Reader) -> Self:
        """The bytes as they are; the payload chain knows the type."""
        return cls(PayloadType.NONE, reader.rest())
