"""What holds for all tests."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Whoever started the tests by sudo is no user of what they test.
for variable in ("SUDO_UID", "SUDO_GID", "SUDO_USER", "PKEXEC_UID", "DOAS_USER"):
    os.environ.pop(variable, None)

# A shared machine may be slow at any moment: how long an example takes says nothing about whether it is right.
settings.register_profile("anyike", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("anyike")
