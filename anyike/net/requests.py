"""The rtnetlink requests that a plan needs. Pure: `netlink.py` sends them."""

from __future__ import annotations

import socket
from typing import Any

from anyike.net.netlink import CREATE, EXCLUSIVE, Request
from anyike.net.plan import PROTOCOL, Interface, Route, Rule

# Message types, flags and values of linux/rtnetlink.h, linux/fib_rules.h, linux/if_addr.h and linux/if.h.
RTM_NEWLINK, RTM_GETLINK = 16, 18
RTM_NEWADDR, RTM_DELADDR = 20, 21
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34
_RTN_UNICAST, _RTN_THROW = 1, 9
_SCOPE_UNIVERSE, _SCOPE_LINK = 0, 253
_TABLE_IN_ATTRIBUTE = 252  # RT_TABLE_COMPAT: the number needs more than the header's 8 bits
_TO_TABLE, _INVERT = 1, 2  # FR_ACT_TO_TBL, FIB_RULE_INVERT
_IFA_F_NODAD, _IFA_F_NOPREFIXROUTE = 0x02, 0x200
_IFF_UP = 1

LINK, ADDRESS, ROUTE, RULE = MESSAGES = ("ifinfmsg.ifinfmsg", "ifaddrmsg.ifaddrmsg", "rtmsg.rtmsg", "fibmsg.fibmsg")
"""The message classes that requests are made of."""


def family_of(version: int) -> int:
    """The address family of an IP version."""
    return int(socket.AF_INET if version == 4 else socket.AF_INET6)


def link_up(index: int, mtu: int) -> Request:
    """Set an interface's MTU and bring it up."""
    return Request(LINK, RTM_NEWLINK, {"index": index, "flags": _IFF_UP, "change": _IFF_UP}, [("IFLA_MTU", mtu)])


def add_address(index: int, address: Interface) -> Request:
    """Give an interface an address that makes no route by itself."""
    # Duplicate address detection would keep an IPv6 address from use for a second, on a link without neighbours.
    flags = _IFA_F_NOPREFIXROUTE | (_IFA_F_NODAD if address.version == 6 else 0)
    return _address(RTM_NEWADDR, index, address, [("IFA_FLAGS", flags)], CREATE | EXCLUSIVE)


def delete_address(index: int, address: Interface) -> Request:
    """Take an address from an interface."""
    return _address(RTM_DELADDR, index, address, [], 0)


def add_route(index: int, table: int, route: Route) -> Request:
    """Add a route into an interface, or one that ends the lookup in this table."""
    fields = {
        "family": family_of(route.network.version),
        "dst_len": route.network.prefixlen,
        "table": _TABLE_IN_ATTRIBUTE,
        "proto": PROTOCOL,
        "scope": _SCOPE_UNIVERSE if route.throw else _SCOPE_LINK,
        "type": _RTN_THROW if route.throw else _RTN_UNICAST,
    }
    attributes: list[tuple[str, Any]] = [("RTA_DST", str(route.network.network_address)), ("RTA_TABLE", table)]
    if not route.throw:
        attributes.append(("RTA_OIF", index))
    return Request(ROUTE, RTM_NEWROUTE, fields, attributes, CREATE | EXCLUSIVE)


def delete_route(dumped: Any) -> Request:
    """Delete a route that a dump showed, by the kernel's own description of it."""
    fields = {name: dumped[name] for name in ("family", "dst_len", "table", "proto", "scope", "type")}
    attributes = [(name, dumped.get_attr(name)) for name in ("RTA_DST", "RTA_TABLE", "RTA_OIF")]
    return Request(ROUTE, RTM_DELROUTE, fields, [(name, value) for name, value in attributes if value is not None])


def add_rule(rule: Rule) -> Request:
    """Add a policy rule."""
    fields = {"family": family_of(rule.version), "action": _TO_TABLE}
    attributes: list[tuple[str, Any]] = [
        ("FRA_PRIORITY", rule.priority),
        ("FRA_TABLE", rule.table),
        ("FRA_PROTOCOL", PROTOCOL),
    ]
    if rule.unless_mark is not None:
        fields["flags"] = _INVERT
        attributes.append(("FRA_FWMARK", rule.unless_mark))
    if rule.suppress_prefixlength is not None:
        attributes.append(("FRA_SUPPRESS_PREFIXLEN", rule.suppress_prefixlength))
    if rule.source is not None:
        fields["src_len"] = rule.source.max_prefixlen
        attributes.append(("FRA_SRC", str(rule.source)))
    if rule.destination is not None:
        fields["dst_len"] = rule.destination.max_prefixlen
        attributes.append(("FRA_DST", str(rule.destination)))
    return Request(RULE, RTM_NEWRULE, fields, attributes, CREATE | EXCLUSIVE)


def delete_rule(version: int, priority: int) -> Request:
    """Delete the rule of ours with this priority: the kernel compares what is given, also the protocol number."""
    attributes = [("FRA_PRIORITY", priority), ("FRA_PROTOCOL", PROTOCOL)]
    return Request(RULE, RTM_DELRULE, {"family": family_of(version)}, attributes)


def list_rules(version: int) -> Request:
    """Dump all policy rules of one IP version."""
    return Request(RULE, RTM_GETRULE, {"family": family_of(version)})


def list_routes(version: int, table: int) -> Request:
    """Dump one routing table of one IP version."""
    return Request(ROUTE, RTM_GETROUTE, {"family": family_of(version)}, [("RTA_TABLE", table)])


def _address(number: int, index: int, address: Interface, attributes: list[tuple[str, Any]], flags: int) -> Request:
    fields = {"family": family_of(address.version), "prefixlen": address.network.prefixlen, "index": index}
    ours = [("IFA_LOCAL", str(address.ip)), ("IFA_ADDRESS", str(address.ip)), *attributes]
    return Request(ADDRESS, number, fields, ours, flags)
