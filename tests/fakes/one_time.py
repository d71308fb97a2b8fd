"""One-time codes as a server checks them: HOTP (RFC 4226) and TOTP (RFC 6238), 6 digits with HMAC-SHA-1."""

from __future__ import annotations

import hmac
import os
from base64 import b32decode, b32encode
from collections.abc import Callable

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
"""Base32 of the test key of both RFCs, "12345678901234567890"."""

STEP = 30
LOOK_AHEAD = 10


def new_secret() -> str:
    """Base32 of a key that nobody has used: clients remember which codes of a key they have sent."""
    return b32encode(os.urandom(20)).decode()


def hotp(counter: int, secret: str = SECRET) -> str:
    digest = hmac.digest(b32decode(secret), counter.to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 15
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 1_000_000:06}"


class CodeServer:
    """Takes each code once and, as RFC 6238 5.2 and RFC 4226 7.2 want, none that is older than the last one taken."""

    def __init__(self, clock: Callable[[], float], secret: str = SECRET) -> None:
        self._clock = clock
        self._secret = secret
        self._next = {"totp": 0, "hotp": 0}

    def accepts(self, mode: str, code: str) -> bool:
        first = self._next[mode]
        counters = range(first, first + LOOK_AHEAD)
        if mode == "totp":
            now = int(self._clock()) // STEP
            counters = range(max(first, now - 1), now + 2)
        for counter in counters:
            if hmac.compare_digest(hotp(counter, self._secret), code):
                self._next[mode] = counter + 1
                return True
        return False
