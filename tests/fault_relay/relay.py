"""The relay itself: a NAT for UDP over IPv4 that mistreats what passes.

Clients take its address for the gateway's. Each client address and port gets a socket of its own towards the gateway, as
behind a NAT; `Faults` say what happens to the datagrams on their way, and can be changed at any time.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from tests.fault_relay.faults import NONE, Dice, Faults
from tests.fault_relay.wire import IKE_PORT, NAT_PORT, Direction, kind_of

Address = tuple[str, int]
MOST_MAPPINGS = 256
LARGEST_DATAGRAM = 65535


@dataclass(frozen=True, slots=True)
class Lane:
    """One port of the relay and what it stands for; `nat` is RFC 3948's mixture of IKE and ESP."""

    listen_port: int
    gateway_port: int
    nat: bool


LANES = (Lane(IKE_PORT, IKE_PORT, nat=False), Lane(NAT_PORT, NAT_PORT, nat=True))


class Relay:
    """Between clients and one gateway.

    Args:
        listen: IP address that clients use as the gateway's.
        gateway: IP address of the gateway.
        seed: of the dice.
        lanes: the ports.
    """

    def __init__(self, listen: str, gateway: str, seed: int, lanes: Sequence[Lane] = LANES) -> None:
        self._listen = listen
        self._gateway = gateway
        self._lanes = lanes
        self._dice = Dice(seed)
        self._loop = asyncio.get_running_loop()
        self._faults, self._since = NONE, self._loop.time()
        self._listeners: dict[Lane, socket.socket] = {}
        self._mappings: dict[tuple[Address, Lane], socket.socket] = {}

    def open(self) -> None:
        """Listen; OSError if an address is not ours or in use."""
        for lane in self._lanes:
            listener = self._listeners[lane] = _udp_socket()
            listener.bind((self._listen, lane.listen_port))
            self._loop.add_reader(listener, self._from_client, lane)

    def close(self) -> None:
        """End; what is still held back is lost."""
        self.rebind()
        for listener in self._listeners.values():
            self._forget(listener)
        self._listeners.clear()

    def set(self, faults: Faults) -> None:
        """Put faults in force; their times count from now."""
        self._faults, self._since = faults, self._loop.time()

    def rebind(self) -> None:
        """Forget all mappings, as a NAT that starts anew: the gateway sees other source ports from now on."""
        for mapping in self._mappings.values():
            self._forget(mapping)
        self._mappings.clear()

    @property
    def counters(self) -> dict[str, int]:
        """What happened so far, by direction."""
        return dict(sorted(self._dice.counters.items()))

    def _from_client(self, lane: Lane) -> None:
        with suppress(OSError):
            datagram, client = self._listeners[lane].recvfrom(LARGEST_DATAGRAM)
            mapping = self._mapping(client, lane)
            if mapping is not None:
                self._pass(datagram, lane, Direction.TO_GATEWAY, mapping.send)

    def _mapping(self, client: Address, lane: Lane) -> socket.socket | None:
        if (client, lane) not in self._mappings:
            if len(self._mappings) >= MOST_MAPPINGS:
                return None
            mapping = self._mappings[client, lane] = _udp_socket()
            mapping.connect((self._gateway, lane.gateway_port))
            self._loop.add_reader(mapping, self._from_gateway, mapping, client, lane)
        return self._mappings[client, lane]

    def _from_gateway(self, mapping: socket.socket, client: Address, lane: Lane) -> None:
        with suppress(OSError):  # also the news that an earlier datagram found nobody
            datagram = mapping.recv(LARGEST_DATAGRAM)
            listener = self._listeners[lane]
            self._pass(datagram, lane, Direction.TO_CLIENT, lambda passed: listener.sendto(passed, client))

    def _pass(self, datagram: bytes, lane: Lane, direction: Direction, send: Callable[[bytes], object]) -> None:
        kind, elapsed = kind_of(datagram, nat=lane.nat), self._loop.time() - self._since
        for delivery in self._dice.fate(datagram, kind, self._faults, elapsed, direction):
            if delivery.delay:
                self._loop.call_later(delivery.delay, _send, send, delivery.datagram)
            else:
                _send(send, delivery.datagram)

    def _forget(self, its_socket: socket.socket) -> None:
        self._loop.remove_reader(its_socket)
        its_socket.close()


def _udp_socket() -> socket.socket:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setblocking(False)
    return udp


def _send(send: Callable[[bytes], object], datagram: bytes) -> None:
    """A datagram that the network refuses is lost, as it would be further on."""
    with suppress(OSError):
        send(datagram)
