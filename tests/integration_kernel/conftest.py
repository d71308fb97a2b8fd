"""One run of User-Mode Linux for all tests here; if it does not start or end, they fail with the reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration_kernel.uml import UmlError, boot, console_of

HERE = Path(__file__).resolve().parent
Seen = dict[str, dict[str, object]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs the gateway's image, which may have to be made first."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.container)
            item.add_marker(pytest.mark.timeout(900, func_only=False))


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with what `observe.py` saw."""
    directory = tmp_path_factory.mktemp("uml")
    boot(directory)
    if not (directory / "results.json").exists():
        raise UmlError(f"no results; the logs are in {directory}\n{console_of(directory)}")
    return directory


@pytest.fixture(scope="session")
def seen(results: Path) -> Seen:
    """By ESP proposal: the fields of an Observation."""
    return json.loads((results / "results.json").read_text())


@pytest.fixture(scope="session")
def borders(results: Path) -> dict[str, list[int]]:
    """By algorithms and high half: the pings that came back."""
    return json.loads((results / "borders.json").read_text())
