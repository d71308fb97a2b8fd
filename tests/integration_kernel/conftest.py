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
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """What `observe.py` saw, by ESP proposal: the fields of its Observation."""
    results = tmp_path_factory.mktemp("uml")
    boot(results)
    file = results / "results.json"
    if not file.exists():
        raise UmlError(f"no results; the logs are in {results}\n{console_of(results)}")
    return json.loads(file.read_text())
