"""What is to happen when: named appointments, for one owner who is told the time."""

from __future__ import annotations

from collections.abc import Callable, Hashable


class Agenda:
    """Appointments by name; one that is made again moves. Nothing here reads a clock."""

    def __init__(self) -> None:
        self._appointments: dict[Hashable, tuple[float, Callable[[float], None]]] = {}

    def put(self, name: Hashable, at: float, action: Callable[[float], None]) -> None:
        """Call `action(now)` when the time has come."""
        self._appointments[name] = (at, action)

    def drop(self, name: Hashable) -> None:
        """Forget it, if it is there."""
        self._appointments.pop(name, None)

    def clear(self) -> None:
        """Forget all."""
        self._appointments.clear()

    @property
    def next(self) -> float | None:
        """When the next one is."""
        return min((at for at, _ in self._appointments.values()), default=None)

    def keep(self, now: float) -> None:
        """Do what is due, the earliest first. What an action puts in for the past waits for the next call."""
        due = sorted((at, index, name) for index, (name, (at, _)) in enumerate(self._appointments.items()) if at <= now)
        for _, _, name in due:
            appointment = self._appointments.get(name)
            if appointment is not None and appointment[0] <= now:
                del self._appointments[name]
                appointment[1](now)
