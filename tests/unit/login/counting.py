"""A source of a secret that counts how often it is read."""

from __future__ import annotations

from dataclasses import dataclass

from anyike.errors import LoginFailed


@dataclass
class Source:
    """`secret` None: it fails."""

    name: str
    secret: str | None = "hunter2"
    reads: int = 0

    async def read(self) -> str:
        self.reads += 1
        if self.secret is None:
            raise LoginFailed(f"{self.name}: the safe is locked")
        return self.secret
