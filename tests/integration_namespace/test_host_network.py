"""Plans carried out on a real kernel: a client namespace, a gateway behind a router, and the tunnel's TUN device."""

import asyncio
import contextlib
import ctypes
import errno
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest

from anyike.errors import HostSetupFailed, MissingPrivilege, Unreachable
from anyike.ikev2.child_sa import TrafficSelector
from anyike.net import host, undo
from anyike.net.netlink import Netlink
from anyike.net.plan import DEFAULT_MARK, MAIN_TABLE, TABLES, Wishes, make_plan
from anyike.net.udp import UdpChannel
from anyike.net.undo import Undone

pytestmark = pytest.mark.namespace

ROOT = Path(__file__).parents[2]
GATEWAY4, GATEWAY6 = "198.51.100.1", "2001:db8:ffff::1"
EVERYTHING = (
    TrafficSelector(ip_address("0.0.0.0"), ip_address("255.255.255.255")),
    TrafficSelector(ip_address("::"), ip_address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")),
)
_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000


def ip(namespace, arguments):
    command = ["ip", "-n", namespace, *arguments.split()]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@contextlib.contextmanager
def inside(namespace):
    """This thread in another network namespace; sockets stay in the one they were made in."""
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if _LIBC.setns(there, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        yield
    finally:
        assert _LIBC.setns(here, _CLONE_NEWNET) == 0
        os.close(there)
        os.close(here)


def open_tun(name):
    """A TUN device that lives as long as its descriptor."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1001))  # TUNSETIFF, IFF_TUN | IFF_NO_PI
    return descriptor


class Network:
    """`client` (192.0.2.1, 2001:db8:1::1) joined by a veth pair to `server`, which is router and gateway at once."""

    def __init__(self):
        self.client, self.server = f"anyike-client-{os.getpid()}", f"anyike-server-{os.getpid()}"
        for namespace in (self.client, self.server):
            subprocess.run(["ip", "netns", "add", namespace], check=True)
            ip(namespace, "link set lo up")
        ip(self.client, f"link add outer type veth peer name outer netns {self.server}")
        for namespace, number, own in ((self.client, 1, "1"), (self.server, 254, "fe")):
            ip(namespace, "link set outer addrgenmode none up")
            ip(namespace, f"addr add 192.0.2.{number}/24 dev outer")
            ip(namespace, f"addr add 2001:db8:1::{own}/64 dev outer nodad")
        ip(self.server, f"addr add {GATEWAY4}/32 dev lo")
        ip(self.server, f"addr add {GATEWAY6}/128 dev lo nodad")
        ip(self.client, "route add default via 192.0.2.254")
        ip(self.client, "-6 route add default via 2001:db8:1::fe")

    def close(self):
        for namespace in (self.client, self.server):
            subprocess.run(["ip", "netns", "del", namespace], check=False)

    def snapshot(self):
        """All addresses, routes and rules of the client."""
        queries = ("-j addr", "-j -4 route show table all", "-j -6 route show table all", "-j -4 rule", "-j -6 rule")
        return [json.loads(ip(self.client, query) or "[]") for query in queries]

    def way(self, destination, options=""):
        """The interface by which the client sends."""
        (route,) = json.loads(ip(self.client, f"-j route get {destination} {options}"))
        return route["dev"]

    def set_sysctl(self, name, value):
        with inside(self.client):
            Path("/proc/sys/net", *name.split("/")).write_text(str(value))


@pytest.fixture
def network():
    made = Network()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def before(network):
    return network.snapshot()


@pytest.fixture
def tun(network, before):
    """A device `anyike0`, made after the `before` snapshot and gone before `removed_completely` compares."""
    with inside(network.client):
        descriptor = open_tun("anyike0")
    yield descriptor
    with contextlib.suppress(OSError):
        os.close(descriptor)


def removed_completely(network, before, tun):
    os.close(tun)
    return network.snapshot() == before


def wishes(**changes):
    base = Wishes(
        interface="anyike0",
        addresses=(ip_interface("10.9.0.2/24"), ip_interface("2001:db8:9::2/64")),
        remote_selectors=EVERYTHING,
        outer_local=ip_address("192.0.2.1"),
        gateway=ip_address(GATEWAY4),
        mtu=1390,
    )
    return replace(base, **changes)


MARKED = f"mark {DEFAULT_MARK}"


def test_full_tunnel(network, before, tun):
    plan = make_plan(wishes(split_exclude=(ip_network("203.0.113.0/24"),)), TABLES[0])
    with inside(network.client):
        host.apply(plan)
    assert network.way("8.8.8.8") == "anyike0"
    assert network.way("2001:db8:77::1") == "anyike0"
    assert network.way("203.0.113.7") == "outer", "excluded"
    assert network.way("192.0.2.77") == "outer", "the local network stays local"
    assert network.way("2001:db8:1::77") == "outer"
    assert network.way(GATEWAY4, MARKED) == network.way(GATEWAY6, MARKED) == "outer"
    assert network.way(GATEWAY4) == "anyike0", "only our own sockets go around the tunnel"
    (link,) = json.loads(ip(network.client, "-j addr show anyike0"))
    assert link["mtu"] == 1390
    assert {(a["local"], a["prefixlen"]) for a in link["addr_info"] if a["scope"] == "global"} == {
        ("10.9.0.2", 32),
        ("2001:db8:9::2", 128),
    }
    assert "tentative" not in str(link)
    with inside(network.client):
        host.remove(plan)
        assert not [
            a for a in json.loads(ip(network.client, "-j addr show anyike0"))[0]["addr_info"] if a["scope"] == "global"
        ]
        host.remove(plan)
    assert removed_completely(network, before, tun)


def test_split_tunnel(network, before, tun):
    include = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"), ip_network("127.0.0.0/8"))
    plan = make_plan(wishes(split_include=include, split_exclude=(ip_network("10.1.2.0/24"),)), TABLES[0])
    with inside(network.client):
        host.apply(plan)
    assert network.way("10.1.1.1") == network.way("fd00::1") == "anyike0"
    assert network.way("10.1.2.3") == "outer"
    assert network.way("10.1.1.1", MARKED) == "outer"
    assert network.way("8.8.8.8") == network.way("2001:db8:77::1") == "outer"
    assert network.way("127.0.0.1") == "lo"
    with inside(network.client):
        host.remove(plan)
    assert removed_completely(network, before, tun)


def test_ipv4_alone_leaves_ipv6_as_it_is(network, before, tun):
    plan = make_plan(wishes(addresses=(ip_interface("10.9.0.2/24"),)), TABLES[0])
    with inside(network.client):
        host.apply(plan)
        assert network.way("8.8.8.8") == "anyike0"
        assert network.way("2001:db8:77::1") == "outer"
        host.remove(plan)
    assert removed_completely(network, before, tun)


def test_a_machine_with_ipv6_switched_off(network, before, tun):
    with inside(network.client):
        assert host.ipv6_enabled("anyike0")
        assert not host.ipv6_enabled("nosuch0")
        network.set_sysctl("ipv6/conf/anyike0/disable_ipv6", 1)
        assert not host.ipv6_enabled("anyike0")
        with pytest.raises(HostSetupFailed, match="refused to add 2001:db8:9::2/128 to anyike0"):
            host.apply(make_plan(wishes(), TABLES[0]))
        plan = make_plan(wishes(ipv6_enabled=False), TABLES[0])
        host.apply(plan)
        assert network.way("8.8.8.8") == "anyike0"
        host.remove(plan)
    assert removed_completely(network, before, tun)


def test_ipv6_outside(network, before, tun):
    outer = {"outer_local": ip_address("2001:db8:1::1"), "gateway": ip_address(GATEWAY6)}
    plan = make_plan(wishes(**outer), TABLES[0])
    with inside(network.client):
        host.apply(plan)
        assert network.way(GATEWAY6, "from 2001:db8:1::1") == "outer"
        assert network.way(GATEWAY6) == "anyike0"
        host.remove(plan)
    assert removed_completely(network, before, tun)


def test_two_tunnels_do_not_disturb_each_other(network, before, tun, tmp_path):
    with inside(network.client):
        other = open_tun("anyike1")
        first, second = undo.claim(tmp_path / "a.undo", "anyike0"), undo.claim(tmp_path / "b.undo", "anyike1")
        everything = make_plan(wishes(), first.table)
        office = make_plan(
            wishes(
                interface="anyike1",
                addresses=(ip_interface("10.8.0.2/32"),),
                split_include=(ip_network("10.0.0.0/8"),),
                gateway=ip_address("198.51.100.2"),
            ),
            second.table,
        )
        host.apply(everything)
        alone = network.snapshot()
        host.apply(office)
        assert network.way("8.8.8.8") == "anyike0"
        assert network.way("10.1.1.1") == "anyike1", "the split tunnel comes first"
        assert network.way(GATEWAY4, MARKED) == network.way("198.51.100.2", MARKED) == "outer", "for both sockets"
        host.remove(office)
        assert network.snapshot()[1:2] == alone[1:2]
        assert network.snapshot()[3:] == alone[3:]
        assert network.way("10.1.1.1") == "anyike0"
        host.apply(office)
        host.remove(everything)
        assert network.way("8.8.8.8") == "outer"
        assert network.way("10.1.1.1") == "anyike1"
        host.remove(office)
        first.close()
        second.close()
    os.close(other)
    assert removed_completely(network, before, tun)


@pytest.mark.parametrize(
    ("family", "local", "gateway"),
    [(socket.AF_INET, "192.0.2.1", GATEWAY4), (socket.AF_INET6, "2001:db8:1::1", GATEWAY6)],
    ids=["ipv4", "ipv6"],
)
def test_the_gateway_is_reached_in_a_full_tunnel_under_a_strict_filter(network, before, tun, family, local, gateway):
    network.set_sysctl("ipv4/conf/all/rp_filter", 1)
    network.set_sysctl("ipv4/conf/outer/rp_filter", 1)
    plan = make_plan(wishes(outer_local=ip_address(local), gateway=ip_address(gateway)), TABLES[0])
    with inside(network.server):
        server = socket.socket(family, socket.SOCK_DGRAM)
        server.bind((gateway, 4500))
        server.settimeout(5)

    async def exchange():
        answers = asyncio.Queue()
        channel = await UdpChannel.open(
            family, 0, DEFAULT_MARK, lambda *received: answers.put_nowait(received), pytest.fail
        )
        assert channel.local_address_for((gateway, 4500)) == (local, channel.local_port)
        channel.send(b"request", (gateway, 4500))
        data, address = await asyncio.to_thread(server.recvfrom, 100)
        server.sendto(data, address)
        try:
            return await asyncio.wait_for(answers.get(), 1)
        finally:
            channel.close()

    with inside(network.client), server:
        host.apply(plan)
        assert asyncio.run(exchange()) == (b"request", (gateway, 4500))
        if family == socket.AF_INET:
            ip(network.client, f"rule del priority 20000 from {local} to {gateway} lookup main")
            with pytest.raises(TimeoutError):
                asyncio.run(exchange())
        host.remove(plan)
    assert removed_completely(network, before, tun)


def test_an_unreachable_network_is_reported(network):
    ip(network.client, "route del default")
    errors = []

    async def send():
        on_error = lambda error, address: errors.append((error.errno, address))  # noqa: E731
        channel = await UdpChannel.open(socket.AF_INET, 0, DEFAULT_MARK, lambda *received: None, on_error)
        assert not channel.send(b"x", (GATEWAY4, 500))
        with pytest.raises(Unreachable, match=f"no route to {GATEWAY4}"):
            channel.local_address_for((GATEWAY4, 500))
        channel.close()

    with inside(network.client):
        asyncio.run(send())
        with pytest.raises(Unreachable, match=f"no route to the gateway {GATEWAY4}"):
            host.outer_mtu(GATEWAY4, DEFAULT_MARK)
    assert errors == [(errno.ENETUNREACH, (GATEWAY4, 500))]


def test_a_large_datagram_is_fragmented_and_arrives(network):
    with inside(network.server):
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind((GATEWAY4, 500))
        server.settimeout(5)

    async def send():
        channel = await UdpChannel.open(socket.AF_INET, 500, DEFAULT_MARK, lambda *received: None, pytest.fail)
        assert channel.send(bytes(9000), (GATEWAY4, 500))
        data, address = await asyncio.to_thread(server.recvfrom, 65535)
        channel.close()
        return len(data), address

    with inside(network.client), server:
        assert asyncio.run(send()) == (9000, ("192.0.2.1", 500))


def test_the_mtu_towards_the_gateway(network):
    with inside(network.client):
        assert host.outer_mtu(GATEWAY4, DEFAULT_MARK) == 1500
        assert host.outer_mtu(GATEWAY6, 0) == 1500
        ip(network.client, "link set outer mtu 1480")
        assert host.outer_mtu(GATEWAY4, DEFAULT_MARK) == 1480
        ip(network.client, f"route add {GATEWAY4}/32 via 192.0.2.254 mtu 1420")
        assert host.outer_mtu(GATEWAY4, DEFAULT_MARK) == 1420


def test_the_mtu_towards_a_link_local_gateway(network, tun):
    ip(network.client, "addr add fe80::1/64 dev outer nodad")
    ip(network.client, "link set anyike0 addrgenmode none mtu 1300 up")
    ip(network.client, "addr add fe80::2/64 dev anyike0 nodad")
    with inside(network.client):
        assert host.outer_mtu("fe80::fe%outer", DEFAULT_MARK) == 1500
        assert host.outer_mtu("fe80::fe%anyike0", DEFAULT_MARK) == 1300
        with pytest.raises(Unreachable, match=r"fe80::fe%nosuch0: there is no network interface nosuch0"):
            host.outer_mtu("fe80::fe%nosuch0", DEFAULT_MARK)


def test_a_refused_step_leaves_nothing(network, before, tun):
    ip(network.client, f"rule add priority 20300 lookup {TABLES[0]} protocol 97 not fwmark {DEFAULT_MARK}")
    plan = make_plan(wishes(), TABLES[0])
    with inside(network.client), pytest.raises(HostSetupFailed, match="refused to add the policy rule 20300"):
        host.apply(plan)
    assert removed_completely(network, before, tun)


@pytest.mark.parametrize("failure", [KeyboardInterrupt("now"), OSError("now")])
def test_whatever_interrupts_leaves_nothing(network, before, tun, monkeypatch, failure):
    execute = Netlink.execute
    sizes = []

    def interrupted(self, steps):
        sizes.append(len(steps))
        if len(sizes) > 1:
            return execute(self, steps)
        execute(self, steps[:-1])
        raise failure

    monkeypatch.setattr(Netlink, "execute", interrupted)
    with inside(network.client), pytest.raises(type(failure), match="now"):
        host.apply(make_plan(wishes(split_exclude=(ip_network("203.0.113.0/24"),)), TABLES[0]))
    assert removed_completely(network, before, tun)


def test_taking_back_what_was_not_or_only_partly_done(network, before, tun, tmp_path):
    with inside(network.client):
        journal = undo.claim(tmp_path / "a.undo", "anyike0")
        undo.take_back(make_plan(wishes(), journal.table), journal)
        assert network.snapshot()[1:] == before[1:]

        journal = undo.claim(tmp_path / "a.undo", "anyike0")
        plan = make_plan(wishes(), journal.table)
        host.apply(plan)
        ip(network.client, "rule del priority 20300")
        ip(network.client, "-6 rule del priority 20200")
        ip(network.client, f"route del default table {journal.table}")
        ip(network.client, "addr del 10.9.0.2/32 dev anyike0")
        ip(network.client, "link set anyike0 mtu 1000")  # the interface has no IPv6 any more
        undo.take_back(plan, journal)

        journal = undo.claim(tmp_path / "a.undo", "anyike0")
        plan = make_plan(wishes(addresses=(ip_interface("10.9.0.2/24"),)), journal.table)
        host.apply(plan)
        os.close(tun)
        undo.take_back(plan, journal)
        assert network.snapshot() == before
    assert not (tmp_path / "a.undo").exists()


def test_the_kernels_words_reach_the_user(network, before, tun):
    with inside(network.client):
        with pytest.raises(HostSetupFailed, match=r"set anyike0 up with an MTU of 99999: .*mtu"):
            host.apply(make_plan(wishes(mtu=99999), TABLES[0]))
        with pytest.raises(HostSetupFailed, match="there is no network interface nosuch0"):
            host.apply(make_plan(wishes(interface="nosuch0"), TABLES[0]))
    assert removed_completely(network, before, tun)


def test_rules_and_routes_of_others_are_left_alone(network, tun):
    table = TABLES[0]
    ip(network.client, f"rule add priority 20300 lookup {MAIN_TABLE} protocol 42")
    ip(network.client, f"route add 10.77.0.0/16 via 192.0.2.254 table {table} protocol 42")
    theirs = network.snapshot()
    plan = make_plan(wishes(), table)
    with inside(network.client):
        with Netlink() as netlink:
            assert host.free_table(netlink) == TABLES[1], "this one is in use"
        host.apply(plan)
        host.remove(plan)
    ours = network.snapshot()
    assert ours[3:] == theirs[3:]
    assert [route for route in ours[1] if route.get("table") == str(table)] == [
        route for route in theirs[1] if route.get("table") == str(table)
    ]


@contextlib.contextmanager
def unprivileged():
    """The effective user id decides over the effective capabilities (capabilities(7))."""
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_missing_privilege_is_named(network, before, tun):
    async def open_channel(port, mark):
        channel = await UdpChannel.open(socket.AF_INET, port, mark, pytest.fail, pytest.fail)
        channel.close()

    with inside(network.client):
        network.set_sysctl("ipv4/ip_unprivileged_port_start", 1024)
        with unprivileged():
            with pytest.raises(MissingPrivilege, match=r"set anyike0 up .*CAP_NET_ADMIN"):
                host.apply(make_plan(wishes(), TABLES[0]))
            with pytest.raises(MissingPrivilege, match="SO_MARK"):
                asyncio.run(open_channel(0, DEFAULT_MARK))
            with pytest.raises(MissingPrivilege, match="CAP_NET_BIND_SERVICE"):
                asyncio.run(open_channel(500, 0))
            asyncio.run(open_channel(0, 0))
    assert removed_completely(network, before, tun)


VICTIM = """
import sys, time
from pathlib import Path
sys.path.insert(0, "tests/integration_namespace")
from test_host_network import host, ip_network, make_plan, open_tun, undo, wishes

tun = open_tun("anyike0")
journal = undo.claim(Path(sys.argv[1]), "anyike0")
host.apply(make_plan(wishes(split_exclude=(ip_network("203.0.113.0/24"), ip_network("fd00::/8"))), journal.table))
print("applied", flush=True)
time.sleep(60)
"""


@contextlib.contextmanager
def victim(network, journal):
    """A process that applied a plan in the client namespace."""
    command = ["ip", "netns", "exec", network.client, sys.executable, "-W", "ignore", "-c", VICTIM, str(journal)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "applied\n"
            yield process
        finally:
            process.kill()


def test_cleanup_after_a_kill(network, before, tmp_path):
    path = tmp_path / "office.undo"
    with victim(network, path) as process:
        assert network.way("8.8.8.8") == "anyike0"
        assert undo.undo(path) is Undone.ALIVE, "the lock is seen from every namespace"
        process.kill()
    left = network.snapshot()
    assert left != before, "rules and throw routes outlive the process"
    assert undo.undo(path) is Undone.OTHER_NAMESPACE
    assert network.snapshot() == left
    with inside(network.client):
        assert undo.undo(path) is Undone.REPLAYED
    assert network.snapshot() == before
    assert not path.exists()


def test_the_next_start_cleans_up_after_a_kill(network, before, tmp_path):
    path = tmp_path / "office.undo"
    with victim(network, path) as process:
        process.kill()
    with inside(network.client):
        journal = undo.claim(path, "anyike0")
        assert network.snapshot() == before
        assert journal.table == TABLES[0]
        journal.close()
    assert not path.exists()


def test_ten_thousand_routes(network, before, tun):
    include = tuple(ip_network((0x0A000000 + 512 * number, 24)) for number in range(10_000))
    plan = make_plan(wishes(split_include=include), TABLES[0])
    with inside(network.client):
        host.apply(plan)
        assert len(json.loads(ip(network.client, f"-j route show table {TABLES[0]}"))) == 10_000
        host.remove(plan)
    assert removed_completely(network, before, tun)
