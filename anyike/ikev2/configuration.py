"""The Configuration payload: what we ask for, and what the gateway assigned (RFC 7296 3.15, AnyConnect-EAP notes, section 7)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_network,
)

from anyike.ikev2.constants import AttributeType, ConfigurationType, name_of
from anyike.ikev2.payloads import Attribute, Configuration
from anyike.wire import DecodeError, Reader

log = logging.getLogger(__name__)

LOGGED_BYTES = 64
"""Of an attribute that nothing here reads: enough to find out what it may be."""

UNITY_RECORD = 14
"""Bytes of one network in UNITY_SPLIT_INCLUDE and UNITY_LOCAL_LAN: address 4, mask 4, padding 6 (may be missing on the last)."""


@dataclass(frozen=True, slots=True)
class GatewayConfiguration:
    """What the gateway assigned. `unknown`: attributes that nothing here reads, as (type, value)."""

    addresses: tuple[IPv4Interface | IPv6Interface, ...] = ()
    dns: tuple[IPv4Address | IPv6Address, ...] = ()
    subnets: tuple[IPv4Network | IPv6Network, ...] = ()
    split_include: tuple[IPv4Network, ...] = ()
    split_exclude: tuple[IPv4Network, ...] = ()
    default_domain: str = ""
    split_dns: tuple[str, ...] = ()
    banner: str = ""
    application_version: str = ""
    mtu: int | None = None
    unknown: tuple[tuple[int, bytes], ...] = ()

    def included(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """What alone goes through the tunnel, for each IP version by itself: nothing named means everything.

        Split include (IPv4 only) comes before the subnets of RFC 7296 3.15.2.
        """
        named = {network.version for network in self.split_include}
        return (*self.split_include, *(subnet for subnet in self.subnets if subnet.version not in named))


def request(application_version: str, *, ipv6: bool) -> Configuration:
    """CFG_REQUEST: empty attributes are wishes."""
    wishes = [AttributeType.INTERNAL_IP4_ADDRESS, AttributeType.INTERNAL_IP4_NETMASK, AttributeType.INTERNAL_IP4_DNS]
    wishes += [AttributeType.INTERNAL_IP4_SUBNET]
    if ipv6:
        wishes += [
            AttributeType.INTERNAL_IP6_ADDRESS,
            AttributeType.INTERNAL_IP6_DNS,
            AttributeType.INTERNAL_IP6_SUBNET,
        ]
    wishes += [
        AttributeType.UNITY_BANNER,
        AttributeType.UNITY_DEF_DOMAIN,
        AttributeType.UNITY_SPLITDNS_NAME,
        AttributeType.UNITY_SPLIT_INCLUDE,
        AttributeType.UNITY_LOCAL_LAN,
    ]
    version = Attribute(AttributeType.APPLICATION_VERSION, application_version.encode())
    return Configuration(ConfigurationType.CFG_REQUEST, (version, *(Attribute(wish, b"") for wish in wishes)))


def read_reply(reply: Configuration) -> GatewayConfiguration:
    """CFG_REPLY. Attributes may be repeated, unasked for, or without a netmask; unknown ones are logged and kept.

    The netmask is not read: it describes the gateway's address pool, and must not narrow what goes through the tunnel.

    Raises:
        DecodeError: an attribute that we know has a value of the wrong shape.
    """
    result = GatewayConfiguration()
    unknown: list[tuple[int, bytes]] = []
    for attribute in reply.attributes:
        read = _READERS.get(attribute.type)
        if read is not None and attribute.value:
            result = read(result, attribute.value)
        elif read is None:
            name = name_of(AttributeType, attribute.type)
            log.info("attribute %s of the gateway is not understood: %s", name, attribute.value[:LOGGED_BYTES].hex())
            unknown.append((attribute.type, attribute.value))
    return replace(result, unknown=tuple(unknown))


_Change = Callable[[GatewayConfiguration, bytes], GatewayConfiguration]


def _add_address4(result: GatewayConfiguration, value: bytes) -> GatewayConfiguration:
    return replace(result, addresses=(*result.addresses, IPv4Interface(_ipv4(value))))


def _add_address6(result: GatewayConfiguration, value: bytes) -> GatewayConfiguration:
    reader = Reader(value)
    address = IPv6Address(reader.take(16, "INTERNAL_IP6_ADDRESS"))
    length = reader.u8("prefix length") if reader.remaining else 128
    reader.end("INTERNAL_IP6_ADDRESS")
    if length > 128:
        reader.fail(f"INTERNAL_IP6_ADDRESS prefix length {length}")
    return replace(result, addresses=(*result.addresses, IPv6Interface((address, length))))


def _add_dns(result: GatewayConfiguration, value: bytes) -> GatewayConfiguration:
    if len(value) not in (4, 16):
        raise DecodeError(f"a DNS server address of {len(value)} bytes")
    return replace(result, dns=(*result.dns, ip_address(value)))


def _add_subnet4(result: GatewayConfiguration, value: bytes) -> GatewayConfiguration:
    if len(value) != 8:
        raise DecodeError(f"INTERNAL_IP4_SUBNET of {len(value)} bytes")
    return replace(result, subnets=(*result.subnets, _network4(value[:4], value[4:])))


def _add_subnet6(result: GatewayConfiguration, value: bytes) -> GatewayConfiguration:
    if len(value) != 17 or value[16] > 128:
        raise DecodeError("INTERNAL_IP6_SUBNET is not an address and a prefix length")
    network = ip_network((value[:16], value[16]), strict=False)
    return replace(result, subnets=(*result.subnets, network))


def _add_include(result: GatewayConfiguration, value: bytes) -> GatewayConfiguration:
    return replace(result, split_include=(*result.split_include, *_unity_networks(value)))


def _add_exclude(result: GatewayConfiguration, value: bytes) -> GatewayConfiguration:
    return replace(result, split_exclude=(*result.split_exclude, *_unity_networks(value)))


def _add_split_dns(result: GatewayConfiguration, value: bytes) -> GatewayConfiguration:
    names = [name.strip() for name in _text(value).replace("\0", ",").split(",")]
    return replace(result, split_dns=(*result.split_dns, *(name for name in names if name)))


def _set_mtu(result: GatewayConfiguration, value: bytes) -> GatewayConfiguration:
    """28711 is only believed to be the tunnel's MTU: taken when it can be one, else left alone."""
    mtu = int.from_bytes(value, "big")
    return replace(result, mtu=mtu) if len(value) in (2, 4) and 576 <= mtu <= 65535 else result


def _unity_networks(value: bytes) -> list[IPv4Network]:
    """Records of 14 bytes with a padding of zeros, which may be missing on the last; some gateways send bare ones of 8."""
    records = [value[start : start + UNITY_RECORD] for start in range(0, len(value), UNITY_RECORD)]
    padded = all(len(record) in (8, UNITY_RECORD) and not any(record[8:]) for record in records)
    if not padded and len(value) % 8 == 0:
        records = [value[start : start + 8] for start in range(0, len(value), 8)]
    elif any(len(record) not in (8, UNITY_RECORD) for record in records):
        raise DecodeError(f"{len(value)} bytes are no list of networks")
    return [_network4(record[:4], record[4:8]) for record in records]


def _network4(address: bytes, mask: bytes) -> IPv4Network:
    """`ipaddress` would take a wildcard mask (0.0.0.255) for a netmask too, and a network for what nobody meant."""
    host_bits = int.from_bytes(mask, "big") ^ 0xFFFFFFFF
    if host_bits & (host_bits + 1):
        raise DecodeError(f"{IPv4Address(address)} with the mask {IPv4Address(mask)} is not a network")
    return IPv4Network((address, 32 - host_bits.bit_length()), strict=False)


def _ipv4(value: bytes) -> IPv4Address:
    if len(value) != 4:
        raise DecodeError(f"an IPv4 address of {len(value)} bytes")
    return IPv4Address(value)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


_READERS: dict[int, _Change] = {
    AttributeType.INTERNAL_IP4_NETMASK: lambda result, _value: result,
    AttributeType.INTERNAL_IP4_ADDRESS: _add_address4,
    AttributeType.INTERNAL_IP6_ADDRESS: _add_address6,
    AttributeType.INTERNAL_IP4_DNS: _add_dns,
    AttributeType.INTERNAL_IP6_DNS: _add_dns,
    AttributeType.INTERNAL_IP4_SUBNET: _add_subnet4,
    AttributeType.INTERNAL_IP6_SUBNET: _add_subnet6,
    AttributeType.UNITY_SPLIT_INCLUDE: _add_include,
    AttributeType.UNITY_LOCAL_LAN: _add_exclude,
    AttributeType.INTERNAL_DNS_DOMAIN: _add_split_dns,
    AttributeType.UNITY_SPLITDNS_NAME: _add_split_dns,
    AttributeType.UNITY_BANNER: lambda result, value: replace(result, banner=_text(value)),
    AttributeType.UNITY_DEF_DOMAIN: lambda result, value: replace(result, default_domain=_text(value)),
    AttributeType.APPLICATION_VERSION: lambda result, value: replace(result, application_version=_text(value)),
    28711: _set_mtu,
}
