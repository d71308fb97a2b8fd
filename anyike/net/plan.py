"""What shall change on this machine for one tunnel: addresses, routes and policy rules. Pure: `host.py` carries it out.

Every tunnel has a routing table of its own, which a rule consults for all packets but those that carry our mark. So the
marked sockets reach the gateway past every tunnel of ours, without a host route that a change of network would spoil::

    20000+n  from OUTER to GATEWAY lookup main          strict reverse path filters see the gateway where it is
    20100+n  not fwmark MARK lookup TABLE               split tunnel: only what the table holds
    20200+n  lookup main suppress_prefixlength 0        full tunnel: the local networks stay local
    20300+n  not fwmark MARK lookup TABLE               full tunnel: everything else

n is the table's place in `TABLES`, so a rule's priority says whose it is; split tunnels come before full ones.
The first rule matches the reverse lookup of the gateway's answers (it has no mark) and sockets bound to the outer
address. What is excluded from the tunnel is a `throw` route: the lookup goes on with the next rule.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    collapse_addresses,
    ip_address,
    ip_network,
    summarize_address_range,
)

from anyike.errors import HostSetupFailed
from anyike.ikev2.child_sa import TrafficSelector

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network

PROTOCOL = 97
"""Routing protocol number of our routes and rules: not in use by anybody in iproute2's rt_protos."""

DEFAULT_MARK = 0x616B
"""Firewall mark ("ak") of the sockets of *all* our tunnels, so that none swallows the outer packets of another."""

TABLES = range(24900, 24964)
"""Routing tables to choose from: one for each tunnel."""

MAIN_TABLE = 254

MAX_ROUTES = 20_000
"""Implementation limit, for one tunnel and family; the largest lists in use have about ten thousand."""

MIN_MTU_IPV6 = 1280
"""RFC 8200 section 5; the kernel switches IPv6 off below it."""

_GATEWAY_PRIORITY, _SPLIT_PRIORITY, _LOCAL_PRIORITY, _FULL_PRIORITY = 20000, 20100, 20200, 20300

_ABSURD: tuple[tuple[Network, str], ...] = tuple(
    (ip_network(text), reason)
    for text, reason in (
        ("0.0.0.0/8", "is no destination (this network)"),
        ("127.0.0.0/8", "is loopback"),
        ("169.254.0.0/16", "is link-local"),
        ("224.0.0.0/4", "is multicast"),
        ("240.0.0.0/4", "is reserved"),
        ("::/127", "is unspecified or loopback"),
        ("fe80::/10", "is link-local"),
        ("ff00::/8", "is multicast"),
    )
)


@dataclass(frozen=True, slots=True)
class Route:
    """A route of the tunnel's table: into the tunnel, or (`throw`) on to the next rule."""

    network: Network
    throw: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """A policy rule; `unless_mark` matches packets without the mark, `suppress_prefixlength` ignores shorter routes."""

    version: int
    priority: int
    table: int
    unless_mark: int | None = None
    suppress_prefixlength: int | None = None
    source: Address | None = None
    destination: Address | None = None


@dataclass(frozen=True, slots=True)
class Dropped:
    """A network that somebody asked for and that gets no route, with the reason."""

    network: Network
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that changes on this machine. `full` holds the IP versions whose default route is the tunnel.

    `mtu_raised`: the MTU that was wished for is below what IPv6 needs, so `mtu` is `MIN_MTU_IPV6` instead.
    """

    interface: str
    table: int
    mtu: int
    addresses: tuple[Interface, ...]
    routes: tuple[Route, ...]
    rules: tuple[Rule, ...]
    dropped: tuple[Dropped, ...]
    full: frozenset[int]
    mtu_raised: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What the gateway and the configuration say about the inside of the tunnel.

    `split_include` empty means all that the remote selectors allow, for each IP version by itself. `outer_local` and
    `gateway` are the outer addresses, `mtu` is the inner one in bytes. `ipv6_enabled`: whether this machine does IPv6.
    """

    interface: str
    addresses: tuple[Interface, ...]
    remote_selectors: tuple[TrafficSelector, ...]
    outer_local: Address
    gateway: Address
    mtu: int
    split_include: tuple[Network, ...] = ()
    split_exclude: tuple[Network, ...] = ()
    ipv6_enabled: bool = True


@dataclass(slots=True)
class _Family:
    """The routes of one IP version while they are worked out."""

    include: list[Network] = field(default_factory=list)
    exclude: list[Network] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)

    @property
    def full(self) -> bool:
        return any(network.prefixlen == 0 for network in self.include)


def make_plan(wishes: Wishes, table: int, mark: int = DEFAULT_MARK) -> Plan:
    """Work out addresses, routes and rules; `table` is one of `TABLES`. HostSetupFailed for too many routes."""
    routes: list[Route] = []
    rules: list[Rule] = []
    dropped: list[Dropped] = []
    full = set()
    addresses = [_host_address(a) for a in wishes.addresses if a.version == 4 or wishes.ipv6_enabled]
    versions = {address.version for address in addresses}
    for version in (4, 6):
        if version not in versions:
            dropped += _without_version(wishes, version)
            continue
        family = _routes_of(wishes, version)
        dropped += family.dropped
        if not family.include:
            continue
        routes += [Route(network) for network in family.include]
        routes += [Route(network, throw=True) for network in family.exclude]
        rules += _rules_of(wishes, version, table, mark, full=family.full)
        if family.full:
            full.add(version)
    mtu_raised = 6 in versions and wishes.mtu < MIN_MTU_IPV6
    return Plan(
        interface=wishes.interface,
        table=table,
        mtu=MIN_MTU_IPV6 if mtu_raised else wishes.mtu,
        addresses=tuple(addresses),
        routes=tuple(routes),
        rules=tuple(rules),
        dropped=tuple(dropped),
        full=frozenset(full),
        mtu_raised=mtu_raised,
    )


def rule_priorities(table: int) -> frozenset[int]:
    """The priorities that rules of the tunnel with this table may have."""
    place = TABLES.index(table)
    return frozenset(base + place for base in (_GATEWAY_PRIORITY, _SPLIT_PRIORITY, _LOCAL_PRIORITY, _FULL_PRIORITY))


def _without_version(wishes: Wishes, version: int) -> list[Dropped]:
    """All that was asked for in an IP version that the tunnel does not carry."""
    assigned = [address.network for address in wishes.addresses if address.version == version]
    asked = [network for network in (*wishes.split_include, *wishes.split_exclude) if network.version == version]
    reason = f"IPv{version} is switched off on this machine" if assigned else f"no IPv{version} address was assigned"
    return [Dropped(network, reason) for network in (*assigned, *asked)]


def _host_address(address: Interface) -> Interface:
    """The address alone: the netmask says nothing about what is behind the tunnel, and would make a route."""
    return type(address)(address.ip)


def _routes_of(wishes: Wishes, version: int) -> _Family:
    family = _Family()
    allowed = [selector for selector in wishes.remote_selectors if selector.start.version == version]
    named = [network for network in wishes.split_include if network.version == version]
    include: list[Network] = []
    for network in _sensible(named, family) if named else [_everything(version)]:
        parts = [part for selector in allowed for part in _intersection(network, selector)]
        include += parts
        if named and not parts:
            family.dropped.append(Dropped(network, "is outside the gateway's traffic selectors"))
        _check_count(include)
    family.include = list(_sensible(_collapsed(include), family))
    excluded = [network for network in wishes.split_exclude if network.version == version]
    included = set(family.include)
    starts = [int(network.network_address) for network in family.include]
    for network in _collapsed(_sensible(excluded, family)):
        if network in included:
            family.dropped.append(Dropped(network, "is excluded as well as included"))
        elif _overlaps_any(network, family.include, starts):
            family.exclude.append(network)
    _check_count([*family.include, *family.exclude])
    return family


def _everything(version: int) -> Network:
    return ip_network("0.0.0.0/0" if version == 4 else "::/0")


def _sensible(networks: Iterable[Network], family: _Family) -> Iterable[Network]:
    """Let pass what can be routed into a tunnel; the rest is noted with its reason."""
    for network in networks:
        for absurd, reason in _ABSURD:
            if network.version == absurd.version and network.prefixlen >= absurd.prefixlen and network.overlaps(absurd):
                family.dropped.append(Dropped(network, reason))
                break
        else:
            yield network


def _intersection(network: Network, selector: TrafficSelector) -> list[Network]:
    """The part of a network that a traffic selector allows; its protocol and ports are the data path's business."""
    start = max(int(network.network_address), int(selector.start))
    end = min(int(network.broadcast_address), int(selector.end))
    if start > end:
        return []
    if start == int(network.network_address) and end == int(network.broadcast_address):
        return [network]
    address = type(network.network_address)
    first, last = ip_address(address(start)), ip_address(address(end))
    return list(summarize_address_range(first, last))


def _overlaps_any(network: Network, networks: Sequence[Network], starts: Sequence[int]) -> bool:
    """Whether a network overlaps one of `networks`, which are collapsed; `starts` are their first addresses.

    They are sorted and disjoint, so the last that starts before the network's end reaches furthest.
    """
    before_end = bisect_right(starts, int(network.broadcast_address))
    return before_end > 0 and network.overlaps(networks[before_end - 1])


def _collapsed(networks: Iterable[Network]) -> list[Network]:
    """Merged and sorted: 0.0.0.0/1 beside 128.0.0.0/1 is a default route, and is treated as one. All of one version."""
    return list(collapse_addresses(networks))  # type: ignore[type-var]


def _check_count(networks: Sequence[Network]) -> None:
    if len(networks) > MAX_ROUTES:
        raise HostSetupFailed(f"the gateway asks for more than {MAX_ROUTES} routes, which is more than we install")


def _rules_of(wishes: Wishes, version: int, table: int, mark: int, *, full: bool) -> list[Rule]:
    place = TABLES.index(table)
    rules = []
    if wishes.gateway.version == version:
        rules.append(
            Rule(
                version,
                _GATEWAY_PRIORITY + place,
                MAIN_TABLE,
                source=wishes.outer_local,
                destination=wishes.gateway,
            )
        )
    if full:
        rules.append(Rule(version, _LOCAL_PRIORITY + place, MAIN_TABLE, suppress_prefixlength=0))
        rules.append(Rule(version, _FULL_PRIORITY + place, table, unless_mark=mark))
    else:
        rules.append(Rule(version, _SPLIT_PRIORITY + place, table, unless_mark=mark))
    return rules
