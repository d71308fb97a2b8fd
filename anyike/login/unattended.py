"""The user while nobody is to be asked: their programs cannot pop up a question on a desktop or a terminal."""

from __future__ import annotations

from dataclasses import dataclass

from anyike.invoking_user import InvokingUser

_WAYS_TO_ASK = frozenset({"DISPLAY", "WAYLAND_DISPLAY", "GPG_TTY"})
"""Where pinentry and its like look for somebody. An agent that runs already may know a way of its own."""


@dataclass(frozen=True, slots=True)
class UnattendedUser(InvokingUser):
    """The same user, whose programs see neither a display nor a terminal."""

    def environment(self) -> dict[str, str]:
        """What the user's programs see otherwise, without the ways to ask."""
        # Not super(): a dataclass with slots is made anew after its methods, which would still hold the first one.
        seen = InvokingUser.environment(self)
        return {name: value for name, value in seen.items() if name not in _WAYS_TO_ASK}


def unattended(user: InvokingUser) -> UnattendedUser:
    """The user as one who cannot be asked."""
    return UnattendedUser(user.uid, user.name, user.gid, user.home, user.shell)
