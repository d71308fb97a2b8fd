"""Measured values as cells of a Markdown table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def spread(values: Sequence[float], digits: str) -> str:
    """Median, least and most."""
    return f"{statistics.median(values):{digits}} [{min(values):{digits}} - {max(values):{digits}}]"


def comparison(label: str, ours: Sequence[float], theirs: Sequence[float], digits: str) -> str:
    """One row: anyike, charon, and the ratio of their medians."""
    ratio = statistics.median(ours) / statistics.median(theirs)
    return f"| {label} | {spread(ours, digits)} | {spread(theirs, digits)} | {ratio:.2f} |"
