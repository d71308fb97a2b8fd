"""The probes, with a clock that a test moves; and that they find every part of a real login."""

from __future__ import annotations

import pytest
from login_cpu import DOCUMENTS, LOGINS, XML, Meter, Part, measure
from login_cpu import time as clocks


class Clock:
    """Moves only when work is done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0
        monkeypatch.setattr(clocks, "thread_time_ns", lambda: self.now)

    def work(self, nanoseconds: int) -> None:
        self.now += nanoseconds


def test_a_part_inside_another_stops_its_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, meter = Clock(monkeypatch), Meter()
    inner = meter.probe(Part.XML_READ, clock.work)

    def outer() -> None:
        clock.work(1)
        inner(10)
        clock.work(2)

    meter.probe(Part.REST, outer)()
    clock.work(100)  # nobody's
    assert meter.spent == {Part.REST: 3, Part.XML_READ: 10}


def test_a_part_ends_when_its_function_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, meter = Clock(monkeypatch), Meter()

    def fail() -> None:
        clock.work(5)
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        meter.probe(Part.REST, fail)()
    clock.work(100)
    assert meter.spent == {Part.REST: 5}


def test_every_part_of_every_login_is_found() -> None:
    measured = measure(1)
    assert list(measured) == list(LOGINS)
    for login in measured.values():
        assert all(login.meters[0].spent[part] > 0 for part in Part)
        assert set(login.plain[0].spent) == {Part.REST}
        assert login.walls[0] > 0


def test_documents_are_those_of_a_password_login(monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[Part] = []
    enter = Meter.enter
    monkeypatch.setattr(Meter, "enter", lambda meter, part: (entered.append(part), enter(meter, part))[1])
    monkeypatch.setattr("login_cpu.LOGINS", {"usual login": LOGINS["usual login"]})
    monkeypatch.setattr("login_cpu.WARM_UP", 0)
    measure(1)
    assert entered.count(Part.XML_WRITTEN) == DOCUMENTS
    assert set(XML) <= set(entered)
