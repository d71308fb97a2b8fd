"""Settings as the text of a profile, and whether anyike would accept that text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path

import tomli_w

from anyike.config_file import load_settings
from anyike.errors import ConfigurationError
from anyike.profile_import.elements import LeftOut

_WIDTH = 120
_SOURCE = "setting"


def profile_text(title: str, settings: Mapping[str, Mapping[str, object]], left_out: Iterable[LeftOut]) -> str:
    """TOML, under comments that say where it comes from (`title`, one line) and what was not taken over."""
    lines = [_comment(title)]
    if notes := [_comment(f"- {note}", indent="  ") for note in left_out]:
        lines += ["#", _comment("Not taken over:"), *notes]
    return "\n".join(lines) + "\n\n" + tomli_w.dumps(settings)


def fault_of(settings: Mapping[str, Mapping[str, object]]) -> str | None:
    """Why anyike would refuse a profile with these settings, in one line; None when it would not."""
    try:
        load_settings(tomli_w.dumps(settings), _SOURCE, Path.cwd(), {})
    except ConfigurationError as error:
        return "; ".join(line.removeprefix(f"{_SOURCE}: ") for line in str(error).splitlines())
    return None


def _comment(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent="# ",
        subsequent_indent=f"# {indent}",
        break_long_words=False,
        break_on_hyphens=False,
    )
