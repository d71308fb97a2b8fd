"""The pump: one connection, one UDP socket, one timer. Everything that happens comes out as events."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable

from anyike.ikev2 import natt
from anyike.ikev2.connection import Connection
from anyike.ikev2.events import Address, Event
from anyike.ikev2.states import State
from anyike.net.udp import UdpChannel

log = logging.getLogger(__name__)


class Driver:
    """Moves datagrams and time between the core and the event loop.

    After every `supply_*` or `close` on the connection call `pump`. ESP that arrives on the NAT port goes to `on_esp`;
    `traffic` says how many authentic ESP packets came so far: they spare a liveness check. `ended` is set at the end.
    """

    def __init__(self, connection: Connection, nat_port: int) -> None:
        self.connection = connection
        self.ended = asyncio.Event()
        self.traffic: Callable[[], int] = lambda: 0
        self.on_esp: Callable[[bytes, Address], None] = lambda _datagram, _source: None
        self._nat_port = nat_port
        self._udp: UdpChannel | None = None
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._happened = asyncio.Event()
        self._traffic_seen = 0

    @property
    def now(self) -> float:
        """The clock that the core is told."""
        return self._loop.time()

    def start(self, udp: UdpChannel, local: Address, remote: Address) -> None:
        """Begin IKE_SA_INIT over this socket."""
        self._udp = udp
        self.connection.connect(local, remote, self.now)
        self.pump()

    def use(self, udp: UdpChannel) -> None:
        """Send by another socket from now on; both may receive."""
        self._udp = udp

    def receive(self, datagram: bytes, source: Address) -> None:
        """A datagram from the socket: IKE goes to the core, ESP to the data path (RFC 3948)."""
        if source[1] != self._nat_port:
            self._receive_ike(datagram, source)
            return
        match natt.classify(datagram):
            case natt.Kind.ESP:
                self.on_esp(datagram, source)
            case natt.Kind.IKE:
                self._receive_ike(datagram[len(natt.NON_ESP_MARKER) :], source)
            case natt.Kind.KEEPALIVE:
                pass

    def network_error(self, error: OSError, destination: Address | None) -> None:
        """The kernel reported an error on the socket."""
        log.debug("network error%s: %s", f" towards {destination[0]}" if destination else "", error.strerror)
        foreign = destination is not None and destination[0] != self.connection.remote[0]
        if foreign or error.errno == errno.EMSGSIZE or self.connection.state not in (State.INIT, State.AUTH):
            return  # the path MTU is the kernel's business, since it may fragment our datagrams
        self.connection.note_network_error(error.strerror or str(error), self.now)
        self.pump()

    def pump(self) -> None:
        """Send what is due, set the timer, announce events."""
        if self._udp is not None:
            for datagram in self.connection.datagrams_to_send():
                self._udp.send(datagram.data, datagram.destination)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self.connection.get_timer()
        if deadline is not None:
            self._timer = self._loop.call_at(deadline, self._handle_timer)
        if self.connection.state is State.CLOSED:
            self.ended.set()
        self._happened.set()

    def act(self, what: Callable[[float], None]) -> None:
        """Have the core do something now, and send what comes of it."""
        what(self.now)
        self.pump()

    async def next_event(self) -> Event:
        """The core's next event; waits for it."""
        while True:
            event = self.connection.next_event()
            if event is not None:
                return event
            self._happened.clear()
            await self._happened.wait()

    def stop(self) -> None:
        """No more timers."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _receive_ike(self, datagram: bytes, source: Address) -> None:
        self.connection.receive_datagram(datagram, source, self.now)
        self.pump()

    def _handle_timer(self) -> None:
        self._timer = None
        traffic = self.traffic()
        if traffic != self._traffic_seen:
            self._traffic_seen = traffic
            self.connection.note_traffic(self.now)
        self.connection.handle_timer(self.now)
        self.pump()
