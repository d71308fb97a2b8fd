"""One-time codes of a software token, each of them given once only: TOTP (RFC 6238) and HOTP (RFC 4226)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from anyike import paths
from anyike.errors import LoginFailed
from anyike.login.secret_source import SecretSource
from anyike.login.token_secret import MAX_COUNTER, TokenMode, TokenSecret, parse_token_secret
from anyike.login.used_codes import UsedCodes

_MAX_WAITS = 5
"""Implementation limit: as many other logins with the same token may each take the code that we waited for."""
_MARGIN = 0.1
"""Seconds beyond the end of a time step, so that no rounding wakes us before it."""


class OneTimeCodes(Protocol):
    """A token."""

    async def next_code(self) -> str:
        """A code that was never given before. AnyikeError says why there is none."""


class TokenCodes:
    """The codes of a token whose secret is on this machine.

    Which one was used last is kept under the token's identity, not the profile's: two profiles may share a token.

    Args:
        source: where the secret is; read at the first code, once.
        mode: what the token counts.
        tell: shows the user why they wait.
        directory: where it is kept what was used.
        clock: seconds since 1970.
        sleep: waits for seconds.
    """

    def __init__(
        self,
        source: SecretSource,
        mode: TokenMode,
        tell: Callable[[str], None],
        *,
        directory: Path = paths.STATE,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._source = source
        self._mode = mode
        self._tell = tell
        self._directory = directory
        self._clock = clock
        self._sleep = sleep
        self._secret: TokenSecret | None = None

    async def next_code(self) -> str:
        """A code that was never given before, by this process or another; it counts as used from now on.

        Raises:
            LoginFailed: the secret cannot be read or understood, or the clock is wrong.
            HostSetupFailed, MissingPrivilege: it cannot be kept what was used.
        """
        if self._secret is None:
            self._secret = await self._read_secret()
        used = UsedCodes(self._directory, self._secret.identifier)
        if self._mode is TokenMode.HOTP:
            return self._secret.code(await self._next_counter(self._secret, used))
        return self._secret.code(await self._next_step(self._secret, used))

    async def _read_secret(self) -> TokenSecret:
        text = await self._source.read()
        try:
            return parse_token_secret(text, self._mode)
        except ValueError as error:
            raise LoginFailed(f"{self._source.name}: {error}") from None

    async def _next_counter(self, secret: TokenSecret, used: UsedCodes) -> int:
        async with used.locked():
            last = used.last()
            counter = secret.counter if last is None else last + 1
            if counter > MAX_COUNTER:
                raise LoginFailed(
                    f"{self._source.name}: the token's counter has come to its end: it needs a new secret"
                )
            used.store(counter)
            return counter

    async def _next_step(self, secret: TokenSecret, used: UsedCodes) -> int:
        waits = 0
        while True:
            async with used.locked():
                last = used.last()
                step = int(self._clock() // secret.period)
                if last is None or step > last:
                    used.store(step)
                    return step
            if waits == _MAX_WAITS:
                raise LoginFailed(
                    f"{self._source.name}: other logins used the token's code {waits} times while this one waited for a new "
                    "one. Try again when they are over"
                )
            await self._wait_for(last + 1, secret.period, used.path)
            waits += 1

    async def _wait_for(self, step: int, period: int, path: Path) -> None:
        wait = step * period - self._clock() + _MARGIN
        if wait > 2 * period:
            raise LoginFailed(
                f"{self._source.name}: the token's last code was used {wait - period:.0f} seconds in the future, going by this "
                f"machine's clock. Set the clock; if it was wrong at that time, remove {path}"
            )
        self._tell(
            f"The token's code of these {period} seconds has been used: waiting {max(1, round(wait))} s for the next one"
        )
        await self._sleep(max(wait, _MARGIN))
