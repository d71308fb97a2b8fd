"""What the test gateway wants of an EAP authenticator, and a journal of every call of it.

A session is driven by the calls of this protocol alone, so that scripts, scenarios and tests may each bring their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tests.fakes.eap import describe


@dataclass(frozen=True)
class IkeAttributes:
    """What the gateway knows of the IKE SA around the login.

    `initiator_signed_octets` (RFC 7296 2.15) are put together from the messages that the gateway saw and the keys that it
    derived; `prf_hash` is "sha256" and so on.
    """

    initiator_signed_octets: bytes
    prf_hash: str


class Authenticator(Protocol):
    """One EAP conversation: begin, then receive and send in turn; the first packet is sent without one received."""

    def begin(self, identity: bytes, attributes: IkeAttributes) -> None:
        """Somebody wants to log in; `identity` is the client's IDi body."""

    def receive_packet(self, packet: bytes) -> None:
        """A Response of the client."""

    def send_packet(self) -> bytes:
        """What to say now: a Request, Success or Failure."""

    def get_result(self) -> bool | None:
        """Whether the client is logged in; None as long as this is not known."""

    def end(self) -> None:
        """The IKE SA is up, or gone: nothing more is asked."""


@dataclass(frozen=True)
class Call:
    """One call in the journal: its name, and what went in or came out. It may hold passwords: this is a test tool."""

    name: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.name}: {self.detail}" if self.detail else self.name


class RecordedSession:
    """An authenticator whose every call is told to `record`."""

    def __init__(self, authenticator: Authenticator, record: Callable[[Call], None]) -> None:
        self._authenticator = authenticator
        self._record = record
        self._ended = False

    def begin(self, identity: bytes, attributes: IkeAttributes) -> None:
        octets = len(attributes.initiator_signed_octets)
        self._record(Call("begin", f"{identity!r}, {octets} octets to sign, {attributes.prf_hash}"))
        self._authenticator.begin(identity, attributes)

    def receive_packet(self, packet: bytes) -> None:
        self._record(Call("receive packet", describe(packet)))
        self._authenticator.receive_packet(packet)

    def send_packet(self) -> bytes:
        packet = self._authenticator.send_packet()
        self._record(Call("send packet", describe(packet)))
        return packet

    def get_result(self) -> bool | None:
        result = self._authenticator.get_result()
        self._record(Call("get result", str(result)))
        return result

    def end(self) -> None:
        """Once, however often it is called."""
        if self._ended:
            return
        self._ended = True
        self._record(Call("end"))
        self._authenticator.end()
