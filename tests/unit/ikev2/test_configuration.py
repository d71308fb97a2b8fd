"""What we ask for in CFG_REQUEST, and what is read from CFG_REPLY in all the forms that gateways use."""

from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network, ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anyike.ikev2.configuration import GatewayConfiguration, read_reply, request
from anyike.ikev2.constants import AttributeType as A
from anyike.ikev2.constants import ConfigurationType
from anyike.ikev2.payloads import Attribute, Configuration
from anyike.wire import DecodeError, Reader

TUNNEL_MTU = 28711
ADDRESS = IPv4Address("10.88.0.1")


def reply(*attributes: tuple[int, bytes]) -> GatewayConfiguration:
    return read_reply(Configuration(ConfigurationType.CFG_REPLY, tuple(Attribute(*each) for each in attributes)))


def packed(*addresses: str) -> bytes:
    return b"".join(ip_address(address).packed for address in addresses)


def networks(*texts: str) -> tuple[IPv4Network, ...]:
    return tuple(IPv4Network(text) for text in texts)


def record(network: str, padding: bytes = bytes(6)) -> bytes:
    """One Unity record: address 4, mask 4, padding 6."""
    parsed = IPv4Network(network)
    return parsed.network_address.packed + parsed.netmask.packed + padding


# --- the request ------------------------------------------------------------------------------------------------------


def test_the_request_asks_by_empty_attributes():
    asked = request("AnyConnect Linux", ipv6=False)
    assert asked.type == ConfigurationType.CFG_REQUEST
    values = {attribute.type: attribute.value for attribute in asked.attributes}
    assert values.pop(A.APPLICATION_VERSION) == b"AnyConnect Linux"
    assert set(values.values()) == {b""}
    assert {A.INTERNAL_IP4_ADDRESS, A.INTERNAL_IP4_DNS, A.UNITY_SPLIT_INCLUDE, A.UNITY_BANNER} <= set(values)
    assert not any("IP6" in A(kind).name for kind in values)
    assert len(values) + 1 == len(asked.attributes)
    assert Configuration.decode(Reader(asked.encode())) == asked


def test_the_request_asks_for_ipv6_only_when_wanted():
    def kinds(*, ipv6: bool) -> set[int]:
        return {attribute.type for attribute in request("", ipv6=ipv6).attributes}

    added = kinds(ipv6=True) - kinds(ipv6=False)
    assert added == {A.INTERNAL_IP6_ADDRESS, A.INTERNAL_IP6_DNS, A.INTERNAL_IP6_SUBNET}


# --- the reply --------------------------------------------------------------------------------------------------------


def test_an_empty_reply():
    assert reply() == GatewayConfiguration()


def test_everything_that_is_read():
    found = reply(
        (A.INTERNAL_IP4_ADDRESS, ADDRESS.packed),
        (A.INTERNAL_IP6_ADDRESS, packed("2001:db8::7") + b"\x40"),
        (A.INTERNAL_IP4_DNS, packed("10.99.0.53")),
        (A.INTERNAL_IP6_DNS, packed("2001:db8::53")),
        (A.INTERNAL_IP4_SUBNET, packed("10.1.0.0", "255.255.0.0")),
        (A.INTERNAL_IP6_SUBNET, packed("2001:db8:1::") + b"\x30"),
        (A.UNITY_SPLIT_INCLUDE, record("10.2.0.0/16")),
        (A.UNITY_LOCAL_LAN, record("192.168.0.0/24")),
        (A.UNITY_DEF_DOMAIN, b"corp.example"),
        (A.UNITY_SPLITDNS_NAME, b"a.example,b.example"),
        (A.INTERNAL_DNS_DOMAIN, b"c.example"),
        (A.UNITY_BANNER, "Grüß Gott".encode()),
        (A.APPLICATION_VERSION, b"Cisco IOS"),
        (TUNNEL_MTU, b"\x05\x7e"),
        (A.UNITY_SAVE_PASSWORD, b"\x00\x01"),
        (0x7ABC, b"what"),
    )
    assert found == GatewayConfiguration(
        addresses=(IPv4Interface(ADDRESS), IPv6Interface("2001:db8::7/64")),
        dns=(IPv4Address("10.99.0.53"), IPv6Address("2001:db8::53")),
        subnets=(IPv4Network("10.1.0.0/16"), IPv6Network("2001:db8:1::/48")),
        split_include=networks("10.2.0.0/16"),
        split_exclude=networks("192.168.0.0/24"),
        default_domain="corp.example",
        split_dns=("a.example", "b.example", "c.example"),
        banner="Grüß Gott",
        application_version="Cisco IOS",
        mtu=1406,
        unknown=((A.UNITY_SAVE_PASSWORD, b"\x00\x01"), (0x7ABC, b"what")),
    )


def test_repeated_attributes_add_up():
    found = reply(
        (A.INTERNAL_IP4_ADDRESS, packed("10.0.0.1")),
        (A.INTERNAL_IP4_ADDRESS, packed("10.0.0.2")),
        (A.INTERNAL_IP4_DNS, packed("10.0.0.53")),
        (A.INTERNAL_IP4_DNS, packed("10.0.0.54")),
        (A.UNITY_SPLIT_INCLUDE, record("10.1.0.0/16")),
        (A.UNITY_SPLIT_INCLUDE, record("10.2.0.0/16")),
        (A.UNITY_SPLITDNS_NAME, b"a.example"),
        (A.UNITY_SPLITDNS_NAME, b"b.example"),
        (A.UNITY_BANNER, b"first"),
        (A.UNITY_BANNER, b"last"),
    )
    assert [str(address.ip) for address in found.addresses] == ["10.0.0.1", "10.0.0.2"]
    assert [str(server) for server in found.dns] == ["10.0.0.53", "10.0.0.54"]
    assert found.split_include == networks("10.1.0.0/16", "10.2.0.0/16")
    assert found.split_dns == ("a.example", "b.example")
    assert found.banner == "last"


@pytest.mark.parametrize("kind", list(A))
def test_an_empty_attribute_says_nothing(kind):
    """RFC 7296 3.15.1 allows empty values, e.g. to say that an attribute is supported."""
    found = reply((kind, b""))
    assert found.unknown in ((), ((kind, b""),))
    assert GatewayConfiguration(unknown=found.unknown) == found


# --- what is included, and masks ---


@pytest.mark.parametrize("netmask", [b"", packed("255.255.254.0"), packed("1.2.3.4"), bytes(4), bytes(3)])
def test_a_netmask_says_nothing_about_what_goes_through_the_tunnel(netmask):
    found = reply((A.INTERNAL_IP4_ADDRESS, ADDRESS.packed), (A.INTERNAL_IP4_NETMASK, netmask))
    assert found == GatewayConfiguration(addresses=(IPv4Interface("10.88.0.1/32"),))
    assert found.included() == ()


@pytest.mark.parametrize("count", [1, 6, 7, 8, 14])
def test_bare_records_of_eight_bytes(count):
    wanted = tuple(f"10.{number}.0.0/16" for number in range(1, count + 1))
    value = b"".join(record(network, b"") for network in wanted)
    assert reply((A.UNITY_SPLIT_INCLUDE, value)).split_include == networks(*wanted)


def test_what_is_included_is_settled_for_each_ip_version_by_itself():
    subnet4 = (A.INTERNAL_IP4_SUBNET, packed("10.2.0.0", "255.255.0.0"))
    subnet6 = (A.INTERNAL_IP6_SUBNET, IPv6Address("fd00::").packed + b"\x20")
    split = (A.UNITY_SPLIT_INCLUDE, packed("10.1.0.0", "255.255.0.0"))
    assert reply(subnet4, subnet6).included() == (*networks("10.2.0.0/16"), IPv6Network("fd00::/32"))
    assert reply(subnet4, subnet6, split).included() == (*networks("10.1.0.0/16"), IPv6Network("fd00::/32"))
    assert reply(split).included() == networks("10.1.0.0/16")


HOLES = ["255.0.255.0", "0.0.0.1", "0.0.0.255", "127.255.255.255", "255.255.255.253", "1.2.3.4"]


@pytest.mark.parametrize("mask", HOLES)
def test_a_mask_with_holes_is_refused_everywhere(mask):
    """A wildcard mask (0.0.0.255) is one of them: it would be read as a network that nobody meant."""
    for attributes in (
        [(A.INTERNAL_IP4_SUBNET, packed("10.0.0.0", mask))],
        [(A.UNITY_SPLIT_INCLUDE, packed("10.0.0.0", mask))],
        [(A.UNITY_LOCAL_LAN, packed("10.0.0.0", mask) + bytes(6))],
    ):
        with pytest.raises(DecodeError, match=r"10\..*mask"):
            reply(*attributes)


@given(st.integers(0, 32), st.integers(0, 2**32 - 1))
def test_every_contiguous_mask_is_a_prefix_length(length, address):
    network = IPv4Network((address, length), strict=False)
    value = IPv4Address(address).packed + network.netmask.packed
    assert reply((A.INTERNAL_IP4_SUBNET, value)).subnets == (network,)


# --- Unity records ----------------------------------------------------------------------------------------------------

THREE = ("10.1.0.0/16", "10.2.3.0/24", "192.0.2.4/32")


@pytest.mark.parametrize("kind", [A.UNITY_SPLIT_INCLUDE, A.UNITY_LOCAL_LAN])
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("missing", [0, 6])
def test_records_of_14_bytes_with_the_last_padding_or_without(kind, count, missing):
    value = b"".join(record(network) for network in THREE[:count])
    found = reply((kind, value[: len(value) - missing]))
    read = found.split_include if kind == A.UNITY_SPLIT_INCLUDE else found.split_exclude
    assert read == networks(*THREE[:count])


def test_the_padding_may_hold_anything():
    value = record("10.1.0.0/16", b"\xff" * 6) + record("10.2.0.0/16", b"\x00\x06\x00\x50\x00\x00")
    assert reply((A.UNITY_SPLIT_INCLUDE, value)).split_include == networks("10.1.0.0/16", "10.2.0.0/16")


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6])
def test_records_of_8_bytes(count):
    texts = [f"10.{number}.0.0/16" for number in range(count)]
    value = b"".join(record(text, b"") for text in texts)
    assert reply((A.UNITY_SPLIT_INCLUDE, value)).split_include == networks(*texts)


def test_host_bits_of_a_network_are_dropped():
    value = packed("10.1.2.3", "255.255.0.0")
    assert reply((A.UNITY_SPLIT_INCLUDE, value)).split_include == networks("10.1.0.0/16")


def test_everything_is_a_network():
    assert reply((A.UNITY_SPLIT_INCLUDE, bytes(14))).split_include == networks("0.0.0.0/0")


@pytest.mark.parametrize("length", [1, 4, 7, 9, 13, 15, 21, 23])
def test_a_length_that_no_records_have(length):
    with pytest.raises(DecodeError):
        reply((A.UNITY_SPLIT_INCLUDE, bytes(length)))


# --- what cannot be ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (A.INTERNAL_IP4_ADDRESS, bytes(3)),
        (A.INTERNAL_IP4_ADDRESS, bytes(5)),
        (A.INTERNAL_IP6_ADDRESS, bytes(15)),
        (A.INTERNAL_IP6_ADDRESS, bytes(16) + b"\x81"),
        (A.INTERNAL_IP6_ADDRESS, bytes(18)),
        (A.INTERNAL_IP4_DNS, bytes(5)),
        (A.INTERNAL_IP6_DNS, bytes(17)),
        (A.INTERNAL_IP4_SUBNET, bytes(4)),
        (A.INTERNAL_IP4_SUBNET, bytes(9)),
        (A.INTERNAL_IP6_SUBNET, bytes(16)),
        (A.INTERNAL_IP6_SUBNET, bytes(16) + b"\x81"),
        (A.INTERNAL_IP6_SUBNET, bytes(18)),
    ],
    ids=lambda value: value.name if isinstance(value, A) else str(len(value)),
)
def test_a_value_of_the_wrong_shape(kind, value):
    with pytest.raises(DecodeError):
        reply((kind, value))


def test_an_ipv6_address_without_prefix_length_stands_alone():
    assert reply((A.INTERNAL_IP6_ADDRESS, packed("2001:db8::1"))).addresses == (IPv6Interface("2001:db8::1/128"),)
    assert reply((A.INTERNAL_IP6_ADDRESS, packed("2001:db8::1") + b"\x80")).addresses[0].network.prefixlen == 128


@pytest.mark.parametrize("value", [b"\x01", bytes(2), b"\x02\x3f", b"\x00\x01\x00\x00", b"\x05\x7e\x00", bytes(8)])
def test_a_tunnel_mtu_that_cannot_be_one_is_left_alone(value):
    """The attribute's meaning is only believed (AnyConnect-EAP notes, section 7)."""
    assert reply((TUNNEL_MTU, value)).mtu is None


def test_split_dns_in_its_forms():
    value = b" a.example, ,b.example\0c.example,"
    assert reply((A.UNITY_SPLITDNS_NAME, value)).split_dns == ("a.example", "b.example", "c.example")


def test_text_that_is_not_utf8_does_not_stop_the_login():
    assert reply((A.UNITY_BANNER, b"\xff\xfehello")).banner == "\N{REPLACEMENT CHARACTER}" * 2 + "hello"


known = st.sampled_from([*A, TUNNEL_MTU])
sizes = st.sampled_from([0, 1, 2, 4, 8, 14, 16, 17, 22, 28]).flatmap(
    lambda size: st.binary(min_size=size, max_size=size)
)
attributes = st.builds(Attribute, known | st.integers(0, 0x7FFF), st.binary(max_size=40) | sizes)


@given(st.integers(0, 255), st.lists(attributes, max_size=8).map(tuple))
@example(2, (Attribute(A.INTERNAL_IP4_ADDRESS, bytes(4)), Attribute(A.INTERNAL_IP4_NETMASK, b"\0\0\0\1")))
def test_any_reply_is_read_or_refused_with_the_declared_error(kind, values):
    try:
        found = read_reply(Configuration(kind, values))
    except DecodeError:
        return
    unread = [(a.type, a.value) for a in values if a.type not in tuple(A) and a.type != TUNNEL_MTU]
    assert [each for each in found.unknown if each in unread] == unread
    assert all(name and name == name.strip() for name in found.split_dns)


def test_as_many_attributes_as_a_payload_holds():
    """65,535 bytes of the shortest attributes: cheap enough to read, and nothing is lost."""
    for attribute, count in (
        (Attribute(0x7ABC, b""), 16382),
        (Attribute(A.INTERNAL_IP4_ADDRESS, ADDRESS.packed), 8190),
    ):
        payload = Configuration(2, (attribute,) * count + (Attribute(A.INTERNAL_IP4_NETMASK, packed("255.0.0.0")),))
        found = read_reply(Configuration.decode(Reader(payload.encode())))
        assert len(found.unknown) + len(found.addresses) == count
