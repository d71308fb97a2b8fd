"""One-time codes against the values of RFC 4226 appendix D and RFC 6238 appendix B."""

from __future__ import annotations

import base64

import pytest
from radius.accounts import USERS, Memory
from radius.one_time import HOTP, LOOK_AHEAD, TIME_STEP, TOTP, Token, code

SECRET = b"12345678901234567890"
HOTP_CODES = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"]
TOTP_CODES = {
    59: "94287082",
    1111111109: "07081804",
    1111111111: "14050471",
    1234567890: "89005924",
    2000000000: "69279037",
    20000000000: "65353130",
}


def token(kind: str) -> Token:
    return Token(kind, base64.b32encode(SECRET).decode())


def test_hotp() -> None:
    assert [code(SECRET, counter) for counter in range(10)] == HOTP_CODES


@pytest.mark.parametrize(("time", "expected"), TOTP_CODES.items())
def test_totp(time: int, expected: str) -> None:
    assert code(SECRET, time // TIME_STEP, digits=8) == expected
    assert token(TOTP).counter_of(expected[2:], 0, time) == time // TIME_STEP


def test_a_totp_clock_may_be_one_step_off_and_not_two() -> None:
    for offset, found in ((-2, False), (-1, True), (1, True), (2, False)):
        given = code(SECRET, 100 + offset)
        assert (token(TOTP).counter_of(given, 0, 100 * TIME_STEP) is not None) is found


def test_a_hotp_counter_may_be_some_codes_ahead() -> None:
    hotp = token(HOTP)
    assert hotp.counter_of(code(SECRET, LOOK_AHEAD - 1), 0, 0) == LOOK_AHEAD - 1
    assert hotp.counter_of(code(SECRET, LOOK_AHEAD), 0, 0) is None
    assert hotp.counter_of(code(SECRET, 3), 5, 0) == 3
    assert hotp.counter_of("\u0661\u0662\u0663\u0664\u0665\u0666", 0, 0) is None


@pytest.mark.parametrize("user", ["hedy", "radia"])
def test_a_code_is_taken_once(user: str) -> None:
    secret = base64.b32decode(USERS[user].token.secret)
    now = 7.0 * TIME_STEP
    memory = Memory()
    assert memory.use_code(user, code(secret, 7), now) == "right code"
    assert memory.use_code(user, code(secret, 7), now) == "used code"
    assert memory.use_code(user, code(secret, 6), now) == "used code"
    assert memory.use_code(user, code(secret, 8), now) == "right code"
    assert memory.use_code(user, "000000", now) == "wrong code"
    assert Memory().use_code(user, code(secret, 7), now) == "right code"
