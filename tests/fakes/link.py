"""A network of two, with a clock of its own: a client's `Connection`, a test `Gateway`, and a user who answers at once.

Nothing sleeps: time jumps to the next datagram or deadline. Directions may lose, repeat, delay and cut what passes.
"""

from __future__ import annotations

import heapq
import itertools
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from anyike.eap.form import Answers, Form
from anyike.eap.method import EapMethod
from anyike.eap.question import Answer, Question
from anyike.eap_anyconnect.method import AnyConnectEap
from anyike.eap_anyconnect.settings import DeviceIdentity, LoginSettings
from anyike.errors import AnyikeError
from anyike.ikev2.child_sa import ChildSa
from anyike.ikev2.connection import Connection
from anyike.ikev2.constants import VENDOR_ANYCONNECT_EAP, VENDOR_FRAGMENTATION, IdType
from anyike.ikev2.events import (
    ChildAdded,
    ChildRemoved,
    ChildSpiNeeded,
    Established,
    Event,
    GatewayProof,
    LoginQuestion,
    OutboundSwitched,
    Terminated,
)
from anyike.ikev2.payloads import IdInitiator
from anyike.ikev2.proposals import parse_esp, parse_ike
from anyike.ikev2.settings import IkeSettings
from anyike.ikev2.states import State
from tests.fakes.data_path import DataPath, assert_same_keys
from tests.fakes.gateway import Gateway, Profile, Tamper
from tests.fakes.script import password_login
from tests.fakes.session import Authenticator
from tests.fakes.tunnel import Tunnel

CLIENT = ("192.0.2.1", 40500)
GATEWAY = "198.51.100.1"
LATENCY = 0.01
MAX_STEPS = 5_000
CHILD_SPI = 0xABCD0001
MARKER = bytes(4)

Passage = Callable[[bytes], list[tuple[float, bytes]]]
"""What becomes of one message: (seconds on the way, bytes) for each copy that arrives."""


def passes(message: bytes) -> list[tuple[float, bytes]]:
    return [(LATENCY, message)]


class Held:
    """A direction that keeps what it is given; the test delivers it, in any order, or drops it."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []

    def __call__(self, message: bytes) -> list[tuple[float, bytes]]:
        self.messages.append(message)
        return []


def ike_settings(ike: str = "aes256gcm16-prfsha256-x25519", esp: str = "aes256gcm16", **changes: object) -> IkeSettings:
    values: dict[str, object] = {
        "ike_proposals": tuple(parse_ike(text) for text in ike.split(",")),
        "esp_proposals": tuple(parse_esp(text) for text in esp.split(",")),
        "local_id": IdInitiator(IdType.ANYCONNECT, b"*$AnyConnectClient$*"),
        "remote_id": None,
        "vendor_ids": (VENDOR_FRAGMENTATION, VENDOR_ANYCONNECT_EAP),
        "application_version": "anyike",
        "request_ipv6": False,
    }
    return IkeSettings(**(values | changes))


def login_method(**changes: object) -> AnyConnectEap:
    device = DeviceIdentity(computer_name="box", platform_version="6.1", unique_id="00FF")
    return AnyConnectEap(LoginSettings(device=device, group_access="Staff", **changes))


@dataclass
class User:
    """Whoever answers the questions. `verdict` is asked about the gateway; `answers` fill any form, the only question."""

    answers: Mapping[str, str] = field(default_factory=lambda: {"username": "ada", "password": "secret"})
    verdict: Callable[[GatewayProof], AnyikeError | None] = lambda _proof: None
    thinks: float = 0.0
    forms: list[Form] = field(default_factory=list)

    def answer(self, question: Question) -> Answer:
        assert isinstance(question, Form), question
        self.forms.append(question)
        return Answers(self.answers)


class Link:
    """Runs the two against each other; `events`, `sent` and the counters tell what happened.

    `watched`: at every moment each direction must have an SA that both sides have; no gateway keeps to that that deletes what it
    sends by. `installing` is how long the data path takes to answer ChildAdded, `allocating` to answer ChildSpiNeeded.
    """

    def __init__(
        self,
        login: Authenticator | None = None,
        *,
        profile: Profile | None = None,
        tamper: Tamper | None = None,
        settings: IkeSettings | None = None,
        method: EapMethod | None = None,
        user: User | None = None,
        random: Callable[[int], bytes] = os.urandom,
        addresses: tuple[tuple[str, int], str] = (CLIENT, GATEWAY),
    ) -> None:
        self.local, self.remote = addresses
        self.login = password_login() if login is None else login
        self.gateway = Gateway(self.login, profile, tamper, random)
        self.client = Connection(settings or ike_settings(), method or login_method(), random)
        self.user = user or User()
        self.to_gateway: Passage = passes
        self.to_client: Passage = passes
        self.data_path = DataPath(CHILD_SPI)
        self.installing = self.allocating = 0.0
        self.watched = True
        self.now = 1000.0
        self.events: list[Event] = []
        self.sent: list[tuple[float, bytes, int]] = []
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._steps = 0

    # --- running -------------------------------------------------------------------------------------------------------

    def connect(self) -> Link:
        self.client.connect(self.local, (self.remote, 500), self.now)
        self._settle()
        return self

    def run(self, seconds: float = 120.0, until: Callable[[], bool] = lambda: False) -> Link:
        """Let time pass, to the end of `seconds`, of the connection, or until `until` holds."""
        end = self.now + seconds
        while not until():
            self._steps += 1
            assert self._steps < MAX_STEPS, "the two never come to an end"
            timer, gateway_timer = self.client.get_timer(), self.gateway.get_timer()
            due = min([self._queue[0][0]] if self._queue else [end], default=end)
            if min(due, *(at for at in (timer, gateway_timer, end) if at is not None)) >= end:
                self.now = end
                break
            if gateway_timer is not None and gateway_timer <= min(due, due if timer is None else timer):
                self.now = max(self.now, gateway_timer)
                self.gateway.handle_timer(self.now)
            elif timer is not None and timer <= due:
                self.now = max(self.now, timer)
                self.client.handle_timer(self.now)
            else:
                self.now, _, action = heapq.heappop(self._queue)
                action()
            self._settle()
        return self

    def establish(self) -> Link:
        """Connect, and let the tunnel come up."""
        self.connect().run(until=lambda: self.client.state in (State.ESTABLISHED, State.CLOSED))
        assert self.client.state is State.ESTABLISHED, (self.events, self.gateway.journal)
        return self

    def until_over(self, seconds: float = 120.0) -> Link:
        """Connect, and run until the connection is closed."""
        self.connect().run(seconds, until=lambda: self.client.state is State.CLOSED)
        return self

    def close(self) -> Link:
        self.client.close(self.now)
        self._settle()
        return self

    def let_gateway(self, action: Callable[[Tunnel], None]) -> Link:
        """The gateway does something in its tunnel."""
        self.gateway.set_time(self.now)
        action(self.tunnel)
        self._settle()
        return self

    def let_client(self, action: Callable[[Connection, float], None]) -> Link:
        """The client does something."""
        action(self.client, self.now)
        self._settle()
        return self

    @property
    def answers_due(self) -> bool:
        """Whether something is under way; where both directions are held that can only be answers of the data path."""
        return bool(self._queue)

    def answer_next(self) -> Link:
        """The first thing that is under way arrives now."""
        _, _, action = heapq.heappop(self._queue)
        action()
        self._settle()
        return self

    def deliver_to_gateway(self, *messages: bytes) -> Link:
        """Messages straight to the gateway, now."""
        for message in messages:
            self._arrive_at_gateway(message, 4500)
            self._settle()
        return self

    def deliver(self, *messages: bytes, source: tuple[str, int] | None = None) -> Link:
        """Messages straight to the client, now."""
        for message in messages:
            self.client.receive_datagram(message, source or self.client.remote, self.now)
            self._settle()
        return self

    # --- what happened -------------------------------------------------------------------------------------------------

    def event(self, kind: type[Event]) -> Event:
        found = [event for event in self.events if isinstance(event, kind)]
        assert len(found) == 1, (kind, self.events, self.gateway.journal)
        return found[0]

    @property
    def tunnel(self) -> Tunnel:
        """The gateway's side."""
        assert self.gateway.tunnel is not None
        return self.gateway.tunnel

    def assert_one_tunnel(self) -> Link:
        """Both sides have one IKE SA and one CHILD_SA, the same, with the same keys, and nothing under way."""
        assert self.client.state is State.ESTABLISHED, self.events[-1]
        tunnel, ours = self.tunnel, self.client._tunnel
        assert ours is not None
        assert tunnel.sas == [tunnel.sa], "the gateway has another IKE SA"
        assert ours._sas == [ours._current], "the client has another IKE SA"
        channel, window, cache = ours._current.channel, ours._current.window, ours._current.cache
        assert (channel.spi_i, channel.spi_r) == (tunnel.sa.spi_i, tunnel.sa.spi_r)
        assert (window.message_id, cache.expected) == (tunnel.sa.expected, tunnel.sa.own_id)
        assert not window.outstanding
        assert tunnel.sa.outstanding is None
        assert len(self.data_path.installed) == len(tunnel.children) == len(ours._children) == 1
        used = self.data_path.used
        assert used is not None
        assert self.data_path.given == [used.inbound_spi], "an SPI was not given back"
        assert tunnel.outbound is tunnel.children[0]
        assert_same_keys(used, tunnel.outbound)
        self.data_path.check(tunnel)
        return self

    @property
    def established(self) -> Established:
        return self.event(Established)

    @property
    def error(self) -> AnyikeError | None:
        """How it ended. Terminated is the last event and comes once."""
        assert isinstance(self.events[-1], Terminated), (self.client.state, self.events, self.gateway.journal)
        return self.event(Terminated).error

    @property
    def dropped(self) -> Counter[str]:
        """The counters of drops that are not zero, by name."""
        counters = self.client.counters
        return Counter({str(name): count for name, count in counters.items() if "dropped" in name and count})

    # --- plumbing ------------------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Answer questions and put on the wire what wants to go."""
        while True:
            self.transmit(self.gateway.take_messages())
            for datagram in self.client.datagrams_to_send():
                self._send(datagram.data, datagram.destination)
            event = self.client.next_event()
            if event is None:
                break
            self.events.append(event)
            self._follow(event)
        if self.watched and self.client.state is State.ESTABLISHED and self.data_path.used is not None:
            self.data_path.check(self.tunnel)

    def _follow(self, event: Event) -> None:
        """What the world around the client does about it."""
        client, data_path = self.client, self.data_path
        match event:
            case ChildSpiNeeded():
                self._later(self.allocating, lambda: client.supply_child_spi(data_path.allocate(), self.now))
            case Established():
                data_path.start(event)
            case ChildAdded(child):
                self._later(self.installing, lambda: self._install(child))
            case OutboundSwitched(outbound_spi):
                data_path.switch(event)
                self._later(LATENCY, lambda: self.tunnel.hear(outbound_spi))
            case ChildRemoved():
                data_path.remove(event, self.tunnel, self.now, LATENCY)
            case _:
                answer = self._answer(event)
                if answer is not None:
                    self._later(self.user.thinks, answer)

    def _install(self, child: ChildSa) -> None:
        self.data_path.install(child)
        self.client.child_installed(child.inbound_spi, self.now)

    def _answer(self, event: Event) -> Callable[[], None] | None:
        client, user = self.client, self.user
        match event:
            case GatewayProof():
                error = user.verdict(event)
                return lambda: client.supply_verdict(error, self.now)
            case LoginQuestion(question):
                answer = user.answer(question)
                return lambda: client.supply_answer(answer, self.now)
            case _:
                return None

    def _send(self, data: bytes, destination: tuple[str, int]) -> None:
        self.sent.append((self.now, data, destination[1]))
        host, port = destination
        assert host == self.remote
        if data == b"\xff":
            return
        if port != 500:
            assert data[:4] == MARKER, "no non-ESP marker on the NAT port"
            data = data[4:]
        for delay, copy in self.to_gateway(data):
            self._later(delay, lambda copy=copy: self._arrive_at_gateway(copy, port))

    def _arrive_at_gateway(self, message: bytes, port: int) -> None:
        self.gateway.set_time(self.now)
        self.transmit(self.gateway.receive(message, self.local, (self.remote, port)), port)

    def transmit(self, messages: list[bytes], port: int = 4500) -> Link:
        """Messages of the gateway set out for the client."""
        for message in messages:
            for delay, copy in self.to_client(message):
                self._later(delay, lambda copy=copy: self.client.receive_datagram(copy, (self.remote, port), self.now))
        return self

    def _later(self, delay: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now + delay, next(self._order), action))
