"""MS-CHAPv2 against the example of RFC 2759 section 9.2 and MD4 against RFC 1320 A.5."""

from __future__ import annotations

import hashlib

import pytest
from radius import mschapv2
from radius.md4 import md4

USER, PASSWORD = b"User", "clientPass"
SERVER_CHALLENGE = bytes.fromhex("5B5D7C7D7B3F2F3E3C2C602132262628")
PEER_CHALLENGE = bytes.fromhex("21402324255E262A28295F2B3A337C7E")
NT_RESPONSE = bytes.fromhex("82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF")


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        (b"", "31d6cfe0d16ae931b73c59d7e0c089c0"),
        (b"abc", "a448017aaf21d8525fc10ae87aa6729d"),
        (b"1234567890" * 8, "e33b4ddc9c38f2199c3e7b164fcc0536"),
    ],
)
def test_md4(text: bytes, digest: str) -> None:
    assert md4(text).hex() == digest


def test_responses() -> None:
    challenge = mschapv2.challenge_hash(PEER_CHALLENGE, SERVER_CHALLENGE, USER)
    assert challenge.hex().upper() == "D02E4386BCE91226"
    assert mschapv2.nt_response(challenge, PASSWORD) == NT_RESPONSE
    expected = "S=407A5589115FD0D6209F510FE9C04566932CDA56"
    assert mschapv2.authenticator_response(challenge, PASSWORD, NT_RESPONSE) == expected


def test_session_keys() -> None:
    """RFC 3079 section 3.5.3: the key the server sends with is derived for 128 bits."""
    _receive, send = mschapv2.session_keys(PASSWORD, NT_RESPONSE)
    assert send.hex().upper() == "8B7CDC149B993A1BA118CB153F56DCCB"


def test_a_hidden_key_is_found_again() -> None:
    key, secret, authenticator = bytes(range(16)), b"secret", bytes(range(100, 116))
    hidden = mschapv2.hide_key(key, secret, authenticator)
    previous, plain = authenticator + hidden[:2], b""
    for offset in range(2, len(hidden), 16):
        block = hidden[offset : offset + 16]
        stream = hashlib.md5(secret + previous).digest()
        plain += bytes(a ^ b for a, b in zip(block, stream, strict=True))
        previous = block
    assert plain[0] == 16
    assert plain[1:17] == key
    assert hidden[0] & 0x80
