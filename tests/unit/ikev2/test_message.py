"""The IKE header, the chain of payloads, and the critical bit."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyike.ikev2.constants import ExchangeType, NotifyType, PayloadType
from anyike.ikev2.message import (
    MAX_PAYLOADS,
    Header,
    InvalidMajorVersion,
    InvalidSyntax,
    Message,
    UnsupportedCriticalPayload,
    decode_header,
    decode_payloads,
    encode_payloads,
)
from anyike.ikev2.payloads import KeyExchange, Nonce, Notify, UnknownPayload, VendorId
from anyike.wire import DecodeError
from tests.unit.ikev2.samples import chains, headers, u8

HEADER = Header(bytes(range(8)), bytes(range(8, 16)), 40, ExchangeType.IKE_AUTH, 0x20, 0x01020304, 28)
HEADER_BYTES = bytes.fromhex("0001020304050607 08090a0b0c0d0e0f 28 20 23 20 01020304 0000001c")
NONCE = Nonce(bytes(16))


def test_the_shape_of_a_header():
    assert HEADER.encode() == HEADER_BYTES
    assert decode_header(HEADER_BYTES) == HEADER


@pytest.mark.parametrize(
    ("flags", "response", "initiator"), [(0, 0, 0), (8, 0, 1), (0x20, 1, 0), (0x28, 1, 1), (0xD7, 0, 0)]
)
def test_flags(flags, response, initiator):
    header = replace(HEADER, flags=flags)
    assert (header.is_response, header.from_initiator) == (bool(response), bool(initiator))


@pytest.mark.parametrize("version", [0x00, 0x10, 0x1F, 0x30, 0xF0])
def test_another_major_version_says_what_to_answer(version):
    with pytest.raises(InvalidMajorVersion) as caught:
        decode_header(HEADER_BYTES[:17] + bytes([version]) + HEADER_BYTES[18:])
    assert caught.value.notify == NotifyType.INVALID_MAJOR_VERSION


def test_a_later_minor_version_is_accepted():
    """RFC 7296 2.5: minor versions are ignored."""
    assert decode_header(HEADER_BYTES[:17] + b"\x25" + HEADER_BYTES[18:]) == HEADER


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        HEADER_BYTES[:27],
        HEADER_BYTES + b"\0",
        HEADER_BYTES[:24] + b"\0\0\0\x1b",
        HEADER_BYTES[:24] + b"\0\0\0\x1d",
    ],
)
def test_a_length_that_is_not_the_datagrams(datagram):
    with pytest.raises(InvalidSyntax) as caught:
        decode_header(datagram)
    assert caught.value.notify == NotifyType.INVALID_SYNTAX


@given(
    st.binary(max_size=64) | st.builds(lambda front, more: front + more, st.just(HEADER_BYTES), st.binary(max_size=4))
)
def test_arbitrary_bytes_are_a_header_or_a_decode_error(datagram):
    try:
        header = decode_header(datagram)
    except DecodeError:
        return
    assert header.length == len(datagram)


@given(headers, chains)
def test_a_message_round_trip(header, payloads):
    datagram = Message(header, payloads).encode()
    decoded = decode_header(datagram)
    assert decoded == replace(header, next_payload=decoded.next_payload, length=len(datagram))
    assert decode_payloads(decoded.next_payload, datagram[28:]) == payloads


@given(u8, st.binary(max_size=200))
def test_arbitrary_bytes_are_payloads_or_a_decode_error(first, data):
    try:
        payloads = decode_payloads(first, data)
    except DecodeError:
        return
    assert decode_payloads(*encode_payloads(payloads)) == payloads


@given(chains.filter(bool), st.data())
def test_an_altered_chain_is_payloads_or_a_decode_error(payloads, data):
    first, chain = encode_payloads(payloads)
    altered = bytearray(chain)
    altered[data.draw(st.integers(0, len(chain) - 1))] = data.draw(u8)
    try:
        decoded = decode_payloads(first, bytes(altered))
    except DecodeError:
        return
    assert decode_payloads(*encode_payloads(decoded)) == decoded


@given(chains, st.data())
def test_a_chain_cut_short_is_refused(payloads, data):
    first, chain = encode_payloads(payloads)
    short = data.draw(st.integers(0, max(0, len(chain) - 1)))
    if chain:
        with pytest.raises(DecodeError):
            decode_payloads(first, chain[:short])


@given(chains, st.binary(min_size=1, max_size=8))
def test_something_behind_the_chain_is_refused(payloads, more):
    first, chain = encode_payloads(payloads)
    with pytest.raises(DecodeError):
        decode_payloads(first, chain + more)


def test_no_payloads():
    assert encode_payloads(()) == (PayloadType.NONE, b"")
    assert decode_payloads(PayloadType.NONE, b"") == ()


def test_the_chain_as_bytes():
    assert encode_payloads((VendorId(b"ab"), UnknownPayload(200, b"c"), Notify(1))) == (
        43,
        bytes.fromhex("c8 00 0006 6162  29 00 0005 63  00 00 0008 00 00 0001"),
    )


def test_an_unknown_payload_is_kept_unless_critical():
    assert decode_payloads(200, b"\0\0\0\x05x") == (UnknownPayload(200, b"x"),)
    with pytest.raises(UnsupportedCriticalPayload) as caught:
        decode_payloads(200, b"\0\x80\0\x05x")
    assert caught.value.type == 200
    assert caught.value.notify == NotifyType.UNSUPPORTED_CRITICAL_PAYLOAD


def test_the_critical_bit_of_a_known_payload_and_the_reserved_bits_are_ignored():
    """RFC 7296 2.5 and 3.2."""
    for bits in (0x80, 0x7F, 0xFF):
        assert decode_payloads(40, bytes([0, bits, 0, 20]) + bytes(16)) == (NONCE,)


@pytest.mark.parametrize("kind", [PayloadType.SK, PayloadType.SKF, PayloadType.CISCO_FRAGMENT])
def test_what_holds_a_message_is_no_payload_among_others(kind):
    with pytest.raises(InvalidSyntax, match=kind.name):
        decode_payloads(kind, b"\0\0\0\x08abcd")


def test_a_payload_length_below_its_header_is_refused():
    for length in range(4):
        with pytest.raises(DecodeError):
            decode_payloads(43, bytes([0, 0, 0, length]))


def test_the_number_of_payloads_is_bounded():
    first, chain = encode_payloads([VendorId(b"")] * MAX_PAYLOADS)
    assert len(decode_payloads(first, chain)) == MAX_PAYLOADS
    first, chain = encode_payloads([VendorId(b"")] * (MAX_PAYLOADS + 1))
    with pytest.raises(DecodeError, match="more than"):
        decode_payloads(first, chain)


def test_errors_count_from_the_start_of_the_message():
    with pytest.raises(DecodeError) as caught:
        decode_payloads(40, bytes([0, 0, 0, 8]) + bytes(4))
    assert caught.value.offset == 28 + 4


def test_finding_payloads():
    message = Message(HEADER, (NONCE, Notify(NotifyType.COOKIE, b"1"), Notify(NotifyType.COOKIE, b"2"), VendorId(b"v")))
    assert message.get(Nonce) == NONCE
    assert message.get(KeyExchange) is None
    assert [notify.data for notify in message.all(Notify)] == [b"1", b"2"]
    assert message.notify(NotifyType.COOKIE).data == b"1"
    assert message.notify(NotifyType.REDIRECT) is None
