"""A connection to a browser by the Chrome DevTools Protocol: JSON messages over a pipe, each ended by a NUL.

The commands and events are described at https://chromedevtools.github.io/devtools-protocol/; `--remote-debugging-pipe` is
what makes Chromium speak it over its file descriptors 3 and 4, so that no port is open for anybody else.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from anyike.errors import LoginFailed

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
"""Implementation limit: an event holds at most a few addresses, of at most 2 MiB each in Chromium."""
MAX_WAITING_EVENTS = 1000
"""Implementation limit: a page that loads that often while one answer is awaited does nothing else."""


class BrowserGone(LoginFailed):
    """The browser has ended, was closed, or says things that are not the protocol."""


class CommandRefused(LoginFailed):
    """The browser answered a command with an error."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, in the browser itself (session "") or in a page."""

    method: str
    parameters: dict[str, Any] = field(repr=False)
    session: str


class DevTools:
    """The connection: commands with their answers, and the events of the wanted kinds in order.

    Args:
        reader, writer: the pipe.
        wanted: the methods of the events to keep; all others are dropped.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wanted: Collection[str]) -> None:
        self._reader = reader
        self._writer = writer
        self._wanted = frozenset(wanted)
        self._numbers = count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._gone: str | None = None
        self._receiver = asyncio.create_task(self._receive())

    async def call(self, method: str, session: str = "", **parameters: object) -> dict[str, Any]:
        """Send a command and wait for its result.

        Raises:
            BrowserGone: there will be no answer.
            CommandRefused: the answer is an error.
        """
        if self._gone is not None:
            raise BrowserGone(self._gone)
        number = next(self._numbers)
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        message: dict[str, object] = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        self._answers[number] = answer
        try:
            self._writer.write(json.dumps(message).encode() + b"\0")
            await self._writer.drain()
            return await answer
        except ConnectionError:
            raise BrowserGone("The browser has ended.") from None
        finally:
            del self._answers[number]

    async def next_event(self) -> Event:
        """The next event. BrowserGone when there will be none."""
        event = await self._events.get()
        if event is None:
            self._events.put_nowait(None)
            raise BrowserGone(self._gone or "The browser has ended.")
        return event

    async def close(self) -> None:
        """Let go of the pipe, by which the browser ends as well."""
        self._receiver.cancel()
        await asyncio.wait([self._receiver])
        self._writer.close()

    async def _receive(self) -> None:
        try:
            while True:
                self._take(await self._reader.readuntil(b"\0"))
        except (asyncio.IncompleteReadError, ConnectionError):
            self._end("The browser has ended.")
        except (asyncio.LimitOverrunError, ValueError, TypeError, AttributeError, RecursionError):
            # Whatever the message was, it may have held a page's secrets: it is not repeated.
            self._end("The browser says something that is not the DevTools protocol.")
        except asyncio.QueueFull:
            self._end("The page in the browser does nothing but load again and again.")

    def _take(self, data: bytes) -> None:
        message = json.loads(data[:-1])
        answer = self._answers.get(message.get("id"))
        if answer is not None and not answer.done():
            if "error" in message:
                answer.set_exception(
                    CommandRefused(f"The browser refused a command: {message['error'].get('message')}")
                )
            else:
                answer.set_result(message.get("result", {}))
        elif message.get("method") in self._wanted:
            if self._events.qsize() >= MAX_WAITING_EVENTS:
                raise asyncio.QueueFull
            self._events.put_nowait(Event(message["method"], message.get("params", {}), message.get("sessionId", "")))

    def _end(self, reason: str) -> None:
        self._gone = reason
        self._events.put_nowait(None)
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(BrowserGone(reason))


async def connect(pipe: socket.socket, wanted: Collection[str]) -> DevTools:
    """Speak over our end of a socket pair."""
    reader, writer = await asyncio.open_connection(sock=pipe, limit=MAX_MESSAGE_BYTES)
    return DevTools(reader, writer, wanted)
