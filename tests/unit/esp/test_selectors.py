from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyike.esp.selectors import TrafficFilter
from anyike.ikev2.child_sa import TrafficSelector
from tests.unit.esp.samples import WHOLE_WORLD, ipv4, ipv6, ports, selector

TCP, UDP, ICMP = 6, 17, 1
LOCAL = (selector("10.0.0.1"),)


@pytest.mark.parametrize(
    ("remote", "packet", "admitted"),
    [
        pytest.param([selector("10.9.0.0", "10.9.0.255")], ipv4(destination="10.9.0.255"), True, id="last address"),
        pytest.param([selector("10.9.0.0", "10.9.0.255")], ipv4(destination="10.9.1.0"), False, id="one past it"),
        pytest.param([selector("10.9.0.0", "10.9.0.255")], ipv4(destination="10.8.255.255"), False, id="one before"),
        pytest.param(WHOLE_WORLD, ipv4(source="10.0.0.2"), False, id="source of somebody else"),
        pytest.param(WHOLE_WORLD, ipv6(), False, id="family that was not negotiated on one side"),
        pytest.param([], ipv4(), False, id="no selectors"),
        pytest.param([selector("10.9.0.1", protocol=TCP)], ipv4(ports(1, 2), protocol=TCP), True, id="protocol"),
        pytest.param([selector("10.9.0.1", protocol=TCP)], ipv4(ports(1, 2), protocol=UDP), False, id="other protocol"),
        pytest.param(
            [selector("10.9.0.1", protocol=UDP), selector("10.9.0.1", protocol=TCP)],
            ipv4(ports(1, 2), protocol=TCP),
            True,
            id="second selector",
        ),
        pytest.param(
            [selector("10.9.0.1", None, TCP, 80, 443)], ipv4(ports(1, 443), protocol=TCP), True, id="destination port"
        ),
        pytest.param(
            [selector("10.9.0.1", None, TCP, 80, 443)], ipv4(ports(443, 1), protocol=TCP), False, id="source port only"
        ),
        pytest.param(
            [selector("10.9.0.1", None, ICMP, 0x0800, 0x08FF)], ipv4(b"\x08\x00", protocol=ICMP), True, id="ICMP echo"
        ),
        pytest.param(
            [selector("10.9.0.1", None, ICMP, 0x0800, 0x08FF)], ipv4(b"\x05\x00", protocol=ICMP), False, id="redirect"
        ),
        pytest.param(
            [selector("10.9.0.1", None, TCP, 80, 443)], ipv4(b"", protocol=TCP), False, id="no ports to be seen"
        ),
        pytest.param(
            [selector("10.9.0.1", None, TCP, 65535, 0)], ipv4(b"", protocol=TCP), True, id="OPAQUE, no ports seen"
        ),
        pytest.param(
            [selector("10.9.0.1", None, TCP, 65535, 0)], ipv4(ports(1, 2), protocol=TCP), False, id="OPAQUE, ports seen"
        ),
    ],
)
def test_admits(remote, packet: bytes, admitted: bool) -> None:
    assert TrafficFilter(LOCAL, remote).admits(packet) is admitted


def test_ipv6_ranges() -> None:
    filter_ = TrafficFilter([selector("fd00::1")], [selector("fd09::", "fd09::ffff")])
    assert filter_.admits(ipv6(destination="fd09::ffff"))
    assert not filter_.admits(ipv6(destination="fd09::1:0"))


def test_short_and_long_addresses_are_never_compared() -> None:
    """0x20 as a first byte of IPv6 lies between 16.0.0.0 and 48.0.0.0 when only bytes are compared."""
    filter_ = TrafficFilter([selector("16.0.0.0", "48.0.0.0")], [selector("16.0.0.0", "48.0.0.0")])
    assert not filter_.admits(ipv6(source="2001:db8::1", destination="2001:db8::2"))


small = st.integers(0, 3)


@st.composite
def small_selectors(draw) -> TrafficSelector:
    low, high = sorted((draw(small), draw(small)))
    first, last = draw(st.sampled_from([(0, 65535), *((a, b) for a in range(4) for b in range(a, 4))]))
    return TrafficSelector(IPv4Address(low), IPv4Address(high), draw(st.sampled_from([0, TCP, UDP])), first, last)


@given(st.lists(small_selectors(), max_size=3), st.lists(small_selectors(), max_size=3), small, small, small, small)
def test_it_agrees_with_the_selectors_own_containment(sources, destinations, source, destination, sport, dport) -> None:
    packet = ipv4(ports(sport, dport), str(IPv4Address(source)), str(IPv4Address(destination)), TCP)
    one_source = TrafficSelector(IPv4Address(source), IPv4Address(source), TCP, sport, sport)
    one_destination = TrafficSelector(IPv4Address(destination), IPv4Address(destination), TCP, dport, dport)
    expected = any(each.contains(one_source) for each in sources) and any(
        each.contains(one_destination) for each in destinations
    )
    assert TrafficFilter(sources, destinations).admits(packet) is expected
