"""Who may log in: users, passwords and groups of the test gateway."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

GROUPS = ("Staff", "Lab")
DEFAULT_GROUP = GROUPS[0]


@dataclass(frozen=True)
class User:
    """One user; `code` is the one-time code of a second form, if the user has one."""

    password: str
    groups: tuple[str, ...] = GROUPS
    locked: bool = False
    code: str = ""


USERS = {
    "ada": User("secret"),
    "grace": User("p<ss & w\u00f6rd", groups=("Lab",)),
    "alan": User("enigma", code="123456"),
    "mallory": User("secret", locked=True),
}


def find(name: str, group: str, password: str) -> User | None:
    """The user, if the password is right and the user belongs to the group."""
    user = USERS.get(name)
    expected = user.password if user else ""
    same = hmac.compare_digest(expected.encode(), password.encode())
    return user if user and same and group in user.groups else None
