"""Gateway identities of REDIRECT and REDIRECTED_FROM (RFC 5685 9.2, 9.3): where a gateway sends us, or where we come from.

    u8 type (1 IPv4, 2 IPv6, 3 FQDN), u8 length, identity; in IKE_SA_INIT the initiator's nonce after it

A redirect decides only whom we talk to next, never whom we trust: what the certificate must say is the owner's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import IntEnum
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address

from anyike.errors import AnyikeError, GatewayRefused, ProtocolError, Redirected
from anyike.ikev2.constants import NotifyType
from anyike.ikev2.payloads import Notify, Payload
from anyike.ikev2.settings import IkeSettings
from anyike.wire import DecodeError

MAX_NAME = 253
"""The longest name that DNS can hold, in text (RFC 1035 2.3.4)."""
_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*")


class _Identity(IntEnum):
    """Types of gateway identity (IANA "IKEv2 Gateway Identity Types")."""

    IPV4 = 1
    IPV6 = 2
    FQDN = 3


def redirect_of(payloads: Iterable[Payload]) -> Notify | None:
    """The first REDIRECT among these payloads."""
    return next((p for p in payloads if isinstance(p, Notify) and p.type == NotifyType.REDIRECT), None)


def judge(payloads: Iterable[Payload], settings: IkeSettings) -> AnyikeError | None:
    """Of an authentic message: the error that ends this connection, a `Redirected` where we may follow; None: no REDIRECT."""
    notify = redirect_of(payloads)
    if notify is None:
        return None
    try:
        host, _ = read_gateway(notify.data)
    except DecodeError as error:
        return ProtocolError(f"the gateway redirects to another one that cannot be used: {error}")
    return Redirected(host) if settings.redirect else not_followed(host)


def not_followed(host: str) -> GatewayRefused:
    """The error where the user does not want to be redirected."""
    return GatewayRefused(
        f"the gateway wants us to go to {host} instead (REDIRECT): gateway.redirect = true would allow it"
    )


def read_gateway(data: bytes) -> tuple[str, bytes]:
    """The host and what follows it: the nonce in IKE_SA_INIT.

    Raises:
        DecodeError: too short, of an unknown type, or not the address or name of a host.
    """
    if len(data) < 2 or len(data) < 2 + data[1]:
        raise DecodeError("REDIRECT: the gateway's identity is cut off")
    identity, rest = data[2 : 2 + data[1]], data[2 + data[1] :]
    match data[0]:
        case _Identity.IPV4:
            return _address(IPv4Address, identity), rest
        case _Identity.IPV6:
            return _address(IPv6Address, identity), rest
        case _Identity.FQDN:
            return _name(identity), rest
        case kind:
            raise DecodeError(f"REDIRECT: gateway identity of the unknown type {kind}")


def write_gateway(host: str) -> bytes:
    """The identity of a gateway by its address, or its name as DNS has it."""
    try:
        address = ip_address(host)
    except ValueError:
        kind, identity = _Identity.FQDN, host.encode("ascii")
    else:
        kind, identity = _Identity.IPV4 if address.version == 4 else _Identity.IPV6, address.packed
    return bytes([kind, len(identity)]) + identity


def _address(kind: type[IPv4Address | IPv6Address], identity: bytes) -> str:
    try:
        address = kind(identity)
    except AddressValueError:
        raise DecodeError(f"REDIRECT: {len(identity)} bytes are no {kind.__name__}") from None
    if address.is_unspecified or address.is_multicast or address == IPv4Address("255.255.255.255"):
        raise DecodeError(f"REDIRECT: {address} is nobody's address")
    return str(address)


def _name(identity: bytes) -> str:
    name = identity.decode("ascii", "replace").removesuffix(".")
    if len(name) > MAX_NAME or not _NAME.fullmatch(name):
        raise DecodeError("REDIRECT: the name of the gateway is not that of a host")
    if name.replace(".", "").isdecimal():
        raise DecodeError("REDIRECT: an address where a name was announced")
    return name.lower()
