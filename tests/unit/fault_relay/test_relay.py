"""The relay on loopback, between a client and a gateway that are plain sockets; and its command."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fault_relay.__main__ import obey
from tests.fault_relay.faults import HELD_BACK, Faults
from tests.fault_relay.relay import Lane, Relay

HERE = "127.0.0.1"
PROJECT = Path(__file__).resolve().parents[3]
IKE = bytes(4) + b"initiateresponds" + bytes(40)
ESP = b"\xc0\xff\xee\x01" + bytes(60)
LIMIT = 5.0
SOON = 0.1


class End:
    """A UDP socket of the event loop."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind((HERE, 0))
        self.port = self.socket.getsockname()[1]

    async def receive(self, limit: float = LIMIT) -> tuple[bytes, tuple[str, int]]:
        async with asyncio.timeout(limit):
            return await asyncio.get_running_loop().sock_recvfrom(self.socket, 65535)

    def send(self, datagram: bytes, port: int) -> None:
        self.socket.sendto(datagram, (HERE, port))


@contextmanager
def relayed() -> Iterator[tuple[Relay, End, End, int]]:
    """A relay, a client, a gateway, and the relay's port."""
    client, gateway, free = End(), End(), End()
    free.socket.close()
    relay = Relay(HERE, HERE, 1, [Lane(free.port, gateway.port, nat=True)])
    relay.open()
    try:
        yield relay, client, gateway, free.port
    finally:
        relay.close()
        client.socket.close()
        gateway.socket.close()


async def test_both_ways() -> None:
    with relayed() as (relay, client, gateway, port):
        client.send(IKE, port)
        datagram, source = await gateway.receive()
        assert datagram == IKE
        gateway.send(ESP, source[1])
        assert await client.receive() == (ESP, (HERE, port))
        assert relay.counters == {"to client: esp": 1, "to gateway: ike": 1}


async def test_clients_are_kept_apart() -> None:
    with relayed() as (_, client, gateway, port):
        other = End()
        client.send(b"one " + IKE, port)
        source = (await gateway.receive())[1]
        other.send(b"two " + IKE, port)
        other_source = (await gateway.receive())[1]
        gateway.send(b"to two " + IKE, other_source[1])
        gateway.send(b"to one " + IKE, source[1])
        assert (await client.receive())[0] == b"to one " + IKE
        assert (await other.receive())[0] == b"to two " + IKE
        other.socket.close()


async def test_faults_can_be_switched_while_it_runs() -> None:
    with relayed() as (relay, client, gateway, port):
        relay.set(Faults(loss=1.0))
        client.send(IKE, port)
        client.send(ESP, port)
        assert (await gateway.receive())[0] == ESP
        relay.set(Faults())
        client.send(IKE, port)
        assert (await gateway.receive())[0] == IKE
        assert relay.counters["to gateway: lost"] == 1


async def test_a_reordered_datagram_is_overtaken() -> None:
    with relayed() as (relay, client, gateway, port):
        relay.set(Faults(reordering=1.0))
        client.send(IKE, port)
        client.send(ESP, port)
        assert [(await gateway.receive())[0], (await gateway.receive())[0]] == [ESP, IKE]


async def test_a_rebinding_changes_the_source_and_breaks_the_way_back() -> None:
    with relayed() as (relay, client, gateway, port):
        client.send(IKE, port)
        before = (await gateway.receive())[1]
        relay.rebind()
        gateway.send(ESP, before[1])
        client.send(IKE, port)
        after = (await gateway.receive())[1]
        assert after != before
        gateway.send(IKE, after[1])
        assert (await client.receive())[0] == IKE


async def test_a_gateway_that_is_gone_harms_nothing() -> None:
    with relayed() as (relay, client, gateway, port):
        gateway.socket.close()
        for _ in range(3):
            client.send(IKE, port)
            with pytest.raises(TimeoutError):
                await client.receive(SOON)
        assert relay.counters["to gateway: ike"] == 3


async def test_what_is_held_back_at_the_end_is_lost() -> None:
    with relayed() as (relay, client, gateway, port):
        relay.set(Faults(reordering=1.0))
        client.send(IKE, port)
        client.send(ESP, port)
        assert (await gateway.receive())[0] == ESP
        relay.close()
        with pytest.raises(TimeoutError):
            await gateway.receive(HELD_BACK[1] + SOON)


async def test_commands() -> None:
    with relayed() as (relay, *_):
        assert obey(relay, '{"set": {"loss": 0.5, "forgeries": ["delete"]}}') == {"counters": {}}
        assert obey(relay, '{"rebind": true}') == {"counters": {}}
        assert "loss" in obey(relay, '{"set": {"loss": 5}}')["error"]
        assert "error" in obey(relay, "nonsense")
        assert "error" in obey(relay, "1")
        assert "error" in obey(relay, '{"set": 5}')


def test_the_program_says_its_seed_answers_and_ends_with_its_input() -> None:
    ike, nat = End(), End()
    ports = (str(ike.port), str(nat.port))
    command = [sys.executable, "-m", "tests.fault_relay", HERE, HERE, "--seed", "7", "--ports", *ports]
    commands = '{"set": {"loss": 0.5}}\n{"counters": true}\n'
    options = {"cwd": PROJECT, "input": commands, "capture_output": True, "text": True, "timeout": 30}
    refused = subprocess.run(command, check=False, **options)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "Address already in use" in refused.stderr
    ike.socket.close()
    nat.socket.close()
    done = subprocess.run(command, check=False, **options)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [{"seed": 7}, *[{"counters": {}}] * 2]
    assert (done.returncode, done.stderr) == (0, "")
