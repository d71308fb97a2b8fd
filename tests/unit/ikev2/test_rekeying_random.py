"""Rekeyings of both sides at random, over a network that loses, repeats and reorders: one tunnel is left, always."""

from __future__ import annotations

import random
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from anyike.errors import TunnelEnded, TunnelLost
from anyike.ikev2.connection import Connection
from anyike.ikev2.settings import Lifetime
from anyike.ikev2.states import State
from tests.fakes.link import LATENCY, Link, passes
from tests.fakes.tunnel import Tunnel
from tests.unit.ikev2.test_rekeying import rekey_child, rekey_ike, run_out, tunnel

BAD_NETWORK = 20.0
"""Seconds for which it lasts: less than either side repeats a request."""
SETTLED = 300.0
RARE_LOSS = 0.03
"""So rare that a request and all its repetitions, with their responses, are lost once in 10 million times."""

RENEWALS: dict[str, Callable[[Link], Link]] = {
    "client rekeys child": lambda link: link.let_client(rekey_child),
    "client rekeys IKE": lambda link: link.let_client(rekey_ike),
    "client rekeys both": lambda link: link.let_client(Connection.rekey),
    "client asks for life": lambda link: link.let_client(Connection.check_liveness),
    "gateway rekeys child": lambda link: link.let_gateway(Tunnel.rekey_child),
    "gateway rekeys IKE": lambda link: link.let_gateway(Tunnel.rekey_ike),
    "gateway asks for life": lambda link: link.let_gateway(Tunnel.check_liveness),
}


def gateway_deletes_child(link: Link) -> Link:
    """The one it sends by, whatever the client thinks of it."""
    link.watched = False
    return link.let_gateway(Tunnel.delete_child)


ENDS: dict[str, Callable[[Link], Link]] = {
    "client ends": lambda link: link.close(),
    "gateway ends": lambda link: link.let_gateway(Tunnel.delete_ike),
    "gateway deletes child": gateway_deletes_child,
}
PAUSES = st.sampled_from([0.0, LATENCY / 2, 1.5 * LATENCY, 3.5 * LATENCY, 0.3, 1.0, 4.0])


def bad_network(seed: int, loss: float) -> Callable[[bytes], list[tuple[float, bytes]]]:
    """Some messages are lost, some come twice, all of them late and in any order."""
    dice = random.Random(seed)

    def passage(message: bytes) -> list[tuple[float, bytes]]:
        copies = 0 if dice.random() < loss else 1 + (dice.random() < 0.2)
        return [(dice.choice([LATENCY, 3 * LATENCY, 0.5, 3.0]), message) for _ in range(copies)]

    return passage


def played(
    actions: list[tuple[float, str]], seed: int, loss: float, installing: float, allocating: float, **changes: object
) -> Link:
    """A tunnel in which all that was started while the network was bad, which then gets good."""
    link = tunnel(random=random.Random(seed).randbytes, **changes)
    link.to_client, link.to_gateway = bad_network(seed, loss), bad_network(seed + 1, loss)
    link.installing, link.allocating = installing, allocating
    start = link.now
    for pause, action in actions:
        if link.client.state is State.ESTABLISHED and not link.tunnel.over:
            (RENEWALS | ENDS)[action](link)
            link.run(pause)
    link.run(max(0.0, start + BAD_NETWORK - link.now))
    link.to_client = link.to_gateway = passes
    link._steps = 0
    return link.run(SETTLED)


SCHEDULE = st.lists(st.tuples(PAUSES, st.sampled_from(sorted(RENEWALS))), min_size=1, max_size=6)
NETWORK = {
    "seed": st.integers(0, 1 << 32),
    "loss": st.sampled_from([0.0, 0.1, 0.3]),
    "installing": st.sampled_from([0.0, 0.02, 0.4]),
    "allocating": st.sampled_from([0.0, 0.02, 0.2]),
}


@settings(max_examples=150, deadline=None)
@given(actions=SCHEDULE, **NETWORK)
def test_rekeyings_of_both_sides_over_a_bad_network_leave_one_tunnel(actions, **network):
    link = played(actions, **network)
    link.assert_one_tunnel()
    run_out(link)


@settings(max_examples=100, deadline=None)
@given(actions=SCHEDULE, end=st.sampled_from(sorted(ENDS)), after=st.integers(0, 6), **NETWORK)
def test_an_end_among_them_is_an_end_or_leaves_one_tunnel(actions, end, after, **network):
    link = played([*actions[:after], (LATENCY, end), *actions[after:]], **network)
    if link.client.state is State.ESTABLISHED:
        link.assert_one_tunnel()
        run_out(link)
        return
    assert isinstance(link.error, TunnelEnded | TunnelLost | None)
    assert link.client.get_timer() is None
    # A gateway that was not there to hear the farewell may be left behind, but not in a tunnel of which we know.
    assert link.tunnel.over or link.client.state is State.CLOSED


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1 << 32), lifetimes=st.tuples(st.floats(20, 200), st.floats(20, 200)))
def test_short_lifetimes_over_a_bad_network(seed, lifetimes):
    """Both sides rekey whenever they like, and the network is never good, but never silent for long."""
    child, ike = lifetimes
    limits = {"child_lifetime": Lifetime(child, 0.0), "ike_lifetime": Lifetime(ike, 0.0)}
    link = tunnel(random=random.Random(seed).randbytes, **limits)
    link.to_client, link.to_gateway = bad_network(seed, RARE_LOSS), bad_network(seed + 1, RARE_LOSS)
    dice = random.Random(seed)
    for _ in range(40):
        link.let_gateway(dice.choice([Tunnel.rekey_child, Tunnel.rekey_ike, Tunnel.check_liveness]))
        link._steps = 0
        link.run(dice.uniform(0, 100))
        assert link.client.state is State.ESTABLISHED, link.error
        assert len(link.data_path.installed) <= 6
    assert len(link.client._tunnel._sas) <= 4
