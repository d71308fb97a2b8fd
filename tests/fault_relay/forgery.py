"""Datagrams that an attacker on the path can make: it sees everything, has no keys, and is always first."""

from __future__ import annotations

from collections import defaultdict, deque
from enum import StrEnum
from random import Random

from tests.fault_relay.wire import DELETE, INFORMATIONAL, NON_ESP_MARKER, NOTIFY, Direction, Header, delete, notify

REMEMBERED = 64  # Datagrams in each direction that may be replayed.
GARBAGE_SIZES = (1, 1400)

INVALID_IKE_SPI = 4
# Errors that would end an attempt or a tunnel, if they were true (RFC 7296 3.10.1).
ERRORS = {
    "UNSUPPORTED_CRITICAL_PAYLOAD": 1,
    "INVALID_MAJOR_VERSION": 5,
    "INVALID_SYNTAX": 7,
    "NO_PROPOSAL_CHOSEN": 14,
    "AUTHENTICATION_FAILED": 24,
    "NO_ADDITIONAL_SAS": 35,
    "TEMPORARY_FAILURE": 43,
    "CHILD_SA_NOT_FOUND": 44,
}
IKE_SA, ESP = 1, 3


class Forgery(StrEnum):
    """What is forged; every one has the right SPIs, seen on the wire."""

    ERROR = "error"
    """An unprotected error in place of the genuine message: its exchange and message ID."""
    INVALID_IKE_SPI = "invalid-ike-spi"
    """The unprotected answer of a gateway that lost its state (RFC 7296 2.21.4)."""
    DELETE = "delete"
    """An unprotected DELETE of the IKE SA, and one of a CHILD_SA, as the sender's next request."""
    GARBAGE = "garbage"
    """Random bytes, and the genuine header with random bytes behind it."""
    REPLAY = "replay"
    """An earlier datagram of the same direction, bit for bit."""


class Forger:
    """Remembers what passed, and forges."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._seen: defaultdict[Direction, deque[bytes]] = defaultdict(lambda: deque(maxlen=REMEMBERED))
        self._next_request: defaultdict[Direction, int] = defaultdict(int)
        self._spi_i: dict[Direction, bytes] = {}

    def see(self, datagram: bytes, direction: Direction) -> None:
        """A genuine IKE datagram."""
        self._seen[direction].append(datagram)
        header = Header.parse(datagram)
        if header is None:
            return
        if self._spi_i.get(direction) != header.spi_i:  # another SA counts from 0
            self._spi_i[direction] = header.spi_i
            self._next_request[direction] = 0
        if not header.is_response:
            self._next_request[direction] = header.message_id + 1

    def forge(self, kind: Forgery, genuine: bytes, direction: Direction) -> list[bytes]:
        """What precedes a genuine datagram; nothing when that is too short to be IKE."""
        header = Header.parse(genuine)
        if header is None:
            return []
        match kind:
            case Forgery.ERROR:
                return [header.message(NOTIFY, notify(self._random.choice(sorted(ERRORS.values()))))]
            case Forgery.INVALID_IKE_SPI:
                return [header.as_response().message(NOTIFY, notify(INVALID_IKE_SPI))]
            case Forgery.DELETE:
                request = header.as_request(INFORMATIONAL, self._next_request[direction])
                child_spi = self._random.randbytes(4)
                return [request.message(DELETE, delete(IKE_SA)), request.message(DELETE, delete(ESP, (child_spi,)))]
            case Forgery.GARBAGE:
                noise = self._random.randbytes(self._random.randint(*GARBAGE_SIZES))
                marker = NON_ESP_MARKER if header.marked else b""
                return [marker + noise, header.message(header.next_payload, noise)]
            case Forgery.REPLAY:
                earlier = [datagram for datagram in self._seen[direction] if datagram != genuine]
                return [self._random.choice(earlier)] if earlier else []
