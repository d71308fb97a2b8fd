"""Carries a plan out on this machine, and takes back what it did."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Collection, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from anyike.errors import HostSetupFailed, MissingPrivilege, Unreachable
from anyike.net import requests
from anyike.net.netlink import KernelRefused, Netlink, Request
from anyike.net.plan import PROTOCOL, TABLES, Plan, rule_priorities

_ALREADY_GONE = (errno.ENOENT, errno.ESRCH, errno.ENODEV, errno.EADDRNOTAVAIL, errno.ENXIO)
"""ENXIO: an interface that has lost its IPv6, by a sysctl or an MTU below 1280, has no IPv6 address either."""

_NO_SUCH_FAMILY = (errno.EAFNOSUPPORT, errno.EOPNOTSUPP)
"""What a kernel without IPv6 answers."""

_Step = tuple[str, Request]
"""What a request is for, in the user's words, and the request."""


def apply(plan: Plan) -> None:
    """Bring the interface up with its addresses, then routes, then rules, so that packets move over when all is ready.

    All or nothing: what was done is undone before any exception leaves. HostSetupFailed, MissingPrivilege.
    """
    name, table = plan.interface, plan.table
    index = _interface_index(name)
    if not index:
        raise HostSetupFailed(f"there is no network interface {name} to set up")
    steps: list[_Step] = [(f"set {name} up with an MTU of {plan.mtu}", requests.link_up(index, plan.mtu))]
    steps += [(f"add {address} to {name}", requests.add_address(index, address)) for address in plan.addresses]
    steps += [(f"add a route to {route.network}", requests.add_route(index, table, route)) for route in plan.routes]
    steps += [
        (f"add the policy rule {rule.priority} (IPv{rule.version})", requests.add_rule(rule)) for rule in plan.rules
    ]
    with Netlink() as netlink:
        try:
            _carry_out(netlink, steps)
        except BaseException:
            with contextlib.suppress(HostSetupFailed, MissingPrivilege):  # the first failure is the one to tell
                _remove(netlink, plan, index)
            raise


def change(old: Plan, new: Plan) -> None:
    """From one plan to another of the same interface, table and routes: what is new comes first, so that nothing leaks between.

    HostSetupFailed, MissingPrivilege: then parts of both may stand.
    """
    index = _interface_index(new.interface)
    steps: list[_Step] = [(f"set the MTU of {new.interface} to {new.mtu}", requests.link_up(index, new.mtu))]
    steps += [
        (f"add {address} to {new.interface}", requests.add_address(index, address))
        for address in new.addresses
        if address not in old.addresses
    ]
    steps += [
        (f"add the policy rule {rule.priority} (IPv{rule.version})", requests.add_rule(rule))
        for rule in new.rules
        if rule not in old.rules
    ]
    # Of two rules with one priority the kernel takes the older one away.
    gone: list[_Step] = [
        (
            f"remove the policy rule {rule.priority} (IPv{rule.version})",
            requests.delete_rule(rule.version, rule.priority),
        )
        for rule in old.rules
        if rule not in new.rules
    ]
    gone += [
        (f"remove {address} from {new.interface}", requests.delete_address(index, address))
        for address in old.addresses
        if address not in new.addresses
    ]
    with Netlink() as netlink:
        _carry_out(netlink, steps)
        _carry_out(netlink, gone, tolerate=_ALREADY_GONE)


def remove(plan: Plan) -> None:
    """Take back rules, routes and addresses; what is gone already is no error. The interface stays. HostSetupFailed."""
    with Netlink() as netlink:
        _remove(netlink, plan, _interface_index(plan.interface))


def remove_table(netlink: Netlink, table: int) -> int:
    """Remove what carries our protocol number: the rules of the tunnel with this table, and the table's routes.

    Returns how many they were. HostSetupFailed, MissingPrivilege.
    """
    steps = [
        (f"remove the policy rule {priority}", requests.delete_rule(version, priority))
        for version in (4, 6)
        for priority in sorted(rule_priorities(table))
    ]
    steps += [
        (f"remove the route to {route.get_attr('RTA_DST') or 'everywhere'}", requests.delete_route(route))
        for version in (4, 6)
        for route in _dump(netlink, requests.list_routes(version, table))
        if route["proto"] == PROTOCOL
    ]
    return _carry_out(netlink, steps, tolerate=_ALREADY_GONE + _NO_SUCH_FAMILY)


def free_table(netlink: Netlink, claimed: Collection[int] = ()) -> int:
    """The first of `TABLES` without routes or rules that nobody claimed. HostSetupFailed when all are taken."""
    rules = [rule for version in (4, 6) for rule in _dump(netlink, requests.list_rules(version))]
    tables = {rule.get_attr("FRA_TABLE") for rule in rules}
    priorities = {rule.get_attr("FRA_PRIORITY") for rule in rules}
    for table in TABLES:
        in_use = table in claimed or table in tables or rule_priorities(table) & priorities
        if not in_use and not any(_dump(netlink, requests.list_routes(version, table)) for version in (4, 6)):
            return table
    raise HostSetupFailed(
        f"all routing tables from {TABLES.start} to {TABLES.stop - 1} are in use. "
        "`anyike cleanup` frees those of dead tunnels"
    )


def ipv6_enabled(interface: str) -> bool:
    """Whether this interface may have IPv6 addresses: administrators switch it off by a sysctl, or at boot."""
    try:
        switch = Path(f"/proc/sys/net/ipv6/conf/{interface}/disable_ipv6").read_text(encoding="ascii")
    except OSError:
        return False
    return switch.strip() == "0"


def outer_mtu(gateway: str, mark: int) -> int:
    """The MTU in bytes towards the gateway: the route's or path MTU discovery's, else the interface's.

    `gateway` is an address, a link-local one with its zone: fe80::1%eth0 (RFC 4007 section 11). Unreachable.
    """
    text, _, zone = gateway.partition("%")
    address = ip_address(text)
    attributes: list[tuple[str, Any]] = [("RTA_DST", text)]
    if mark:
        attributes.append(("RTA_MARK", mark))
    if zone:
        index = _interface_index(zone)
        if not index:
            raise Unreachable(f"no route to the gateway {gateway}: there is no network interface {zone}")
        attributes.append(("RTA_OIF", index))
    fields = {"family": requests.family_of(address.version), "dst_len": address.max_prefixlen}
    with Netlink() as netlink:
        try:
            route = netlink.get(Request(requests.ROUTE, requests.RTM_GETROUTE, fields, attributes))
            metrics = route.get_attr("RTA_METRICS")
            mtu = metrics.get_attr("RTAX_MTU") if metrics else None
            if mtu is None:
                link = Request(requests.LINK, requests.RTM_GETLINK, {"index": route.get_attr("RTA_OIF")})
                mtu = netlink.get(link).get_attr("IFLA_MTU")
        except KernelRefused as error:
            raise Unreachable(f"no route to the gateway {gateway}: {error}. Is this machine connected?") from error
        return int(mtu)


def _remove(netlink: Netlink, plan: Plan, index: int) -> None:
    remove_table(netlink, plan.table)
    if index:
        name = plan.interface
        steps = [
            (f"remove {address} from {name}", requests.delete_address(index, address)) for address in plan.addresses
        ]
        _carry_out(netlink, steps, tolerate=_ALREADY_GONE + _NO_SUCH_FAMILY)


def _carry_out(netlink: Netlink, steps: Sequence[_Step], tolerate: Collection[int] = ()) -> int:
    """Do all steps, then raise for the first that was refused; how many were done."""
    answers = netlink.execute([request for _, request in steps])
    for (purpose, _), refusal in zip(steps, answers, strict=True):
        if refusal is None or refusal.errno in tolerate:
            continue
        if refusal.errno == errno.EPERM:
            raise MissingPrivilege(
                f"the kernel does not let us {purpose}: {refusal}. Run as root or with CAP_NET_ADMIN"
            ) from refusal
        raise HostSetupFailed(f"the kernel refused to {purpose}: {refusal}") from refusal
    return answers.count(None)


def _interface_index(name: str) -> int:
    """0 when there is no such interface."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


def _dump(netlink: Netlink, request: Request) -> list[Any]:
    try:
        return netlink.dump(request)
    except KernelRefused as error:
        if error.errno in (errno.ENOENT, *_NO_SUCH_FAMILY):  # ENOENT: nobody made this table yet
            return []
        raise HostSetupFailed(f"the kernel does not show its routing: {error}") from error
