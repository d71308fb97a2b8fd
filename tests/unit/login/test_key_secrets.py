"""Which secret is tried on what, and how often."""

from __future__ import annotations

import pytest

from anyike.errors import LoginFailed
from anyike.login.key_secrets import KeySecrets
from tests.unit.login.counting import Source

FILE, TOKEN = "/home/ada/ada.key", "Ada's card"


async def typed(prompt: str) -> str:
    return f"typed at {prompt}"


def secrets(*sources: Source) -> KeySecrets:
    return KeySecrets(sources, typed, attended=True)


async def test_each_source_answers_once_for_each_thing_and_then_the_user() -> None:
    command, credential = Source("a", "one"), Source("b", "two")
    asked = secrets(command, credential)
    for thing in (FILE, TOKEN):
        assert [await asked.ask("P: ", thing) for _ in range(4)] == ["one", "two", "typed at P: ", "typed at P: "]
    assert (command.reads, credential.reads) == (2, 2)


async def test_some_things_only_the_user_may_say() -> None:
    source = Source("a")
    assert await secrets(source).ask("P: ", None) == "typed at P: "
    assert source.reads == 0


async def test_a_source_that_fails_is_not_read_again() -> None:
    source = Source("a", None)
    asked = secrets(source)
    with pytest.raises(LoginFailed, match="the safe is locked"):
        await asked.ask("P: ", FILE)
    assert await asked.ask("P: ", FILE) == "typed at P: "


async def test_other_sources_for_the_same_user() -> None:
    other = KeySecrets([Source("a")], typed, attended=False).from_sources([Source("b", "two")])
    assert [await other.ask("P: ", FILE) for _ in range(2)] == ["two", "typed at P: "]
    assert other.attended is False
