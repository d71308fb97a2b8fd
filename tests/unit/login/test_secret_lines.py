import asyncio
import os
import traceback

import pytest

from anyike.errors import LoginFailed
from anyike.login import secret_lines
from anyike.login.secret_lines import SecretLines
from tests.unit.pseudo_terminal import person_at_a_terminal


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)


async def all_lines(descriptor: int) -> list[str]:
    lines = SecretLines(descriptor)
    found = []
    while (line := await lines.next_line()) is not None:
        found.append(line)
    return found


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"one\ntwo\nthree\n", ["one", "two", "three"]),
        (b"one\r\ntwo", ["one", "two"]),
        (b" a b \n\n", [" a b ", ""]),
        ("gr\u00fc\u00df dich\n".encode(), ["gr\u00fc\u00df dich"]),
        (b"a" * 5000 + b"\n" + b"b" * 5000, ["a" * 5000, "b" * 5000]),
    ],
)
@pytest.mark.parametrize("kind", ["pipe", "file"])
async def test_each_line_once(tmp_path, pipe, data, lines, kind):
    if kind == "pipe":
        os.write(pipe[1], data)
        os.close(pipe[1])
        assert await all_lines(pipe[0]) == lines
    else:
        os.close(pipe[1])
        (tmp_path / "secrets").write_bytes(data)
        with (tmp_path / "secrets").open("rb") as file:
            assert await all_lines(file.fileno()) == lines


async def test_lines_that_arrive_in_pieces(pipe):
    lines = SecretLines(pipe[0])
    for pieces, line in (((b"on", b"e\ntw"), "one"), ((b"o", b"\n"), "two")):
        reading = asyncio.ensure_future(lines.next_line())
        for piece in pieces:
            await asyncio.sleep(0)
            os.write(pipe[1], piece)
        assert await reading == line
    os.close(pipe[1])
    assert await lines.next_line() is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "standard input ended before"), (b"hunter\xff2\n", "no line of UTF-8"), (b"x" * 65_537, "no line of")],
)
async def test_what_is_no_secret_fails_without_repeating_it(tmp_path, data, reason):
    (tmp_path / "secrets").write_bytes(data)
    with (tmp_path / "secrets").open("rb") as file, pytest.raises(LoginFailed, match=reason) as caught:
        await SecretLines(file.fileno()).next_line()
    assert "--passwd-on-stdin" in str(caught.value)
    shown = "".join(traceback.format_exception(caught.value))
    assert "hunter" not in shown
    assert "xxx" not in shown
    assert caught.value.__context__ is None


async def test_a_closed_descriptor_is_an_empty_one():
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)
    with pytest.raises(LoginFailed, match="standard input ended before"):
        await SecretLines(reader).next_line()


async def test_typed_at_a_terminal_they_stay_invisible():
    with person_at_a_terminal() as person:
        lines = SecretLines(person.terminal)
        for secret in ("hunter2", "swordfish"):
            reading = asyncio.ensure_future(lines.next_line())
            await asyncio.sleep(0)
            assert not person.echoes
            await person.answer("", f"{secret}\n")
            assert await reading == secret
            assert person.echoes
        assert not {"hunter2", "swordfish"} & set(person.look().split())


async def test_an_open_end_is_not_waited_for_without_end(pipe, monkeypatch):
    monkeypatch.setattr(secret_lines, "LINE_SECONDS", 0.05)
    lines = SecretLines(pipe[0])
    os.write(pipe[1], b"one\nhalf a line")
    assert await lines.next_line() == "one"
    with pytest.raises(LoginFailed, match=r"--passwd-on-stdin: no line came within 0\.05 seconds") as caught:
        await lines.next_line()
    assert "half" not in str(caught.value)
    os.close(pipe[1])


async def test_a_person_has_all_the_time(monkeypatch):
    monkeypatch.setattr(secret_lines, "LINE_SECONDS", 0.0)
    with person_at_a_terminal() as person:
        reading = asyncio.ensure_future(SecretLines(person.terminal).next_line())
        await asyncio.sleep(0.05)
        await person.answer("", "hunter2\n")
        assert await asyncio.wait_for(reading, 10) == "hunter2"


async def test_waiting_can_be_cancelled(pipe):
    lines = SecretLines(pipe[0])
    reading = asyncio.ensure_future(lines.next_line())
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    os.write(pipe[1], b"later\n")
    os.close(pipe[1])
    assert await lines.next_line() == "later"
