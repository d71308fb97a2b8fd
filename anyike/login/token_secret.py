"""The secret of a software token as a user has it: base32, hexadecimal or an otpauth URI (RFC 4226, RFC 6238)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import parse_qsl, urlsplit

import pyotp

MAX_COUNTER = 2**64 - 1
"""RFC 4226, section 5.1: the counter has eight bytes."""
_DIGITS = range(6, 11)
"""RFC 4226, section 5.3: at least six; a truncated hash has no more than ten."""
_PERIODS = range(5, 301)
"""Seconds. Implementation limit: nobody waits longer for a code, and 30 or 60 is what exists."""
_MAX_TEXT = 4096
_MAX_KEY = 1024
_LEAST_KEY = 20
"""pyotp refuses keys of less than 14 bytes. HMAC fills a short key with zeros itself (RFC 2104), so ours are filled first."""
_ALGORITHMS = ("sha1", "sha256", "sha512")
_OPENCONNECT = re.compile(r"(?:(sha1|sha256|sha512):)?(.*)", re.IGNORECASE | re.DOTALL)


class TokenMode(StrEnum):
    """What makes each code of a token a new one."""

    TOTP = "totp"
    """The time (RFC 6238)."""
    HOTP = "hotp"
    """A counter (RFC 4226)."""


@dataclass(frozen=True, slots=True)
class TokenSecret:
    """A token: its key and how codes are made of it.

    `period` is a time step of TOTP in seconds, `counter` the one with which HOTP begins.
    """

    mode: TokenMode
    key: bytes = field(repr=False)
    algorithm: str = "sha1"
    digits: int = 6
    period: int = 30
    counter: int = 0

    def code(self, number: int) -> str:
        """The code of a counter or, for TOTP, of a time step since 1970 (RFC 6238, section 4.2)."""
        key = base64.b32encode(self.key.ljust(_LEAST_KEY, b"\0")).decode("ascii")
        return pyotp.HOTP(key, digits=self.digits, digest=getattr(hashlib, self.algorithm)).at(number)

    @property
    def identifier(self) -> str:
        """A part of file names: the same for whatever counts its codes the same way, and no help to guess the key."""
        what = f"totp{self.period}" if self.mode is TokenMode.TOTP else "hotp"
        return f"{what}-{hmac.digest(self.key, b'anyike: identifier of a token', 'sha256')[:8].hex()}"


def parse_token_secret(text: str, mode: TokenMode) -> TokenSecret:
    """A token from one of these texts; white space and upper or lower case do not matter.

    - `JBSWY3DPEHPK3PXP`, `base32:...` (base32), `0x3132...` (hexadecimal), each with `sha1:`, `sha256:` or `sha512:` before
      it if need be, and for HOTP with `,COUNTER` after it: openconnect's formats. But openconnect takes a text without a
      prefix for the key itself, and here it is base32, as servers and authenticators show it.
    - `otpauth://totp/LABEL?secret=...` and `otpauth://hotp/...` with algorithm, digits, period and counter: what is in the QR
      code (the "Key Uri Format" of Google Authenticator).

    Raises:
        ValueError: it is none of them; nothing of the text is repeated.
    """
    text = "".join(text.split())
    if len(text) > _MAX_TEXT:
        raise ValueError(f"a token's secret has at most {_MAX_TEXT} characters")
    if text.casefold().startswith("otpauth:"):
        return _parse_uri(text, mode)
    if text.startswith("<"):
        raise ValueError("PSKC files are not understood: give the key in base32 or, after 0x, in hexadecimal")
    counter = 0
    if mode is TokenMode.HOTP and "," in text:
        text, _, number = text.rpartition(",")
        counter = _number("counter", number, range(MAX_COUNTER + 1))
    found = _OPENCONNECT.fullmatch(text)
    assert found is not None  # everything in it is optional
    return TokenSecret(mode, _key(found[2]), (found[1] or "sha1").casefold(), counter=counter)


def _parse_uri(text: str, mode: TokenMode) -> TokenSecret:
    try:
        uri = urlsplit(text)
        pairs = parse_qsl(uri.query, keep_blank_values=True, strict_parsing=True, max_num_fields=20)
    except ValueError:
        raise ValueError("the otpauth URI is malformed") from None
    if uri.netloc.casefold() != mode:
        raise ValueError(f"token.mode is {str(mode)!r}, so the URI must begin with otpauth://{mode}/")
    parameters = dict(pairs)
    if len(parameters) != len(pairs):
        raise ValueError("the otpauth URI says something twice")
    if "encoder" in parameters:
        raise ValueError("the otpauth URI wants another form of codes (encoder) than the digits of RFC 4226")
    algorithm = parameters.get("algorithm", "SHA1").casefold()
    if algorithm not in _ALGORITHMS:
        raise ValueError(f"the otpauth URI's algorithm is none of {', '.join(_ALGORITHMS).upper()}")
    return TokenSecret(
        mode,
        _key(parameters.get("secret", "")),
        algorithm,
        _number("digits", parameters.get("digits", "6"), _DIGITS),
        _number("period", parameters.get("period", "30"), _PERIODS),
        _number("counter", parameters.get("counter", "0"), range(MAX_COUNTER + 1)),
    )


def _key(text: str) -> bytes:
    try:
        if text[:2].casefold() == "0x":
            key = bytes.fromhex(text[2:])
        else:
            digits = "".join(text.split())  # in a URI a space is a plus sign until now
            digits = digits[7:] if digits[:7].casefold() == "base32:" else digits
            key = base64.b32decode(_padded(digits.rstrip("=")), casefold=True)
    except (ValueError, binascii.Error):
        raise ValueError("the token's secret is neither base32 (A-Z and 2-7) nor, after 0x, hexadecimal") from None
    if not 0 < len(key) <= _MAX_KEY:
        raise ValueError(f"the token's secret has {len(key)} bytes; 1 to {_MAX_KEY} are possible, and 20 are usual")
    return key


def _padded(digits: str) -> str:
    return digits + "=" * (-len(digits) % 8)


def _number(name: str, text: str, allowed: range) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_COUNTER)) and int(text) in allowed):
        raise ValueError(f"the token's {name} is no number from {allowed[0]} to {allowed[-1]}")
    return int(text)
