"""ESP packets (RFC 4303 section 2): framing, padding and protection, with no memory of other packets.

::

    SPI 4 | sequence number 4 | IV | ciphertext of ( payload | padding 1 2 3 ... | pad length 1 | next header 1 ) | ICV
    '---- additional data ---'

An extended sequence number has 8 bytes, of which the header shows the low half; the additional data has all of it
(RFC 4106 section 5, RFC 7634 section 2.1; what an HMAC makes of that is the cipher's business).
"""

from __future__ import annotations

import struct

from anyike.crypto.cipher import Cipher
from anyike.errors import AuthenticationFailed
from anyike.esp.drops import DropReason

NEXT_HEADER_IPV4 = 4
NEXT_HEADER_IPV6 = 41
NEXT_HEADER_NONE = 59
"""A dummy packet that only hides how much is really sent (RFC 4303 section 2.6)."""

ESP_HEADER = struct.Struct("!II")
ESP_HEADER_LENGTH = ESP_HEADER.size
EXTENDED_HEADER = struct.Struct("!IQ")
LOW_HALF = 2**32 - 1
TRAILER_LENGTH = 2
"""Pad length and next header."""

ESP_ALIGNMENT = 4
"""The trailer ends on a 4-byte boundary whatever the cipher's block size (RFC 4303 section 2.4)."""

PADDING = tuple(bytes(range(1, length + 1)) for length in range(256))
PADDING_AND_ITS_LENGTH = tuple(padding + bytes([length]) for length, padding in enumerate(PADDING))
ONE_BYTE = tuple(bytes([value]) for value in range(256))


def encapsulate(
    cipher: Cipher, spi: int, sequence: int, payload: bytes, *, iv: bytes, next_header: int, esn: bool = False
) -> bytes:
    """A finished ESP packet. The pair of key and `iv` must never have been used before."""
    header = aad = ESP_HEADER.pack(spi, sequence & LOW_HALF)
    if esn:
        aad = EXTENDED_HEADER.pack(spi, sequence)
    pad_length = -(len(payload) + TRAILER_LENGTH) % max(cipher.block_size, ESP_ALIGNMENT)
    plaintext = b"".join((payload, PADDING_AND_ITS_LENGTH[pad_length], ONE_BYTE[next_header]))
    return b"".join((header, iv, cipher.seal(iv, plaintext, aad)))


def decrypt(cipher: Cipher, packet: bytes, extended: int | None = None) -> bytes | DropReason:
    """The authenticated plaintext, trailer included; MALFORMED or NOT_AUTHENTICATED.

    `extended` is the whole sequence number where it has more than the packet shows.
    """
    iv_end = ESP_HEADER_LENGTH + cipher.iv_length
    if len(packet) < iv_end + TRAILER_LENGTH + cipher.icv_length:
        return DropReason.MALFORMED
    aad = packet[:ESP_HEADER_LENGTH]
    if extended is not None:
        aad = aad[:4] + extended.to_bytes(8, "big")
    try:
        return cipher.open(packet[ESP_HEADER_LENGTH:iv_end], packet[iv_end:], aad)
    except AuthenticationFailed:
        return DropReason.NOT_AUTHENTICATED


def strip_trailer(plaintext: bytes) -> tuple[int, bytes] | DropReason:
    """Next header and payload (TFC padding still at its end); BAD_PADDING.

    `plaintext` is at least the two bytes that `decrypt` demands. The padding's content is checked
    although integrity is already certain (RFC 4303 section 2.4: the receiver SHOULD).
    """
    next_header = plaintext[-1]
    pad_length = plaintext[-2]
    end = len(plaintext) - TRAILER_LENGTH - pad_length
    if end < 0 or plaintext[end:-TRAILER_LENGTH] != PADDING[pad_length]:
        return DropReason.BAD_PADDING
    return next_header, plaintext[:end]
