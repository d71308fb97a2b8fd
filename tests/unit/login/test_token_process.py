"""What comes of a program, in the place of the one that speaks to a PKCS#11 module, that answers or ends in strange ways."""

import os
import signal
import sys
from pathlib import Path

import pytest

from anyike.errors import LoginFailed
from anyike.invoking_user import InvokingUser
from anyike.login import token_process
from anyike.login.token_process import MAX_ANSWER_BYTES, TokenProcess

ME = InvokingUser(os.getuid(), "me", os.getgid(), Path("/"))


async def asked(statements: str) -> str:
    """Why a request of a program that does this failed."""
    process = await TokenProcess.start(
        "certificate.file", ME, [sys.executable, "-c", f"import os, sys\nsys.stdin.readline()\n{statements}"]
    )
    try:
        with pytest.raises(LoginFailed) as caught:
            await process.ask({"command": "open"}, 20)
    finally:
        await process.close()
    assert str(caught.value).startswith(
        "certificate.file: the program that speaks to the token's PKCS#11 module ended "
    )
    return str(caught.value)


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (signal.SIGKILL, "SIGKILL"),
        (signal.SIGRTMIN, "SIGRTMIN"),
        (signal.SIGRTMIN + 6, "40"),  # without a name
        (signal.SIGRTMAX, "SIGRTMAX"),
    ],
)
async def test_any_signal_ends_it(number, name):
    assert f"ended by the signal {name};" in await asked(f"os.kill(os.getpid(), {int(number)})")


@pytest.mark.parametrize("opening", ["[", '{"a":'])
async def test_an_answer_of_any_depth(opening, monkeypatch):
    monkeypatch.setattr(token_process, "CLOSE_SECONDS", 0.1)
    depth = MAX_ANSWER_BYTES // len(opening) - 1
    assert "the module may be faulty" in await asked(f"print({opening!r} * {depth}, flush=True)\nsys.stdin.read()")
