"""NAT traversal: what shares the UDP port, and the detection hashes of the captured login."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyike.crypto.prf import digest
from anyike.ikev2.constants import NotifyType
from anyike.ikev2.message import Message, decode_header, decode_payloads
from anyike.ikev2.natt import KEEPALIVE, NON_ESP_MARKER, Kind, classify, detection_hash
from tests.pcap import udp_datagrams
from tests.unit.ikev2.golden import VECTORS, ike_datagrams

CLIENT, GATEWAY = ("10.77.0.2", 500), ("10.77.0.1", 500)


def init(number: int) -> Message:
    data = ike_datagrams()[number]
    header = decode_header(data)
    return Message(header, decode_payloads(header.next_payload, data[28:]))


@pytest.mark.parametrize(("number", "source", "destination"), [(0, CLIENT, GATEWAY), (1, GATEWAY, CLIENT)])
def test_the_hashes_of_the_captured_login(number, source, destination):
    """The destination is the address it really had; both sides claim a NAT by a source that is not (RFC 7296 2.23)."""
    message = init(number)
    spis = (message.header.spi_i, message.header.spi_r)
    claimed_source = message.notify(NotifyType.NAT_DETECTION_SOURCE_IP)
    claimed_destination = message.notify(NotifyType.NAT_DETECTION_DESTINATION_IP)
    assert claimed_source is not None
    assert claimed_destination is not None
    assert claimed_destination.data == detection_hash(*spis, destination)
    assert claimed_source.data != detection_hash(*spis, source)
    assert len(claimed_source.data) == len(claimed_destination.data)


def test_the_captured_datagrams_on_the_nat_port():
    datagrams = [d.payload for d in udp_datagrams(VECTORS / "anyconnect-cert-login.pcap") if d.source[1] == 4500]
    kinds = [classify(datagram) for datagram in datagrams]
    assert kinds.count(Kind.ESP) == 6
    assert kinds.count(Kind.IKE) == len(ike_datagrams()) - 2


@pytest.mark.parametrize(
    ("host", "packed"),
    [
        ("192.0.2.1", "c0000201"),
        ("2001:db8::1", "20010db8000000000000000000000001"),
        ("fe80::1%eth0", "fe800000000000000000000000000001"),
    ],
)
def test_the_hash_covers_spis_address_and_port(host, packed):
    expected = digest("sha1", b"I" * 8 + b"R" * 8 + bytes.fromhex(packed) + b"\x11\x94")
    assert detection_hash(b"I" * 8, b"R" * 8, (host, 4500)) == expected
    assert len(expected) == 20


@given(st.ip_addresses(), st.integers(0, 65535), st.integers(0, 65535))
def test_another_port_is_another_hash(address, port, other):
    one, two = (detection_hash(b"I" * 8, b"R" * 8, (str(address), number)) for number in (port, other))
    assert (one == two) == (port == other)
    assert detection_hash(b"I" * 8, b"S" * 8, (str(ip_address(address)), port)) != one


@pytest.mark.parametrize(
    ("datagram", "kind"),
    [
        (b"", Kind.KEEPALIVE),
        (KEEPALIVE, Kind.KEEPALIVE),
        (b"\x00", Kind.KEEPALIVE),
        (NON_ESP_MARKER, Kind.IKE),
        (NON_ESP_MARKER + b"IKE", Kind.IKE),
        (b"\x00\x00\x00\x01" + bytes(40), Kind.ESP),
        (b"\xff\xff", Kind.ESP),
        (bytes(3), Kind.ESP),
    ],
)
def test_what_a_datagram_is(datagram, kind):
    assert classify(datagram) is kind


@given(st.binary(max_size=64))
def test_any_datagram_is_something(datagram):
    kind = classify(datagram)
    assert (kind is Kind.IKE) == datagram.startswith(NON_ESP_MARKER)
    assert (kind is Kind.KEEPALIVE) == (len(datagram) < 2)
