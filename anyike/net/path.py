"""The way from this machine to the gateway, as the kernel would send now, past every tunnel of ours."""

from __future__ import annotations

import logging
import socket
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from anyike.net import requests
from anyike.net.netlink import KernelRefused, Netlink, Request
from anyike.net.plan import Address

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Path:
    """Local address (without a zone), interface, and the next hop; None where the gateway is a neighbour."""

    local: str
    interface: str
    next_hop: str | None


def current_path(remote_host: str, mark: int, inner: Collection[Address] = ()) -> Path | None:
    """The path to `remote_host` for packets with our mark (0: none); None without a route or a local address for it.

    `remote_host` is an address, a link-local one with its zone: fe80::1%eth0 (RFC 4007 section 11). `inner` are the
    tunnel's own addresses, which are none for its outside. A link that has lost its carrier keeps its routes until
    somebody takes them away, so a path is no proof that packets arrive. HostSetupFailed when netlink itself fails.
    """
    text, _, zone = remote_host.partition("%")
    remote = ip_address(text)
    attributes: list[tuple[str, Any]] = [("RTA_DST", text)]
    fields = {"family": requests.family_of(remote.version), "dst_len": remote.max_prefixlen}
    if mark:
        attributes.append(("RTA_MARK", mark))
    try:
        if zone:
            attributes.append(("RTA_OIF", socket.if_nametoindex(zone)))
        with Netlink() as netlink:
            route = netlink.get(Request(requests.ROUTE, requests.RTM_GETROUTE, fields, attributes))
        interface = socket.if_indextoname(route.get_attr("RTA_OIF") or 0)
    except (KernelRefused, OSError) as error:  # OSError: there is no such interface, or not any more
        log.debug("no route to %s: %s", remote_host, error)
        return None
    local = route.get_attr("RTA_PREFSRC")
    if local is None or not _reaches(ip_address(local), remote, inner):
        log.debug("no local address for %s by %s: the kernel would take %s", remote_host, interface, local or "none")
        return None
    return Path(local, interface, _next_hop(route))


def _reaches(local: Address, remote: Address, inner: Collection[Address]) -> bool:
    """Whether answers can come back to `local`.

    An interface that is just coming up may have a route and no address yet that passed duplicate address detection.
    The kernel then takes any address of this machine: of the tunnel, of loopback, or one of too narrow a scope.
    """
    too_narrow = (local.is_loopback and not remote.is_loopback) or (local.is_link_local and not remote.is_link_local)
    return local not in inner and not too_narrow


def _next_hop(route: Any) -> str | None:
    via = route.get_attr("RTA_VIA")  # an IPv6 router for IPv4 packets
    next_hop = via["addr"] if via else route.get_attr("RTA_GATEWAY")
    return None if next_hop is None else str(next_hop)
