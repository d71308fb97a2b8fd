"""INT, TERM and HUP while there is something to undo: an exception, never a sudden end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interruptible() -> Iterator[None]:
    """INT, TERM and HUP raise KeyboardInterrupt during the block: the first of them only, so that undoing is not cut short."""
    before = {number: signal.signal(number, _interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class InterruptibleLoop(asyncio.SelectorEventLoop):
    """An event loop that gives signals back to `interruptible`, where asyncio's own would let them kill the process."""

    def remove_signal_handler(self, sig: int) -> bool:
        """True when there was a handler."""
        removed = super().remove_signal_handler(sig)
        if removed and sig in _SIGNALS:
            signal.signal(sig, _interrupt)
        return removed


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
