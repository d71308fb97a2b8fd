"""Logging: lines on standard error beside the stages, or in the system's log once there is no terminal."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from anyike.text import printable

_SYSLOG = Path("/dev/log")


class _Formatter(logging.Formatter):
    """Lines that no foreign text can disguise or drive the terminal with."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, made harmless."""
        return printable(super().format(record))


def configure(verbosity: int) -> None:
    """Log to standard error: -1 errors only, 0 warnings, 1 what happens, 2 everything."""
    _use(logging.StreamHandler(), "%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s: %(message)s")
    level = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}.get(verbosity, logging.DEBUG)
    logging.getLogger("anyike").setLevel(level)


def move_to_syslog() -> None:
    """Go on in the system's log, which outlives the terminal; without one, log nothing."""
    from logging.handlers import SysLogHandler  # noqa: PLC0415  only the background needs it, and it loads a lot

    if _SYSLOG.exists():
        _use(
            SysLogHandler(str(_SYSLOG), "daemon"),
            f"anyike[{os.getpid()}]: %(levelname)s %(name)s: %(message)s",
        )
    else:
        _use(logging.NullHandler(), "%(message)s")


def _use(handler: logging.Handler, line: str) -> None:
    handler.setFormatter(_Formatter(line, "%H:%M:%S"))
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old.formatter, _Formatter)]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
