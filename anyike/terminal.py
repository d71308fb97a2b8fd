"""The user interface of a terminal: what happens, on standard output."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TextIO

from anyike.text import printable, printable_line
from anyike.ui import Stage, TunnelSummary

SHOWN_ENTRIES = 12
"""Of one kind (routes above all) in the summary; -v shows all."""

_LABEL_WIDTH = max(len(stage) for stage in Stage)
_BOLD, _GREEN, _YELLOW, _PLAIN = "\x1b[1m", "\x1b[32m", "\x1b[33m", "\x1b[0m"


class Terminal:
    """A `UserInterface` for people and for scripts.

    Args:
        verbosity: -1 shows nothing but questions and errors, 1 adds times and long lists.
        on_established: called when the tunnel is up and that was shown.
        output: where it happens; None is standard output.
    """

    def __init__(
        self,
        verbosity: int = 0,
        on_established: Callable[[], None] = lambda: None,
        output: TextIO | None = None,
    ) -> None:
        self._verbosity = verbosity
        self._on_established = on_established
        self._output = sys.stdout if output is None else output
        self._colour = _wants_colour(self._output)
        self._started = time.monotonic()

    def stage(self, stage: Stage, detail: str) -> None:
        """One line for each step."""
        elapsed = f"{time.monotonic() - self._started:7.3f} s  " if self._verbosity > 0 else ""
        self._show(f"{elapsed}{self._styled(f'{stage:<{_LABEL_WIDTH}}', _BOLD)}  {printable_line(detail)}")

    def notice(self, text: str) -> None:
        """The gateway's words, set apart."""
        self._show("\n".join(f"  | {line}" for line in printable(text).strip("\n").split("\n")))

    def tell(self, text: str) -> None:
        """What the user has to know or do now: shown even where little is."""
        self._print(printable(text))

    def warning(self, text: str) -> None:
        """One line."""
        self._show(self._styled(f"warning: {printable_line(text)}", _YELLOW))

    def established(self, summary: TunnelSummary) -> None:
        """The table of what came of it."""
        rows: tuple[tuple[str, Iterable[str]], ...] = (
            ("addresses", summary.addresses),
            ("DNS", summary.dns),
            ("domains", summary.domains),
            ("routes", summary.routes),
            ("not routed", summary.excluded),
            ("MTU", (str(summary.mtu),)),
            ("IKE SA", (summary.ike_algorithms,)),
            ("CHILD_SA", (summary.esp_algorithms,)),
            ("lifetimes", summary.lifetimes),
        )
        headline = f"{printable_line(summary.interface)} is up, to {printable_line(summary.gateway)}"
        self._show(self._styled(headline, _GREEN + _BOLD))
        for label, entries in rows:
            for number, entry in enumerate(self._shortened([entry for entry in entries if entry])):
                self._show(f"  {label if number == 0 else '':<10}  {printable_line(entry)}")
        self._on_established()

    def ended(self, reason: str) -> None:
        """The last line."""
        self._show(printable_line(reason))

    def _shortened(self, entries: list[str]) -> list[str]:
        if self._verbosity > 0 or len(entries) <= SHOWN_ENTRIES:
            return entries
        return [*entries[: SHOWN_ENTRIES - 1], f"and {len(entries) - SHOWN_ENTRIES + 1} more (-v shows all)"]

    def _styled(self, text: str, style: str) -> str:
        return f"{style}{text}{_PLAIN}" if self._colour else text

    def _show(self, text: str) -> None:
        if self._verbosity >= 0:
            self._print(text)

    def _print(self, text: str) -> None:
        try:
            print(text, file=self._output, flush=True)
        except OSError:
            self._show_nothing_more()

    def _show_nothing_more(self) -> None:
        """The reader went away (a closed terminal, `| head`), which is no reason to end a tunnel, nor to fail at the end."""
        self._verbosity = -1
        with suppress(OSError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._output.fileno())
            os.close(null)


def _wants_colour(output: TextIO) -> bool:
    return output.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
