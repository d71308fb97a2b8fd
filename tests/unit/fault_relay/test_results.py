"""The table of what came of the faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration_faults.results import BEGIN, END, Results


@pytest.fixture
def results() -> Results:
    results = Results()
    results.note("nothing", "handshake", "up", 0.3)
    results.note("50 % lost", "handshake", "up", 8.04)
    results.note("50 % lost", "handshake", "gave up (status 7)", 49.0)
    results.note("50 % lost", "handshake", "up", 3.21)
    results.note("50 % lost", "log-off", "ended", 0.0)
    return results


def test_the_table(results: Results) -> None:
    assert results.table().splitlines() == [
        "| | handshake | log-off |",
        "|---|---|---|",
        "| nothing | up, 0.3 s |  |",
        "| 50 % lost | 2 up, 3.2 - 8.0 s; 1 gave up (status 7), 49.0 s | ended, 0.0 s |",
    ]


def test_it_replaces_the_one_in_a_document(results: Results, tmp_path: Path) -> None:
    document = tmp_path / "document.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    results.write_into(document)
    assert document.read_text() == f"before\n{BEGIN}\n{results.table()}\n{END}\nafter\n"


def test_a_document_without_a_place_for_it_is_left_alone(results: Results, tmp_path: Path) -> None:
    document = tmp_path / "document.md"
    document.write_text("text\n")
    with pytest.raises(ValueError, match="has no"):
        results.write_into(document)
    assert document.read_text() == "text\n"


def test_without_results_nothing_is_written(tmp_path: Path) -> None:
    document = tmp_path / "document.md"
    document.write_text(f"{BEGIN}\nold\n{END}\n")
    with pytest.raises(ValueError, match="nothing was tried"):
        Results().write_into(document)
    assert "old" in document.read_text()
