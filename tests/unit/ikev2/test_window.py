"""Message IDs, the schedule of retransmissions, and the response that is kept for a repeated request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyike.ikev2.constants import ExchangeType
from anyike.ikev2.settings import Retransmission
from anyike.ikev2.window import JITTER, Due, RequestWindow, ResponseCache

MIDDLE = b"\x80\x00"
EARLIEST, LATEST = b"\x00\x00", b"\xff\xff"
SETTINGS = Retransmission(timeout=2.0, base=1.8, tries=5)


def window(spread: bytes = MIDDLE, settings: Retransmission = SETTINGS) -> RequestWindow:
    return RequestWindow(settings, lambda count: spread[:count])


def test_the_schedule_backs_off_and_ends():
    requests = window()
    requests.start(ExchangeType.IKE_SA_INIT, [b"request"], 100.0)
    delays, now, dues = [], 100.0, []
    while requests.deadline is not None:
        delays.append(requests.deadline - now)
        now = requests.deadline
        dues.append(requests.handle_timer(now))
    assert delays == pytest.approx([2.0 * 1.8**n for n in range(6)], rel=1e-4)
    assert dues == [Due.RETRANSMIT] * 5 + [Due.GIVE_UP]
    assert requests.outstanding  # who gives up says so with restart()
    assert requests.handle_timer(now + 1000) is Due.NOTHING


def test_nothing_is_due_before_its_time():
    requests = window()
    assert requests.deadline is None
    assert requests.handle_timer(1e9) is Due.NOTHING
    requests.start(ExchangeType.IKE_AUTH, [b"request"], 0.0)
    deadline = requests.deadline
    assert deadline is not None
    assert requests.handle_timer(deadline - 1e-6) is Due.NOTHING
    assert requests.deadline == deadline
    assert requests.handle_timer(deadline) is Due.RETRANSMIT


def test_a_late_timer_counts_from_when_it_came():
    requests = window()
    requests.start(ExchangeType.IKE_AUTH, [b"request"], 0.0)
    assert requests.handle_timer(50.0) is Due.RETRANSMIT
    assert requests.deadline == pytest.approx(50.0 + 2.0 * 1.8, rel=1e-4)


@pytest.mark.parametrize(("spread", "factor"), [(EARLIEST, 1 - JITTER), (LATEST, 1 + JITTER)])
def test_the_jitter_reaches_its_bounds(spread, factor):
    requests = window(spread)
    requests.start(ExchangeType.IKE_AUTH, [b"request"], 0.0)
    assert requests.deadline == pytest.approx(2.0 * factor)


@given(
    st.binary(min_size=2, max_size=2),
    st.floats(0, 1e9),
    st.builds(Retransmission, st.floats(0.01, 60), st.floats(1, 5), st.integers(0, 10)),
)
def test_the_jitter_stays_within_its_bounds(spread, now, settings):
    requests = window(spread, settings)
    requests.start(ExchangeType.IKE_AUTH, [b"request"], now)
    for count in range(settings.tries + 1):
        delay = settings.timeout * settings.base**count
        assert requests.deadline is not None
        waits = requests.deadline - now
        assert (1 - JITTER) * delay - 1e-6 <= waits <= (1 + JITTER) * delay + 1e-6
        now = requests.deadline
        due = requests.handle_timer(now)
        assert due is (Due.RETRANSMIT if count < settings.tries else Due.GIVE_UP)
    assert requests.deadline is None


def test_fewer_tries_for_one_request_only():
    requests = window()
    requests.start(ExchangeType.INFORMATIONAL, [b"delete"], 0.0, tries=1)
    assert requests.tries == 1
    assert requests.handle_timer(100.0) is Due.RETRANSMIT
    assert requests.handle_timer(200.0) is Due.GIVE_UP
    requests.answered()
    requests.start(ExchangeType.INFORMATIONAL, [b"next"], 300.0)
    assert requests.tries == SETTINGS.tries


def test_no_tries_at_all():
    requests = window(settings=Retransmission(tries=0))
    requests.start(ExchangeType.IKE_AUTH, [b"request"], 0.0)
    assert requests.handle_timer(3.0) is Due.GIVE_UP


def test_one_response_to_the_outstanding_request_is_accepted():
    requests = window()
    assert not requests.accepts(0)
    requests.start(ExchangeType.IKE_SA_INIT, [b"one", b"two"], 0.0)
    assert requests.outstanding
    assert requests.datagrams == (b"one", b"two")
    assert requests.exchange == ExchangeType.IKE_SA_INIT
    assert [requests.accepts(message_id) for message_id in (0, 1, 0xFFFFFFFF)] == [True, False, False]
    requests.answered()
    assert (requests.outstanding, requests.deadline, requests.datagrams, requests.message_id) == (False, None, (), 1)
    assert not requests.accepts(0)
    assert not requests.accepts(1)


def test_a_restart_keeps_the_message_id():
    """IKE_SA_INIT with a cookie or another group is message 0 again (RFC 7296 2.6)."""
    requests = window()
    requests.start(ExchangeType.IKE_SA_INIT, [b"first"], 0.0)
    requests.handle_timer(10.0)
    requests.restart()
    assert (requests.outstanding, requests.message_id) == (False, 0)
    requests.start(ExchangeType.IKE_SA_INIT, [b"second"], 20.0)
    assert requests.accepts(0)
    assert requests.deadline == pytest.approx(22.0, rel=1e-4)
    assert requests.datagrams == (b"second",)


def test_a_repeated_request_gets_its_response_again():
    cache = ResponseCache()
    assert cache.expected == 0
    assert cache.response_to(0, b"request 0") == ()
    cache.answered(b"request 0", [b"response", b"its second fragment"])
    assert cache.expected == 1
    for _ in range(3):
        assert cache.response_to(0, b"request 0") == (b"response", b"its second fragment")
    assert cache.response_to(0, b"request 0 altered") == ()
    assert cache.response_to(1, b"request 0") == ()


def test_only_the_last_response_is_kept():
    cache = ResponseCache()
    for number in range(3):
        cache.answered(b"request %d" % number, [b"response %d" % number])
    assert [cache.response_to(number, b"request %d" % number) for number in range(4)] == [(), (), (b"response 2",), ()]


@given(st.lists(st.binary(max_size=40), max_size=5), st.integers(-1, 6), st.binary(max_size=40))
def test_the_cache_answers_nothing_but_the_last_request(requests, message_id, datagram):
    cache = ResponseCache()
    for request in requests:
        cache.answered(request, [b"to " + request])
    repeats_last = bool(requests) and message_id == len(requests) - 1 and datagram == requests[-1]
    assert cache.response_to(message_id, datagram) == ((b"to " + datagram,) if repeats_last else ())
