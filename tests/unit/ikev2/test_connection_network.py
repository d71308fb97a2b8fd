"""A network that loses, repeats, reorders and delays: the login comes to its end, and by the same bytes."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyike.ikev2.settings import Retransmission
from anyike.ikev2.states import State
from tests.fakes.gateway import Profile
from tests.fakes.link import LATENCY, Link, User, ike_settings
from tests.fakes.script import LONG_FORM, password_login

NAME = "a" * 3000
PATIENT = Retransmission(timeout=1.0, base=1.0, tries=100)


def long_login(fragmentation: str, **options) -> Link:
    """Both sides need several fragments."""
    return Link(
        password_login(NAME, filler=LONG_FORM),
        profile=Profile(fragmentation=fragmentation, fragment_size=548),
        settings=ike_settings(fragment_size=576, retransmission=PATIENT, **options),
        user=User(answers={"username": NAME, "password": "secret"}),
    )


def nth_lost(*lost: int):
    """A direction that loses these messages, counted from 0."""
    number = iter(range(1_000_000))
    return lambda message: [] if next(number) in lost else [(LATENCY, message)]


@pytest.mark.parametrize("lost", range(6))
def test_a_lost_request_is_sent_again_bit_for_bit(lost):
    link = Link()
    link.to_gateway = nth_lost(lost)
    link.establish()
    messages = [data for _, data, _ in link.sent]
    assert messages[lost] == messages[lost + 1]
    assert len(messages) == 7
    assert link.client.counters["retransmissions_out"] == 1


@pytest.mark.parametrize("lost", range(6))
def test_a_lost_response_is_asked_for_again(lost):
    link = Link()
    link.to_client = nth_lost(lost)
    link.establish()
    assert link.client.counters["retransmissions_out"] == 1
    assert [message_id for _, message_id in link.gateway.journal.requests] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("fragmentation", ["ietf", "cisco"])
@pytest.mark.parametrize("lost", range(0, 16, 3))
def test_a_lost_fragment_either_way(fragmentation, lost):
    link = long_login(fragmentation)
    link.to_gateway, link.to_client = nth_lost(lost), nth_lost(lost + 1)
    link.establish()
    assert link.client.counters["retransmissions_out"] >= 1


@pytest.mark.parametrize("fragmentation", ["ietf", "cisco", "off"])
def test_everything_comes_twice(fragmentation):
    link = long_login(fragmentation)
    link.to_gateway = link.to_client = lambda message: [(LATENCY, message), (1.5 * LATENCY, message)]
    link.establish()
    assert link.client.counters["retransmissions_out"] == 0
    assert [message_id for _, message_id in link.gateway.journal.requests] == [0, 1, 2, 3, 4, 5]
    assert link.dropped.total() > 5


@pytest.mark.parametrize("fragmentation", ["ietf", "cisco"])
def test_fragments_in_reverse_order(fragmentation):
    link = long_login(fragmentation)
    delays = iter(range(1_000_000))
    link.to_gateway = link.to_client = lambda message: [(0.4 - next(delays) / 10_000, message)]
    link.establish()
    assert link.client.counters["retransmissions_out"] == 0


@pytest.mark.parametrize("fragmentation", ["ietf", "cisco"])
def test_a_retransmitted_response_completes_a_set_of_fragments(fragmentation):
    """Of the first response every other fragment comes, of its repetition the rest."""
    link = long_login(fragmentation)
    order: dict[bytes, int] = {}
    times: dict[bytes, int] = {}

    def to_client(message: bytes):
        position = order.setdefault(message, len(order))
        times[message] = times.get(message, 0) + 1
        return [(LATENCY, message)] if times[message] == 1 + position % 2 else []

    link.to_client = to_client
    link.establish()
    assert max(times.values()) == 2
    assert link.client.counters["retransmissions_out"] > 0


@pytest.mark.parametrize("clip", [100, 400, 500])
def test_a_path_that_clips_what_is_too_large(clip):
    """Clipped copies come first, whole ones after."""
    link = long_login("ietf")
    link.to_client = lambda message: [(LATENCY / 2, message[:clip]), (LATENCY, message)]
    link.establish()
    assert link.dropped["dropped_malformed"] >= 10


@given(seed=st.integers(0, 2**32), fragmentation=st.sampled_from(["ietf", "cisco", "off"]))
@settings(max_examples=60, deadline=None)
def test_a_bad_network_only_costs_time(seed, fragmentation):
    """A quarter is lost, a quarter comes twice, everything comes late by up to three retransmissions."""
    random = Random(seed)

    def bad(message: bytes):
        copies = random.choices([0, 1, 2], [1, 2, 1])[0]
        return [(random.uniform(0, 3.0), message) for _ in range(copies)]

    link = Link(
        profile=Profile(fragmentation=fragmentation, fragment_size=700),
        settings=ike_settings(retransmission=PATIENT, error_grace=100.0),
    )
    link.to_gateway = link.to_client = bad
    link.establish().run(10)
    assert link.client.state is State.ESTABLISHED
    child = link.established.child
    assert [child.outbound_keys.encryption, b"", child.inbound_keys.encryption, b""] == link.gateway.child_keys
