"""The parts of the test gateway are modules of its own directory."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "strongswan-docker"))
