"""Waits between attempts."""

from __future__ import annotations

from anyike.backoff import Backoff


def test_waits_double_up_to_the_longest():
    backoff = Backoff(1.0, 10.0, bytes)
    assert [backoff.next() for _ in range(6)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_what_worked_begins_anew():
    backoff = Backoff(1.0, 10.0, bytes)
    backoff.next()
    backoff.next()
    backoff.reset()
    assert backoff.next() == 1.0


def test_no_two_clients_come_back_together():
    earliest = Backoff(8.0, 60.0, lambda size: b"\xff" * size).next()
    middle = Backoff(8.0, 60.0, lambda size: b"\x80\x00"[:size]).next()
    assert 4.0 == earliest < middle < 8.0
