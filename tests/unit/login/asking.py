"""Somebody to ask for pass phrases and PINs."""

from __future__ import annotations


class Asked:
    """Stands in for KeySecrets: gives the answers one after the other, and keeps the prompts and what each was to open."""

    def __init__(self, *answers: str, attended: bool = True) -> None:
        self.attended = attended
        self._answers = list(answers)
        self.prompts: list[str] = []
        self.opens: list[str | None] = []

    async def ask(self, prompt: str, opens: str | None) -> str:
        self.prompts.append(prompt)
        self.opens.append(opens)
        return self._answers.pop(0)
