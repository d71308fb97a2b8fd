"""Notices that this machine slept: logind says so, and two clocks of the kernel differ by the time that it lasted.

The only importer of `dbus_fast`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from anyike.text import printable_line

if TYPE_CHECKING:
    from dbus_fast import Message

log = logging.getLogger(__name__)

CHECK_INTERVAL = 60.0
"""Seconds between looks at the clocks, for a machine without logind whose network stayed as it was."""

SHORTEST_SLEEP = 1.0
"""Seconds; what is shorter, nobody on the network has noticed."""

BUS_TIMEOUT = 5.0
"""Seconds for connecting to the system bus and for its answer."""

_LOGIND = "org.freedesktop.login1"
_MANAGER_PATH, _MANAGER = "/org/freedesktop/login1", "org.freedesktop.login1.Manager"
_SIGNAL = "PrepareForSleep"
"""Its argument is true before a sleep and false after it (org.freedesktop.login1(5))."""

_MATCH = f"type='signal',sender='{_LOGIND}',path='{_MANAGER_PATH}',interface='{_MANAGER}',member='{_SIGNAL}'"
"""What the bus forwards to us: it knows which connection is logind's."""

_BUS, _BUS_PATH = "org.freedesktop.DBus", "/org/freedesktop/DBus"


def seconds_slept() -> float:
    """For how long this machine has slept since it was booted: only one of the clocks goes on meanwhile (clock_gettime(2))."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


class SleepWatch:
    """Calls `on_wake`, from the event loop, when this machine was asleep; maybe twice, since there are two witnesses.

    logind's PrepareForSleep comes at once; without it, or without a system bus, the clocks tell within
    `CHECK_INTERVAL`, or when the owner calls `check`, which costs a microsecond. `slept` is asked for the seconds slept so
    far; `bus_address` is None for the system bus.
    """

    def __init__(
        self,
        on_wake: Callable[[], None],
        slept: Callable[[], float] = seconds_slept,
        bus_address: str | None = None,
    ) -> None:
        self._on_wake = on_wake
        self._slept = slept
        self._bus_address = bus_address
        self._known = slept()
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(CHECK_INTERVAL, self._check_again)
        self._listening = asyncio.create_task(self._listen(), name="logind")

    async def stop(self) -> None:
        """Watch no more. Safe to call twice."""
        self._timer.cancel()
        self._listening.cancel()
        await asyncio.wait([self._listening])

    def check(self) -> None:
        """Look at the clocks now: whenever something else happens is a good time."""
        before, self._known = self._known, self._slept()
        if self._known - before >= SHORTEST_SLEEP:
            log.info("this machine was asleep for %.0f s", self._known - before)
            self._on_wake()

    def _check_again(self) -> None:
        self._timer = self._loop.call_later(CHECK_INTERVAL, self._check_again)
        self.check()

    async def _listen(self) -> None:
        """Wait for logind's signals as long as there is a bus."""
        try:
            await self._listen_on_bus()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with this machine's bus: the clocks remain
            reason = printable_line(str(error)) or type(error).__name__
            log.info("no word from logind about sleep, only the clocks will tell: %s", reason)

    async def _listen_on_bus(self) -> None:
        # Imported when it is needed: loading takes 13 ms and 4 MiB.
        from dbus_fast import BusType, DBusFastError, Message, MessageType  # noqa: PLC0415
        from dbus_fast.aio import MessageBus  # noqa: PLC0415

        bus = MessageBus(self._bus_address, BusType.SYSTEM)
        async with asyncio.timeout(BUS_TIMEOUT):
            await bus.connect()
        disconnected = asyncio.ensure_future(bus.wait_for_disconnect())  # type: ignore[no-untyped-call]
        try:
            bus.add_message_handler(self._receive)
            subscription = Message(_BUS, _BUS_PATH, _BUS, "AddMatch", signature="s", body=[_MATCH])
            async with asyncio.timeout(BUS_TIMEOUT):
                answer = await bus.call(subscription)
            if answer.message_type is not MessageType.METHOD_RETURN:
                raise DBusFastError(printable_line(f"{answer.error_name}: {answer.body}"))
            await asyncio.shield(disconnected)
        finally:
            bus.disconnect()
            await asyncio.wait([disconnected])

    def _receive(self, message: Message) -> None:
        """A message from the bus. One that names us as its destination may be from anybody, whatever it claims."""
        wanted = message.interface == _MANAGER and message.member == _SIGNAL and message.destination is None
        if wanted and message.body == [False]:
            self._loop.call_soon(self._wake)  # here the library would swallow exceptions

    def _wake(self) -> None:
        log.info("this machine was asleep, says logind")
        self._known = self._slept()
        self._on_wake()
