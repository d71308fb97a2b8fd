"""Text from a gateway, made safe to show on a terminal or in a log."""

from __future__ import annotations

import unicodedata

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

# Format characters without which Persian and Indic words are spelt wrong; the other ones (bidirectional overrides above
# all) can make a line read as something that it is not.
_JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"

# Unicode categories: controls (terminal escape sequences), format, surrogates, private use, line separators.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def printable(text: str) -> str:
    """`text` with U+FFFD for what could drive a terminal or disguise a line; newlines stay, tabs become spaces."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ")
    if lines.replace("\n", "").isprintable():  # nearly always; and far faster, should it be a form of 64 KiB
        return lines
    return "".join(_harmless(character) for character in lines)


def printable_line(text: str) -> str:
    """The same as one line: runs of white space become one space."""
    return " ".join(printable(text).split())


def _harmless(character: str) -> str:
    if character == "\n" or character in _JOINERS or unicodedata.category(character) not in _UNSAFE:
        return character
    return _REPLACEMENT
