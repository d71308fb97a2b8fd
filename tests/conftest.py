"""What holds for all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A shared machine may be slow at any moment: how long an example takes says nothing about whether it is right.
settings.register_profile("anyike", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("anyike")
