"""One-time codes: HOTP (RFC 4226) and TOTP (RFC 6238), as the server of both checks them.

From the standard library alone, so that a client's library is judged by code that shares nothing with it.
"""

from __future__ import annotations

import base64
import hmac
import struct
from collections.abc import Iterable
from dataclasses import dataclass

TOTP, HOTP = "totp", "hotp"
TIME_STEP = 30
# A clock may be one time step off (RFC 6238 section 5.2); codes may have been made and not used (RFC 4226 section 7.4).
CLOCK_SKEW = 1
LOOK_AHEAD = 10


def code(secret: bytes, counter: int, digits: int = 6) -> str:
    """The code of a counter or time step (RFC 4226 section 5.3)."""
    mac = hmac.digest(secret, struct.pack(">Q", counter), "sha1")
    (number,) = struct.unpack_from(">I", mac, mac[-1] & 0x0F)
    return str((number & 0x7FFFFFFF) % 10**digits).zfill(digits)


@dataclass(frozen=True)
class Token:
    """What makes a user's codes; `secret` is in base32, as its user has it."""

    kind: str
    secret: str

    def counter_of(self, given: str, unused: int, now: float) -> int | None:
        """The counter that `given` is the code of, None if it is none that may come now; less than `unused`: used."""
        step = int(now) // TIME_STEP
        if self.kind == TOTP:
            return self._find(given, range(step - CLOCK_SKEW, step + CLOCK_SKEW + 1))
        return self._find(given, (*range(unused, unused + LOOK_AHEAD), *range(unused)))

    def _find(self, given: str, counters: Iterable[int]) -> int | None:
        secret = base64.b32decode(self.secret)
        return next((counter for counter in counters if code(secret, counter) == given), None)
