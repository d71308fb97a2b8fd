"""The UDP channel on loopback, without a mark and without privilege."""

import asyncio
import errno
import socket
import time

import pytest

from anyike.errors import HostSetupFailed, Unreachable
from anyike.net import udp
from anyike.net.udp import UdpChannel

FAMILIES = pytest.mark.parametrize(
    ("family", "loopback"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")], ids=["ipv4", "ipv6"]
)


class Recorder:
    """Both callbacks of a channel, and a wait for what they collect."""

    def __init__(self):
        self.datagrams, self.errors = [], []
        self.changed = asyncio.Event()

    def on_datagram(self, data, address):
        self.datagrams.append((data, address))
        self.changed.set()

    def on_error(self, error, address):
        self.errors.append((error.errno, address))
        self.changed.set()

    async def wait_until(self, condition):
        async with asyncio.timeout(10):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


async def open_channel(family, recorder, port=0):
    return await UdpChannel.open(family, port, 0, recorder.on_datagram, recorder.on_error)


def silent_port(family, loopback):
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((loopback, 0))
        return sock.getsockname()[1]


@FAMILIES
async def test_two_channels_exchange_datagrams(family, loopback):
    left, right = Recorder(), Recorder()
    a, b = await open_channel(family, left), await open_channel(family, right)
    assert a.send(b"\0\0\0\0request", (loopback, b.local_port))
    await right.wait_until(lambda: right.datagrams)
    data, sender = right.datagrams[0]
    assert data == b"\0\0\0\0request"
    assert sender == (loopback, a.local_port)
    assert b.send(memoryview(b"response"), sender)
    await left.wait_until(lambda: left.datagrams)
    assert left.datagrams == [(b"response", (loopback, b.local_port))]
    a.close()
    b.close()


@FAMILIES
async def test_one_socket_talks_to_several_ports(family, loopback):
    left, first, second = Recorder(), Recorder(), Recorder()
    a = await open_channel(family, left)
    b, c = await open_channel(family, first), await open_channel(family, second)
    for channel in (b, c):
        a.send(b"x", (loopback, channel.local_port))
    await first.wait_until(lambda: first.datagrams)
    await second.wait_until(lambda: second.datagrams)
    assert first.datagrams == second.datagrams == [(b"x", (loopback, a.local_port))]
    for channel in (a, b, c):
        channel.close()


async def test_a_burst_arrives_complete_and_in_order():
    receiver = Recorder()
    channel = await open_channel(socket.AF_INET, receiver)
    sent = [index.to_bytes(2, "big") for index in range(500)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for data in sent:
            sock.sendto(data, ("127.0.0.1", channel.local_port))
        await receiver.wait_until(lambda: len(receiver.datagrams) == len(sent))
    assert [data for data, _ in receiver.datagrams] == sent
    channel.close()


@FAMILIES
async def test_a_refused_datagram_is_reported_with_its_destination_while_the_reader_waits(family, loopback):
    recorder = Recorder()
    channel = await open_channel(family, recorder)
    nobody = (loopback, silent_port(family, loopback))
    assert channel.send(b"anybody?", nobody)
    await recorder.wait_until(lambda: recorder.errors)
    assert recorder.errors == [(errno.ECONNREFUSED, nobody)]
    assert not channel.reader.done()
    channel.close()


async def test_an_earlier_error_costs_no_later_datagram_and_no_processor_time():
    recorder, other = Recorder(), Recorder()
    channel, peer = await open_channel(socket.AF_INET, recorder), await open_channel(socket.AF_INET, other)
    nobody = ("127.0.0.1", silent_port(socket.AF_INET, "127.0.0.1"))
    for _ in range(3):
        assert channel.send(b"anybody?", nobody)
        assert channel.send(b"data", ("127.0.0.1", peer.local_port))
    await recorder.wait_until(lambda: len(recorder.errors) == 3)
    await other.wait_until(lambda: len(other.datagrams) == 3)
    assert (channel.failed, channel.dropped) == (0, 0)
    before = time.process_time()
    await asyncio.sleep(0.3)
    assert time.process_time() - before < 0.15, "the event loop spins on the error queue"
    channel.close()
    peer.close()


async def test_what_the_kernel_refuses_at_once_is_reported_and_counted():
    recorder = Recorder()
    channel = await open_channel(socket.AF_INET, recorder)
    assert not channel.send(bytes(65536), ("127.0.0.1", 9))
    assert recorder.errors == [(errno.EMSGSIZE, ("127.0.0.1", 9))]
    assert channel.failed == 1
    channel.close()


async def test_a_full_send_buffer_drops_and_counts(monkeypatch):
    recorder = Recorder()
    channel = await open_channel(socket.AF_INET, recorder)

    class Full:
        def sendto(self, data, address):
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    with monkeypatch.context() as patch:
        patch.setattr(channel, "_socket", Full())
        assert not channel.send(b"x", ("127.0.0.1", 9))
    assert (channel.dropped, channel.failed, recorder.errors) == (1, 0, [])
    channel.close()


async def test_the_local_address_is_that_of_the_route():
    recorder = Recorder()
    channel = await open_channel(socket.AF_INET, recorder)
    assert channel.local_address_for(("127.0.0.1", 4500)) == ("127.0.0.1", channel.local_port)
    channel.close()


async def test_a_fault_in_the_receiver_ends_the_reader_with_it():
    def on_datagram(data, address):
        raise OSError("a fault of the receiver")

    channel = await UdpChannel.open(socket.AF_INET, 0, 0, on_datagram, lambda error, address: None)
    channel.send(b"x", ("127.0.0.1", channel.local_port))
    with pytest.raises(OSError, match="a fault of the receiver"):
        await asyncio.wait_for(channel.reader, 10)
    channel.close()


async def test_close_twice_and_send_after_close():
    channel = await open_channel(socket.AF_INET, Recorder())
    channel.close()
    channel.close()
    assert not channel.send(b"x", ("127.0.0.1", 9))
    await asyncio.wait([channel.reader], timeout=10)
    assert channel.reader.done()


async def test_a_port_in_use_is_a_clear_error():
    channel = await open_channel(socket.AF_INET, Recorder())
    with pytest.raises(HostSetupFailed, match=f"port {channel.local_port} cannot be opened: Address already in use"):
        await open_channel(socket.AF_INET, Recorder(), channel.local_port)
    channel.close()


NO_FAMILY = pytest.mark.parametrize("number", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])


@NO_FAMILY
async def test_a_kernel_without_the_family_leaves_the_gateway_unreachable_by_it(monkeypatch, number):
    def refuse(family, kind):
        raise OSError(number, "no such family")

    with monkeypatch.context() as patch:
        patch.setattr(udp.socket, "socket", refuse)
        with pytest.raises(Unreachable, match="IPv6 socket cannot be opened: no such family"):
            udp._bound_socket(socket.AF_INET6, 0, 0)


@NO_FAMILY
async def test_a_family_without_addresses_leaves_the_gateway_unreachable_by_it(monkeypatch, number):
    sockets = []

    class Unbindable(socket.socket):
        def bind(self, address):
            sockets.append(self)
            raise OSError(number, "no address")

    with monkeypatch.context() as patch:
        patch.setattr(udp.socket, "socket", Unbindable)
        with pytest.raises(Unreachable, match="IPv4 socket cannot be opened: no address"):
            udp._bound_socket(socket.AF_INET, 0, 0)
    assert [sock.fileno() for sock in sockets] == [-1], "closed"


async def test_no_more_descriptors_is_a_fault_of_this_machine(monkeypatch):
    def refuse(family, kind):
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(udp.socket, "socket", refuse)
        with pytest.raises(HostSetupFailed, match="Too many open files"):
            udp._bound_socket(socket.AF_INET, 0, 0)
