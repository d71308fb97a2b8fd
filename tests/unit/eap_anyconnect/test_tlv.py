"""TLV lists: the golden messages, round trips, arbitrary bytes."""

from __future__ import annotations

import logging
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyike.eap_anyconnect.tlv import METHOD_TYPE, Tlv, TlvType, decode_tlvs, document_of, encode_tlvs
from anyike.wire import DecodeError
from tests.unit.eap_anyconnect.dialogue import GOLDEN, golden_documents


def test_method_type():
    assert METHOD_TYPE.hex() == "fe00000944425250"
    assert int.from_bytes(METHOD_TYPE[4:], "big") == 1145197136


def test_the_golden_certificate_message():
    """TLV 3, TLV 1, TLV 0 with the headers that were seen."""
    text = GOLDEN.read_text()
    certificates, signature = (
        bytes.fromhex(re.search(rf"TLV type {n} length \d+ .*\n +([0-9a-f]+)\n", text)[1]) for n in (3, 1)
    )
    document = golden_documents()[3]
    tlvs = (Tlv(TlvType.CERTIFICATES, certificates), Tlv(TlvType.SIGNATURE, signature), Tlv(0, document))
    data = encode_tlvs(tlvs)
    assert len(data) == 2796 - 12
    assert data[:4].hex() == "00030764"
    assert decode_tlvs(data) == tlvs


@pytest.mark.parametrize("data", ["00", "000000", "00000001", "0000000261", "00000000ff"])
def test_lengths_past_the_end(data):
    with pytest.raises(DecodeError):
        decode_tlvs(bytes.fromhex(data))


def test_a_second_document_is_an_error():
    with pytest.raises(DecodeError, match="2 XML documents"):
        document_of(encode_tlvs([Tlv(0, b"<a/>"), Tlv(0, b"<a/>")]))


def test_no_document_is_an_error():
    with pytest.raises(DecodeError, match="0 XML documents"):
        document_of(b"")


def test_unknown_types_are_logged_and_ignored(caplog):
    caplog.set_level(logging.DEBUG)
    assert document_of(encode_tlvs([Tlv(2, b"hidden value"), Tlv(0, b"<a/>"), Tlv(0xFFFF, b"")])) == b"<a/>"
    assert "TLV 2 " in caplog.text
    assert "TLV 65535 " in caplog.text
    assert "hidden value" not in caplog.text


def test_a_value_that_is_too_long_is_not_cut():
    with pytest.raises(ValueError, match="16 bits"):
        encode_tlvs([Tlv(0, bytes(65_536))])


@given(st.lists(st.builds(Tlv, st.integers(0, 0xFFFF), st.binary(max_size=50)), max_size=6))
def test_round_trip(tlvs):
    assert decode_tlvs(encode_tlvs(tlvs)) == tuple(tlvs)


@given(st.binary(max_size=40))
def test_arbitrary_bytes_give_tlvs_or_a_decode_error(data):
    try:
        tlvs = decode_tlvs(data)
    except DecodeError:
        return
    assert encode_tlvs(tlvs) == data
