"""A pseudo-terminal with a scripted person in front of it."""

import asyncio
import os
import termios
from collections.abc import Iterator
from contextlib import contextmanager

from anyike.prompt import Console

WAIT = 10


class Person:
    """Sees what the terminal shows and types."""

    def __init__(self, master: int, terminal: int) -> None:
        self.terminal = terminal
        self.console = Console(terminal, terminal)
        self.seen = ""
        self._master = master
        self._read = 0

    async def answer(self, prompt: str, typed: str) -> None:
        """Wait for a prompt that was not answered yet, and type."""
        async with asyncio.timeout(WAIT):
            while prompt not in self.seen[self._read :]:
                await self._look()
        self._read = self.seen.index(prompt, self._read) + len(prompt)
        os.write(self._master, typed.encode())

    async def sees(self, text: str) -> None:
        await self.answer(text, "")

    def look(self) -> str:
        """Everything shown so far."""
        os.set_blocking(self._master, False)
        try:
            while data := os.read(self._master, 4096):
                self.seen += data.decode()
        except BlockingIOError:
            pass
        return self.seen

    @property
    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self.terminal)[3] & termios.ECHO)

    async def _look(self) -> None:
        readable = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._master, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(self._master)
        self.seen += os.read(self._master, 4096).decode()


@contextmanager
def person_at_a_terminal() -> Iterator[Person]:
    master, terminal = os.openpty()
    try:
        yield Person(master, terminal)
    finally:
        os.close(master)
        os.close(terminal)
