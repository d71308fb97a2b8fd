"""The test gateway's one-time codes, against the vectors of the RFCs and another implementation."""

from __future__ import annotations

import pyotp
import pytest

from tests.fakes.one_time import LOOK_AHEAD, SECRET, STEP, CodeServer, hotp

RFC_4226_APPENDIX_D = [
    "755224",
    "287082",
    "359152",
    "969429",
    "338314",
    "254676",
    "287922",
    "162583",
    "399871",
    "520489",
]
RFC_6238_APPENDIX_B = {59: "287082", 1111111109: "081804", 1234567890: "005924", 20000000000: "353130"}
"""The last six of the eight digits there."""


def test_the_vectors_of_rfc_4226():
    assert [hotp(counter) for counter in range(10)] == RFC_4226_APPENDIX_D


@pytest.mark.parametrize(("now", "code"), RFC_6238_APPENDIX_B.items())
def test_the_vectors_of_rfc_6238(now, code):
    assert CodeServer(lambda: now).accepts("totp", code)
    assert pyotp.TOTP(SECRET).at(now) == code


def test_a_code_is_taken_once():
    server = CodeServer(lambda: 59)
    assert server.accepts("totp", "287082")
    assert not server.accepts("totp", "287082")
    assert server.accepts("hotp", "755224")
    assert not server.accepts("hotp", "755224")


def test_an_older_code_is_not_taken():
    server = CodeServer(lambda: 59)
    assert server.accepts("hotp", hotp(3))
    assert not server.accepts("hotp", hotp(2))
    assert server.accepts("hotp", hotp(4))


def test_how_far_a_client_may_be_ahead():
    assert CodeServer(lambda: 0).accepts("hotp", hotp(LOOK_AHEAD - 1))
    assert not CodeServer(lambda: 0).accepts("hotp", hotp(LOOK_AHEAD))
    now = 100 * STEP
    taken = [CodeServer(lambda: now).accepts("totp", hotp(counter)) for counter in range(98, 103)]
    assert taken == [False, True, True, True, False]
