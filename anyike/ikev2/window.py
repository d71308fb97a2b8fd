"""Message IDs, retransmission and the response cache (RFC 7296 2.1 to 2.3). Knows no payloads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum, auto

from anyike.crypto.prf import digest
from anyike.ikev2.settings import Retransmission

JITTER = 0.1
"""A retransmission comes up to this share earlier or later, so that clients that lost one router do not march in step."""


class Due(Enum):
    """What a timer of the window means."""

    NOTHING = auto()
    RETRANSMIT = auto()
    GIVE_UP = auto()


class RequestWindow:
    """Our requests: one outstanding at a time, whatever window the peer announces."""

    def __init__(self, retransmission: Retransmission, random: Callable[[int], bytes]) -> None:
        self._retransmission = retransmission
        self._random = random
        self._datagrams: tuple[bytes, ...] = ()
        self._sent = 0
        self._deadline: float | None = None
        self.exchange = 0
        self.message_id = 0
        self.tries = retransmission.tries

    @property
    def outstanding(self) -> bool:
        """Whether a request waits for its response."""
        return bool(self._datagrams)

    @property
    def deadline(self) -> float | None:
        """When the next retransmission is due."""
        return self._deadline

    @property
    def datagrams(self) -> tuple[bytes, ...]:
        """The outstanding request."""
        return self._datagrams

    def start(self, exchange: int, datagrams: Sequence[bytes], now: float, tries: int | None = None) -> None:
        """A request with the current message ID goes out."""
        self.exchange = exchange
        self._datagrams = tuple(datagrams)
        self._sent = 0
        self.tries = self._retransmission.tries if tries is None else tries
        self._schedule(now)

    def handle_timer(self, now: float) -> Due:
        """Whether the outstanding request is to be sent again, or has been sent often enough."""
        if self._deadline is None or now < self._deadline:
            return Due.NOTHING
        if self._sent >= self.tries:
            self._deadline = None
            return Due.GIVE_UP
        self._sent += 1
        self._schedule(now)
        return Due.RETRANSMIT

    def accepts(self, message_id: int) -> bool:
        """Whether a response with this message ID answers the outstanding request."""
        return self.outstanding and message_id == self.message_id

    def answered(self) -> None:
        """The response was accepted: the next request gets the next message ID."""
        self.restart()
        self.message_id += 1

    def restart(self) -> None:
        """Forget the outstanding request and keep its message ID (IKE_SA_INIT tried again)."""
        self._datagrams = ()
        self._deadline = None

    def _schedule(self, now: float) -> None:
        delay = self._retransmission.timeout * self._retransmission.base**self._sent
        spread = int.from_bytes(self._random(2), "big") / 0xFFFF * 2 - 1
        self._deadline = now + delay * (1 + JITTER * spread)


class ResponseCache:
    """The gateway's requests: a window of 1, the last response kept for retransmissions."""

    def __init__(self) -> None:
        self.expected = 0
        self._response: tuple[bytes, ...] = ()
        self._request_digest = b""

    def response_to(self, message_id: int, datagram: bytes) -> tuple[bytes, ...]:
        """The datagrams to send again when `datagram` repeats the last request, bit for bit; else none.

        Of a request in fragments the first one stands for all (RFC 7383 2.6.1).
        """
        if message_id == self.expected - 1 and digest("sha256", datagram) == self._request_digest:
            return self._response
        return ()

    def answered(self, first_datagram: bytes, response: Sequence[bytes]) -> None:
        """The expected request was answered with `response`."""
        self.expected += 1
        self._request_digest = digest("sha256", first_datagram)
        self._response = tuple(response)
