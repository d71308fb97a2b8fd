from __future__ import annotations

import asyncio
import errno
import socket

import pytest

from anyike.errors import HostSetupFailed
from anyike.esp.drops import DropReason
from anyike.tun.base import Address, DataPath
from anyike.tun.device import TunDevice
from anyike.tun.userspace import READ_BATCH, UserspaceDataPath
from tests.unit.esp.samples import children, ipv4

CLIENT: Address = ("192.0.2.1", 4500)
GATEWAY: Address = ("192.0.2.2", 4500)
BACK = ipv4(b"answer", source="10.9.0.1", destination="10.0.0.1")


class End:
    """A data path over a socket pair: `host` is the machine behind the interface, `sent` what goes to the network."""

    def __init__(self, descriptor_of: type[TunDevice] = TunDevice) -> None:
        ours, self.host = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for each in (ours, self.host):
            each.setblocking(False)
        self.device = descriptor_of(ours.detach(), "fake0")
        self.sent: list[tuple[bytes, Address]] = []
        self.failures: list[Exception] = []
        self.path = UserspaceDataPath(
            lambda data, address: self.sent.append((data, address)),
            self.failures.append,
            open_device=lambda name: self.device,
        )

    async def out(self, packet: bytes) -> None:
        """The host sends a packet by the interface."""
        self.host.send(packet)
        await turns()

    def received(self) -> bytes | None:
        try:
            return self.host.recv(65535)
        except BlockingIOError:
            return None

    def drops(self) -> dict[str, int]:
        return {name: count for name, count in self.path.counters().items() if name.startswith("dropped") and count}

    async def close(self) -> None:
        await self.path.close()
        self.host.close()


async def turns() -> None:
    """Let the event loop look at its descriptors."""
    for _ in range(3):
        await asyncio.sleep(0)


@pytest.fixture
async def client():
    end = End()
    await end.path.open()
    yield end
    await end.close()


@pytest.fixture
async def gateway():
    end = End()
    await end.path.open()
    yield end
    await end.close()


async def connect(client: End, gateway: End) -> None:
    for end, child, local, remote in zip(
        (client, gateway), children(), (CLIENT, GATEWAY), (GATEWAY, CLIENT), strict=True
    ):
        await end.path.install(child, local, remote)
        await end.path.switch_outbound(child.outbound_spi)


async def test_it_is_a_data_path(client: End) -> None:
    path: DataPath = client.path
    assert path.needs_udp_encapsulation
    assert path.interface == "fake0"
    assert set(path.counters().values()) == {0}
    assert {f"dropped_{reason}" for reason in DropReason} < set(path.counters())


async def test_packets_cross_in_both_directions(client: End, gateway: End) -> None:
    await connect(client, gateway)
    await client.out(ipv4(b"question"))
    [(datagram, address)] = client.sent
    assert address == GATEWAY
    gateway.path.receive_esp(datagram, CLIENT)
    assert gateway.received() == ipv4(b"question")
    await gateway.out(BACK)
    client.path.receive_esp(gateway.sent[0][0], GATEWAY)
    assert client.received() == BACK

    for end, sent, received in ((client, ipv4(b"question"), BACK), (gateway, BACK, ipv4(b"question"))):
        counters = end.path.counters()
        assert (counters["packets_out"], counters["bytes_out"]) == (1, len(sent))
        assert (counters["packets_in"], counters["bytes_in"]) == (1, len(received))
        assert counters["packets_from_other_address"] == 0
        assert end.drops() == {}


async def test_nothing_leaves_before_the_switch(client: End) -> None:
    await client.out(ipv4())
    child, _ = children()
    await client.path.install(child, CLIENT, GATEWAY)
    await client.out(ipv4())
    assert client.drops() == {"dropped_no_outbound_sa": 2}
    assert client.sent == []


async def test_drops_are_counted_by_reason(client: End, gateway: End) -> None:
    await connect(client, gateway)
    await client.out(b"\0not IP")
    await client.out(ipv4(source="10.0.0.9"))
    for datagram in (b"", b"\xff", bytes(40), bytes.fromhex("0000100100000001") + bytes(40)):
        client.path.receive_esp(datagram, GATEWAY)
    await gateway.out(BACK)
    for _ in range(2):
        client.path.receive_esp(gateway.sent[0][0], GATEWAY)
    assert client.drops() == {
        "dropped_bad_outbound_packet": 1,
        "dropped_outside_outbound_selectors": 1,
        "dropped_malformed": 2,
        "dropped_unknown_spi": 1,
        "dropped_not_authenticated": 1,
        "dropped_replayed": 1,
    }
    assert client.path.counters()["packets_in"] == 1


async def test_a_full_interface_drops_and_counts(client: End, gateway: End) -> None:
    await connect(client, gateway)
    for _ in range(2000):
        gateway.path._send_packet(BACK)
    for datagram, _ in gateway.sent:
        client.path.receive_esp(datagram, GATEWAY)
    counters = client.path.counters()
    assert counters["dropped_interface_full"] > 0
    assert counters["packets_in"] + counters["dropped_interface_full"] == 2000


async def test_a_new_address_of_the_gateway_is_noticed_but_not_followed(client: End, gateway: End) -> None:
    await connect(client, gateway)
    elsewhere = ("198.51.100.7", 4501)
    await gateway.out(BACK)
    client.path.receive_esp(bytes(60), elsewhere)
    assert client.path.counters()["packets_from_other_address"] == 0, "not authenticated"
    client.path.receive_esp(gateway.sent[0][0], elsewhere)
    assert client.path.counters()["packets_from_other_address"] == 1
    await client.out(ipv4())
    assert client.sent[-1][1] == GATEWAY
    await client.path.update_addresses(CLIENT, elsewhere)
    await client.out(ipv4())
    datagram, address = client.sent[-1]
    assert address == elsewhere
    assert datagram[4:8] == bytes([0, 0, 0, 2]), "sequence numbers go on"


async def test_one_wake_up_takes_a_bounded_batch(client: End, gateway: End) -> None:
    await connect(client, gateway)
    for _ in range(READ_BATCH + 5):
        client.host.send(ipv4())
    client.path._interface_readable(client.device)
    assert len(client.sent) == READ_BATCH
    await turns()
    assert len(client.sent) == READ_BATCH + 5


async def test_reserved_spis_are_released(client: End) -> None:
    spi = await client.path.allocate_spi()
    assert 256 <= spi < 2**32
    await client.path.remove(spi)
    await client.path.remove(spi)


async def test_only_encapsulated_sas_can_be_carried(client: End) -> None:
    child, _ = children()
    object.__setattr__(child, "udp_encapsulation", False)
    with pytest.raises(ValueError, match="UDP only"):
        await client.path.install(child, CLIENT, GATEWAY)


async def test_close_forgets_keys_and_closes_the_interface(client: End, gateway: End) -> None:
    await connect(client, gateway)
    await gateway.out(BACK)
    descriptor = client.device.fileno()
    await client.path.close()
    await client.path.close()
    assert not asyncio.get_running_loop().remove_reader(descriptor), "nobody watches a number that others may get"
    assert client.host.recv(1) == b"", "the interface is closed"
    client.path.receive_esp(gateway.sent[0][0], GATEWAY)
    assert client.drops() == {"dropped_unknown_spi": 1}


class TakenAway(TunDevice):
    def read(self) -> bytes | None:
        raise OSError(errno.EBADFD, "File descriptor in bad state")


async def test_an_interface_that_is_taken_away_is_reported_once() -> None:
    end = End(TakenAway)
    await end.path.open()
    await connect(end, end_without_interface := End())
    await end.out(ipv4())
    await turns()
    [failure] = end.failures
    assert isinstance(failure, HostSetupFailed)
    assert "fake0 was removed" in str(failure)
    end_without_interface.path._send_packet(BACK)
    end.path.receive_esp(end_without_interface.sent[0][0], GATEWAY)
    assert end.drops() == {"dropped_interface_refused": 1}
    await end.close()
    end_without_interface.device.close()
    await end_without_interface.close()
