"""Secrets of software tokens: the RFCs' own vectors, and every form in which a user may have a secret."""

import base64
import hashlib
import re

import pyotp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyike.login.token_secret import MAX_COUNTER, TokenMode, TokenSecret, parse_token_secret

KEY = b"12345678901234567890"
BASE32 = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
HOTP, TOTP = TokenMode.HOTP, TokenMode.TOTP


def test_rfc_4226_appendix_d():
    token = TokenSecret(HOTP, KEY)
    codes = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"]
    assert [token.code(counter) for counter in range(10)] == codes


@pytest.mark.parametrize(
    ("seconds", "sha1", "sha256", "sha512"),
    [
        (59, "94287082", "46119246", "90693936"),
        (1111111109, "07081804", "68084774", "25091201"),
        (1111111111, "14050471", "67062674", "99943326"),
        (1234567890, "89005924", "91819424", "93441116"),
        (2000000000, "69279037", "90698825", "38618901"),
        (20000000000, "65353130", "77737706", "47863826"),
    ],
)
def test_rfc_6238_appendix_b(seconds, sha1, sha256, sha512):
    """The keys of the other hashes are as long as the hash: the RFC's reference code says so, and erratum 2866."""
    for algorithm, code in (("sha1", sha1), ("sha256", sha256), ("sha512", sha512)):
        key = (KEY * 4)[: hashlib.new(algorithm).digest_size]
        text = f"otpauth://totp/x?secret={base64.b32encode(key).decode().rstrip('=')}&algorithm={algorithm.upper()}&digits=8"
        token = parse_token_secret(text, TOTP)
        assert token.code(seconds // token.period) == code


def test_a_short_key():
    """Of 80 bits, as many authenticators made them; the code is that of a plain HMAC."""
    import hmac

    digest = hmac.digest(b"0123456789", (7).to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 15
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    assert TokenSecret(HOTP, b"0123456789").code(7) == f"{number % 10**6:06}"


@pytest.mark.parametrize(
    "text",
    [
        BASE32,
        BASE32.lower(),
        "gezd gnbv gy3t qojq GEZD GNBV GY3T QOJQ\n",
        f"base32:{BASE32}",
        f"BASE32:{BASE32}",
        f"sha1:base32:{BASE32}",
        "0x3132333435363738393031323334353637383930",
        "0X31323334 35363738 39303132 33343536 37383930",
        f"otpauth://totp/ACME%20Co:ada@example.com?secret={BASE32}&issuer=ACME%20Co",
        f"OTPAUTH://TOTP/ada?secret={BASE32.lower()}&algorithm=sha1&digits=6&period=30",
    ],
)
def test_forms_of_one_secret(text):
    assert parse_token_secret(text, TOTP) == TokenSecret(TOTP, KEY)


@pytest.mark.parametrize("padding", ["", "====="])
def test_base32_with_and_without_padding(padding):
    assert parse_token_secret(f"MFRGG{padding[2:]}", TOTP).key == b"abc"
    assert parse_token_secret(f"otpauth://totp/x?secret=MFRGG{padding[2:].replace('=', '%3D')}", TOTP).key == b"abc"


def test_hashes():
    assert parse_token_secret(f"sha256:base32:{BASE32}", TOTP).algorithm == "sha256"
    assert parse_token_secret("SHA512:0x00ff", HOTP) == TokenSecret(HOTP, b"\x00\xff", "sha512")


def test_counters():
    assert parse_token_secret(BASE32, HOTP).counter == 0
    assert parse_token_secret(f"base32:{BASE32}, 17\n", HOTP) == TokenSecret(HOTP, KEY, counter=17)
    assert parse_token_secret(f"0x00,{MAX_COUNTER}", HOTP).counter == MAX_COUNTER
    assert parse_token_secret(f"otpauth://hotp/x?secret={BASE32}&counter=5&digits=8", HOTP) == TokenSecret(
        HOTP, KEY, digits=8, counter=5
    )


@pytest.mark.parametrize("mode", list(TokenMode))
@pytest.mark.parametrize("digits", [6, 7, 8])
def test_what_pyotp_writes_is_what_we_read(mode, digits):
    key = pyotp.random_base32()
    token = (
        pyotp.TOTP(key, digits=digits, interval=60) if mode is TOTP else pyotp.HOTP(key, digits=digits, initial_count=9)
    )
    read = parse_token_secret(token.provisioning_uri(name="ada@example.com", issuer_name="A & B"), mode)
    if mode is TOTP:
        assert read.code(1700000000 // read.period) == token.at(1700000000)
    else:
        assert read.code(read.counter) == token.at(0)


@pytest.mark.parametrize(
    ("text", "mode", "reason"),
    [
        ("", TOTP, "0 bytes"),
        ("0x", TOTP, "0 bytes"),
        ("GEZDGNB1", TOTP, "neither base32"),
        ("GEZDGNB\N{LATIN SMALL LETTER DOTLESS I}", TOTP, "neither base32"),
        ("A", TOTP, "neither base32"),
        ("0x123", TOTP, "neither base32"),
        ("0xzz", TOTP, "neither base32"),
        ("md5:GEZDGNBV", TOTP, "neither base32"),
        ("GEZDGNBV,5", TOTP, "neither base32"),
        ("GEZDGNBV,", HOTP, "counter is no number"),
        ("GEZDGNBV,-1", HOTP, "counter is no number"),
        ("GEZDGNBV,0x10", HOTP, "counter is no number"),
        ("GEZDGNBV,\u0661", HOTP, "counter is no number"),
        (f"GEZDGNBV,{MAX_COUNTER + 1}", HOTP, "counter is no number from 0 to 18446744073709551615"),
        (f"GEZDGNBV,{'9' * 4000}", HOTP, "counter is no number"),
        ("0x" + "00" * 1025, TOTP, "1025 bytes"),
        ("A" * 5000, TOTP, "at most 4096 characters"),
        ("<?xml version='1.0'?><KeyContainer/>", TOTP, "PSKC"),
        ("otpauth://hotp/x?secret=GEZDGNBV", TOTP, "token.mode is 'totp', so the URI must begin with otpauth://totp/"),
        ("otpauth://totp/x?secret=GEZDGNBV", HOTP, "token.mode is 'hotp'"),
        ("otpauth://steam/x?secret=GEZDGNBV", TOTP, "token.mode is 'totp'"),
        ("otpauth://[", TOTP, "malformed"),
        ("otpauth://totp/x?GEZDGNBV", TOTP, "malformed"),
        ("otpauth://totp/x?secret=GEZDGNBV" + "&x=GEZDGNBV" * 20, TOTP, "malformed"),
        ("otpauth://totp/x?issuer=GEZDGNBV", TOTP, "0 bytes"),
        ("otpauth://totp/x?secret=GEZDGNBV&secret=GEZDGNBV", TOTP, "says something twice"),
        ("otpauth://totp/x?secret=GEZDGNBV&encoder=steam", TOTP, "encoder"),
        ("otpauth://totp/x?secret=GEZDGNBV&algorithm=MD5", TOTP, "none of SHA1, SHA256, SHA512"),
        ("otpauth://totp/x?secret=GEZDGNBV&digits=5", TOTP, "digits is no number from 6 to 10"),
        ("otpauth://totp/x?secret=GEZDGNBV&digits=11", TOTP, "digits is no number"),
        ("otpauth://totp/x?secret=GEZDGNBV&period=0", TOTP, "period is no number from 5 to 300"),
        ("otpauth://totp/x?secret=GEZDGNBV&period=86400", TOTP, "period is no number"),
    ],
)
def test_what_is_no_secret(text, mode, reason):
    with pytest.raises(ValueError, match=re.escape(reason)) as caught:
        parse_token_secret(text, mode)
    assert "GEZDGNB" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@given(st.text() | st.text().map("otpauth://totp/".__add__) | st.text().map("otpauth://totp/x?secret=".__add__))
def test_any_text_is_a_token_or_an_error(text):
    for mode in TokenMode:
        try:
            token = parse_token_secret(text, mode)
        except ValueError:
            continue
        assert token.code(token.counter).isdigit()


class TestIdentifier:
    def test_tells_keys_apart_and_not_what_counts_the_same(self):
        assert TokenSecret(HOTP, KEY).identifier != TokenSecret(HOTP, KEY[:-1]).identifier
        assert TokenSecret(HOTP, KEY).identifier == TokenSecret(HOTP, KEY, "sha256", 8, counter=5).identifier
        assert TokenSecret(TOTP, KEY).identifier == TokenSecret(TOTP, KEY, digits=8).identifier
        assert TokenSecret(TOTP, KEY).identifier != TokenSecret(TOTP, KEY, period=60).identifier

    def test_is_a_part_of_a_file_name_without_the_key(self):
        identifier = TokenSecret(TOTP, KEY, period=60).identifier
        mode, _, digits = identifier.partition("-")
        assert (mode, len(digits)) == ("totp60", 16)
        assert digits not in hashlib.sha256(KEY).hexdigest()

    def test_the_key_is_not_shown(self):
        shown = repr(TokenSecret(TOTP, KEY))
        assert "12345" not in shown
        assert BASE32 not in shown
