"""What came of each case, as a Markdown table in a document."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

BEGIN, END = "<!-- fault table: begin -->", "<!-- fault table: end -->"


class Results:
    """Rows are faults, columns what was going on; both in the order in which they were first met."""

    def __init__(self) -> None:
        self._times: defaultdict[tuple[str, str], defaultdict[str, list[float]]] = defaultdict(
            lambda: defaultdict(list)
        )

    def note(self, fault: str, operation: str, outcome: str, seconds: float) -> None:
        """One case ended so, after so long."""
        self._times[fault, operation][outcome].append(seconds)

    def table(self) -> str:
        """The table; where a case was tried more than once, equal outcomes are counted, with the shortest and longest time."""
        if not self._times:
            raise ValueError("nothing was tried")
        faults = list(dict.fromkeys(fault for fault, _ in self._times))
        operations = list(dict.fromkeys(operation for _, operation in self._times))
        lines = [f"| | {' | '.join(operations)} |", "|---" * (len(operations) + 1) + "|"]
        for fault in faults:
            cells = (self._cell(fault, operation) for operation in operations)
            lines.append(f"| {fault} | {' | '.join(cells)} |")
        return "\n".join(lines)

    def write_into(self, document: Path) -> None:
        """Replace what stands between the two marks; ValueError if they are missing."""
        head, begin, rest = document.read_text().partition(BEGIN)
        _, end, tail = rest.partition(END)
        if not (begin and end):
            raise ValueError(f"{document} has no {BEGIN} and {END}")
        document.write_text(f"{head}{begin}\n{self.table()}\n{end}{tail}")

    def _cell(self, fault: str, operation: str) -> str:
        outcomes = self._times.get((fault, operation), {})
        alone = sum(map(len, outcomes.values())) == 1
        return "; ".join(
            f"{'' if alone else f'{len(times)} '}{outcome}, {_range(times)} s" for outcome, times in outcomes.items()
        )


def _range(times: list[float]) -> str:
    least, most = f"{min(times):.1f}", f"{max(times):.1f}"
    return least if least == most else f"{least} - {most}"
