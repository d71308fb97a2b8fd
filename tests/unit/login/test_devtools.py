"""The DevTools connection, against a browser that says what a test wants."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from anyike.login import devtools
from anyike.login.devtools import BrowserGone, CommandRefused, DevTools, connect


class FakeBrowser:
    """The other end: what was asked, and whatever bytes go back."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def asked(self) -> dict[str, object]:
        return json.loads((await self.reader.readuntil(b"\0"))[:-1])

    def say(self, message: object) -> None:
        self.writer.write(json.dumps(message).encode() + b"\0")


Open = Callable[[], Awaitable[tuple[DevTools, FakeBrowser]]]


@pytest.fixture
async def open_pair() -> AsyncIterator[Open]:
    opened: list[tuple[DevTools, FakeBrowser]] = []

    async def open_one() -> tuple[DevTools, FakeBrowser]:
        ours, theirs = socket.socketpair()
        browser = FakeBrowser(*await asyncio.open_connection(sock=theirs))
        opened.append((await connect(ours, {"Page.wanted"}), browser))
        return opened[-1]

    yield open_one
    for connection, browser in opened:
        await connection.close()
        browser.writer.close()


async def test_answers_find_their_commands_in_any_order(open_pair: Open) -> None:
    connection, browser = await open_pair()
    first = asyncio.create_task(connection.call("One", value=1))
    second = asyncio.create_task(connection.call("Two", "session"))
    questions = [await browser.asked(), await browser.asked()]
    assert questions[0] == {"id": 1, "method": "One", "params": {"value": 1}}
    assert questions[1] == {"id": 2, "method": "Two", "params": {}, "sessionId": "session"}
    browser.say({"id": 2, "result": {"is": "second"}})
    browser.say({"id": 1, "result": {"is": "first"}})
    assert (await first, await second) == ({"is": "first"}, {"is": "second"})


async def test_an_error_is_the_browsers_word(open_pair: Open) -> None:
    connection, browser = await open_pair()
    call = asyncio.create_task(connection.call("One"))
    await browser.asked()
    browser.say({"id": 1, "error": {"code": -32000, "message": "no such target"}})
    with pytest.raises(CommandRefused, match="no such target"):
        await call


async def test_wanted_events_come_in_order_and_others_not(open_pair: Open) -> None:
    connection, browser = await open_pair()
    browser.say({"method": "Page.other", "params": {}})
    browser.say({"id": 99, "result": {}})
    browser.say({"method": "Page.wanted", "params": {"number": 1}, "sessionId": "S"})
    browser.say({"method": "Page.wanted"})
    first, second = await connection.next_event(), await connection.next_event()
    assert (first.parameters, first.session) == ({"number": 1}, "S")
    assert (second.parameters, second.session) == ({}, "")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"no json\0", "not the DevTools protocol"),
        (b"[]\0", "not the DevTools protocol"),
        (b'{"id": {}}\0', "not the DevTools protocol"),
        (b'{"id": 1, "error": "secret"}\0', "not the DevTools protocol"),
        (b"[" * 100_000 + b"\0", "not the DevTools protocol"),
        (b"\xff\0", "not the DevTools protocol"),
        (b"x" * 5000, "not the DevTools protocol"),
        (b'{"half": ', "has ended"),
        (b"", "has ended"),
    ],
)
async def test_whatever_it_says_nothing_waits_for_ever(
    open_pair: Open, monkeypatch: pytest.MonkeyPatch, said: bytes, reason: str
) -> None:
    monkeypatch.setattr(devtools, "MAX_MESSAGE_BYTES", 1000 if said.startswith(b"x") else 1 << 20)
    connection, browser = await open_pair()
    call = asyncio.create_task(connection.call("One"))
    await browser.asked()
    browser.writer.write(said)
    if reason == "has ended":
        browser.writer.close()
    for waiting in (call, connection.next_event(), connection.next_event(), connection.call("Two")):
        with pytest.raises(BrowserGone, match=reason) as caught:
            await asyncio.wait_for(waiting, 10)
        assert "secret" not in str(caught.value)


async def test_more_events_than_anybody_can_need(open_pair: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devtools, "MAX_WAITING_EVENTS", 10)
    connection, browser = await open_pair()
    call = asyncio.create_task(connection.call("One"))
    for _ in range(11):
        browser.say({"method": "Page.wanted"})
    with pytest.raises(BrowserGone, match="load again and again"):
        await asyncio.wait_for(call, 10)


async def test_a_command_that_is_given_up_leaves_nothing(open_pair: Open) -> None:
    connection, browser = await open_pair()
    call = asyncio.create_task(connection.call("One"))
    await browser.asked()
    call.cancel()
    await asyncio.wait([call])
    browser.say({"id": 1, "result": {}})
    browser.say({"method": "Page.wanted"})
    await connection.next_event()
