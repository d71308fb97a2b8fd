"""EAP packets: bytes of RFC 3748 and of the golden exchange, round trips, arbitrary bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyike.eap.packet import MAX_PACKET, Code, EapPacket
from anyike.wire import DecodeError

DBRP = bytes.fromhex("fe00000944425250")


def test_expanded_header_of_the_golden_hello():
    packet = EapPacket.decode(bytes.fromhex("01010010fe000009444252500000000" + "0"))
    assert packet == EapPacket(Code.REQUEST, 1, DBRP, bytes(4))


def test_success_and_failure_are_four_bytes():
    assert EapPacket(Code.SUCCESS, 4).encode() == bytes.fromhex("03040004")
    assert EapPacket.decode(bytes.fromhex("04090004")) == EapPacket(Code.FAILURE, 9)


def test_type_data_is_not_printed():
    assert "secret" not in repr(EapPacket(Code.RESPONSE, 1, b"\x01", b"secret"))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "EAP code"),
        (bytes.fromhex("05010004"), "EAP code 5 is unknown"),
        (bytes.fromhex("010100"), "EAP length"),
        (bytes.fromhex("01010004"), "EAP type"),
        (bytes.fromhex("0101000501ff"), "EAP length is 5, the payload holds 6"),
        (bytes.fromhex("0101000901"), "EAP length is 9, the payload holds 5"),
        (bytes.fromhex("01010006fe00"), "EAP expanded type"),
        (bytes.fromhex("0301000500"), "EAP success"),
    ],
)
def test_malformed(data, reason):
    with pytest.raises(DecodeError, match=reason):
        EapPacket.decode(data)


def test_a_packet_that_is_too_long_is_not_cut():
    with pytest.raises(ValueError, match="16 bits"):
        EapPacket(Code.RESPONSE, 1, b"\x01", bytes(MAX_PACKET)).encode()


method_types = st.one_of(
    st.integers(0, 255).filter(lambda n: n != 0xFE).map(lambda n: bytes([n])),
    st.binary(min_size=7, max_size=7).map(lambda rest: b"\xfe" + rest),
)
packets = st.one_of(
    st.builds(
        EapPacket,
        st.sampled_from([Code.REQUEST, Code.RESPONSE]),
        st.integers(0, 255),
        method_types,
        st.binary(max_size=80),
    ),
    st.builds(EapPacket, st.sampled_from([Code.SUCCESS, Code.FAILURE]), st.integers(0, 255)),
)


@given(packets)
def test_round_trip(packet):
    assert EapPacket.decode(packet.encode()) == packet


@given(st.binary(max_size=40))
def test_arbitrary_bytes_give_a_packet_or_a_decode_error(data):
    try:
        packet = EapPacket.decode(data)
    except DecodeError:
        return
    assert packet.encode() == data
