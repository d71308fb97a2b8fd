"""Standard input as a source of secrets: the first one that is needed takes the first line, the next one the next."""

from __future__ import annotations

import asyncio
import os

from anyike.errors import LoginFailed
from anyike.prompt import LineReader

STANDARD_INPUT_OPTION = "--passwd-on-stdin"
LINE_SECONDS = 60.0
"""Implementation limit, as for the other sources: a script may have to unlock something before it writes."""


class SecretLines:
    """Lines of a descriptor, each handed out once. A terminal there shows nothing of what is typed.

    A script closes it after the last secret: at an end that stays open a further line is waited for, and missed in the end.
    A person who types has all the time.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._reader = LineReader(descriptor)
        self._any = False

    async def next_line(self) -> str | None:
        """The next line without its end, None when there are no more.

        Raises:
            LoginFailed: there was no line at all or none in time, or what came is no line of text.
        """
        try:
            async with asyncio.timeout(None if os.isatty(self._descriptor) else LINE_SECONDS):
                line = await self._reader.read_secret_line()
        except EOFError:
            if self._any:
                return None
            reason = "standard input ended before a password came"
        except TimeoutError:
            reason = f"no line came within {LINE_SECONDS:g} seconds, and nobody closed it after the last one"
        except ValueError:
            reason = "what came is no line of UTF-8 text"
        else:
            self._any = True
            return line
        # Not inside the handler: an undecodable line's own error holds the secret, and must not hang on this one.
        raise LoginFailed(f"{STANDARD_INPUT_OPTION}: {reason}")
