"""One IKE SA: its channel, its keys, and the two windows of its messages. What is said in it is others' business."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from anyike.ikev2.channel import Channel
from anyike.ikev2.constants import ExchangeType
from anyike.ikev2.events import Address
from anyike.ikev2.keymat import IkeKeys
from anyike.ikev2.payloads import Payload
from anyike.ikev2.window import RequestWindow, ResponseCache


class Subject(Enum):
    """What a request of ours is about, as far as the peer's own requests may collide with it (RFC 7296 2.25)."""

    LIVENESS = auto()
    CHILD = auto()
    IKE_REKEY = auto()
    IKE_DELETE = auto()
    MOVE = auto()


@dataclass(frozen=True, slots=True)
class Request:
    """A request that waits for its turn, or for its response.

    `build` gives its payloads when the turn has come, None when it is not wanted any more; `process(sa, payloads, now)` gets
    the response, and the IKE SA by which it came.
    """

    subject: Subject
    exchange: ExchangeType
    build: Callable[[], tuple[Payload, ...] | None]
    process: Callable[[IkeSa, tuple[Payload, ...], float], None]
    tries: int | None = None


@dataclass(slots=True)
class IkeSa:
    """An IKE SA with keys.

    `waiting` are requests of ours that were not sent yet; `outstanding` is the one that was. `answering`: a request of the
    peer's is being worked on, whose repetitions need no second answer; `asked_from`: where it came from, which is where its
    response goes (RFC 7296 2.11). `replaced`: a newer IKE SA took its place.
    """

    channel: Channel
    keys: IkeKeys
    window: RequestWindow
    cache: ResponseCache
    waiting: deque[Request] = field(default_factory=deque)
    outstanding: Request | None = None
    answering: bool = False
    asked_from: Address | None = None
    replaced: bool = False

    def busy_with(self, subject: Subject) -> bool:
        """Whether a request about this was sent and not answered."""
        return self.outstanding is not None and self.outstanding.subject is subject

    def send_next(self, now: float) -> Sequence[bytes]:
        """The datagrams of the next request whose turn has come; none while one is outstanding, or nothing waits.

        Raises:
            MessageTooLarge: it does not fit.
        """
        while self.waiting and not self.window.outstanding:
            request = self.waiting.popleft()
            payloads = request.build()
            if payloads is not None:
                datagrams = self.channel.encode(request.exchange, self.window.message_id, payloads)
                self.window.start(request.exchange, datagrams, now, request.tries)
                self.outstanding = request
                return datagrams
        return ()

    def take_answered(self) -> Request | None:
        """The response came: its request; None when that was one of the login's."""
        self.window.answered()
        request, self.outstanding = self.outstanding, None
        return request
