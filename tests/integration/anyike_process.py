"""One running `anyike`, as a user meets it: what it shows, what is typed, signals, and how it ends."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Sequence
from contextlib import suppress

LINE_LIMIT = 20.0
END_LIMIT = 15.0
UP, LAST_LINE = " is up, to ", ", in UDP\n"


class AnyikeProcessError(Exception):
    """anyike did not do in time what was waited for; the text holds its output."""


class AnyikeProcess:
    """One running command. Its output and errors are one text, as on a screen.

    With `terminal` it has a controlling terminal of its own, for questions; otherwise it has none, and pipes.
    Whoever starts one has to `close` it.
    """

    def __init__(self, command: Sequence[str], *, terminal: bool = False) -> None:
        self.output = ""
        self._answered = 0
        ours, theirs = pty.openpty() if terminal else (-1, subprocess.PIPE)
        self._process = subprocess.Popen(
            ["setsid", "--ctty", *command] if terminal else command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs if terminal else subprocess.STDOUT,
            start_new_session=not terminal,
            env={**os.environ, "NO_COLOR": "1"},
        )
        if terminal:
            os.close(theirs)
            self._reader = self._writer = ours
        else:
            self._reader, self._writer = self._process.stdout.fileno(), self._process.stdin.fileno()
        self._terminal = terminal
        self._closed = False

    def close(self) -> None:
        """End it if it still runs: politely, so that it undoes what it did, then not."""
        if self._closed:
            return
        self._closed = True
        if self.running:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(END_LIMIT)
        self._process.kill()
        self._process.wait()
        if self._terminal:
            os.close(self._reader)
        else:
            self._process.stdout.close()
            with suppress(BrokenPipeError):
                self._process.stdin.close()

    @property
    def pid(self) -> int:
        """Of anyike itself."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Has it not ended?"""
        return self._process.poll() is None

    def write(self, text: str) -> None:
        """Type it."""
        os.write(self._writer, text.encode())

    def end_input(self) -> None:
        """There is no more to come on its standard input, which is no terminal."""
        self._process.stdin.close()

    def wait_for(self, text: str, limit: float = LINE_LIMIT, *, after: int = 0) -> str:
        """Wait until it has shown a text, beyond the first `after` characters; all its output so far."""
        deadline = time.monotonic() + limit
        while text not in self.output[after:]:
            if not self._read(deadline):
                raise AnyikeProcessError(f"anyike did not show {text!r}, but:\n{self.output}")
        return self.output

    def stays_up(self, seconds: float) -> bool:
        """Does it run on for so long?"""
        deadline = time.monotonic() + seconds
        while self._read(deadline):
            pass
        return time.monotonic() >= deadline and self.running

    def wait_up(self) -> str:
        """Wait until the tunnel is up and all of its summary was shown."""
        self.wait_for(UP)
        return self.wait_for(LAST_LINE)

    def answer(self, prompt: str, text: str) -> None:
        """Wait for a prompt that comes after the last answer, and type the answer to it."""
        self.wait_for(prompt, after=self._answered)
        self._answered = self.output.index(prompt, self._answered) + len(prompt)
        self.write(f"{text}\n")

    @property
    def echoes(self) -> bool:
        """Does its terminal show what is typed?"""
        return bool(termios.tcgetattr(self._writer)[3] & termios.ECHO)

    def signal(self, number: int) -> None:
        """Send a signal to anyike."""
        self._process.send_signal(number)

    def end(self, number: int = 0, limit: float = LINE_LIMIT) -> int:
        """Send a signal, unless it is 0, and wait for the end; the exit status."""
        if number:
            self.signal(number)
        deadline = time.monotonic() + limit
        while self._read(deadline):
            pass
        try:
            return self._process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise AnyikeProcessError(f"anyike did not end, but showed:\n{self.output}") from None

    def _read(self, deadline: float) -> bool:
        """Take in what comes next; False at the end of the output, or of the time."""
        ready, _, _ = select.select([self._reader], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            chunk = os.read(self._reader, 65536)
        except OSError:  # a terminal whose other side was closed
            return False
        self.output += chunk.decode(errors="replace").replace("\r\n", "\n")
        return bool(chunk)
