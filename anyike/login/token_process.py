"""The other end of `token_program`: requests to a PKCS#11 module in a process that runs with the user's rights."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from collections.abc import Sequence
from typing import Any, Self

from anyike.errors import ConfigurationError, LoginFailed
from anyike.invoking_user import InvokingUser, end, start
from anyike.text import printable_line

MAX_ANSWER_BYTES = 2 * 1024 * 1024
"""Implementation limit: the most certificates of the greatest size that the program gives, in base64."""
MAX_SHOWN_ERRORS = 2000
CLOSE_SECONDS = 2.0
"""Implementation: time for the module to log out of the token."""
PROGRAM = (sys.executable, "-P", "-m", "anyike.login.token_program")
"""-P: a file in the current directory must not stand in for a library."""

logger = logging.getLogger(__name__)


class TokenRefused(LoginFailed):
    """The module or its token refused a request; `kind` is the program's word for why, `detail` what was said besides."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind
        self.detail = detail


class TokenProcess:
    """The program while it runs. One request at a time.

    Args:
        setting: the setting that names the token, for messages.
        process: the program, started.
    """

    def __init__(self, setting: str, process: asyncio.subprocess.Process) -> None:
        self._setting = setting
        self._process = process
        self._errors = bytearray()
        self._drain = asyncio.create_task(self._keep_errors())

    @classmethod
    async def start(cls, setting: str, user: InvokingUser, program: Sequence[str] = PROGRAM) -> Self:
        """Start the program as this user. ConfigurationError when that is impossible."""
        try:
            process = await start(user, program)
        except OSError as error:
            raise ConfigurationError(
                f"{setting}: {user.name}, with whose rights a token is used, cannot run {program[0]}: {error.strerror}. "
                "Install anyike where every user can read it"
            ) from None
        return cls(setting, process)

    async def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        """The answer to one request, which may take this long.

        Raises:
            TokenRefused: the module or the token says no.
            LoginFailed: the program hangs or is gone; it is ended.
        """
        try:
            async with asyncio.timeout(seconds):
                answer = dict(json.loads(await self._exchange(json.dumps(request).encode() + b"\n")))
        except TimeoutError:
            await self._kill()
            raise LoginFailed(
                f"{self._setting}: the token's PKCS#11 module did not answer within {seconds:.0f} seconds and was stopped; "
                "is the token plugged in, and does it wait for a touch?"
            ) from None
        except (TypeError, ValueError, RecursionError, OSError, EOFError):
            raise LoginFailed(await self._post_mortem()) from None
        if "error" in answer:
            raise TokenRefused(str(answer["error"]), printable_line(str(answer.get("message", ""))))
        return answer

    async def close(self) -> None:
        """End the program: by the end of its input, upon which it lets go of the token, or else by force."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._wait_a_little()
        await self._kill()

    async def _kill(self) -> None:
        await end(self._process)
        self._drain.cancel()
        await asyncio.gather(self._drain, return_exceptions=True)

    async def _wait_a_little(self) -> None:
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._process.wait()
        except TimeoutError:
            logger.debug("the token's program does not end by itself")

    async def _exchange(self, request: bytes) -> bytes:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(request)
        await self._process.stdin.drain()
        received = bytearray()
        while not received.endswith(b"\n"):
            chunk = await self._process.stdout.read(65_536)
            received += chunk
            if not chunk or len(received) > MAX_ANSWER_BYTES:
                raise EOFError
        return bytes(received)

    async def _keep_errors(self) -> None:
        """What the module writes to standard error, so that it never waits for us; the end of it is kept."""
        assert self._process.stderr is not None
        while chunk := await self._process.stderr.read(4096):
            self._errors += chunk
            del self._errors[:-MAX_SHOWN_ERRORS]

    async def _post_mortem(self) -> str:
        await self._wait_a_little()  # its own status says what happened
        status = self._process.returncode
        await self._kill()
        how = f"with status {status}"
        if status is None:
            how = "without a usable answer"
        elif status < 0:
            how = f"by the signal {_signal_name(-status)}"
        said = printable_line(self._errors.decode(errors="replace"))
        return (
            f"{self._setting}: the program that speaks to the token's PKCS#11 module ended {how}; the module may be faulty"
            + (f". It said: {said}" if said else "")
        )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal, of which only the first and the last have names
        return str(number)
