"""anyike installed as users have it: a wheel in an environment of its own, with byte-compiled code."""

from __future__ import annotations

import sys
from pathlib import Path

from peers import PROJECT, run


def install(directory: Path) -> Path:
    """Build a wheel of this tree and install it there, with the Python that runs this; the command `anyike`."""
    run([sys.executable, "-m", "venv", directory])
    run([directory / "bin/pip", "install", "--quiet", "--disable-pip-version-check", "--compile", PROJECT])
    return directory / "bin/anyike"


def dependencies(command: Path) -> str:
    """What the figures depend on: versions of Python and of the packages that start-up loads."""
    text = (
        "import platform; from importlib.metadata import version; "
        "print('Python', platform.python_version(), *(f'{n} {version(n)}' for n in ('cryptography', 'pydantic', 'pyroute2')))"
    )
    return run([command.with_name("python"), "-c", text]).stdout.strip()
