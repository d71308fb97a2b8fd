"""Large messages in pieces: Cisco's payload 132 (AnyConnect-EAP notes, section 2) and the collection of RFC 7383 fragments.

RFC 7383 fragments are authentic one by one, so what they say counts. Pieces of payload 132 are not: anybody can send some,
so forged and genuine ones are collected side by side, within bounds, and the integrity check of what they make up decides.
A drop has a reason; the caller counts it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count, islice, product

from anyike.ikev2.constants import HEADER_LENGTH, PayloadType
from anyike.ikev2.message import GENERIC_HEADER, Header, InvalidSyntax, decode_header, split_payload
from anyike.ikev2.protection import Fragment
from anyike.wire import DecodeError, Reader, Writer

CISCO_FIELDS = 4
LAST = 1
LENGTH_FIELD = slice(24, 28)
"""Where the IKE header has the length of its message."""

MessageKey = tuple[bool, int]
"""Which message of an IKE SA a fragment belongs to: (is a response, message ID)."""

MAX_MESSAGE = 128 * 1024
"""Implementation limit, bytes of a reassembled message: an EAP packet of 65,535 bytes with everything around it, twice."""
MAX_FRAGMENTS = 256
"""Implementation limit: 128 KiB in pieces of the smallest IPv4 packet that must pass (576) are fewer."""
MAX_UNFINISHED = 4
"""Messages collected at the same time; with windows of one request each way there are two."""
LIFETIME = 60.0
"""Seconds after which an unfinished message is forgotten: longer than a peer's whole series of retransmissions."""
MAX_PIECES = 1024
MAX_STORED = 4 * MAX_MESSAGE
"""Unauthenticated pieces kept, and their bytes: enough for one message with several forged pieces to each genuine one."""
MAX_TRIED = 16
MAX_CHECKED = 2 * MAX_MESSAGE
"""Messages that one piece may complete, and their bytes: one without a forger. Each costs an integrity check, so a forger must
not buy many."""


class FragmentDrop(StrEnum):
    """Why a fragment was not taken."""

    MALFORMED = "fragment_malformed"
    DUPLICATE = "fragment_duplicate"
    SMALLER_TOTAL = "fragment_smaller_total"
    TOO_MANY = "fragment_too_many"
    TOO_LARGE = "fragment_too_large"


def cut_cisco(datagram: bytes, limit: int, fragment_id: int = 1) -> list[bytes]:
    """Cut a finished, encrypted message into messages with payload 132, none longer than `limit` bytes.

    Raises:
        ValueError: `limit` leaves no room for content, or 255 pieces are not enough.
    """
    room = limit - HEADER_LENGTH - GENERIC_HEADER - CISCO_FIELDS
    if room < 1:
        raise ValueError(f"{limit} bytes are too few for a fragment")
    pieces = [datagram[start : start + room] for start in range(0, len(datagram), room)]
    if len(pieces) > 255:
        raise ValueError(f"{len(datagram)} bytes need more than 255 pieces of payload 132")
    header = decode_header(datagram)
    result = []
    for number, piece in enumerate(pieces, 1):
        length = GENERIC_HEADER + CISCO_FIELDS + len(piece)
        body = Writer().u8(PayloadType.NONE).u8(0).u16(length)
        body.u16(fragment_id).u8(number).u8(LAST if number == len(pieces) else 0).raw(piece)
        outer = Header(
            header.spi_i,
            header.spi_r,
            PayloadType.CISCO_FRAGMENT,
            header.exchange,
            header.flags,
            header.message_id,
            HEADER_LENGTH + length,
        )
        result.append(outer.encode() + body.done())
    return result


@dataclass(frozen=True, slots=True)
class CiscoPiece:
    """What one payload 132 holds."""

    fragment_id: int
    number: int
    last: bool
    data: bytes


def decode_cisco(datagram: bytes) -> CiscoPiece:
    """The piece in a message whose first payload is 132.

    Raises:
        DecodeError: not exactly one well-formed payload 132.
    """
    header = decode_header(datagram)
    reader = Reader(datagram[HEADER_LENGTH:], HEADER_LENGTH)
    following, _, body = split_payload(reader)
    if header.next_payload != PayloadType.CISCO_FRAGMENT or following != PayloadType.NONE or reader.remaining:
        raise InvalidSyntax("not exactly one payload 132", HEADER_LENGTH)
    fragment_id, number, flags = body.u16("fragment ID"), body.u8("fragment number"), body.u8("fragment flags")
    if number == 0 or body.remaining < (HEADER_LENGTH if number == 1 else 1):
        raise InvalidSyntax("a payload 132 without number, content or, in the first one, an IKE header", HEADER_LENGTH)
    return CiscoPiece(fragment_id, number, bool(flags & LAST), body.rest())


@dataclass(slots=True)
class _SkfSet:
    total: int
    started: float
    pieces: dict[int, bytes] = field(default_factory=dict)
    first_payload: int = 0
    size: int = 0


class SkfReassembler:
    """Collects authentic fragments by message."""

    def __init__(self) -> None:
        self._sets: dict[MessageKey, _SkfSet] = {}

    def add(self, key: MessageKey, fragment: Fragment, now: float) -> tuple[int, bytes] | FragmentDrop | None:
        """First payload's type and the whole plaintext, None while pieces are missing, or why this one was dropped.

        A larger total starts over, a smaller one is ignored (RFC 7383 2.6).
        """
        self._prune(now)
        if fragment.total > MAX_FRAGMENTS:
            return FragmentDrop.TOO_MANY
        collected = self._sets.get(key)
        if collected is None or fragment.total > collected.total:
            self.forget(key)
            if len(self._sets) >= MAX_UNFINISHED:
                del self._sets[next(iter(self._sets))]
            collected = self._sets[key] = _SkfSet(fragment.total, now)
        if fragment.total < collected.total:
            return FragmentDrop.SMALLER_TOTAL
        if fragment.number in collected.pieces:
            return FragmentDrop.DUPLICATE
        if collected.size + len(fragment.plaintext) > MAX_MESSAGE:
            del self._sets[key]
            return FragmentDrop.TOO_LARGE
        collected.pieces[fragment.number] = fragment.plaintext
        collected.size += len(fragment.plaintext)
        if fragment.number == 1:
            collected.first_payload = fragment.first_payload
        if len(collected.pieces) < collected.total:
            return None
        del self._sets[key]
        return collected.first_payload, b"".join(collected.pieces[n] for n in range(1, collected.total + 1))

    def forget(self, key: MessageKey) -> None:
        """The message was answered or given up."""
        self._sets.pop(key, None)

    def _prune(self, now: float) -> None:
        for key in [key for key, collected in self._sets.items() if now - collected.started > LIFETIME]:
            del self._sets[key]


class CiscoReassembler:
    """Collects pieces of payload 132, of which nothing is known to be genuine.

    Whoever sees the genuine pieces can send others with the same numbers, before, between and after them. So all are kept
    side by side, the oldest leave when there are too many, and what arrived last is tried first: a burst of forged pieces
    cannot shut out the genuine ones, which the next retransmission makes the latest again.
    """

    def __init__(self) -> None:
        self._arrivals: dict[tuple[MessageKey, CiscoPiece], float] = {}  # in the order of arrival
        self._size = 0

    def add(self, key: MessageKey, datagram: bytes, now: float) -> list[bytes] | FragmentDrop:
        """Every whole message that this piece completes, mostly none or one, the likeliest first.

        The caller opens them in turn, and calls `forget` after the one that passes its integrity check.
        """
        self._prune(now)
        try:
            piece = decode_cisco(datagram)
        except DecodeError:
            return FragmentDrop.MALFORMED
        repeated = self._remove((key, piece))
        while len(self._arrivals) >= MAX_PIECES or self._size + len(piece.data) > MAX_STORED:
            self._remove(next(iter(self._arrivals)))
        self._arrivals[key, piece] = now
        self._size += len(piece.data)
        messages: list[bytes] = []
        for pieces in islice(_series(self._latest_first(key, piece.fragment_id)), MAX_TRIED):
            if whole := _joined(pieces):
                messages.append(whole)
            if sum(map(len, messages)) >= MAX_CHECKED:
                break
        return FragmentDrop.DUPLICATE if repeated and not messages else messages

    def forget(self, key: MessageKey) -> None:
        """The message was answered or given up: all its pieces go."""
        for entry in [entry for entry in self._arrivals if entry[0] == key]:
            self._remove(entry)

    def _latest_first(self, key: MessageKey, fragment_id: int) -> list[CiscoPiece]:
        return [piece for of, piece in reversed(self._arrivals) if (of, piece.fragment_id) == (key, fragment_id)]

    def _prune(self, now: float) -> None:
        while self._arrivals and now - next(iter(self._arrivals.values())) > LIFETIME:
            self._remove(next(iter(self._arrivals)))

    def _remove(self, entry: tuple[MessageKey, CiscoPiece]) -> bool:
        if self._arrivals.pop(entry, None) is None:
            return False
        self._size -= len(entry[1].data)
        return True


def _series(latest_first: list[CiscoPiece]) -> Iterator[tuple[CiscoPiece, ...]]:
    """Pieces 1, 2, ... up to a last one, each series with the newest piece in it."""
    newest = latest_first[0]
    middle: dict[int, list[CiscoPiece]] = {}
    for piece in latest_first:
        if not piece.last:
            middle.setdefault(piece.number, []).append(piece)
    if newest.last:
        ends = [newest]
    else:
        ends = [piece for piece in latest_first if piece.last and piece.number > newest.number]
        middle[newest.number] = [newest]
    gap = next(number for number in count(1) if number not in middle)
    for end in ends:
        if end.number <= gap:
            yield from product(*(middle[number] for number in range(1, end.number)), [end])


def _joined(pieces: tuple[CiscoPiece, ...]) -> bytes:
    """The whole message, or nothing when its IKE header gives another length or one that is too large."""
    length = int.from_bytes(pieces[0].data[LENGTH_FIELD], "big")
    fits = sum(len(piece.data) for piece in pieces) == length <= MAX_MESSAGE
    return b"".join(piece.data for piece in pieces) if fits else b""
