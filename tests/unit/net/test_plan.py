"""The pure plan: what is routed where, and why not."""

import time
from dataclasses import replace
from ipaddress import collapse_addresses, ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyike.errors import HostSetupFailed
from anyike.ikev2.child_sa import TrafficSelector
from anyike.net import plan as plan_module
from anyike.net.plan import MAIN_TABLE, TABLES, Route, Rule, Wishes, make_plan, rule_priorities

TABLE, MARK = TABLES[3], 0x616B
LOCAL, GATEWAY = ip_address("192.0.2.1"), ip_address("198.51.100.1")


def selector(start, end):
    return TrafficSelector(ip_address(start), ip_address(end))


WIDE = (selector("0.0.0.0", "255.255.255.255"), selector("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"))


def nets(*texts):
    return tuple(ip_network(text) for text in texts)


def wishes(**changes):
    base = Wishes(
        interface="anyike0",
        addresses=(ip_interface("10.9.0.2/24"),),
        remote_selectors=WIDE,
        outer_local=LOCAL,
        gateway=GATEWAY,
        mtu=1400,
    )
    return replace(base, **changes)


def included(plan):
    return [str(route.network) for route in plan.routes if not route.throw]


def thrown(plan):
    return [str(route.network) for route in plan.routes if route.throw]


def reasons(plan):
    return {str(dropped.network): dropped.reason for dropped in plan.dropped}


def test_full_tunnel():
    plan = make_plan(wishes(), TABLE, MARK)
    assert plan.routes == (Route(ip_network("0.0.0.0/0")),)
    assert plan.rules == (
        Rule(4, 20003, MAIN_TABLE, source=LOCAL, destination=GATEWAY),
        Rule(4, 20203, MAIN_TABLE, suppress_prefixlength=0),
        Rule(4, 20303, TABLE, unless_mark=MARK),
    )
    assert plan.full == {4}
    assert plan.addresses == (ip_interface("10.9.0.2/32"),)
    assert (plan.interface, plan.table, plan.mtu, plan.dropped) == ("anyike0", TABLE, 1400, ())


def test_split_include_and_exclude():
    plan = make_plan(
        wishes(split_include=nets("10.1.0.0/16", "172.16.0.0/12"), split_exclude=nets("10.1.2.0/24", "8.8.8.8/32")),
        TABLE,
        MARK,
    )
    assert included(plan) == ["10.1.0.0/16", "172.16.0.0/12"]
    assert thrown(plan) == ["10.1.2.0/24"], "what is not included needs no exclusion"
    assert plan.rules == (
        Rule(4, 20003, MAIN_TABLE, source=LOCAL, destination=GATEWAY),
        Rule(4, 20103, TABLE, unless_mark=MARK),
    )
    assert not plan.full


def test_full_tunnel_with_exclusion():
    plan = make_plan(wishes(split_exclude=nets("8.8.8.0/25", "8.8.8.128/25")), TABLE)
    assert thrown(plan) == ["8.8.8.0/24"]
    assert plan.full == {4}


@pytest.mark.parametrize("hidden", [["0.0.0.0/0", "10.0.0.0/8"], ["0.0.0.0/1", "128.0.0.0/1"]])
def test_a_default_route_hidden_in_a_split_include_is_a_full_tunnel(hidden):
    plan = make_plan(wishes(split_include=nets(*hidden)), TABLE)
    assert included(plan) == ["0.0.0.0/0"]
    assert plan.full == {4}


def test_narrowed_selectors_are_the_routes():
    narrowed = (selector("10.0.0.1", "10.0.0.6"), selector("10.0.1.0", "10.0.1.255"))
    plan = make_plan(wishes(remote_selectors=narrowed), TABLE)
    assert included(plan) == ["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/31", "10.0.0.6/32", "10.0.1.0/24"]
    assert not plan.full


def test_split_include_is_cut_to_the_selectors():
    narrowed = (selector("10.0.0.0", "10.0.0.127"),)
    plan = make_plan(wishes(remote_selectors=narrowed, split_include=nets("10.0.0.0/24", "10.5.0.0/16")), TABLE)
    assert included(plan) == ["10.0.0.0/25"]
    assert reasons(plan) == {"10.5.0.0/16": "is outside the gateway's traffic selectors"}


def test_ipv6_only_with_an_ipv6_address():
    plan = make_plan(wishes(split_include=nets("2001:db8::/32")), TABLE)
    assert reasons(plan) == {"2001:db8::/32": "no IPv6 address was assigned"}
    assert {rule.version for rule in plan.rules} == {4}

    both = wishes(addresses=(ip_interface("10.9.0.2/24"), ip_interface("2001:db8::2/64")), mtu=1200)
    plan = make_plan(both, TABLE)
    assert included(plan) == ["0.0.0.0/0", "::/0"]
    assert plan.full == {4, 6}
    assert plan.addresses[1] == ip_interface("2001:db8::2/128")
    assert plan.mtu == 1280
    assert [rule.priority for rule in plan.rules if rule.version == 6] == [20203, 20303], (
        "the gateway is reached by IPv4"
    )


def test_a_machine_without_ipv6_gets_none():
    both = (ip_interface("10.9.0.2/24"), ip_interface("2001:db8::2/64"))
    plan = make_plan(wishes(addresses=both, split_include=nets("fd00::/8"), ipv6_enabled=False), TABLE)
    assert plan.addresses == (ip_interface("10.9.0.2/32"),)
    assert plan.full == {4}
    assert set(reasons(plan).values()) == {"IPv6 is switched off on this machine"}
    assert set(reasons(plan)) == {"2001:db8::/64", "fd00::/8"}


def test_each_version_is_split_by_itself():
    both = (ip_interface("10.9.0.2/24"), ip_interface("2001:db8::2/64"))
    plan = make_plan(wishes(addresses=both, split_include=nets("10.0.0.0/8")), TABLE)
    assert included(plan) == ["10.0.0.0/8", "::/0"]
    assert plan.full == {6}


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        ("127.0.0.0/8", "is loopback"),
        ("127.3.0.0/16", "is loopback"),
        ("224.0.0.5/32", "is multicast"),
        ("169.254.0.0/16", "is link-local"),
        ("0.0.0.0/32", "is no destination (this network)"),
        ("255.255.255.255/32", "is reserved"),
    ],
)
def test_absurd_networks_are_dropped_with_the_reason(network, reason):
    plan = make_plan(wishes(split_include=nets("10.0.0.0/8", network)), TABLE)
    assert included(plan) == ["10.0.0.0/8"]
    assert reasons(plan) == {network: reason}
    assert reasons(make_plan(wishes(split_exclude=nets(network)), TABLE)) == {network: reason}


def test_absurd_ipv6_networks():
    addresses = (ip_interface("2001:db8::2/64"),)
    asked = nets("::1/128", "::/128", "fe80::/64", "ff02::/16", "fd00::/8")
    plan = make_plan(wishes(addresses=addresses, split_include=asked), TABLE)
    assert included(plan) == ["fd00::/8"]
    assert len(plan.dropped) == 4


def test_a_split_include_of_nothing_sensible_is_no_full_tunnel():
    plan = make_plan(wishes(split_include=nets("127.0.0.0/8")), TABLE)
    assert (plan.routes, plan.rules, plan.full) == ((), (), frozenset())
    assert plan.addresses


def test_excluding_everything_loses():
    plan = make_plan(wishes(split_exclude=nets("0.0.0.0/0")), TABLE)
    assert included(plan) == ["0.0.0.0/0"]
    assert reasons(plan) == {"0.0.0.0/0": "is excluded as well as included"}


def test_the_number_of_routes_is_bounded(monkeypatch):
    monkeypatch.setattr(plan_module, "MAX_ROUTES", 30)
    assert len(make_plan(wishes(remote_selectors=(selector("10.0.0.0", "10.0.0.254"),)), TABLE).routes) == 8
    with pytest.raises(HostSetupFailed, match="more than 30 routes"):
        make_plan(wishes(split_include=tuple(ip_network((0x0A000000 + 512 * n, 24)) for n in range(31))), TABLE)


def test_tables_share_no_priority():
    every = [priority for table in TABLES for priority in rule_priorities(table)]
    assert len(every) == len(set(every)) == 4 * len(TABLES)
    assert max(every) < 32766, "the rule of the main table"


ipv4 = st.integers(0, 2**32 - 1).map(ip_address)
networks = st.builds(lambda a, p: ip_network((a, p), strict=False), st.integers(0, 2**32 - 1), st.integers(0, 32))
selectors = st.builds(lambda a, b: TrafficSelector(min(a, b), max(a, b)), ipv4, ipv4)


@given(
    st.lists(selectors, max_size=3),
    st.lists(networks, max_size=6),
    st.lists(networks, max_size=6),
    st.lists(ipv4, min_size=1, max_size=10),
)
def test_a_destination_enters_the_tunnel_only_if_allowed_and_asked_for(remote, include, exclude, destinations):
    asked = wishes(remote_selectors=tuple(remote), split_include=tuple(include), split_exclude=tuple(exclude))
    plan = make_plan(asked, TABLE)
    prefixes = [route.network for route in plan.routes]
    assert len(set(prefixes)) == len(prefixes), "the kernel refuses a prefix twice"
    assert (not plan.rules) == (not plan.routes)
    for destination in destinations + [network.network_address for network in include + exclude]:
        best = max(
            (r for r in plan.routes if destination in r.network), key=lambda r: r.network.prefixlen, default=None
        )
        wanted = not include or any(destination in network for network in include)
        allowed = any(ts.start <= destination <= ts.end for ts in remote)
        if best is not None and not best.throw:
            assert wanted
            assert allowed
        elif best is not None:
            assert any(destination in network for network in exclude)
        else:
            absurd = any(destination in dropped.network for dropped in plan.dropped)
            assert not (wanted and allowed) or absurd


@given(st.lists(networks, min_size=1, max_size=12), st.lists(networks, max_size=12))
def test_an_exclusion_counts_where_it_touches_what_is_included(include, exclude):
    plan = make_plan(wishes(split_include=tuple(include), split_exclude=tuple(exclude)), TABLE)
    absurd = {dropped.network for dropped in plan.dropped if "excluded" not in dropped.reason}
    inside = [route.network for route in plan.routes if not route.throw]
    asked = collapse_addresses(network for network in exclude if network not in absurd)
    expected = [n for n in asked if n not in inside and any(n.overlaps(other) for other in inside)]
    assert [route.network for route in plan.routes if route.throw] == expected


def test_long_lists_do_not_take_long():
    include = tuple(ip_network((0x0A000000 + 512 * number, 24)) for number in range(5_000))
    exclude = tuple(ip_network((0x0A000100 + 512 * number, 25)) for number in range(5_000))
    before = time.process_time()
    plan = make_plan(wishes(split_include=include, split_exclude=exclude), TABLE)
    assert time.process_time() - before < 5, "each of one list was compared with each of the other"
    assert (len(included(plan)), thrown(plan)) == (5_000, [])


@pytest.mark.parametrize(
    ("mtu", "addresses", "enabled", "expected"),
    [
        (1279, ["10.9.0.2/24", "2001:db8::2/64"], True, (1280, True)),
        (1280, ["10.9.0.2/24", "2001:db8::2/64"], True, (1280, False)),
        (1279, ["10.9.0.2/24", "2001:db8::2/64"], False, (1279, False)),
        (1279, ["10.9.0.2/24"], True, (1279, False)),
    ],
)
def test_a_raised_mtu_is_told(mtu, addresses, enabled, expected):
    asked = wishes(mtu=mtu, addresses=tuple(map(ip_interface, addresses)), ipv6_enabled=enabled)
    plan = make_plan(asked, TABLE)
    assert (plan.mtu, plan.mtu_raised) == expected
