"""Text of a gateway cannot drive a terminal."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyike.text import printable, printable_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Password:", "Password:"),
        ("Grüße\r\nan\tAda\rund Grace", "Grüße\nan Ada\nund Grace"),
        ("\x1b[2J\x1b]0;owned\x07", "\ufffd[2J\ufffd]0;owned\ufffd"),
        ("\x9b31m", "\ufffd31m"),
        ("user\u202egnp.exe", "user\ufffdgnp.exe"),
        ("a\x00b\x7fc\u2028d", "a\ufffdb\ufffdc\ufffdd"),
        ("\u0645\u06cc\u200c\u062e\u0648", "\u0645\u06cc\u200c\u062e\u0648"),
    ],
)
def test_printable(text, shown):
    assert printable(text) == shown


def test_one_line():
    assert printable_line("  a\n b \t c\r\n") == "a b c"


@given(st.text())
def test_no_control_is_left(text):
    assert not [c for c in printable(text) if unicodedata.category(c) == "Cc" and c != "\n"]
    assert "\n" not in printable_line(text)
