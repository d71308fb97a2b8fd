"""What both sides start at once (RFC 7296 2.8 and 2.25): every order in which it can arrive, both outcomes of the nonces.

Everything that passes between the two is held, the data path's answers too, and delivered in each order that is possible.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest

from anyike.errors import TunnelEnded
from anyike.ikev2.connection import Connection
from anyike.ikev2.states import State
from anyike.ikev2.tunnel import LINGER
from tests.fakes import wire
from tests.fakes.gateway import ESP_SPI, Step
from tests.fakes.link import CHILD_SPI, LATENCY, Held, Link, passes
from tests.fakes.tunnel import CHILD_SA_NOT_FOUND, TEMPORARY_FAILURE, Policy, Tunnel
from tests.unit.ikev2.test_connection_requests import REKEY
from tests.unit.ikev2.test_rekeying import installed, rekey_child, rekey_ike, run_out, tunnel

DEPTH = 7
"""Decisions that are tried both ways; after them everything is delivered in turn."""
MAX_STEPS = 100
SETTLED = 300.0
"""Seconds after which nothing is left of any collision: more than the patience of either side."""

ClientAction = Callable[[Connection, float], None]
GatewayAction = Callable[[Tunnel], None]

CLIENT: dict[str, ClientAction] = {
    "client rekeys child": rekey_child,
    "client rekeys IKE": rekey_ike,
    "client rekeys both": lambda client, now: client.rekey(now),
}
GATEWAY: dict[str, GatewayAction] = {
    "gateway rekeys child": lambda tunnel: tunnel.rekey_child(),
    "gateway rekeys IKE": lambda tunnel: tunnel.rekey_ike(),
    "gateway rekeys both": lambda tunnel: (tunnel.rekey_child(), tunnel.rekey_ike()),
    "gateway asks for life": lambda tunnel: tunnel.check_liveness(),
}
NONCES = {
    "client's lowest": Policy(request_nonce=b"\xff" * 8, response_nonce=bytes(8)),
    "gateway's lowest": Policy(request_nonce=bytes(8), response_nonce=b"\xff" * 8),
}
"""In whose exchange the lowest of the four nonces is: that one's new SA goes."""


def prepared(nonces: str, **changes: object) -> Link:
    link = tunnel(**changes)
    policy = NONCES[nonces]
    link.gateway.policy.request_nonce, link.gateway.policy.response_nonce = policy.request_nonce, policy.response_nonce
    link.to_client = Held()
    link.to_gateway = Held()
    return link


def interleavings(
    make: Callable[[], Link], client: ClientAction, gateway: GatewayAction, depth: int = DEPTH
) -> Iterator[tuple[Link, tuple[int, ...]]]:
    """Every order of arrival: the finished link and the decisions that led to it."""
    path: list[int] = []
    while True:
        link, taken = make(), []
        actions = [lambda link=link: link.let_client(client), lambda link=link: link.let_gateway(gateway)]
        for _ in range(MAX_STEPS):
            options = possible(link, actions)
            if not options:
                break
            position = len(taken)
            choice = path[position] if position < len(path) else position % len(options) if position >= depth else 0
            taken.append((choice, len(options) if position < depth else 0))
            options[choice]()
        else:
            raise AssertionError(f"no end: {taken}")
        link.to_client = link.to_gateway = passes
        yield link, tuple(choice for choice, _ in taken)
        while taken and taken[-1][0] + 1 >= taken[-1][1]:
            taken.pop()
        if not taken:
            return
        path = [choice for choice, _ in taken]
        path[-1] += 1


def possible(link: Link, actions: list[Callable[[], Link]]) -> list[Callable[[], object]]:
    """What can happen next."""
    options: list[Callable[[], object]] = []
    if link.to_gateway.messages:
        options.append(lambda: link.deliver_to_gateway(link.to_gateway.messages.pop(0)))
    if link.to_client.messages:
        options.append(lambda: link.deliver(link.to_client.messages.pop(0)))
    if actions:
        options.append(partial(begin_next, actions))
    if link.answers_due:
        options.append(link.answer_next)
    return options


def begin_next(actions: list[Callable[[], Link]]) -> None:
    actions.pop(0)()


@pytest.mark.parametrize("nonces", NONCES)
@pytest.mark.parametrize("gateway", GATEWAY)
@pytest.mark.parametrize("client", CLIENT)
def test_two_rekeyings_in_every_order_leave_one_tunnel(client, gateway, nonces):
    count = 0
    for link, path in interleavings(lambda: prepared(nonces), CLIENT[client], GATEWAY[gateway]):
        try:
            link.run(SETTLED).assert_one_tunnel()
            run_out(link)
        except AssertionError as error:
            raise AssertionError(f"{path}: {error}") from error
        count += 1
    assert count > 10


# --- what ends the tunnel, against what renews it -------------------------------------------------------------------------


def settled(link: Link) -> bool:
    """Whether the tunnel stands once all is over; else both sides know that it does not."""
    link.run(SETTLED)
    if link.client.state is State.ESTABLISHED:
        link.assert_one_tunnel()
        run_out(link)
        return True
    assert link.client.state is State.CLOSED
    assert link.client.get_timer() is None
    assert link.tunnel.over, "the gateway does not know"
    assert isinstance(link.error, TunnelEnded | None)
    return False


ENDS: dict[str, tuple[ClientAction, GatewayAction]] = {
    "client rekeys child, gateway deletes it": (rekey_child, lambda tunnel: tunnel.delete_child()),
    "client rekeys IKE, gateway deletes the child": (rekey_ike, lambda tunnel: tunnel.delete_child()),
    "client rekeys both, gateway deletes the child": (
        CLIENT["client rekeys both"],
        lambda tunnel: tunnel.delete_child(),
    ),
    "client rekeys child, gateway ends": (rekey_child, lambda tunnel: tunnel.delete_ike()),
    "client rekeys IKE, gateway ends": (rekey_ike, lambda tunnel: tunnel.delete_ike()),
    "client ends, gateway rekeys child": (Connection.close, lambda tunnel: tunnel.rekey_child()),
    "client ends, gateway rekeys IKE": (Connection.close, lambda tunnel: tunnel.rekey_ike()),
    "client ends, gateway deletes the child": (Connection.close, lambda tunnel: tunnel.delete_child()),
    "client ends, gateway ends": (Connection.close, lambda tunnel: tunnel.delete_ike()),
}


@pytest.mark.parametrize("nonces", NONCES)
@pytest.mark.parametrize("case", ENDS)
def test_an_end_against_a_rekeying_in_every_order(case, nonces):
    """A deletion of the old CHILD_SA that has a successor already leaves the tunnel standing; every other one ends it."""
    client, gateway = ENDS[case]
    stood = set()
    for link, path in interleavings(lambda: prepared(nonces), client, gateway):
        try:
            stood.add(settled(link))
        except AssertionError as error:
            raise AssertionError(f"{path}: {error}") from error
    assert False in stood
    assert True not in stood or (case.startswith("client rekeys") and "deletes" in case)


@pytest.mark.parametrize("side", ["client", "gateway"])
def test_both_delete_the_replaced_child(side):
    """Its successor is there; the side that should not have deleted it does, at any moment (RFC 7296 2.25.1)."""

    def client(connection: Connection, now: float) -> None:
        if side == "client":
            rekey_child(connection, now)
            return
        tunnel = connection._tunnel
        tunnel._delete_child(tunnel._children[0], now)

    def gateway(tunnel: Tunnel) -> None:
        if side == "gateway":
            tunnel.rekey_child()
        else:
            tunnel.delete_child(tunnel.children[0])

    for link, path in interleavings(lambda: prepared("client's lowest"), client, gateway):
        try:
            settled(link)
        except AssertionError as error:
            raise AssertionError(f"{path}: {error}") from error


@pytest.mark.parametrize("nonces", NONCES)
@pytest.mark.parametrize("gateway", ["gateway rekeys child", "gateway rekeys IKE", "gateway rekeys both"])
@pytest.mark.parametrize("client", CLIENT)
def test_a_group_that_has_to_be_asked_for_again_in_every_collision(client, gateway, nonces):
    def make() -> Link:
        link = prepared(nonces, esp="aes256gcm16-ecp256-x25519", ike="aes256gcm16-prfsha256-ecp256-x25519")
        link.gateway.policy.child_group = link.gateway.policy.ike_group = 31
        return link

    for link, path in interleavings(make, CLIENT[client], GATEWAY[gateway], depth=6):
        try:
            link.run(SETTLED).assert_one_tunnel()
        except AssertionError as error:
            raise AssertionError(f"{path}: {error}") from error


def test_a_child_that_is_deleted_before_another_group_could_be_tried_ends_the_tunnel():
    def make() -> Link:
        link = prepared("client's lowest", esp="aes256gcm16-ecp256-x25519")
        link.gateway.policy.child_group = 31
        return link

    for link, _ in interleavings(make, rekey_child, lambda tunnel: tunnel.delete_child()):
        settled(link)


# --- lost messages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nonces", NONCES)
@pytest.mark.parametrize("gateway", ["gateway rekeys child", "gateway rekeys IKE", "gateway rekeys both"])
@pytest.mark.parametrize("client", CLIENT)
def test_any_message_of_a_collision_may_be_lost(client, gateway, nonces):
    for direction in ("to_client", "to_gateway"):
        for lost in range(6):
            link = prepared(nonces)
            link.to_client = link.to_gateway = passes
            setattr(link, direction, losing(lost))
            link.let_client(CLIENT[client]).let_gateway(GATEWAY[gateway])
            link.run(SETTLED).assert_one_tunnel()
            run_out(link)


def losing(position: int) -> Callable[[bytes], list[tuple[float, bytes]]]:
    """A direction that loses the message at this position, and its repetitions for a while."""
    numbers = itertools.count()
    return lambda message: [] if next(numbers) == position else [(LATENCY, message)]


# --- what RFC 7296 2.25 says, sentence by sentence ------------------------------------------------------------------------


def answers(link: Link) -> list[list[wire.Payload]]:
    """The client's responses to the gateway."""
    return [payloads for _, payloads in link.gateway.journal.responses]


def crossing(link: Link, client: ClientAction, gateway: GatewayAction) -> Link:
    """Both requests are on the wire before either arrives; then the gateway's arrives first, and its answer goes back."""
    link.let_client(client)
    while link.answers_due:
        link.answer_next()
    link.let_gateway(gateway)
    link.deliver(link.to_client.messages.pop(0))
    while link.answers_due:
        link.answer_next()
    link.deliver_to_gateway(link.to_gateway.messages.pop())
    return link


def delete_first_child(connection: Connection, now: float) -> None:
    tunnel = connection._tunnel
    tunnel._delete_child(tunnel._children[0], now)


@pytest.mark.parametrize(
    ("client", "gateway", "expected"),
    [
        ("deletes child", "rekeys child", TEMPORARY_FAILURE),
        ("rekeys child", "rekeys IKE", TEMPORARY_FAILURE),
        ("deletes child", "rekeys IKE", TEMPORARY_FAILURE),
        ("ends", "rekeys IKE", TEMPORARY_FAILURE),
        ("ends", "rekeys child", TEMPORARY_FAILURE),
        ("rekeys IKE", "rekeys child", TEMPORARY_FAILURE),
        ("rekeys child", "rekeys child", 0),
        ("rekeys IKE", "rekeys IKE", 0),
    ],
)
def test_what_a_request_is_told_while_one_of_ours_is_under_way(client, gateway, expected):
    ours = {"deletes child": delete_first_child, "rekeys child": rekey_child, "rekeys IKE": rekey_ike}
    theirs = {"rekeys child": lambda t: t.rekey_child(), "rekeys IKE": lambda t: t.rekey_ike()}
    link = crossing(prepared("client's lowest"), ours.get(client, Connection.close), theirs[gateway])
    assert wire.first_error(answers(link)[0]) == expected


def test_a_request_to_rekey_a_child_that_does_not_exist_is_told_so_with_its_spi():
    link = tunnel()
    ghost = replace(link.tunnel.children[0], inbound=0x01020304)
    link.tunnel.children.append(ghost)
    link.let_gateway(lambda t: t.rekey_child(ghost)).run(4 * LATENCY)
    assert answers(link) == [[wire.notify(CHILD_SA_NOT_FOUND, protocol=3, spi=b"\1\2\3\4")]]


def test_a_child_that_both_delete_is_not_named_in_the_responses():
    link = crossing(prepared("client's lowest"), delete_first_child, lambda t: t.delete_child())
    assert answers(link) == [[]]
    assert not settled(released(link))


def test_a_child_that_is_being_rekeyed_is_deleted_and_named():
    link = crossing(prepared("client's lowest"), rekey_child, lambda t: t.delete_child())
    assert answers(link) == [[wire.delete(wire.PROTOCOL_ESP, CHILD_SPI.to_bytes(4, "big"))]]
    assert not settled(released(link))


def test_a_child_that_is_deleted_while_the_ike_sa_is_rekeyed_is_named():
    link = crossing(prepared("client's lowest"), rekey_ike, lambda t: t.delete_child())
    assert answers(link) == [[wire.delete(wire.PROTOCOL_ESP, CHILD_SPI.to_bytes(4, "big"))]]
    assert not settled(released(link))


def test_a_deletion_of_the_ike_sa_that_we_rekey_or_delete_is_answered_and_ends_everything():
    for client in (rekey_ike, Connection.close):
        link = crossing(prepared("client's lowest"), client, lambda t: t.delete_ike())
        assert answers(link) == [[]]
        assert link.client.state is State.CLOSED
        assert not settled(released(link))


def test_a_request_on_a_replaced_ike_sa_is_put_off():
    """The client has a successor of it, and the gateway, whose response that was, goes on with the old one."""
    link = tunnel()
    old = link.tunnel.sa
    link.to_gateway = lambda message: [] if link.tunnel.sa is not old else [(LATENCY, message)]
    link.let_client(rekey_ike).run(4 * LATENCY)
    assert link.client._tunnel._current.channel.spi_i == link.tunnel.sa.spi_i != old.spi_i
    link.to_gateway = Held()
    sealed = link.gateway.protect(Step.REQUEST, old.header(wire.CREATE_CHILD_SA, 0, response=False), REKEY, old)
    link.deliver(*sealed)
    reply = link.to_gateway.messages.pop()
    payloads = wire.unchain(reply[28], old.open(reply, 32))
    assert payloads == [wire.notify(TEMPORARY_FAILURE)]
    settled(released(link))


def released(link: Link) -> Link:
    """What was held arrives, and nothing is held any more."""
    held = [
        direction.messages if isinstance(direction, Held) else [] for direction in (link.to_client, link.to_gateway)
    ]
    link.to_client = link.to_gateway = passes
    for message in held[0]:
        link.transmit([message])
    for message in held[1]:
        link.deliver_to_gateway(message)
    return link


# --- who wins -------------------------------------------------------------------------------------------------------------


def both_at_once(link: Link, client: ClientAction, gateway: GatewayAction) -> Link:
    """Both requests set out before either arrives, and then everything goes its way."""
    link.let_client(client)
    while link.answers_due:
        link.answer_next()
    return released(link.let_gateway(gateway))


@pytest.mark.parametrize("nonces", NONCES)
def test_the_child_with_the_lowest_nonce_is_deleted_by_its_maker_and_the_old_one_by_the_other(nonces):
    link = both_at_once(prepared(nonces), rekey_child, lambda t: t.rekey_child())
    by_gateway, by_client = ESP_SPI + 1, ESP_SPI + 2
    link.run(LINGER + 1).assert_one_tunnel()
    survivor = by_gateway if nonces == "client's lowest" else by_client
    assert link.tunnel.outbound.inbound == survivor
    assert installed(link) == ([CHILD_SPI + 2] if nonces == "client's lowest" else [CHILD_SPI + 2, CHILD_SPI + 1])
    run_out(link)
    deletions = [data for _, payloads in link.gateway.journal.responses for data in wire.deletions(payloads)]
    spis = [int.from_bytes(spi, "big") for _, spi in deletions]
    assert spis == ([CHILD_SPI] if nonces == "client's lowest" else [CHILD_SPI + 2]), "what the gateway deleted"


@pytest.mark.parametrize("nonces", NONCES)
def test_the_ike_sa_with_the_lowest_nonce_goes_and_the_other_inherits_the_child(nonces):
    link = both_at_once(prepared(nonces), rekey_ike, lambda t: t.rekey_ike())
    link.run(10).assert_one_tunnel()
    assert link.tunnel.sa.initiator == (nonces == "client's lowest")
    link.let_client(rekey_child).run(LINGER + 1).assert_one_tunnel()
    run_out(link)
