"""Names to candidate addresses."""

import asyncio
import socket
import threading
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyike.errors import Unreachable
from anyike.net.resolve import MAX_CANDIDATES, Candidate, interleave, resolve

V4, V6 = socket.AF_INET, socket.AF_INET6


def answer(family, host):
    return (family, socket.SOCK_DGRAM, 17, "", (host, 0) if family == V4 else (host, 0, 0, 0))


def test_families_alternate_and_the_first_keeps_its_place():
    answers = [answer(V6, "::1"), answer(V6, "::2"), answer(V4, "1.1.1.1"), answer(V6, "::3"), answer(V6, "::1")]
    assert interleave(answers) == [(V6, "::1"), (V4, "1.1.1.1"), (V6, "::2"), (V6, "::3")]
    assert interleave(answers[::-1])[0] == (V6, "::1")
    assert interleave([answer(V4, "1.1.1.1"), answer(V6, "::1")])[0].family == V4


families = st.sampled_from([V4, V6, socket.AF_UNIX])


@given(st.lists(st.tuples(families, st.integers(0, 9))))
def test_interleaving_loses_nothing_and_keeps_the_order_of_each_family(items):
    found = interleave([answer(family, str(number)) for family, number in items])
    assert len(found) == len(set(found))
    for family in (V4, V6):
        expected = dict.fromkeys(str(number) for one, number in items if one == family)
        assert [candidate.host for candidate in found if candidate.family == family] == list(expected)
    switches = sum(1 for one, other in pairwise(found) if one.family != other.family)
    fewer = min(sum(1 for one in found if one.family == family) for family in (V4, V6))
    assert switches >= 2 * fewer - 1 or not fewer


@pytest.mark.parametrize(("host", "family"), [("192.0.2.1", V4), ("2001:db8::1", V6)])
async def test_literals_need_no_dns(host, family):
    assert await resolve(host) == [Candidate(family, host)]


async def test_the_resolvers_words_reach_the_user():
    def lookup(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(Unreachable, match=r"vpn\.example cannot be resolved: Name or service not known"):
        await resolve("vpn.example", lookup=lookup)


async def test_a_name_that_cannot_be_one():
    with pytest.raises(Unreachable, match="not a host name"):
        await resolve("a" * 64 + "\u00e4.example")


async def test_a_silent_resolver_ends_at_the_time_limit():
    released = threading.Event()

    def lookup(*args, **kwargs):
        released.wait(10)
        return []

    with pytest.raises(Unreachable, match=r"not resolved within 0\.01 s"):
        await resolve("vpn.example", 0.01, lookup)
    released.set()
    await asyncio.sleep(0)


async def test_a_name_without_addresses_and_one_with_too_many():
    with pytest.raises(Unreachable, match="neither an IPv4 nor an IPv6 address"):
        await resolve("vpn.example", lookup=lambda *args, **kwargs: [])
    many = [answer(V4, f"192.0.2.{number}") for number in range(100)]
    assert len(await resolve("vpn.example", lookup=lambda *args, **kwargs: many)) == MAX_CANDIDATES
