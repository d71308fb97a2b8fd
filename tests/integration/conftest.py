"""One gateway for all integration tests; without it they fail with the reason."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE))

from client import Client  # noqa: E402
from rig import Rig  # noqa: E402


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs the container; the first start may have to make its image."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.container)
            item.add_marker(pytest.mark.timeout(900, func_only=False))


@pytest.fixture(scope="session")
def running_rig() -> Iterator[Rig]:
    """The session's gateway, started once and removed at the end."""
    rig = Rig()
    try:
        rig.start()
        yield rig
    finally:
        rig.stop()


@pytest.fixture
def rig(running_rig: Rig) -> Rig:
    """The gateway in its default scenario, without any SA, its logs as if empty."""
    running_rig.configure()
    return running_rig


@pytest.fixture
def client(rig: Rig, tmp_path: Path) -> Iterator[Client]:
    """The client's side; nothing of it is left afterwards."""
    client = Client(rig, tmp_path)
    try:
        yield client
    finally:
        client.close()
