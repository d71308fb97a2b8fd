"""The captured login through our codecs: every message is read, and written again to the same bytes."""

from ipaddress import IPv4Address

import pytest

from anyike.errors import AuthenticationFailed
from anyike.ikev2.child_sa import TrafficSelector
from anyike.ikev2.constants import (
    VENDOR_ANYCONNECT_EAP,
    VENDOR_FRAGMENTATION,
    AttributeType,
    AuthMethod,
    ConfigurationType,
    ExchangeType,
    IdType,
    NotifyType,
    PayloadType,
)
from anyike.ikev2.fragments import CiscoReassembler, cut_cisco
from anyike.ikev2.message import Message, decode_header, decode_payloads, encode_payloads
from anyike.ikev2.payloads import (
    Authentication,
    Certificate,
    CertificateRequest,
    Configuration,
    Eap,
    IdInitiator,
    IdResponder,
    KeyExchange,
    Nonce,
    Notify,
    SecurityAssociation,
    Transform,
    TsInitiator,
    TsResponder,
    VendorId,
)
from anyike.ikev2.rules import RULES, check
from tests.unit.ikev2.golden import SUITE, VECTORS, ike_datagrams, is_from_client, observer

LIMIT = 1248
"""1,280 bytes of IPv4 packet, less IP, UDP and the non-ESP marker."""


def reassembled() -> list[tuple[bytes, list[bytes]]]:
    """Every message with the datagrams that it came in."""
    collector = CiscoReassembler()
    found, pieces = [], []
    for now, datagram in enumerate(ike_datagrams()):
        header = decode_header(datagram)
        if header.next_payload != PayloadType.CISCO_FRAGMENT:
            found.append((datagram, [datagram]))
            continue
        pieces.append(datagram)
        messages = collector.add((header.is_response, header.message_id), datagram, now)
        assert isinstance(messages, list)
        if messages:
            (whole,) = messages
            found.append((whole, pieces))
            pieces = []
    assert not pieces
    return found


MESSAGES = reassembled()
INIT = [message for message, _ in MESSAGES if decode_header(message).exchange == ExchangeType.IKE_SA_INIT]
PROTECTED = [message for message, _ in MESSAGES if decode_header(message).exchange != ExchangeType.IKE_SA_INIT]
CUT = [(message, pieces) for message, pieces in MESSAGES if len(pieces) > 1]


def label(message: bytes) -> str:
    header = decode_header(message)
    return f"{ExchangeType(header.exchange).name}-{header.message_id}-{'response' if header.is_response else 'request'}"


def payloads_of(message: bytes) -> tuple:
    header = decode_header(message)
    if header.exchange == ExchangeType.IKE_SA_INIT:
        return decode_payloads(header.next_payload, message[28:])
    opened = observer(message).open(message)
    assert opened.error is None
    assert opened.clear == ()
    return opened.payloads


def message_of(exchange: ExchangeType, message_id: int, is_response: bool) -> Message:
    for message, _ in MESSAGES:
        header = decode_header(message)
        if (header.exchange, header.message_id, header.is_response) == (exchange, message_id, is_response):
            return Message(header, payloads_of(message))
    raise AssertionError("no such message")


def test_the_capture_holds_the_whole_dialogue():
    text = (VECTORS / "anyconnect-cert-login.txt").read_text()
    assert len(MESSAGES) == text.count(" first-payload ") == 16
    assert len(CUT) == text.count("reassembled") > 1
    assert len(ike_datagrams()) == len(MESSAGES) + sum(len(pieces) - 1 for _, pieces in CUT)


@pytest.mark.parametrize("message", INIT, ids=label)
def test_an_unprotected_message_is_written_as_it_was(message):
    header = decode_header(message)
    assert Message(header, payloads_of(message)).encode() == message


@pytest.mark.parametrize("message", PROTECTED, ids=label)
def test_the_plaintext_is_written_as_it_was(message):
    """The plaintext as the key gives it, without our payload codec in between."""
    protection = observer(message)
    cipher = protection._inbound
    padded = cipher.open(message[32:48], message[48:], message[:32])
    plaintext = padded[: len(padded) - 1 - padded[-1]]
    assert encode_payloads(payloads_of(message)) == (message[28], plaintext)


@pytest.mark.parametrize("message", PROTECTED, ids=label)
def test_a_protected_message_is_sealed_as_it_was(message):
    """With the captured IV. The captured padding is random: so the block that holds it differs, and with it the ICV."""
    sealed = observer(message).seal(decode_header(message), payloads_of(message))
    same = len(message) - SUITE.icv_length - SUITE.block_size
    assert len(sealed) == len(message)
    assert sealed[:same] == message[:same]
    assert observer(message).open(sealed) == observer(message).open(message)


@pytest.mark.parametrize("message", PROTECTED, ids=label)
def test_another_direction_does_not_open_it(message):
    other = next(m for m in PROTECTED if is_from_client(m) != is_from_client(message))
    with pytest.raises(AuthenticationFailed):
        observer(other).open(message)


@pytest.mark.parametrize(("message", "pieces"), CUT, ids=[label(message) for message, _ in CUT])
def test_a_large_message_is_cut_as_it_was(message, pieces):
    assert cut_cisco(message, LIMIT) == pieces
    assert max(map(len, pieces)) == LIMIT


@pytest.mark.parametrize("message", [m for m, _ in MESSAGES if not is_from_client(m)], ids=label)
def test_what_the_gateway_sent_obeys_the_rules(message):
    header = decode_header(message)
    assert (header.exchange, header.is_response) in RULES
    check(header.exchange, payloads_of(message), is_response=header.is_response)


def test_ike_sa_init():
    request, response = (message_of(ExchangeType.IKE_SA_INIT, 0, is_response) for is_response in (False, True))
    assert request.header.from_initiator
    assert not request.header.is_response
    assert response.header.is_response
    assert not response.header.from_initiator
    assert request.header.spi_r == bytes(8) != response.header.spi_r
    (proposal,) = request.get(SecurityAssociation).proposals
    assert proposal.transforms == (Transform(1, 12, 256), Transform(3, 12), Transform(2, 5), Transform(4, 14))
    assert request.get(SecurityAssociation) == response.get(SecurityAssociation)
    for message in (request, response):
        assert message.get(KeyExchange).group == 14
        assert len(message.get(KeyExchange).data) == 256
        assert len(message.get(Nonce).data) == 32
        assert message.notify(NotifyType.FRAGMENTATION_SUPPORTED) == Notify(NotifyType.FRAGMENTATION_SUPPORTED)
        assert message.notify(NotifyType.COOKIE) is None
        vendors = [vendor.data for vendor in message.all(VendorId)]
        assert VENDOR_FRAGMENTATION in vendors
        assert VENDOR_ANYCONNECT_EAP in vendors
    assert request.get(CertificateRequest) is None
    assert response.get(CertificateRequest).authorities.hex() == "0520e8f0e7cec09f291b98a8ac11aed8a7589665"


def test_the_first_ike_auth():
    request, response = (message_of(ExchangeType.IKE_AUTH, 1, is_response) for is_response in (False, True))
    assert request.get(IdInitiator) == IdInitiator(IdType.ANYCONNECT, b"*$AnyConnectClient$*")
    assert request.get(IdInitiator).encode() == b"\xc9\0\0\0*$AnyConnectClient$*"
    assert request.get(Authentication) is None
    assert request.get(Configuration).type == ConfigurationType.CFG_REQUEST
    everything = TrafficSelector(IPv4Address(0), IPv4Address(2**32 - 1))
    assert request.get(TsInitiator).selectors == request.get(TsResponder).selectors == (everything,)
    assert response.get(IdResponder).encode() == b"\x02\0\0\0vpn.example.com"
    assert [len(certificate.data) for certificate in response.all(Certificate)] == [944]
    assert response.get(Authentication).method == AuthMethod.RSA_SIGNATURE
    assert len(response.get(Eap).packet) == 123


def test_the_last_ike_auth():
    last = max(decode_header(m).message_id for m in PROTECTED if decode_header(m).exchange == ExchangeType.IKE_AUTH)
    request, response = (message_of(ExchangeType.IKE_AUTH, last, is_response) for is_response in (False, True))
    assert request.get(Authentication).method == AuthMethod.SHARED_KEY_MIC
    assert response.get(Authentication).method == AuthMethod.SHARED_KEY_MIC
    assert response.get(Configuration).type == ConfigurationType.CFG_REPLY
    assert AttributeType.INTERNAL_IP4_ADDRESS in {a.type for a in response.get(Configuration).attributes}
    assert response.get(SecurityAssociation).proposals[0].protocol == 3
    assert len(response.get(SecurityAssociation).proposals[0].spi) == 4
