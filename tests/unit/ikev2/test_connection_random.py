"""Random datagrams and random changes of genuine ones: nothing raises, and nothing moves an established tunnel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from anyike.ikev2.connection import Connection
from anyike.ikev2.events import Terminated
from anyike.ikev2.states import State
from tests.fakes import wire
from tests.fakes.gateway import Profile, Step, Tamper
from tests.fakes.link import GATEWAY, LATENCY, Link, ike_settings
from tests.fakes.script import ScriptedLogin, document, login_form, say, tlv
from tests.fakes.wire import Header, Payload

Change = Callable[[bytes], bytes]


def put(position: int, new: bytes) -> Change:
    return lambda message: (
        message[: position % (len(message) + 1)] + new + message[position % (len(message) + 1) + len(new) :]
    )


def insert(position: int, new: bytes) -> Change:
    return lambda message: message[: position % (len(message) + 1)] + new + message[position % (len(message) + 1) :]


def cut(position: int) -> Change:
    return lambda message: message[: position % (len(message) + 1)]


def with_length(change: Change) -> Change:
    """The same with the header's length made right, so that more than the first check is reached."""

    def fixed(message: bytes) -> bytes:
        changed = change(message)
        return changed if len(changed) < 28 else changed[:24] + len(changed).to_bytes(4, "big") + changed[28:]

    return fixed


POSITIONS = st.integers(0, 2000) | st.integers(16, 60)
PIECES = st.binary(min_size=1, max_size=40)
CHANGES = st.builds(put, POSITIONS, PIECES) | st.builds(insert, POSITIONS, PIECES) | st.builds(cut, POSITIONS)
CHANGES = CHANGES | st.builds(with_length, CHANGES)


@st.composite
def payload_chains(draw) -> list[Payload]:
    """Payloads of known and unknown types with any content."""
    kinds = st.integers(33, 54) | st.integers(0, 255).filter(bool)
    known = st.builds(Payload, kinds, st.binary(max_size=60), st.booleans())
    notifies = st.builds(wire.notify, st.integers(0, 0xFFFF), st.binary(max_size=30))
    return draw(st.lists(known | notifies, max_size=6))


def check(client: Connection, link: Link) -> None:
    """Whatever came, the connection is in a state that it may be in."""
    terminated = [event for event in link.events if isinstance(event, Terminated)]
    assert len(terminated) == (client.state is State.CLOSED)
    assert client.state is not State.CLOSED or client.get_timer() is None


# --- an established tunnel ------------------------------------------------------------------------------------------------


def snapshot(client: Connection) -> tuple[object, ...]:
    window, cache, channel = client._window, client._cache, client._channel
    return (
        client.state,
        client.get_timer(),
        client._noted,
        window.message_id,
        window.datagrams,
        cache.expected,
        cache._response,
        channel.remote,
        channel.spi_i,
        channel.spi_r,
        channel._protection,
    )


def tunnel(fragmentation: str) -> tuple[Link, list[bytes]]:
    """An established tunnel with a liveness check outstanding, and genuine messages that have not arrived."""
    link = Link(profile=Profile(fragmentation=fragmentation, fragment_size=600), settings=ike_settings()).establish()
    link.to_client = lambda _message: []
    link.run(31)
    assert link.client._window.outstanding
    messages = link.gateway.request(wire.INFORMATIONAL, [wire.notify(40960, bytes(100))] * 15)
    messages += link.gateway.protect(Step.ANSWER, replace(header_of(link), flags=wire.RESPONSE), [])
    return link, messages


def header_of(link: Link, flags: int = 0) -> Header:
    identifier = link.client._window.message_id
    return Header(link.gateway.spi_i, link.gateway.spi_r, 0, wire.INFORMATIONAL, flags, identifier)


TUNNELS = {kind: tunnel(kind) for kind in ("ietf", "cisco", "off")}
"""Shared by all examples: what may not change a tunnel may be tried on the same one for ever."""


def assert_unmoved(link: Link, *datagrams: bytes) -> None:
    before = snapshot(link.client)
    events, sent, counted = len(link.events), len(link.sent), sum_of_counters(link)
    link.deliver(*datagrams)
    assert snapshot(link.client) == before
    assert (len(link.events), len(link.sent)) == (events, sent)
    assert sum_of_counters(link) >= counted + len(datagrams)


def sum_of_counters(link: Link) -> int:
    """Every datagram is counted: as a drop, or as a piece of a message of which more has to come."""
    return link.dropped.total() + link.client.counters["fragments_in"]


@given(kind=st.sampled_from(sorted(TUNNELS)), datagram=st.binary(max_size=200))
@settings(deadline=None, max_examples=300)
def test_random_bytes_do_not_move_a_tunnel(kind, datagram):
    assert_unmoved(TUNNELS[kind][0], datagram)


@given(
    kind=st.sampled_from(sorted(TUNNELS)),
    exchange=st.integers(30, 40),
    flags=st.sampled_from([0, 8, 0x20, 0x28, 0xFF]),
    message_id=st.integers(0, 10),
    next_payload=st.integers(0, 255) | st.sampled_from([wire.SK, wire.SKF, wire.CISCO_FRAGMENT]),
    content=st.binary(max_size=100),
)
@settings(deadline=None, max_examples=300)
def test_random_content_under_a_right_header_does_not_move_a_tunnel(
    kind, exchange, flags, message_id, next_payload, content
):
    link, _ = TUNNELS[kind]
    header = replace(header_of(link, flags), exchange=exchange, message_id=message_id)
    assert_unmoved(link, header.message(next_payload, content))


@given(
    kind=st.sampled_from(sorted(TUNNELS)),
    response=st.booleans(),
    payloads=payload_chains(),
    message_id=st.integers(0, 10),
)
@settings(deadline=None, max_examples=300)
def test_unprotected_payloads_do_not_move_a_tunnel(kind, response, payloads, message_id):
    link, _ = TUNNELS[kind]
    header = replace(header_of(link, wire.RESPONSE if response else 0), message_id=message_id)
    assert_unmoved(link, header.message(*wire.chain([p for p in payloads if p.type not in (wire.SK, wire.SKF)])))


@given(
    kind=st.sampled_from(sorted(TUNNELS)), which=st.integers(0, 10), changes=st.lists(CHANGES, min_size=1, max_size=3)
)
@settings(deadline=None, max_examples=300)
def test_a_changed_genuine_message_does_not_move_a_tunnel(kind, which, changes):
    link, messages = TUNNELS[kind]
    genuine = changed = messages[which % len(messages)]
    for change in changes:
        changed = change(changed)
    if changed != genuine:
        assert_unmoved(link, changed)


def test_the_genuine_messages_do_move_it_after_all_that():
    """The tests above would show nothing if these did not count either."""
    for kind in sorted(TUNNELS):
        link, messages = tunnel(kind)
        link.deliver(*messages)
        assert link.client._cache.expected == 1
        assert not link.client._window.outstanding


# --- the way to it --------------------------------------------------------------------------------------------------------


@given(
    changes=st.lists(st.tuples(st.integers(0, 12), CHANGES), min_size=1, max_size=8),
    kind=st.sampled_from(["ietf", "cisco", "off"]),
)
@settings(deadline=None, max_examples=100)
def test_changed_copies_beside_the_genuine_messages_never_hinder_a_login(changes, kind):
    """After IKE_SA_INIT, of which nothing can be known; copies come before the genuine message."""
    number = iter(range(1_000_000))

    def to_client(message: bytes):
        position = next(number)
        forged = [change(message) for at, change in changes if at == position and position > 0]
        return [(LATENCY, copy) for copy in forged if copy != message] + [(LATENCY, message)]

    link = Link(profile=Profile(fragmentation=kind, fragment_size=600))
    link.to_client = to_client
    assert link.establish().client.counters["retransmissions_out"] == 0


@given(changes=st.lists(st.tuples(st.integers(0, 8), CHANGES), min_size=1, max_size=4), early=payload_chains())
@settings(deadline=None, max_examples=100)
def test_whatever_comes_instead_of_the_genuine_messages_ends_in_one_event(changes, early):
    number = iter(range(1_000_000))

    def to_client(message: bytes):
        position = next(number)
        for at, change in changes:
            message = change(message) if at == position else message
        return [(LATENCY, message)]

    link = Link().connect()
    link.to_client = to_client
    link.deliver(Header(link.sent[0][1][:8], b"12345678", 0, 34, 0x20, 0).message(*wire.chain(early)))
    link.run(2000, until=lambda: link.client.state in (State.ESTABLISHED, State.CLOSED))
    assert link.client.state in (State.ESTABLISHED, State.CLOSED)
    check(link.client, link)


@given(step=st.sampled_from(list(Step)[:5]), payloads=payload_chains(), replaces=st.booleans())
@settings(deadline=None, max_examples=300)
def test_any_payloads_under_the_gateways_protection_end_in_a_tunnel_or_one_error(step, payloads, replaces):
    tamper = Tamper(
        payloads=lambda here, genuine: [*([] if replaces else genuine), *payloads] if here is step else genuine
    )
    link = Link(tamper=tamper).connect()
    link.run(2000, until=lambda: link.client.state in (State.ESTABLISHED, State.CLOSED))
    assert link.client.state in (State.ESTABLISHED, State.CLOSED)
    check(link.client, link)


@given(step=st.sampled_from(list(Step)[:5]), changes=st.lists(CHANGES, min_size=1, max_size=3))
@settings(deadline=None, max_examples=300)
def test_any_change_of_the_plaintext_ends_in_a_tunnel_or_one_error(step, changes):
    def chain(here: Step, first: int, data: bytes) -> tuple[int, bytes]:
        if here is step:
            for change in changes:
                data = change(data)
        return first, data

    link = Link(tamper=Tamper(chain=chain)).connect()
    link.run(2000, until=lambda: link.client.state in (State.ESTABLISHED, State.CLOSED))
    assert link.client.state in (State.ESTABLISHED, State.CLOSED)
    check(link.client, link)


@given(
    lines=st.lists(
        st.builds(say, st.binary(max_size=60))
        | st.builds(lambda data: say(tlv(0, data)), st.binary(max_size=60))
        | st.builds(lambda body: document("auth-request", body), st.binary(max_size=60))
        | st.builds(lambda change: change(login_form()), CHANGES),
        min_size=1,
        max_size=5,
    )
)
@settings(deadline=None, max_examples=100)
def test_any_login_dialogue_ends_in_a_tunnel_or_one_error(lines):
    link = Link(ScriptedLogin([document("hello"), *lines])).connect()
    link.run(2000, until=lambda: link.client.state in (State.ESTABLISHED, State.CLOSED))
    assert link.client.state in (State.ESTABLISHED, State.CLOSED)
    check(link.client, link)


@given(exchange=st.sampled_from([wire.INFORMATIONAL, wire.CREATE_CHILD_SA]), payloads=payload_chains())
@settings(deadline=None, max_examples=100)
def test_any_request_of_the_gateway_is_answered_once(exchange, payloads):
    link = Link(settings=ike_settings(liveness_interval=0.0)).establish()
    link.transmit(link.gateway.request(exchange, payloads)).run(4 * LATENCY)
    assert [message_id for message_id, _ in link.gateway.journal.responses] == [0]
    check(link.client, link)


@given(moments=st.lists(st.floats(0, 1e6), min_size=1, max_size=20), established=st.booleans())
@settings(deadline=None, max_examples=100)
def test_the_timer_may_be_handled_at_any_time(moments, established):
    link = Link(profile=Profile(nat="client"))
    link = link.establish() if established else link.connect()
    link.to_gateway = lambda _message: []
    for moment in sorted(moments):
        link.client.handle_timer(link.now + moment)
        link.client.receive_datagram(b"?", (GATEWAY, 4500), link.now + moment)
        timer = link.client.get_timer()
        assert timer is None or timer > link.now + moment
    link._settle()
    check(link.client, link)
