"""All scenarios by their names."""

from __future__ import annotations

from tests.scenarios import certificates, challenges, demands, passwords

SCENARIOS = {
    scenario.name: scenario for part in (passwords, challenges, certificates, demands) for scenario in part.ALL
}
