"""The Encrypted payload and the Encrypted Fragment payload (RFC 7296 3.14, RFC 5282, RFC 7383): seal and open.

One object holds the two directions of one IKE SA. `open` verifies everything before it reads anything that was encrypted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from anyike.crypto.cipher import Cipher
from anyike.ikev2.constants import HEADER_LENGTH, PayloadType
from anyike.ikev2.message import (
    GENERIC_HEADER,
    MAX_PAYLOADS,
    Header,
    InvalidSyntax,
    decode_header,
    decode_payloads,
    encode_payloads,
    split_payload,
)
from anyike.ikev2.payloads import Payload
from anyike.wire import DecodeError, Reader, Writer

FRAGMENT_FIELDS = 4
"""Fragment Number and Total Fragments."""

MAX_FRAGMENTS = 0xFFFF


@dataclass(frozen=True, slots=True)
class Opened:
    """A message whose integrity is proven. `error`: the content could not be read all the same (`payloads` is empty then)."""

    payloads: tuple[Payload, ...]
    clear: tuple[Payload, ...]
    error: DecodeError | None


@dataclass(frozen=True, slots=True)
class Fragment:
    """An authentic fragment: its number from 1, how many there are, the first payload's type (in number 1), its piece."""

    number: int
    total: int
    first_payload: int
    plaintext: bytes


class Protection:
    """Seals what we send, opens what the peer sends."""

    def __init__(self, outbound: Cipher, inbound: Cipher, random: Callable[[int], bytes]) -> None:
        self._outbound = outbound
        self._inbound = inbound
        self._random = random
        self._counter = 0

    def seal(self, header: Header, payloads: Sequence[Payload]) -> bytes:
        """The whole message with an SK payload; next payload and length of `header` are set here."""
        first, plaintext = encode_payloads(payloads)
        return self._seal(header, PayloadType.SK, first, b"", plaintext)

    def seal_fragments(self, header: Header, payloads: Sequence[Payload], limit: int) -> list[bytes]:
        """The message as SKF fragments, none longer than `limit` bytes (RFC 7383 2.5).

        Raises:
            ValueError: `limit` leaves no room for content.
        """
        first, plaintext = encode_payloads(payloads)
        cipher = self._outbound
        room = limit - HEADER_LENGTH - GENERIC_HEADER - FRAGMENT_FIELDS - cipher.iv_length - cipher.icv_length
        room -= room % cipher.block_size + 1
        if room < 1:
            raise ValueError(f"{limit} bytes are too few for a fragment")
        pieces = [plaintext[start : start + room] for start in range(0, max(len(plaintext), 1), room)]
        if len(pieces) > MAX_FRAGMENTS:
            raise ValueError(f"{len(plaintext)} bytes need more than {MAX_FRAGMENTS} fragments")
        return [
            self._seal(
                header,
                PayloadType.SKF,
                first if number == 1 else PayloadType.NONE,
                Writer().u16(number).u16(len(pieces)).done(),
                piece,
            )
            for number, piece in enumerate(pieces, 1)
        ]

    def open(self, datagram: bytes) -> Opened:
        """A message with an SK payload.

        Raises:
            AuthenticationFailed: forged, altered, or of another IKE SA.
            DecodeError: no SK payload where there must be one; nothing was proven.
        """
        header = decode_header(datagram)
        first, data, start = _find_encrypted(header, datagram, PayloadType.SK)
        following, plaintext = self._open(datagram, start, 0)
        if isinstance(plaintext, DecodeError):
            return Opened((), (), plaintext)
        try:
            clear = decode_payloads(first, data)
            return Opened(decode_payloads(following, plaintext), clear, None)
        except DecodeError as error:
            return Opened((), (), error)

    def open_fragment(self, datagram: bytes) -> Fragment:
        """A message with an SKF payload.

        Raises:
            AuthenticationFailed: forged, altered, or of another IKE SA.
            DecodeError: no SKF payload, or numbers that cannot be.
        """
        header = decode_header(datagram)
        _, _, start = _find_encrypted(header, datagram, PayloadType.SKF)
        following, plaintext = self._open(datagram, start, FRAGMENT_FIELDS)
        if isinstance(plaintext, DecodeError):
            raise plaintext
        fields = Reader(datagram[start + GENERIC_HEADER :], start + GENERIC_HEADER)
        number, total = fields.u16("fragment number"), fields.u16("total fragments")
        if not 1 <= number <= total:
            raise InvalidSyntax(f"fragment {number} of {total}", start + GENERIC_HEADER)
        return Fragment(number, total, following, plaintext)

    def _seal(self, header: Header, kind: PayloadType, first: int, fields: bytes, plaintext: bytes) -> bytes:
        cipher = self._outbound
        pad = -(len(plaintext) + 1) % cipher.block_size
        padded = plaintext + bytes(pad) + bytes([pad])
        length = GENERIC_HEADER + len(fields) + cipher.iv_length + len(padded) + cipher.icv_length
        aad = replace(header, next_payload=kind, length=HEADER_LENGTH + length).encode()
        aad += Writer().u8(first).u8(0).u16(length).raw(fields).done()
        iv = cipher.make_iv(self._counter, self._random)
        self._counter += 1
        return aad + iv + cipher.seal(iv, padded, aad)

    def _open(self, datagram: bytes, start: int, fields: int) -> tuple[int, bytes | DecodeError]:
        """Verify and decrypt the last payload, which starts at `start`: its next payload type and plaintext."""
        cipher = self._inbound
        body = start + GENERIC_HEADER + fields
        aad, iv = datagram[:body], datagram[body : body + cipher.iv_length]
        padded = cipher.open(iv, datagram[body + cipher.iv_length :], aad)
        if not padded or padded[-1] >= len(padded):
            return datagram[start], InvalidSyntax(
                "the padding of the encrypted payload is longer than the payload", start
            )
        return datagram[start], padded[: len(padded) - padded[-1] - 1]


def _find_encrypted(header: Header, datagram: bytes, kind: PayloadType) -> tuple[int, bytes, int]:
    """Walk to the encrypted payload, which must end the message.

    Returns the clear payloads in front of it (type of the first, and their bytes as a chain of its own), which nobody has read
    yet, and the offset of the encrypted payload's generic header.
    """
    reader = Reader(datagram[HEADER_LENGTH:], HEADER_LENGTH)
    following, link = header.next_payload, -1
    for _ in range(MAX_PAYLOADS):
        start = reader.offset
        if following == PayloadType.NONE:
            break
        kind_here, (following, _, _) = following, split_payload(reader)
        if kind_here == kind:
            if reader.remaining:
                raise InvalidSyntax("something follows the encrypted payload", reader.offset)
            clear = bytearray(datagram[HEADER_LENGTH:start])
            if not clear:
                return PayloadType.NONE, b"", start
            clear[link] = PayloadType.NONE
            return header.next_payload, bytes(clear), start
        link = start - HEADER_LENGTH
    raise InvalidSyntax(f"no payload of type {int(kind)}", reader.offset)
