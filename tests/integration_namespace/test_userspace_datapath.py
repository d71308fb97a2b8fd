"""Two hosts (network namespaces, a veth pair), a data path on each, keyed by hand: real packets through real TUN."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest
from pyroute2 import netns

from anyike.crypto.cipher import CipherSuite
from anyike.errors import HostSetupFailed
from anyike.esp.overhead import inner_mtu
from anyike.ikev2.child_sa import ChildSa
from anyike.tun.base import Address
from anyike.tun.device import open_tun
from anyike.tun.userspace import UserspaceDataPath
from tests.unit.esp.samples import CLIENT, ONE_OF_EACH_KIND, SERVER, children, selector

pytestmark = pytest.mark.namespace

Result = TypeVar("Result")
OUTER = ("192.0.2.1", "192.0.2.2")
PORT = 4500
SO_RCVBUFFORCE = 33  # asm-generic/socket.h; Python 3.11 has no name for it
TRANSFER = os.urandom(1 << 20) * 8
SERVER_ONLY = tuple(selector(address) for address in SERVER)


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """What is opened in here belongs to the namespace; there must be no await."""
    netns.pushns(namespace)
    try:
        yield
    finally:
        netns.popns()


def made_inside(namespace: str, make: Callable[..., Result]) -> Callable[..., Result]:
    def maker(*arguments: object) -> Result:
        with inside(namespace):
            return make(*arguments)

    return maker


def udp_socket(address: str) -> socket.socket:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 4 << 20)
    udp.setblocking(False)
    udp.bind((address, PORT))
    return udp


@dataclass
class Host:
    """A namespace with a data path in it."""

    namespace: str
    outer: str
    inner: tuple[str, str]
    failures: asyncio.Queue[Exception] = field(default_factory=asyncio.Queue)

    def __post_init__(self) -> None:
        self.udp = made_inside(self.namespace, udp_socket)(self.outer)
        self.path = UserspaceDataPath(
            self.send, self.failures.put_nowait, "anyike0", open_device=made_inside(self.namespace, open_tun)
        )

    def ip(self, *arguments: str) -> str:
        return run("ip", "-n", self.namespace, *arguments)

    def send(self, datagram: bytes, address: Address) -> None:
        with suppress(BlockingIOError):
            self.udp.sendto(datagram, address)

    def receive(self) -> None:
        with suppress(BlockingIOError):
            for _ in range(64):
                self.path.receive_esp(*self.udp.recvfrom(65535))

    async def open(self, mtu: int, other_inner: tuple[str, str]) -> None:
        asyncio.get_running_loop().add_reader(self.udp, self.receive)
        await self.path.open()
        for address in self.inner:
            self.ip("addr", "add", address, "dev", self.path.interface, *(["nodad"] if ":" in address else []))
        self.ip("link", "set", self.path.interface, "mtu", str(mtu), "up")
        for address in other_inner:
            self.ip("route", "add", address, "dev", self.path.interface)

    async def key(self, child: ChildSa, other: Host) -> None:
        await self.path.install(child, (self.outer, PORT), (other.outer, PORT))

    async def close(self) -> None:
        await self.path.close()
        asyncio.get_running_loop().remove_reader(self.udp)
        self.udp.close()


@pytest.fixture
def namespaces() -> Iterator[tuple[str, str]]:
    names = tuple(f"anyike-{os.getpid()}-{side}" for side in ("client", "gateway"))
    try:
        for name in names:
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", names[0], "link", "add", "veth0", "type", "veth", "peer", "name", "veth0", "netns", names[1])
        for name, address in zip(names, OUTER, strict=True):
            run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "veth0")
            run("ip", "-n", name, "link", "set", "veth0", "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True, timeout=30)


@pytest.fixture(params=ONE_OF_EACH_KIND, ids=lambda suite: suite.name)
def suite(request: pytest.FixtureRequest) -> CipherSuite:
    return request.param


@pytest.fixture
async def hosts(namespaces: tuple[str, str], suite: CipherSuite) -> AsyncIterator[tuple[Host, Host]]:
    client = Host(namespaces[0], OUTER[0], CLIENT)
    gateway = Host(namespaces[1], OUTER[1], SERVER)
    mtu = inner_mtu(1500, suite, 4, udp=True)
    await client.open(mtu, SERVER)
    await gateway.open(mtu, CLIENT)
    await key_both(client, gateway, suite, 1)
    yield client, gateway
    await client.close()
    await gateway.close()


async def key_both(client: Host, gateway: Host, suite: CipherSuite, number: int) -> None:
    """Install on both ends, then switch both: the order of a rekey."""
    client_child, gateway_child = children(suite, number, remote=SERVER_ONLY)
    await client.key(client_child, gateway)
    await gateway.key(gateway_child, client)
    await client.path.switch_outbound(client_child.outbound_spi)
    await gateway.path.switch_outbound(gateway_child.outbound_spi)


async def ping(host: Host, address: str, *options: str) -> int:
    """Replies to five pings; the event loop carries them meanwhile."""
    process = await asyncio.create_subprocess_exec(
        *("ip", "netns", "exec", host.namespace, "ping", "-n", "-c", "5", "-i", "0.01", "-W", "3", *options, address),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return output.count(b" bytes from ")


async def transfer(sender: Host, receiver: Host, data: bytes) -> str:
    """SHA-256 of what arrives when `sender` connects by TCP through the tunnel and sends `data`."""
    arrived: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        digest = hashlib.sha256()
        while block := await reader.read(1 << 18):
            digest.update(block)
        writer.close()
        arrived.set_result(digest.hexdigest())

    listening = made_inside(receiver.namespace, socket.create_server)((receiver.inner[0], 8080))
    calling = made_inside(sender.namespace, socket.socket)()
    calling.setblocking(False)
    async with asyncio.timeout(60), await asyncio.start_server(accept, sock=listening):
        await asyncio.get_running_loop().sock_connect(calling, (receiver.inner[0], 8080))
        _, writer = await asyncio.open_connection(sock=calling)
        writer.write(data)
        writer.write_eof()
        result = await arrived
        writer.close()
        await writer.wait_closed()
    return result


async def test_ping_by_ipv4_and_ipv6_up_to_the_full_size(hosts: tuple[Host, Host], suite: CipherSuite) -> None:
    client, gateway = hosts
    largest = inner_mtu(1500, suite, 4, udp=True)
    assert await ping(client, SERVER[0]) == 5
    assert await ping(gateway, CLIENT[0]) == 5
    assert await ping(client, SERVER[1]) == 5
    # -M do forbids inner fragments; 28 and 48 bytes are the IP and ICMP headers.
    assert await ping(client, SERVER[0], "-M", "do", "-s", str(largest - 28)) == 5
    assert await ping(client, SERVER[1], "-M", "do", "-s", str(largest - 48)) == 5
    counters = client.path.counters()
    assert counters["packets_in"] >= 25
    assert counters["packets_from_other_address"] == 0
    # The kernel's own IPv6 multicast on the interface is all that may be refused.
    assert {name for name, count in counters.items() if name.startswith("dropped") and count} <= {
        "dropped_outside_outbound_selectors"
    }


async def test_tcp_in_both_directions(hosts: tuple[Host, Host]) -> None:
    client, gateway = hosts
    expected = hashlib.sha256(TRANSFER).hexdigest()
    assert await transfer(client, gateway, TRANSFER) == expected
    assert await transfer(gateway, client, TRANSFER) == expected
    assert client.path.counters()["bytes_out"] > len(TRANSFER)
    assert client.path.counters()["bytes_in"] > len(TRANSFER)


async def test_rekeys_while_data_flows(hosts: tuple[Host, Host], suite: CipherSuite) -> None:
    client, gateway = hosts
    number = 1

    async def rekey_for_ever() -> None:
        nonlocal number
        while True:
            await asyncio.sleep(0.02)
            await key_both(client, gateway, suite, number + 1)
            # What the old pair still has under way needs time to arrive.
            await asyncio.sleep(0.05)
            await client.path.remove(0x1000 + number)
            await gateway.path.remove(0x2000 + number)
            number += 1

    rekeying = asyncio.create_task(rekey_for_ever())
    assert await transfer(client, gateway, TRANSFER) == hashlib.sha256(TRANSFER).hexdigest()
    rekeying.cancel()
    with suppress(asyncio.CancelledError):
        await rekeying
    assert number > 1
    for host in hosts:
        counters = host.path.counters()
        assert counters["dropped_no_outbound_sa"] == counters["dropped_not_authenticated"] == 0


async def test_the_interface_is_ours_alone_and_goes_with_us(namespaces: tuple[str, str]) -> None:
    host = Host(namespaces[0], OUTER[0], CLIENT)
    await host.path.open()
    description = host.ip("link", "show", "anyike0")
    assert "POINTOPOINT" in description
    assert ",UP" not in description
    with inside(namespaces[0]):
        with pytest.raises(HostSetupFailed, match="exists already"):
            open_tun("anyike0")
        with pytest.raises(HostSetupFailed, match="exists already"):
            open_tun("veth0")
        with pytest.raises(HostSetupFailed, match="not a valid name"):
            open_tun("any/ike")
        numbered = open_tun("anyike%d")
    assert numbered.name == "anyike1"
    numbered.close()
    await host.path.close()
    host.udp.close()
    assert "anyike0:" not in host.ip("link", "show")


async def test_a_persistent_interface_of_somebody_else_is_not_taken(namespaces: tuple[str, str]) -> None:
    run("ip", "-n", namespaces[0], "tuntap", "add", "anyike0", "mode", "tun")
    with inside(namespaces[0]), pytest.raises(HostSetupFailed, match="exists already"):
        open_tun("anyike0")


async def test_an_interface_removed_by_somebody_else_is_reported(namespaces: tuple[str, str]) -> None:
    host = Host(namespaces[0], OUTER[0], CLIENT)
    await host.path.open()
    host.ip("link", "del", "anyike0")
    failure = await asyncio.wait_for(host.failures.get(), 5)
    assert "anyike0 was removed by somebody else" in str(failure)
    assert host.failures.empty()
    await host.path.close()
    host.udp.close()


def test_without_privilege_the_error_says_so(namespaces: tuple[str, str]) -> None:
    script = (
        "from anyike.errors import MissingPrivilege\n"
        "from anyike.tun.device import open_tun\n"
        "try:\n    open_tun('anyike0')\n"
        "except MissingPrivilege as error:\n    print(error)\n"
    )
    output = run(
        *("ip", "netns", "exec", namespaces[0], "setpriv", "--bounding-set", "-all", "--inh-caps", "-all"),
        *("env", f"PYTHONPATH={Path(__file__).parents[2]}", sys.executable, "-c", script),
    )
    assert "CAP_NET_ADMIN" in output
