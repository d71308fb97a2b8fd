"""Large messages in pieces: Cisco's payload 132 (AnyConnect-EAP notes, section 2) and the collection of RFC 7383 fragments.

RFC 7383 fragments are authentic one by one, so what they say counts. Pieces of payload 132 are not: anybody can send some,
so several candidates for one message are collected side by side, within bounds, and the integrity check of what they make up
decides. A drop has a reason; the caller counts it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from anyike.ikev2.constants import HEADER_LENGTH, PayloadType
from anyike.ikev2.message import GENERIC_HEADER, Header, InvalidSyntax, decode_header, split_payload
from anyike.ikev2.protection import Fragment
from anyike.wire import DecodeError, Reader, Writer

CISCO_FIELDS = 4
LAST = 1

MAX_MESSAGE = 128 * 1024
"""Implementation limit, bytes of a reassembled message: an EAP packet of 65,535 bytes with everything around it, twice."""
MAX_FRAGMENTS = 256
"""Implementation limit: 128 KiB in pieces of the smallest IPv4 packet that must pass (576) are fewer."""
LIFETIME = 60.0
"""Seconds after which an unfinished message is forgotten: longer than a peer's whole series of retransmissions."""
MAX_CANDIDATES = 4
"""Fragment IDs collected side by side, so that a forger who invents one does not displace the genuine one at once."""
MAX_VARIANTS = 4
"""Different contents kept for one piece number: the genuine one is among them unless a forger is faster four times."""
MAX_COMBINATIONS = 64
"""Messages tried from variants before a candidate is thrown away."""


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
    if number == 0 or not body.remaining:
        raise InvalidSyntax("a payload 132 without number or content", HEADER_LENGTH)
    return CiscoPiece(fragment_id, number, bool(flags & LAST), body.rest())


@dataclass(slots=True)
class _SkfSet:
    total: int
    started: float
    pieces: dict[int, bytes] = field(default_factory=dict)
    first_payload: int = 0
    size: int = 0


class SkfReassembler:
    """Collects authentic fragments by message; several messages at once, keyed by the caller (direction and message ID)."""

    def __init__(self) -> None:
        self._sets: dict[tuple[bool, int], _SkfSet] = {}

    def add(self, key: tuple[bool, int], fragment: Fragment, now: float) -> tuple[int, bytes] | FragmentDrop | None:
        """First payload's type and the whole plaintext, None while pieces are missing, or why this one was dropped.

        A larger total starts over, a smaller one is ignored (RFC 7383 2.6).
        """
        self._prune(now)
        if fragment.total > MAX_FRAGMENTS:
            return FragmentDrop.TOO_MANY
        collected = self._sets.get(key)
        if collected is None or fragment.total > collected.total:
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

    def forget(self, key: tuple[bool, int]) -> None:
        """The message was answered or given up."""
        self._sets.pop(key, None)

    def _prune(self, now: float) -> None:
        for key in [key for key, collected in self._sets.items() if now - collected.started > LIFETIME]:
            del self._sets[key]


@dataclass(slots=True)
class _CiscoSet:
    started: float
    pieces: dict[int, list[tuple[bytes, bool]]] = field(default_factory=dict)
    size: int = 0


class CiscoReassembler:
    """Collects pieces of payload 132, of which nothing is known to be genuine."""

    def __init__(self) -> None:
        self._sets: dict[tuple[bool, int, int], _CiscoSet] = {}

    def add(self, key: tuple[bool, int], datagram: bytes, now: float) -> list[bytes] | FragmentDrop:
        """Every whole message that this piece completes (mostly none or one), for the integrity check to choose from.

        `key` is direction and message ID. What was offered once is not offered again.
        """
        self._prune(now)
        try:
            piece = decode_cisco(datagram)
        except DecodeError:
            return FragmentDrop.MALFORMED
        candidate = (*key, piece.fragment_id)
        collected = self._sets.get(candidate)
        if collected is None:
            self._make_room(key)
            collected = self._sets[candidate] = _CiscoSet(now)
        variants = collected.pieces.setdefault(piece.number, [])
        if (piece.data, piece.last) in variants:
            return FragmentDrop.DUPLICATE
        if len(variants) == MAX_VARIANTS:
            return FragmentDrop.TOO_MANY
        if collected.size + len(piece.data) > MAX_MESSAGE:
            return FragmentDrop.TOO_LARGE
        variants.append((piece.data, piece.last))
        collected.size += len(piece.data)
        return _messages(collected, piece)

    def forget(self, key: tuple[bool, int]) -> None:
        """The message was answered or given up: all its candidates go."""
        for candidate in [candidate for candidate in self._sets if candidate[:2] == key]:
            del self._sets[candidate]

    def _make_room(self, key: tuple[bool, int]) -> None:
        """The candidate with the least content goes: a forger has to send as much as the gateway to push it out."""
        of_message = [candidate for candidate in self._sets if candidate[:2] == key]
        if len(of_message) == MAX_CANDIDATES:
            del self._sets[min(of_message, key=lambda candidate: self._sets[candidate].size)]

    def _prune(self, now: float) -> None:
        for candidate in [c for c, collected in self._sets.items() if now - collected.started > LIFETIME]:
            del self._sets[candidate]


def _messages(collected: _CiscoSet, newest: CiscoPiece) -> list[bytes]:
    """Whole messages with the newest piece in them: number 1 to a last one, the length field of its header fitting."""
    ends = [number for number, variants in collected.pieces.items() if any(last for _, last in variants)]
    found: list[bytes] = []
    for end in ends:
        if newest.number > end or any(number not in collected.pieces for number in range(1, end + 1)):
            continue
        choices = []
        for number in range(1, end + 1):
            variants = [data for data, last in collected.pieces[number] if last == (number == end)]
            choices.append([newest.data] if number == newest.number else variants)
        if newest.last == (newest.number == end):
            found += _combine(choices)
    return found


def _combine(choices: list[list[bytes]]) -> list[bytes]:
    """All combinations, up to a bound, whose IKE header gives exactly their length."""
    partial = [b""]
    for variants in choices:
        partial = [front + piece for front in partial for piece in variants][:MAX_COMBINATIONS]
    return [whole for whole in partial if int.from_bytes(whole[24:28], "big") == len(whole)]
