"""The test gateway on two UDP sockets: IKE on the first, IKE behind the non-ESP marker on the second (RFC 3948)."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable
from ipaddress import ip_address

from tests.fakes.gateway import Gateway
from tests.fakes.wire import HEADER

MARKER = bytes(4)
LARGEST_DATAGRAM = 65535
MAX_LOGINS = 64
"""IKE SAs that are kept; the oldest goes first. A test does not have so many at a time."""

Address = tuple[str, int]


class Server:
    """Serves until `stop` says so. Every new SPIi gets a gateway of its own from `make_gateway`."""

    def __init__(self, host: str, ports: tuple[int, int], make_gateway: Callable[[Address], Gateway]) -> None:
        self._make_gateway = make_gateway
        self._gateways: dict[bytes, Gateway] = {}
        self._selector = selectors.DefaultSelector()
        self._sockets = [_bound(host, port) for port in ports]
        for sock, marked in zip(self._sockets, (False, True), strict=True):
            self._selector.register(sock, selectors.EVENT_READ, marked)

    @property
    def ports(self) -> tuple[int, int]:
        """The ports that it has; different from those that were asked for where that was 0."""
        first, second = (sock.getsockname()[1] for sock in self._sockets)
        return first, second

    def serve(self, stop: Callable[[Gateway], bool] = lambda _gateway: False) -> None:
        """Answer; `stop` is asked about a gateway after each message to it."""
        while True:
            for key, _ in self._selector.select():
                gateway = self._receive(key.fileobj, marked=key.data)
                if gateway is not None and stop(gateway):
                    return

    def close(self) -> None:
        self._selector.close()
        for sock in self._sockets:
            sock.close()

    def _receive(self, sock: socket.socket, *, marked: bool) -> Gateway | None:
        data, address = sock.recvfrom(LARGEST_DATAGRAM)
        source = address[:2]
        if marked:
            if data[:4] != MARKER:
                return None  # ESP, or a keep-alive: nothing is behind this gateway
            data = data[4:]
        if len(data) < HEADER:
            return None
        gateway = self._gateway_of(data[:8], source)
        for message in gateway.receive(data, source, sock.getsockname()[:2]):
            sock.sendto(MARKER + message if marked else message, address)
        return gateway

    def _gateway_of(self, spi_i: bytes, source: Address) -> Gateway:
        if spi_i not in self._gateways:
            if len(self._gateways) >= MAX_LOGINS:
                del self._gateways[next(iter(self._gateways))]
            self._gateways[spi_i] = self._make_gateway(source)
        return self._gateways[spi_i]


def check_address(host: str) -> str:
    """A single address of this machine; ValueError for one that stands for all of them."""
    address = ip_address(host)
    if address.is_unspecified or address.is_multicast:
        raise ValueError(f"{host} is no single address: a test gateway listens on loopback, or on the address you name")
    return host


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind((host, port))
    return sock
