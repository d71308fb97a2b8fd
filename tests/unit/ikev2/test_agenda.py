"""Appointments."""

from __future__ import annotations

from anyike.ikev2.agenda import Agenda


def test_what_is_due_happens_in_order_and_once():
    agenda, done = Agenda(), []
    agenda.put("b", 2.0, lambda now: done.append(("b", now)))
    agenda.put("a", 1.0, lambda now: done.append(("a", now)))
    agenda.put("c", 9.0, lambda now: done.append(("c", now)))
    assert agenda.next == 1.0
    agenda.keep(5.0)
    agenda.keep(5.0)
    assert done == [("a", 5.0), ("b", 5.0)]
    assert agenda.next == 9.0


def test_an_appointment_moves_and_is_dropped():
    agenda, done = Agenda(), []
    agenda.put("a", 1.0, lambda _now: done.append("early"))
    agenda.put("a", 3.0, lambda _now: done.append("late"))
    agenda.put("b", 1.0, lambda _now: done.append("never"))
    agenda.drop("b")
    agenda.drop("unknown")
    agenda.keep(2.0)
    assert done == []
    agenda.keep(3.0)
    assert done == ["late"]
    assert agenda.next is None


def test_an_action_may_drop_and_make_others():
    agenda, done = Agenda(), []

    def first(now: float) -> None:
        agenda.drop("second")
        agenda.put("third", now, lambda _now: done.append("third"))

    agenda.put("first", 1.0, first)
    agenda.put("second", 1.0, lambda _now: done.append("second"))
    agenda.keep(1.0)
    assert done == []  # what is put in for now waits for the next call, so that nothing can keep it busy for ever
    agenda.keep(1.0)
    assert done == ["third"]
    agenda.put("a", 1.0, lambda _now: None)
    agenda.clear()
    assert agenda.next is None
