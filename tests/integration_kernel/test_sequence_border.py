"""The kernel's ESP and ours agree on extended sequence numbers before, at and after a multiple of 2^32."""

from __future__ import annotations

import pytest

from tests.integration_kernel.sequence_border import HIGH_HALVES, PINGS, SUITES


@pytest.mark.parametrize("high", HIGH_HALVES)
@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_every_ping_comes_back_across_the_border(borders: dict[str, list[int]], suite, high: int) -> None:
    assert borders[f"{suite.name} {high}"] == list(range(PINGS))
