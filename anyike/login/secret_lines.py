"""Standard input as a source of secrets: the first one that is needed takes the first line, the next one the next."""

from __future__ import annotations

from anyike.errors import LoginFailed
from anyike.prompt import LineReader

STANDARD_INPUT_OPTION = "--passwd-on-stdin"


class SecretLines:
    """Lines of a descriptor, each handed out once. A terminal there shows nothing of what is typed.

    A line is waited for as long as the other end stays open: a script closes it after the last secret.
    """

    def __init__(self, descriptor: int) -> None:
        self._reader = LineReader(descriptor)
        self._any = False

    async def next_line(self) -> str | None:
        """The next line without its end, None when there are no more.

        Raises:
            LoginFailed: there was no line at all, or what came is no line of text.
        """
        try:
            line = await self._reader.read_secret_line()
        except EOFError:
            if self._any:
                return None
            reason = "standard input ended before a password came"
        except ValueError:
            reason = "what came is no line of UTF-8 text"
        else:
            self._any = True
            return line
        # Not inside the handler: an undecodable line's own error holds the secret, and must not hang on this one.
        raise LoginFailed(f"{STANDARD_INPUT_OPTION}: {reason}")
