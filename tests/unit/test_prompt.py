"""Terminals that vanish: to the login they are the end of the input."""

import asyncio
import os

import pytest

from anyike.eap.form import Field, FieldType, Form
from anyike.errors import LoginFailed
from anyike.login.form_filler import FormFiller
from anyike.prompt import Console, LineReader

WAIT = 10


@pytest.fixture
def terminal():
    """Master and terminal; the test closes the master."""
    master, terminal = os.openpty()
    yield master, terminal
    os.close(terminal)


@pytest.mark.parametrize("secret", [True, False])
async def test_a_terminal_that_is_gone_already(terminal, secret):
    os.close(terminal[0])
    with pytest.raises(EOFError):
        await Console(terminal[1], terminal[1]).ask("Password: ", secret=secret)


@pytest.mark.parametrize("secret", [True, False])
async def test_a_terminal_that_vanishes_during_the_question(terminal, secret):
    asking = asyncio.ensure_future(Console(terminal[1], terminal[1]).ask("Password: ", secret=secret))
    await asyncio.sleep(0)
    os.close(terminal[0])
    with pytest.raises(EOFError):
        await asyncio.wait_for(asking, WAIT)


async def test_the_login_says_that_the_input_ended(terminal):
    os.close(terminal[0])
    form = Form("f", message="hello", fields=(Field("password", FieldType.PASSWORD, "Password"),))
    with pytest.raises(LoginFailed, match="The input ended before an answer to 'Password'"):
        await FormFiller(console=Console(terminal[1], terminal[1])).fill(form)


@pytest.mark.parametrize("reader", [LineReader.read_line, LineReader.read_secret_line])
async def test_a_line_from_it(terminal, reader):
    os.close(terminal[0])
    with pytest.raises(EOFError):
        await reader(LineReader(terminal[1]))


def test_a_closed_console_lets_go_of_its_terminal_and_of_nothing_else():
    descriptor = os.open(os.devnull, os.O_RDWR)
    Console(descriptor, descriptor).close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    Console(0, 2).close()
    assert [os.fstat(standard) is not None for standard in (0, 2)] == [True, True]
