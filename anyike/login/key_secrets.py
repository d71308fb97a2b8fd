"""Pass phrases and PINs for one certificate's key: from the sources that are set for it, else from the user."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from anyike.login.secret_source import SecretSource


class KeySecrets:
    """What opens the files or the token of one certificate, and of no other.

    Args:
        sources: where it comes from without asking; each answers once for each thing that is to be opened, since a wrong PIN
            that is tried again locks a token.
        ask_user: asks for it; LoginFailed where there is nobody to ask.
        attended: whether somebody is there, who could also type at a reader's keypad.
    """

    def __init__(
        self, sources: Sequence[SecretSource], ask_user: Callable[[str], Awaitable[str]], *, attended: bool
    ) -> None:
        self.attended = attended
        self._sources = sources
        self._ask_user = ask_user
        self._offered: dict[str, int] = {}

    def from_sources(self, sources: Sequence[SecretSource]) -> KeySecrets:
        """The same with other sources."""
        return KeySecrets(sources, self._ask_user, attended=self.attended)

    async def ask(self, prompt: str, opens: str | None) -> str:
        """The next one to try for what is named by `opens`; None: nobody but the user may say it. LoginFailed."""
        if opens is not None:
            offered = self._offered.get(opens, 0)
            if offered < len(self._sources):
                self._offered[opens] = offered + 1
                return await self._sources[offered].read()
        return await self._ask_user(prompt)
