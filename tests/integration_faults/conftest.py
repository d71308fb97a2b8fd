"""One gateway behind a fault relay for all tests here; what they find becomes a table."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE.parent / "integration")]

from client import Client  # noqa: E402
from fault_rig import FaultRig  # noqa: E402
from matrix import FULL  # noqa: E402
from results import Results  # noqa: E402

NAME = os.environ.get("ANYIKE_FAULTS_NAME", "faults")
"""Of the gateway, when several run at a time."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Everything here needs the container; the first start may have to make its image. What takes long runs when asked for."""
    ours = [item for item in items if HERE in item.path.parents]
    for item in ours:
        item.add_marker(pytest.mark.container)
        item.add_marker(pytest.mark.timeout(900, func_only=False))
    left_out = [item for item in ours if hasattr(item.function, "takes_long") and not FULL]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def running_fault_rig() -> Iterator[FaultRig]:
    """The session's gateway, started once and removed at the end."""
    rig = FaultRig(NAME)
    try:
        rig.start()
        yield rig
    finally:
        rig.stop()


@pytest.fixture
def rig(running_fault_rig: FaultRig) -> FaultRig:
    """The gateway in its default scenario, without any SA, its logs as if empty."""
    running_fault_rig.configure()
    return running_fault_rig


@pytest.fixture
def client(rig: FaultRig, tmp_path: Path) -> Iterator[Client]:
    """The client's side; nothing of it is left afterwards."""
    client = Client(rig, tmp_path)
    try:
        yield client
    finally:
        client.close()


@pytest.fixture(scope="session")
def results() -> Iterator[Results]:
    """What came of each case; ANYIKE_FAULTS_TABLE names the file whose table they become."""
    results = Results()
    yield results
    table = os.environ.get("ANYIKE_FAULTS_TABLE")
    if table:
        results.write_into(Path(table))
