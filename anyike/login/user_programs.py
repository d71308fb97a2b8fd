"""Programs of the user's: found where they would find them, and only those that they may run."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from anyike.invoking_user import InvokingUser, rights_of


def find_program(user: InvokingUser, names: Iterable[str]) -> Path | None:
    """The first of these programs that is on the user's PATH, or an absolute path itself, and executable for the user."""
    places = [place for place in user.environment().get("PATH", "").split(os.pathsep) if place.startswith("/")]
    with rights_of(user):
        for name in names:
            for place in places:
                candidate = Path(place, name)
                # The kernel's own answer, by the rights that rights_of() lends; shutil.which() asks for root's.
                if os.access(candidate, os.X_OK, effective_ids=True) and candidate.is_file():
                    return candidate
    return None
