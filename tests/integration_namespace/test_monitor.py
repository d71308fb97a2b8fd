"""A real kernel's changes: a client with two ways (veth pairs) to its routers, watched, and asked for its path."""

import asyncio
import contextlib
import json
import os
import subprocess
import time
from ipaddress import ip_address

import pytest
from pyroute2 import netns

from anyike.net.monitor import LATEST, QUIET, NetworkMonitor
from anyike.net.path import Path, current_path
from anyike.net.plan import DEFAULT_MARK, PROTOCOL
from anyike.tun.device import open_tun

pytestmark = pytest.mark.namespace

GATEWAY4, GATEWAY6 = "198.51.100.1", "2001:db8:ffff::1"
CLIENT, ROUTERS = f"anyike-moving-{os.getpid()}", f"anyike-routers-{os.getpid()}"
FLOOD = 10_000


def ip(namespace, *commands):
    """Commands for ip(8), all by one process."""
    subprocess.run(["ip", "-n", namespace, "-batch", "-"], input="\n".join(commands), check=True, text=True, timeout=60)


@contextlib.contextmanager
def inside(namespace):
    """What is opened in here belongs to the namespace; there must be no await."""
    netns.pushns(namespace)
    try:
        yield
    finally:
        netns.popns()


def path_of(host, mark=DEFAULT_MARK):
    with inside(CLIENT):
        return current_path(host, mark)


def wait_for_carriers():
    """The kernel notices some time after `link set up` that a link carries packets; that shall be no change of a test's."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        command = ["ip", "-n", CLIENT, "-j", "link", "show", "type", "veth"]
        links = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        if [link["operstate"] for link in links] == ["UP", "UP"]:
            return
        time.sleep(0.02)
    raise AssertionError("the veth pairs do not come up")


@pytest.fixture
def network():
    """Two interfaces, wired (192.0.2.0/25, 2001:db8:1::/64) and radio (192.0.2.128/25, 2001:db8:2::/64)."""
    made = []
    try:
        for namespace in (CLIENT, ROUTERS):
            subprocess.run(["ip", "netns", "add", namespace], check=True)
            made.append(namespace)
            ip(namespace, "link set lo up")
        for name, number in (("wired", 1), ("radio", 2)):
            ip(CLIENT, f"link add {name} type veth peer name {name} netns {ROUTERS}")
            base = (number - 1) * 128
            for namespace, host in ((CLIENT, 1), (ROUTERS, 126)):
                ip(
                    namespace,
                    f"link set {name} addrgenmode none up",
                    f"addr add 192.0.2.{base + host}/25 dev {name}",
                    f"addr add 2001:db8:{number}::{host}/64 dev {name} nodad",
                )
        ip(
            CLIENT,
            "route add default via 192.0.2.126 metric 100",
            "route add default via 192.0.2.254 metric 600",
            "route add default via 2001:db8:1::126 metric 100",
            "route add default via 2001:db8:2::126 metric 600",
        )
        wait_for_carriers()
        yield
    finally:
        for namespace in made:
            subprocess.run(["ip", "netns", "del", namespace], check=False)


class Watched:
    """The owner of a monitor: when it was told."""

    def __init__(self):
        self.told = []
        self.changed = asyncio.Event()
        with inside(CLIENT):
            self.tun = open_tun("anyike0")
            self.monitor = NetworkMonitor.open(self.tun.name, self.on_change)

    def on_change(self):
        self.told.append(time.monotonic())
        self.changed.set()

    async def after(self, *commands):
        """Carry commands out and wait until the owner is told; the seconds from the last command to that."""
        self.told.clear()
        self.changed.clear()
        await asyncio.to_thread(ip, CLIENT, *commands)
        done = time.monotonic()
        async with asyncio.timeout(LATEST + 8):
            await self.changed.wait()
        return self.told[-1] - done

    async def silent_after(self, *commands):
        """Whether the owner hears of nothing, in the time in which it would have."""
        self.told.clear()
        await asyncio.to_thread(ip, CLIENT, *commands)
        await asyncio.sleep(QUIET + 0.5)
        return not self.told

    def close(self):
        self.monitor.close()
        self.tun.close()


@pytest.fixture
async def watched(network):
    made = Watched()
    yield made
    made.close()


WIRED4, RADIO4 = Path("192.0.2.1", "wired", "192.0.2.126"), Path("192.0.2.129", "radio", "192.0.2.254")
WIRED6, RADIO6 = (
    Path("2001:db8:1::1", "wired", "2001:db8:1::126"),
    Path("2001:db8:2::1", "radio", "2001:db8:2::126"),
)


class TestChanges:
    async def test_the_interface_in_use_goes_down_and_comes_back(self, watched):
        assert (path_of(GATEWAY4), path_of(GATEWAY6)) == (WIRED4, WIRED6)
        await watched.after("link set wired down")
        assert (path_of(GATEWAY4), path_of(GATEWAY6)) == (RADIO4, RADIO6)
        await watched.after("link set wired up", "route add default via 192.0.2.126 metric 100")
        assert path_of(GATEWAY4) == WIRED4

    async def test_the_other_end_of_the_wire_is_pulled(self, watched):
        await asyncio.to_thread(ip, ROUTERS, "link set wired down")
        async with asyncio.timeout(LATEST + 8):
            await watched.changed.wait()

    @pytest.mark.parametrize("address", ["192.0.2.99/25", "2001:db8:1::99/64"], ids=["IPv4", "IPv6"])
    async def test_an_address_comes_and_goes(self, watched, address):
        await watched.after(f"addr add {address} dev wired nodad")
        await watched.after(f"addr del {address} dev wired")

    @pytest.mark.parametrize(
        ("gateway", "before", "after"),
        [(GATEWAY4, WIRED4, RADIO4), (GATEWAY6, WIRED6, RADIO6)],
        ids=["IPv4", "IPv6"],
    )
    async def test_the_default_route_moves(self, watched, gateway, before, after):
        assert path_of(gateway) == before
        await watched.after(f"route add default via {after.next_hop} metric 10")
        assert path_of(gateway) == after
        await watched.after(f"route del default via {after.next_hop} metric 10")
        assert path_of(gateway) == before

    async def test_a_rule_sends_our_mark_by_another_table(self, watched):
        await watched.after("route add default via 192.0.2.254 table 100")
        assert path_of(GATEWAY4) == WIRED4
        await watched.after(f"rule add fwmark {DEFAULT_MARK} lookup 100")
        assert (path_of(GATEWAY4), path_of(GATEWAY4, mark=0)) == (RADIO4, WIRED4)
        await watched.after("route del default table 100")
        assert path_of(GATEWAY4) == WIRED4

    async def test_the_owner_is_told_soon_and_once(self, watched):
        delay = await watched.after("addr add 192.0.2.98/25 dev wired", "addr add 192.0.2.97/25 dev wired")
        assert QUIET * 0.9 < delay < LATEST
        assert len(watched.told) == 1


class TestNoChanges:
    async def test_our_own_interface_and_routes(self, watched):
        assert await watched.silent_after(
            "link set anyike0 addrgenmode none up mtu 1400",
            "addr add 10.9.9.9/32 dev anyike0",
            "addr add fd00::9/128 dev anyike0 nodad",
            f"route add 10.0.0.0/8 dev anyike0 table 24900 proto {PROTOCOL}",
            f"route add fd00::/8 dev anyike0 table 24900 proto {PROTOCOL}",
            f"route del 10.0.0.0/8 dev anyike0 table 24900 proto {PROTOCOL}",
            "link set anyike0 down",
        )


class TestFloods:
    """Ten thousand routes at once, as a routing daemon may bring them."""

    @pytest.mark.parametrize("protocol", ["bgp", str(PROTOCOL)], ids=["of a routing daemon", "of another tunnel"])
    async def test_ten_thousand_routes_cost_little(self, watched, protocol):
        commands = [f"route add 10.{n >> 8}.{n & 255}.0/24 via 192.0.2.126 proto {protocol}" for n in range(FLOOD)]
        cpu_before, started = time.process_time(), time.monotonic()
        await watched.silent_after(*commands)
        cpu, took = time.process_time() - cpu_before, time.monotonic() - started
        assert cpu < 1  # seconds; some 40 ms on an idle machine
        assert len(watched.told) <= 1 + took / LATEST
        assert watched.told or protocol == str(PROTOCOL)
        assert path_of(GATEWAY4) == WIRED4


class TestPath:
    def test_a_neighbour_has_no_next_hop(self, network):
        assert path_of("192.0.2.126") == Path("192.0.2.1", "wired", None)
        assert path_of("2001:db8:1::126") == Path("2001:db8:1::1", "wired", None)

    def test_a_link_local_gateway_has_a_zone(self, network):
        ip(CLIENT, "addr add fe80::1/64 dev radio nodad")
        assert path_of("fe80::fe%radio") == Path("fe80::1", "radio", None)
        assert path_of("fe80::fe%nowhere") is None

    def test_an_ipv6_router_for_ipv4(self, network):
        ip(CLIENT, "route add 0.0.0.0/0 via inet6 2001:db8:2::126 dev radio")
        assert path_of(GATEWAY4) == Path("192.0.2.129", "radio", "2001:db8:2::126")

    @pytest.mark.parametrize("kind", ["unreachable", "blackhole", "prohibit"])
    def test_routes_that_lead_nowhere(self, network, kind):
        ip(CLIENT, f"route add {kind} {GATEWAY4}", f"route add {kind} {GATEWAY6}")
        assert path_of(GATEWAY4) is None
        assert path_of(GATEWAY6) is None

    @pytest.mark.parametrize(
        ("elsewhere", "fallback"),
        [
            ("lo", None),
            ("wired", "fe80::1/64"),
            ("anyike0", "2001:db8:9::9/128"),
        ],
        ids=["loopback's", "link-local", "the tunnel's"],
    )
    def test_while_the_address_is_on_trial_there_is_no_path(self, network, elsewhere, fallback):
        """Duplicate address detection lasts a second; the route is there before it ends."""
        ip(CLIENT, "tuntap add anyike0 mode tun", "link set anyike0 addrgenmode none up", "link set radio down")
        if fallback:
            ip(CLIENT, f"addr add {fallback} dev {elsewhere} nodad")
        ip(CLIENT, "addr del 2001:db8:1::1/64 dev wired", "addr add 2001:db8:1::1/64 dev wired")
        with inside(CLIENT):
            inner = [ip_address("2001:db8:9::9")]
            assert current_path(GATEWAY6, DEFAULT_MARK, inner) is None
            deadline = time.monotonic() + 10
            while current_path(GATEWAY6, DEFAULT_MARK, inner) != WIRED6:
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def test_no_route_at_all(self, network):
        ip(CLIENT, "link set wired down", "link set radio down")
        assert path_of(GATEWAY4) is None
        assert path_of(GATEWAY6) is None

    def test_a_machine_without_ipv6(self, network):
        with inside(CLIENT), open("/proc/sys/net/ipv6/conf/all/disable_ipv6", "w") as switch:
            switch.write("1")
        assert path_of(GATEWAY6) is None
        assert path_of(GATEWAY4) == WIRED4

    def test_the_kernel_agrees(self, network):
        """ip(8) is the other implementation."""
        for gateway in (GATEWAY4, GATEWAY6):
            command = ["ip", "-n", CLIENT, "-j", "route", "get", gateway, "mark", str(DEFAULT_MARK)]
            (route,) = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            assert path_of(gateway) == Path(route["prefsrc"], route["dev"], route["gateway"])
