"""Deadlines on a clock that only the test moves: retransmission, liveness, keepalives, the way out."""

from __future__ import annotations

from itertools import pairwise

import pytest

from anyike.errors import TunnelEnded, Unreachable
from anyike.ikev2.events import LoginAccepted, Terminated
from anyike.ikev2.settings import Lifetime, Retransmission
from anyike.ikev2.states import State
from anyike.ikev2.tunnel import GOODBYE_TRIES
from anyike.ikev2.window import JITTER
from tests.fakes import wire
from tests.fakes.gateway import Profile
from tests.fakes.link import GATEWAY, Link, User, ike_settings
from tests.fakes.wire import Payload

NEVER = lambda _message: []  # noqa: E731  a direction that loses everything
DELAYS = [2.0, 2.0 * 1.8, 2.0 * 1.8**2, 2.0 * 1.8**3, 2.0 * 1.8**4, 2.0 * 1.8**5]


def fixed_random(byte: int):
    """Randomness whose jitter is the lowest (0), or the highest (255)."""
    return lambda count: bytes([byte]) * count


def gaps(link: Link) -> list[float]:
    times = [at for at, _, _ in link.sent]
    return [later - earlier for earlier, later in pairwise(times)]


@pytest.mark.parametrize(("byte", "share"), [(0, 1 - JITTER), (255, 1 + JITTER)])
def test_backoff_with_the_bounds_of_its_jitter(byte, share):
    link = Link(settings=ike_settings("aes256gcm16-prfsha256-ecp256"), random=fixed_random(byte))
    link.to_gateway = NEVER
    start = link.connect().now
    link.run(300)
    assert gaps(link) == pytest.approx([delay * share for delay in DELAYS[:-1]])
    assert isinstance(link.error, Unreachable)
    assert "sent 6 times" in str(link.error)
    assert len({data for _, data, _ in link.sent}) == 1
    assert link.client.get_timer() is None
    assert start + sum(DELAYS) * share == pytest.approx(link.sent[-1][0] + DELAYS[-1] * share)


def test_jitter_differs_and_stays_in_its_bounds():
    seen = []
    for _ in range(20):
        link = Link()
        link.to_gateway = NEVER
        seen.append(gaps(link.until_over(300)))
    for series in seen:
        for gap, delay in zip(series, DELAYS, strict=False):
            assert delay * (1 - JITTER) <= gap <= delay * (1 + JITTER)
    assert len({tuple(series) for series in seen}) == 20


def test_when_it_gives_up():
    link = Link(settings=ike_settings(retransmission=Retransmission(timeout=1.0, base=2.0, tries=2)))
    link.to_gateway = NEVER
    start = link.now
    link.until_over()
    assert len(link.sent) == 3
    assert 7.0 * (1 - JITTER) <= link.now - start <= 7.0 * (1 + JITTER)


@pytest.mark.parametrize("answered", range(1, 6))
def test_silence_in_the_middle_of_the_login(answered):
    """The gateway falls silent after so many responses."""
    link = Link()
    passed = []

    def to_client(message: bytes):
        passed.append(message)
        return [(0.01, message)] if len(passed) <= answered else []

    link.to_client = to_client
    link.until_over(300)
    assert isinstance(link.error, Unreachable)
    assert "IKE_AUTH" in str(link.error)
    assert link.client.get_timer() is None


def test_a_late_timer_call_does_not_catch_up():
    """A machine that slept: one retransmission, not a burst."""
    link = Link()
    link.to_gateway = NEVER
    link.connect()
    link.client.handle_timer(link.now + 10_000)
    assert len(link.client.datagrams_to_send()) == 1
    assert link.client.get_timer() > link.now + 10_000


def test_an_early_timer_call_does_nothing():
    link = Link().connect()
    link.client.handle_timer(link.client.get_timer() - 0.001)
    assert link.client.datagrams_to_send() == []


def test_a_network_error_is_only_noted():
    link = Link().connect()
    link.client.note_network_error("Connection refused", link.now)
    assert link.run(60).established
    link = Link()
    link.to_gateway = NEVER
    start = link.connect().now
    link.client.note_network_error("Connection refused", link.now)
    link.run(60)
    assert isinstance(link.error, Unreachable)
    assert "Connection refused" in str(link.error)
    assert [at for at, _, _ in link.sent][-1] <= start + 2.3


def test_a_network_error_does_not_touch_a_tunnel_or_a_user_who_thinks():
    link = Link(user=User(thinks=100.0)).connect()
    link.run(1.0, until=lambda: len(link.events) == 2)
    link.client.note_network_error("Connection refused", link.now)
    link.run(1000, until=lambda: link.client.state is State.ESTABLISHED)
    link.client.note_network_error("Connection refused", link.now)
    assert link.run(1000).client.state is State.ESTABLISHED


# --- an established tunnel ------------------------------------------------------------------------------------------------


def quiet(**changes) -> Link:
    """An established tunnel that sends nothing by itself but what the test wants to see."""
    never = Lifetime(soft=0.0, hard=0.0)
    values = {
        "liveness_interval": 0.0,
        "keepalive_interval": 0.0,
        "ike_lifetime": never,
        "child_lifetime": never,
    } | changes
    link = Link(settings=ike_settings(**values), profile=Profile(nat="client")).establish()
    link.sent.clear()
    return link


def test_liveness_is_asked_after_silence_and_answered():
    link = quiet(liveness_interval=30.0)
    heard = link.now
    link.run(95)
    assert [at for at, _, _ in link.sent] == pytest.approx([heard + 30.0, heard + 60.02, heard + 90.04])
    assert link.gateway.journal.last_payloads == []
    assert link.client.state is State.ESTABLISHED


def test_traffic_postpones_the_liveness_check():
    link = quiet(liveness_interval=30.0)
    for _ in range(10):
        link.run(20)
        link.client.note_traffic(link.now)
    assert link.sent == []
    link.run(31)
    assert len(link.sent) == 1


def test_no_liveness_check_when_it_is_off():
    assert quiet().run(100_000).sent == []


def test_a_gateway_that_is_gone_ends_the_tunnel():
    link = quiet(liveness_interval=30.0)
    link.to_gateway = NEVER
    start = link.now
    link.run(300, until=lambda: link.client.state is State.CLOSED)
    assert isinstance(link.error, TunnelEnded)
    assert GATEWAY in str(link.error)
    assert len(link.sent) == 6
    assert link.now - start - 30 == pytest.approx(sum(DELAYS), rel=JITTER)


def test_keepalives_go_only_when_we_are_behind_a_nat():
    for nat, expected in (("client", 5), ("gateway", 0), ("none", 0)):
        settings = ike_settings(liveness_interval=0.0)
        link = Link(profile=Profile(nat=nat), settings=settings).establish().run(110)
        keepalives = [at for at, data, _ in link.sent if data == b"\xff"]
        assert len(keepalives) == expected
        assert all(gap == pytest.approx(20.0) for gap in [b - a for a, b in pairwise(keepalives)])
        assert link.client.counters["keepalives_out"] == expected


def test_close_sends_a_delete_and_ends_with_its_answer():
    link = quiet().close()
    assert link.client.state is State.DELETING
    link.run(60)
    assert link.gateway.journal.deleted
    assert link.gateway.journal.last_payloads == [Payload(wire.DELETE, b"\1\0\0\0")]
    assert link.error is None
    assert len(link.sent) == 1


def test_close_gives_up_soon_when_nobody_answers():
    link = quiet()
    link.to_gateway = NEVER
    start = link.now
    link.close().run(60, until=lambda: link.client.state is State.CLOSED)
    assert len(link.sent) == 1 + GOODBYE_TRIES
    assert link.now - start == pytest.approx(sum(DELAYS[: GOODBYE_TRIES + 1]), rel=JITTER)
    assert link.error is None


def test_close_does_not_wait_for_a_liveness_check_that_nobody_answers():
    link = quiet(liveness_interval=30.0)
    link.to_gateway = NEVER
    link.run(31)
    start = link.now
    link.close().run(300, until=lambda: link.client.state is State.CLOSED)
    assert link.now - start <= 2 * sum(DELAYS[: GOODBYE_TRIES + 1])
    assert link.error is None


def test_close_during_a_liveness_check_that_is_answered():
    link = quiet(liveness_interval=30.0)
    link.run(30.001)
    assert len(link.sent) == 1
    link.close().run(60)
    assert link.gateway.journal.deleted
    assert link.error is None


def test_close_twice_is_close_once():
    link = quiet().close().close().run(60).close()
    assert [type(event) for event in link.events].count(Terminated) == 1
    assert len(link.sent) == 1


def test_close_before_anything():
    link = Link()
    link.client.close(link.now)
    assert link._settle() is None
    assert link.error is None


@pytest.mark.parametrize("seconds", [0.0, 0.015, 0.025, 0.035, 0.055, 0.075, 0.095])
def test_close_at_any_moment_ends_at_once_or_after_the_delete(seconds):
    link = Link(user=User(thinks=0.005)).connect().run(seconds).close().run(60)
    assert link.error is None
    assert link.client.state is State.CLOSED
    assert link.client.get_timer() is None


def test_close_while_the_last_login_message_is_on_its_way_deletes_what_the_gateway_made():
    link = Link().connect()
    link.run(60, until=lambda: any(isinstance(event, LoginAccepted) for event in link.events))
    link.close().run(60)
    assert link.error is None
    assert link.gateway.journal.deleted


def test_close_while_the_user_is_asked_tells_the_gateway():
    link = Link(user=User(thinks=1000.0)).connect()
    link.run(5000, until=lambda: bool(link.user.forms))
    link.close().run(1)
    assert link.error is None
    assert wire.notifies(link.gateway.journal.last_payloads) == {24: b""}
