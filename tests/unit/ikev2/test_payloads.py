"""Every payload as bytes: shapes written out by hand from RFC 7296, round trips, and arbitrary bytes."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyike.ikev2.child_sa import TrafficSelector
from anyike.ikev2.constants import (
    AttributeType,
    ConfigurationType,
    EncryptionId,
    IdType,
    NotifyType,
    PayloadType,
    ProtocolId,
    TransformType,
    name_of,
)
from anyike.ikev2.payloads import (
    READABLE,
    Attribute,
    Authentication,
    Certificate,
    CertificateRequest,
    Configuration,
    Delete,
    Eap,
    IdInitiator,
    IdResponder,
    KeyExchange,
    Nonce,
    Notify,
    OpaqueSelector,
    Proposal,
    SecurityAssociation,
    Transform,
    TsInitiator,
    TsResponder,
    UnknownPayload,
    VendorId,
)
from anyike.ikev2.payloads.security_association import MAX_PROPOSALS, MAX_TRANSFORMS
from anyike.wire import DecodeError, Reader
from tests.unit.ikev2.samples import BY_TYPE

AES_CBC_256 = Transform(TransformType.ENCR, EncryptionId.AES_CBC, 256)
IPV4_TS = TrafficSelector(IPv4Address("10.0.0.0"), IPv4Address("10.0.0.255"), 17, 53, 54)
IPV6_TS = TrafficSelector(IPv6Address("2001:db8::"), IPv6Address("2001:db8::ff"))

SHAPES = [
    (
        SecurityAssociation((Proposal(1, ProtocolId.ESP, b"\xca\xfe\xba\xbe", (AES_CBC_256, Transform(5, 0))),)),
        "00 00 0020 01 03 04 02 cafebabe  03 00 000c 01 00 000c 800e 0100  00 00 0008 05 00 0000",
    ),
    (
        SecurityAssociation((Proposal(1, ProtocolId.IKE, b"", ()), Proposal(2, ProtocolId.IKE, b"", ()))),
        "02 00 0008 01 01 00 00  00 00 0008 02 01 00 00",
    ),
    (
        SecurityAssociation((Proposal(1, 1, b"", (Transform(9, 700, None, ((0x8011, b"\0\x07"), (18, b"abc"))),)),)),
        "00 00 001b 01 01 00 01  00 00 0013 09 00 02bc 8011 0007 0012 0003 616263",
    ),
    (KeyExchange(19, b"\x01\x02\x03"), "0013 0000 010203"),
    (IdInitiator(IdType.ANYCONNECT, b"*$A"), "c9 000000 2a2441"),
    (IdResponder(IdType.FQDN, b"vpn"), "02 000000 76706e"),
    (IdResponder(IdType.FQDN, b"vpn", b"\x01\x02\x03"), "02 010203 76706e"),
    (Certificate(4, b"\x30\x00"), "04 3000"),
    (CertificateRequest(4, bytes(20)), "04" + "00" * 20),
    (Authentication(2, b"\xaa\xbb"), "02 000000 aabb"),
    (Nonce(bytes(range(16))), bytes(range(16)).hex()),
    (Notify(NotifyType.COOKIE, b"\x01"), "00 00 4006 01"),
    (Notify(NotifyType.REKEY_SA, b"", ProtocolId.ESP, b"\x01\x02\x03\x04"), "03 04 4009 01020304"),
    (Notify(40963, b"\xff"), "00 00 a003 ff"),
    (Delete(ProtocolId.IKE, ()), "01 00 0000"),
    (Delete(ProtocolId.ESP, (b"\0\0\0\1", b"\0\0\0\2")), "03 04 0002 00000001 00000002"),
    (VendorId(b"\x40\x48"), "4048"),
    (TsInitiator((IPV4_TS,)), "01 000000 07 11 0010 0035 0036 0a000000 0a0000ff"),
    (
        TsResponder((IPV6_TS, OpaqueSelector(9, 3, b"\x01\x02"))),
        "02 000000 08 00 0028 0000 ffff 20010db8000000000000000000000000 20010db80000000000000000000000ff 09 03 0006 0102",
    ),
    (
        Configuration(
            ConfigurationType.CFG_REQUEST,
            (Attribute(AttributeType.INTERNAL_IP4_ADDRESS, b""), Attribute(AttributeType.UNITY_BANNER, b"hi")),
        ),
        "01 000000 0001 0000 7000 0002 6869",
    ),
    (Eap(b"\x03\x04\x00\x04"), "03040004"),
]


@pytest.mark.parametrize(("payload", "shape"), SHAPES, ids=[type(payload).__name__ for payload, _ in SHAPES])
def test_shapes(payload, shape):
    body = bytes.fromhex(shape)
    assert payload.encode() == body
    reader = Reader(body)
    assert type(payload).decode(reader) == payload
    assert reader.remaining == 0


def test_every_readable_payload_has_a_shape_and_a_round_trip():
    assert set(READABLE.values()) == {type(payload) for payload, _ in SHAPES} == set(BY_TYPE)
    assert {kind: payload.TYPE for kind, payload in READABLE.items()} == {kind: kind for kind in READABLE}


@pytest.mark.parametrize("kind", BY_TYPE, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_round_trip(kind, data):
    payload = data.draw(BY_TYPE[kind])
    reader = Reader(payload.encode())
    assert kind.decode(reader) == payload
    assert reader.remaining == 0


@pytest.mark.parametrize("kind", READABLE.values(), ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_arbitrary_bytes_give_a_value_or_a_decode_error(kind, data):
    """And a value that was read is written to something that reads as the same value."""
    body = data.draw(st.binary(max_size=120))
    try:
        payload = kind.decode(Reader(body))
    except DecodeError:
        return
    assert kind.decode(Reader(payload.encode())) == payload


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (SecurityAssociation, ""),
        (SecurityAssociation, "01 00 0008 01 01 00 00"),  # the "last" mark of a transform
        (SecurityAssociation, "02 00 0008 01 01 00 00"),  # announces another proposal
        (SecurityAssociation, "00 00 0008 01 01 00 00 00"),  # something behind the last proposal
        (SecurityAssociation, "00 00 0003 01 01 00 00"),  # shorter than its own header
        (SecurityAssociation, "00 00 0009 01 01 00 00 00"),  # something behind the last transform
        (SecurityAssociation, "00 00 0010 01 01 00 02  00 00 0008 05 00 0000"),  # one transform where two are counted
        (SecurityAssociation, "00 00 0010 01 01 00 01  03 00 0008 05 00 0000"),  # another transform announced
        (SecurityAssociation, "00 00 0012 01 01 00 01  00 00 000a 01 00 000c 800e"),  # an attribute cut short
        (SecurityAssociation, "00 00 0008 01 01 04 00"),  # an SPI that is not there
        (KeyExchange, "0013 00"),
        (IdInitiator, "02 0000"),
        (Certificate, ""),
        (CertificateRequest, ""),
        (Authentication, "02 0000"),
        (Nonce, "00" * 15),
        (Nonce, "00" * 257),
        (Notify, "00 04 4009 010203"),
        (Delete, "03 04 0002 00000001"),
        (Delete, "03 04 0001 00000001 00"),
        (Delete, "01 00 0000 00"),
        (TsInitiator, "01 000000"),
        (TsInitiator, "00 000000 00"),
        (TsInitiator, "01 000000 07 00 0011 0000 ffff 00000000 ffffffff 00"),
        (TsInitiator, "01 000000 08 00 0010 0000 ffff 00000000 ffffffff"),
        (TsInitiator, "01 000000 07 00 0010 0000 ffff 0a000002 0a000001"),  # ends before it starts
        (Configuration, "01 000000 0001"),
        (Configuration, "02 000000 0001 0005 0a000001"),
    ],
)
def test_malformed(kind, body):
    reader = Reader(bytes.fromhex(body))
    with pytest.raises(DecodeError):
        kind.decode(reader)


def test_the_number_of_proposals_and_transforms_is_bounded():
    most = SecurityAssociation((Proposal(1, 1, b"", (Transform(1, 12),) * MAX_TRANSFORMS),) * MAX_PROPOSALS)
    assert SecurityAssociation.decode(Reader(most.encode())) == most
    for proposals in (
        (Proposal(1, 1, b"", ()),) * (MAX_PROPOSALS + 1),
        (Proposal(1, 1, b"", (Transform(1, 12),) * (MAX_TRANSFORMS + 1)),),
    ):
        body = SecurityAssociation(proposals).encode()
        with pytest.raises(DecodeError, match="more than"):
            SecurityAssociation.decode(Reader(body))


def test_a_delete_of_many_spis_without_size_makes_no_list():
    assert Delete.decode(Reader(bytes.fromhex("01 00 ffff"))) == Delete(ProtocolId.IKE, ())


def test_the_reserved_bit_of_an_attribute_is_ignored():
    reply = Configuration.decode(Reader(bytes.fromhex("02 000000 8001 0004 0a000001")))
    assert reply.attributes == (Attribute(AttributeType.INTERNAL_IP4_ADDRESS, bytes([10, 0, 0, 1])),)


def test_a_number_that_does_not_fit_is_refused():
    for payload in (
        KeyExchange(0x10000, b""),
        Notify(1, b"", 0, bytes(256)),
        Configuration(2, (Attribute(1, bytes(65536)),)),
    ):
        with pytest.raises(ValueError, match="does not fit"):
            payload.encode()


def test_secrets_stay_out_of_repr():
    assert "6162" not in repr(Eap(b"ab"))
    assert "ab" not in repr(Eap(b"ab"))
    assert "ab" not in repr(Authentication(2, b"ab"))


def test_unknown_numbers_have_a_name_all_the_same():
    assert Notify(14).name == "NO_PROPOSAL_CHOSEN"
    assert Notify(40963).name == "40963"
    assert name_of(PayloadType, 53) == "SKF"
    assert name_of(PayloadType, 200) == "200"


def test_an_unknown_payload_keeps_its_bytes():
    assert UnknownPayload(200, b"xyz").encode() == b"xyz"
    assert UnknownPayload.decode(Reader(b"xyz")).data == b"xyz"
