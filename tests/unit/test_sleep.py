"""Both witnesses of a sleep: the clocks (injected), and logind, played on a private bus of a real dbus-daemon."""

import asyncio
import contextlib
import gc
import logging
import os
import subprocess

import pytest
from dbus_fast import Message, MessageFlag, NameFlag
from dbus_fast.aio import MessageBus

from anyike import sleep
from anyike.sleep import CHECK_INTERVAL, SHORTEST_SLEEP, SleepWatch, seconds_slept

LOGIND, PATH, MANAGER = "org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager"

BUS_CONFIGURATION = """
<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true"/>
    <allow receive_type="method_call"/>
    <allow receive_type="signal"/>
    <allow receive_requested_reply="true"/>
  </policy>
</busconfig>
"""


class Wakes:
    """Counts calls, and lets a test wait for them."""

    def __init__(self):
        self.count = 0
        self.called = asyncio.Event()

    def __call__(self):
        self.count += 1
        self.called.set()

    async def wait_for(self, count):
        async with asyncio.timeout(10):
            while self.count < count:
                self.called.clear()
                await self.called.wait()


class Slept:
    """An injected clock: how long the machine has slept."""

    def __init__(self, seconds=1000.0):
        self.seconds = seconds

    def __call__(self):
        return self.seconds


@contextlib.asynccontextmanager
async def watching(bus_address, slept=seconds_slept):
    wakes = Wakes()
    watch = SleepWatch(wakes, slept, bus_address)
    try:
        yield watch, wakes
    finally:
        await watch.stop()


class TestClocks:
    NO_BUS = "unix:path=/nonexistent/bus"

    async def test_a_sleep_is_noticed_once(self):
        slept = Slept()
        async with watching(self.NO_BUS, slept) as (watch, wakes):
            watch.check()
            assert wakes.count == 0
            slept.seconds += 3600
            watch.check()
            watch.check()
            assert wakes.count == 1
            slept.seconds += SHORTEST_SLEEP
            watch.check()
            assert wakes.count == 2

    async def test_what_two_readings_differ_by_is_no_sleep(self):
        slept = Slept()
        async with watching(self.NO_BUS, slept) as (watch, wakes):
            for _ in range(10):
                slept.seconds += SHORTEST_SLEEP * 0.9
                watch.check()
            assert wakes.count == 0

    async def test_the_clocks_are_looked_at_without_being_asked(self, monkeypatch):
        loop, slept = asyncio.get_running_loop(), Slept()
        ahead = 0.0
        real = loop.time
        monkeypatch.setattr(loop, "time", lambda: real() + ahead)
        async with watching(self.NO_BUS, slept) as (_, wakes):
            for count in (1, 2):
                slept.seconds += 60
                assert wakes.count == count - 1
                ahead += CHECK_INTERVAL
                await wakes.wait_for(count)

    async def test_the_kernels_clocks(self, monkeypatch):
        # CLOCK_BOOTTIME is never behind CLOCK_MONOTONIC, and nobody sleeps during this test.
        first = seconds_slept()
        assert first > -0.1
        assert abs(seconds_slept() - first) < SHORTEST_SLEEP

    async def test_after_the_end_nothing_is_reported(self, monkeypatch):
        loop, slept = asyncio.get_running_loop(), Slept()
        async with watching(self.NO_BUS, slept) as (watch, wakes):
            slept.seconds += 60
        await watch.stop()
        real = loop.time
        monkeypatch.setattr(loop, "time", lambda: real() + 2 * CHECK_INTERVAL)
        for _ in range(3):
            await asyncio.sleep(0)
        assert wakes.count == 0


@pytest.fixture
def bus(tmp_path):
    """The address of a bus of its own, and its daemon."""
    configuration = tmp_path / "bus.conf"
    configuration.write_text(BUS_CONFIGURATION.format(socket=tmp_path / "bus"))
    command = ["dbus-daemon", f"--config-file={configuration}", "--nofork", "--print-address=1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as daemon:
        try:
            yield daemon.stdout.readline().strip(), daemon
        finally:
            daemon.kill()


@contextlib.asynccontextmanager
async def connection(address):
    bus = await MessageBus(address).connect()
    try:
        yield bus
    finally:
        bus.disconnect()
        await bus.wait_for_disconnect()


@contextlib.asynccontextmanager
async def logind(address):
    async with connection(address) as bus:
        await bus.request_name(LOGIND, NameFlag.DO_NOT_QUEUE)
        yield bus


def prepare_for_sleep(value, destination=None, member="PrepareForSleep", path=PATH):
    message = Message.new_signal(path, MANAGER, member, "b", [value])
    message.destination = destination
    return message


async def subscribed(bus, address):
    """Wait until the watch's match rule is in place: its connection's name, once the daemon counts a rule."""
    async with asyncio.timeout(10):
        while True:
            statistics = Message(
                "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus.Debug.Stats", "GetAllMatchRules"
            )
            answer = await bus.call(statistics)
            for name, rules in answer.body[0].items():
                if any("PrepareForSleep" in rule for rule in rules):
                    return name
            await asyncio.sleep(0.01)


@pytest.mark.namespace  # for dbus-daemon, which `make test` installs
class TestLogind:
    async def test_waking_up_is_reported_and_going_to_sleep_is_not(self, bus):
        address, _ = bus
        async with logind(address) as service, watching(address) as (_, wakes):
            await subscribed(service, address)
            await service.send(prepare_for_sleep(True))
            await service.send(prepare_for_sleep(False))
            await wakes.wait_for(1)
            await service.send(prepare_for_sleep(True))
            await service.send(prepare_for_sleep(False, member="PrepareForShutdown"))
            await service.send(prepare_for_sleep(False, path="/elsewhere"))
            await service.send(prepare_for_sleep(False))
            await wakes.wait_for(2)
            assert wakes.count == 2

    async def test_the_clocks_do_not_tell_the_same_again(self, bus):
        address, _ = bus
        slept = Slept()
        async with logind(address) as service, watching(address, slept) as (watch, wakes):
            await subscribed(service, address)
            slept.seconds += 3600
            await service.send(prepare_for_sleep(False))
            await wakes.wait_for(1)
            watch.check()
            assert wakes.count == 1

    async def test_a_logind_that_comes_later_or_again_is_heard(self, bus):
        address, _ = bus
        async with watching(address) as (_, wakes):
            for count in (1, 2):
                async with logind(address) as service:
                    await subscribed(service, address)
                    await service.send(prepare_for_sleep(False))
                    await wakes.wait_for(count)

    async def test_nobody_else_can_say_it(self, bus):
        address, _ = bus
        async with logind(address) as service, connection(address) as other, watching(address) as (_, wakes):
            us = await subscribed(service, address)
            await other.send(prepare_for_sleep(False))
            await other.send(prepare_for_sleep(False, destination=us))
            # An answer from the watch's connection proves that it has read what was sent to it before.
            ping = Message(us, "/", "org.freedesktop.DBus.Peer", "Ping")
            await other.call(ping)
            await asyncio.sleep(0)
            assert wakes.count == 0

    async def test_calls_to_us_do_no_harm(self, bus):
        address, _ = bus
        async with logind(address) as service, watching(address) as (_, wakes):
            us = await subscribed(service, address)
            call = Message(us, PATH, MANAGER, "PrepareForSleep", signature="b", body=[False])
            answer = await service.call(call)
            assert answer.error_name == "org.freedesktop.DBus.Error.UnknownMethod"
            quiet = Message(us, PATH, MANAGER, "X", flags=MessageFlag.NO_REPLY_EXPECTED)
            await service.send(quiet)
            await service.send(prepare_for_sleep(False))
            await wakes.wait_for(1)
            assert wakes.count == 1

    async def test_a_failing_owner_is_not_hidden_by_the_library(self, bus):
        address, _ = bus
        loop = asyncio.get_running_loop()
        seen = loop.create_future()
        loop.set_exception_handler(lambda _loop, context: seen.set_result(context["exception"]))

        def fail():
            raise RuntimeError("the owner's")

        watch = SleepWatch(fail, seconds_slept, address)
        async with logind(address) as service:
            await subscribed(service, address)
            await service.send(prepare_for_sleep(False))
            async with asyncio.timeout(10):
                assert str(await seen) == "the owner's"
        await watch.stop()


class TestWithoutBus:
    """Nothing of this may do more than leave the clocks alone."""

    async def ended(self, address, caplog):
        caplog.set_level(logging.INFO, "anyike.sleep")
        slept = Slept()
        async with watching(address, slept) as (watch, wakes):
            async with asyncio.timeout(10):
                await asyncio.wait([watch._listening])
            slept.seconds += 60
            watch.check()
            assert wakes.count == 1
        return caplog.text

    async def test_no_socket(self, caplog, tmp_path):
        text = await self.ended(f"unix:path={tmp_path / 'bus'}", caplog)
        assert "only the clocks will tell: [Errno 2] No such file or directory" in text

    async def test_no_address(self, caplog):
        assert "only the clocks will tell" in await self.ended("nonsense", caplog)

    async def test_a_bus_that_says_nothing(self, caplog, tmp_path, monkeypatch):
        monkeypatch.setattr(sleep, "BUS_TIMEOUT", 0.05)
        handlers = []
        server = await asyncio.start_unix_server(
            lambda reader, writer: handlers.append(writer), path=tmp_path / "silent"
        )
        async with server:
            text = await self.ended(f"unix:path={tmp_path / 'silent'}", caplog)
            assert "only the clocks will tell: TimeoutError" in text
            for writer in handlers:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def test_a_bus_that_says_nonsense(self, caplog, tmp_path):
        async def talk(reader, writer):
            writer.write(b"ni hao\r\n" * 100)
            await writer.drain()
            writer.close()

        server = await asyncio.start_unix_server(talk, path=tmp_path / "nonsense")
        async with server:
            assert "only the clocks will tell" in await self.ended(f"unix:path={tmp_path / 'nonsense'}", caplog)

    @pytest.mark.namespace
    async def test_a_bus_that_ends(self, bus, caplog):
        address, daemon = bus
        caplog.set_level(logging.INFO, "anyike.sleep")
        slept = Slept()
        async with watching(address, slept) as (watch, wakes):
            async with connection(address) as other:
                await subscribed(other, address)
            daemon.kill()
            async with asyncio.timeout(10):
                await asyncio.wait([watch._listening])
            assert "only the clocks will tell" in caplog.text
            slept.seconds += 60
            watch.check()
            assert wakes.count == 1

    @pytest.mark.namespace
    @pytest.mark.parametrize("turns", range(12))
    async def test_stopping_at_any_moment_leaves_nothing_open(self, bus, turns):
        gc.collect()  # what others left behind
        before = os.listdir("/proc/self/fd")
        watch = SleepWatch(Wakes(), seconds_slept, bus[0])
        for _ in range(turns):
            await asyncio.sleep(0.0005 * turns)
        await watch.stop()
        assert os.listdir("/proc/self/fd") == before
