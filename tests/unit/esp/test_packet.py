from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyike.esp.drops import DropReason
from anyike.esp.packet import decrypt, encapsulate, strip_trailer
from tests.unit.esp.samples import ONE_OF_EACH_KIND, SUITES, cipher_for, suites


def sealed(suite, payload: bytes, next_header: int = 4) -> bytes:
    cipher = cipher_for(suite)
    return encapsulate(cipher, 0x1234, 7, payload, iv=bytes(cipher.iv_length), next_header=next_header)


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
@given(payload=st.binary(max_size=200), next_header=st.integers(0, 255))
@settings(max_examples=30)
def test_round_trip(suite, payload: bytes, next_header: int) -> None:
    packet = sealed(suite, payload, next_header)
    plaintext = decrypt(cipher_for(suite), packet)
    assert isinstance(plaintext, bytes)
    assert strip_trailer(plaintext) == (next_header, payload)
    assert packet[:8] == bytes.fromhex("0000123400000007")
    assert len(plaintext) % max(suite.block_size, 4) == 0
    assert len(packet) == 8 + suite.iv_length + len(plaintext) + suite.icv_length


def test_padding_is_the_least_that_aligns() -> None:
    for suite in ONE_OF_EACH_KIND:
        for length in range(70):
            plaintext = decrypt(cipher_for(suite), sealed(suite, bytes(length)))
            assert isinstance(plaintext, bytes)
            assert plaintext[-2] < max(suite.block_size, 4)
            assert plaintext[length:-2] == bytes(range(1, plaintext[-2] + 1))


@pytest.mark.parametrize("suite", ONE_OF_EACH_KIND, ids=lambda suite: suite.name)
def test_every_changed_byte_is_noticed(suite) -> None:
    packet = sealed(suite, bytes(60))
    for position in range(len(packet)):
        for flip in (0x01, 0x80):
            changed = bytearray(packet)
            changed[position] ^= flip
            assert decrypt(cipher_for(suite), bytes(changed)) is DropReason.NOT_AUTHENTICATED, position


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_every_cut_is_noticed(suite) -> None:
    packet = sealed(suite, bytes(60))
    shortest = 8 + suite.iv_length + 2 + suite.icv_length
    for length in range(len(packet)):
        expected = DropReason.MALFORMED if length < shortest else DropReason.NOT_AUTHENTICATED
        assert decrypt(cipher_for(suite), packet[:length]) is expected, length


@given(suites, st.binary(max_size=120))
def test_arbitrary_bytes_are_dropped(suite, packet: bytes) -> None:
    assert decrypt(cipher_for(suite), packet) in (DropReason.MALFORMED, DropReason.NOT_AUTHENTICATED)


@given(st.binary(min_size=2, max_size=300))
def test_any_plaintext_has_a_trailer_or_bad_padding(plaintext: bytes) -> None:
    content = strip_trailer(plaintext)
    if content is DropReason.BAD_PADDING:
        pad_length = plaintext[-2]
        assert plaintext[:-2][-pad_length:] != bytes(range(1, pad_length + 1))
    else:
        next_header, payload = content
        pad_length = len(plaintext) - 2 - len(payload)
        assert plaintext == payload + bytes(range(1, pad_length + 1)) + bytes([pad_length, next_header])


@pytest.mark.parametrize(
    "trailer",
    [
        pytest.param(bytes([1, 2, 4, 3, 4]), id="wrong byte"),
        pytest.param(bytes([0, 0, 0, 3, 4]), id="zeros"),
        pytest.param(bytes([1, 2, 3, 255, 4]), id="longer than the plaintext"),
    ],
)
def test_bad_padding(trailer: bytes) -> None:
    assert strip_trailer(b"payload" + trailer) is DropReason.BAD_PADDING


def test_padding_of_255_bytes_is_allowed() -> None:
    assert strip_trailer(b"x" + bytes(range(1, 256)) + bytes([255, 4])) == (4, b"x")
