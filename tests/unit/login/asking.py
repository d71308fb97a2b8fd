"""Somebody to ask for pass phrases and PINs."""

from __future__ import annotations


class Asked:
    """Gives the answers one after the other, and keeps the prompts."""

    def __init__(self, *answers: str) -> None:
        self._answers = list(answers)
        self.prompts: list[str] = []

    async def __call__(self, prompt: str) -> str:
        self.prompts.append(prompt)
        return self._answers.pop(0)
