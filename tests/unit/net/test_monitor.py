"""Which of the kernel's messages count as a change, and when the owner is told. Messages are bytes; no kernel, no waiting."""

import asyncio
import errno
import logging
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyike.errors import HostSetupFailed
from anyike.net import monitor
from anyike.net.monitor import LATEST, QUIET, READ_BATCH, NetworkMonitor, is_change
from anyike.net.plan import PROTOCOL

OWN, OTHER = 7, 2
NEW_LINK, DELETE_LINK, NEW_ADDRESS, DELETE_ADDRESS = 16, 17, 20, 21
NEW_ROUTE, DELETE_ROUTE, NEW_NEIGHBOUR, NEW_RULE, DELETE_RULE = 24, 25, 28, 32, 33
MAIN, LOCAL = 254, 255
BY_KERNEL, BY_BOOT, BY_STATIC, BY_DHCP, BY_RA = 2, 3, 4, 16, 9


def message(number, payload):
    return struct.pack("=IHHII", 16 + len(payload), number, 0, 0, 0) + payload


def link(index, number=NEW_LINK, family=0):
    # IFF_UP | IFF_BROADCAST | IFF_RUNNING | IFF_MULTICAST | IFF_LOWER_UP, then IFLA_IFNAME
    attribute = struct.pack("=HH", 9, 3) + b"eth0\0" + bytes(3)
    return message(number, struct.pack("=BxHiII", family, 1, index, 0x11043, 0) + attribute)


def address(index, number=NEW_ADDRESS, family=socket.AF_INET):
    return message(number, struct.pack("=BBBBI", family, 24, 0x80, 0, index) + bytes.fromhex("08000200c0000201"))


def route(protocol, table=MAIN, number=NEW_ROUTE, flags=0, family=socket.AF_INET):
    fixed = struct.pack("=BBBBBBBBI", family, 0, 0, 0, table, protocol, 0, 1, flags)
    return message(number, fixed + bytes.fromhex("08000500c00002fe"))


def rule(number=NEW_RULE, family=socket.AF_INET):
    return message(number, struct.pack("=BBBBBBBBI", family, 0, 0, 0, MAIN, 0, 0, 1, 0))


@pytest.mark.parametrize(
    "data",
    [
        link(OTHER),
        link(OTHER, DELETE_LINK),
        address(OTHER),
        address(OTHER, DELETE_ADDRESS),
        address(OTHER, family=socket.AF_INET6),
        route(BY_DHCP),
        route(BY_STATIC, number=DELETE_ROUTE),
        route(BY_RA, family=socket.AF_INET6),
        route(BY_BOOT, table=100),
        rule(),
        rule(DELETE_RULE, socket.AF_INET6),
        route(BY_KERNEL) + route(BY_DHCP),
    ],
)
def test_a_change(data):
    assert is_change(data, OWN)


@pytest.mark.parametrize(
    "data",
    [
        link(OWN),
        link(OWN, DELETE_LINK),
        link(OTHER, family=socket.AF_BRIDGE),
        address(OWN),
        address(OWN, DELETE_ADDRESS),
        route(BY_KERNEL),
        route(BY_KERNEL, table=LOCAL, number=DELETE_ROUTE),
        route(PROTOCOL, table=252),
        route(BY_RA, flags=0x200),
        message(NEW_NEIGHBOUR, bytes(12)),
        message(3, bytes(4)),
        b"",
    ],
)
def test_no_change(data):
    assert not is_change(data, OWN)


def test_a_message_that_is_cut_off_counts_by_its_beginning():
    assert is_change(link(OTHER)[:40], OWN)
    assert not is_change(link(OTHER)[:20], OWN)


@given(st.binary(max_size=200))
def test_any_bytes_are_judged(data):
    assert is_change(data, OWN) in (True, False)


@given(st.lists(st.tuples(st.integers(0, 40), st.binary(max_size=40)), max_size=5))
def test_any_messages_are_judged(messages):
    assert is_change(b"".join(message(number, payload) for number, payload in messages), OWN) in (True, False)


class Kernel:
    """The monitor's socket: what it reads is a queue of datagrams and errors."""

    def __init__(self):
        self.ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.ours.setblocking(False)
        self.queue = []
        self.reads = 0

    def report(self, *what):
        self.queue += what
        self._theirs.send(b"wake up")

    def fileno(self):
        return self.ours.fileno()

    def recv(self, size):
        if not self.queue:
            self.ours.recv(16)
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        self.reads += 1
        first = self.queue.pop(0)
        if isinstance(first, OSError):
            raise first
        return first[:size]

    def close(self):
        self.ours.close()
        self._theirs.close()


class Rig:
    """A monitor on such a socket, in an event loop whose clock stands still until told."""

    def __init__(self, monkeypatch):
        self.loop = asyncio.get_running_loop()
        self.now = 1000.0
        monkeypatch.setattr(self.loop, "time", lambda: self.now)
        self.kernel = Kernel()
        self.told = []
        self.monitor = NetworkMonitor(self.kernel, OWN, lambda: self.told.append(self.now))

    async def settle(self):
        for _ in range(5):
            await asyncio.sleep(0)

    async def report(self, *what):
        self.kernel.report(*what)
        await self.settle()

    async def advance(self, seconds):
        """Step by step, as a real clock would."""
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.now = min(self.now + 0.05, end)
            await self.settle()


@pytest.fixture
async def rig(monkeypatch):
    made = Rig(monkeypatch)
    yield made
    made.monitor.close()


class TestWhenTheOwnerIsTold:
    async def test_after_a_quiet_moment(self, rig):
        await rig.report(address(OTHER))
        await rig.advance(QUIET - 0.01)
        assert rig.told == []
        await rig.advance(0.02)
        assert len(rig.told) == 1
        await rig.advance(10)
        assert len(rig.told) == 1

    async def test_not_of_what_is_no_change(self, rig):
        await rig.report(address(OWN), route(BY_KERNEL), link(OWN))
        await rig.advance(10)
        assert rig.told == []

    async def test_what_is_no_change_does_not_hold_up_a_change(self, rig):
        await rig.report(address(OTHER))
        await rig.advance(QUIET / 2)
        await rig.report(*[route(PROTOCOL)] * 10)
        await rig.advance(QUIET / 2 + 0.01)
        assert len(rig.told) == 1

    async def test_once_for_several_changes(self, rig):
        for what in (link(OTHER), address(OTHER), route(BY_DHCP)):
            await rig.report(what)
            await rig.advance(QUIET * 0.9)
        assert rig.told == []
        await rig.advance(QUIET * 0.2)
        assert len(rig.told) == 1

    async def test_in_good_time_although_changes_go_on(self, rig):
        started = rig.now
        while rig.now < started + 3 * LATEST - 0.1:
            await rig.report(address(OTHER))
            await rig.advance(QUIET / 2)
        assert rig.told[0] - started == pytest.approx(LATEST, abs=0.06)
        assert len(rig.told) == 2

    async def test_of_every_later_change_again(self, rig):
        for count in range(1, 4):
            await rig.report(rule())
            await rig.advance(QUIET + 0.01)
            assert len(rig.told) == count

    async def test_when_messages_were_lost(self, rig):
        await rig.report(OSError(errno.ENOBUFS, "No buffer space available"))
        await rig.advance(QUIET + 0.01)
        assert len(rig.told) == 1
        await rig.report(address(OTHER))
        await rig.advance(QUIET + 0.01)
        assert len(rig.told) == 2

    async def test_a_flood_lets_others_have_their_turn(self, rig):
        rig.kernel.report(*[route(BY_STATIC)] * (3 * READ_BATCH))
        before = rig.kernel.reads
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert rig.kernel.reads - before <= READ_BATCH
        await rig.settle()
        assert rig.kernel.queue == []

    async def test_a_broken_socket_ends_the_watch_with_a_word(self, rig, caplog):
        caplog.set_level(logging.WARNING, "anyike.net.monitor")
        await rig.report(OSError(errno.EBADF, "Bad file descriptor"))
        await rig.report(address(OTHER))
        await rig.advance(10)
        assert len(rig.told) == 1
        assert rig.kernel.reads == 1
        assert "go unnoticed from now on: Bad file descriptor" in caplog.text

    async def test_nothing_after_the_end(self, rig):
        await rig.report(address(OTHER))
        rig.monitor.close()
        rig.monitor.close()
        await rig.advance(10)
        assert rig.told == []

    async def test_the_owner_may_end_it_when_told(self, rig):
        rig.monitor._on_change = rig.monitor.close
        await rig.report(address(OTHER))
        await rig.advance(10)
        assert rig.kernel.ours.fileno() == -1


class TestOpening:
    async def test_without_privilege_and_without_an_interface_of_ours(self):
        opened = NetworkMonitor.open("no-such-if0", lambda: None)
        assert opened._own_index == 0
        opened.close()

    async def test_its_own_interface(self):
        opened = NetworkMonitor.open("lo", lambda: None)
        assert opened._own_index == socket.if_nametoindex("lo")
        opened.close()

    async def test_a_sandbox(self, monkeypatch):
        def refuse(*_):
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

        monkeypatch.setattr(monitor.socket, "socket", refuse)
        with pytest.raises(HostSetupFailed, match=r"cannot be watched: Address family .* AF_NETLINK\?"):
            monitor._open_socket()
