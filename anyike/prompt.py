"""Lines from a terminal or a pipe without holding up the event loop, with echo or without."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress

MAX_LINE_BYTES = 64 * 1024
"""Implementation limit: no answer is longer than one EAP packet."""
_CHUNK = 4096
_STANDARD_ERROR = 2


class Console:
    """A terminal to ask on. Questions may be cancelled; the terminal's settings are put back in every case."""

    def __init__(self, read_from: int, write_to: int) -> None:
        self._read_from = read_from
        self._write_to = write_to

    def write(self, text: str) -> None:
        """Show a text; the caller has made it harmless. A terminal that is gone shows nothing: the next answer tells."""
        remaining = text.encode(errors="replace")
        with suppress(OSError):
            while remaining:
                remaining = remaining[os.write(self._write_to, remaining) :]

    def close(self) -> None:
        """Let go of the terminal, unless it is one of the standard files, which are not ours."""
        if self._read_from > _STANDARD_ERROR:
            os.close(self._read_from)

    async def ask(self, prompt: str, *, secret: bool = False) -> str:
        """One line in answer to the prompt; what is typed stays invisible if `secret`. EOFError at the end of input."""
        if not secret:
            self.write(prompt)
            return await self._next_line()
        with _echo_off(self._read_from):
            self.write(prompt)
            try:
                return await self._next_line()
            finally:
                self.write("\n")

    async def _next_line(self) -> str:
        # A new reader for each answer: what came with the last one, before this question, is no answer to it.
        return await LineReader(self._read_from).read_line()


def open_console() -> Console | None:
    """The controlling terminal, whatever standard input and output are; else standard input if it is one; else None."""
    try:
        descriptor = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        interactive = os.isatty(sys.__stdin__.fileno()) if sys.__stdin__ is not None else False
        return Console(0, 2) if interactive else None
    return Console(descriptor, descriptor)


class LineReader:
    """Lines from a descriptor; of several that arrive at once, the later ones wait here."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._received = bytearray()

    async def read_line(self) -> str:
        """The next line, without its end.

        Raises:
            EOFError: there is none, or the terminal is gone.
            ValueError: it is no UTF-8, or too long.
        """
        while b"\n" not in self._received:
            await _readable(self._descriptor)
            try:
                chunk = os.read(self._descriptor, _CHUNK)
            except OSError:
                raise EOFError from None
            if not chunk and not self._received:
                raise EOFError
            if not chunk:
                break
            self._received += chunk
            if len(self._received) > MAX_LINE_BYTES:
                raise ValueError(f"the line has more than {MAX_LINE_BYTES} bytes")
        line, _, self._received = self._received.partition(b"\n")
        return line.removesuffix(b"\r").decode()

    async def read_secret_line(self) -> str:
        """The same, without echo should it be a terminal after all."""
        if not os.isatty(self._descriptor):
            return await self.read_line()
        with _echo_off(self._descriptor):
            return await self.read_line()


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(descriptor, ready.set)
    except OSError:
        return  # a regular file, which epoll refuses because it never makes anybody wait; or closed, as the reader will see
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)


@contextmanager
def _echo_off(descriptor: int) -> Iterator[None]:
    """EOFError when the terminal is gone; when it goes meanwhile, there is nothing to put back."""
    # TCSAFLUSH both times: what was typed while it was visible is no password, and half a password must not reach the shell.
    try:
        before = termios.tcgetattr(descriptor)
        silent = termios.tcgetattr(descriptor)
        silent[3] &= ~termios.ECHO
        termios.tcsetattr(descriptor, termios.TCSAFLUSH, silent)
    except termios.error:
        raise EOFError from None
    try:
        yield
    finally:
        with suppress(termios.error):
            termios.tcsetattr(descriptor, termios.TCSAFLUSH, before)
