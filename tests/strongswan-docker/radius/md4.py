"""MD4 (RFC 1320): OpenSSL 3 no longer offers it, and MS-CHAPv2 is built on it."""

from __future__ import annotations

import struct

MASK = 0xFFFFFFFF
# Per round: constant to add, order of the words, shifts.
ROUNDS = (
    (0, tuple(range(16)), (3, 7, 11, 19)),
    (0x5A827999, (0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), (3, 5, 9, 13)),
    (0x6ED9EBA1, (0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15), (3, 9, 11, 15)),
)


def mix(number: int, x: int, y: int, z: int) -> int:
    """F, G or H of the RFC, by the number of the round."""
    return ((x & y) | (~x & z), (x & y) | (x & z) | (y & z), x ^ y ^ z)[number]


def md4(data: bytes) -> bytes:
    """The 16-byte MD4 digest."""
    padded = data + b"\x80" + bytes((55 - len(data)) % 64) + struct.pack("<Q", 8 * len(data))
    state = [0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476]
    for offset in range(0, len(padded), 64):
        words = struct.unpack_from("<16L", padded, offset)
        a, b, c, d = state
        for number, (constant, order, shifts) in enumerate(ROUNDS):
            for step, index in enumerate(order):
                total = (a + mix(number, b, c, d) + words[index] + constant) & MASK
                shift = shifts[step % 4]
                a, b, c, d = d, (total << shift | total >> (32 - shift)) & MASK, b, c
        state = [(old + new) & MASK for old, new in zip(state, (a, b, c, d), strict=True)]
    return struct.pack("<4L", *state)
