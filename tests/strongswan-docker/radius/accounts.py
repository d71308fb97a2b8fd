"""Who may log in: the users of the test gateway, and what it remembers of them from one login to the next."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from radius.one_time import HOTP, TOTP, Token


@dataclass(frozen=True)
class User:
    """One user; what is empty is not asked.

    `codes` are asked one after the other. `second_name` and `second_password` are for a group with a second factor; a user
    with a token gives its code there, and in a challenge everywhere else.
    """

    password: str
    groups: tuple[str, ...] = ()
    """Where the user belongs; empty is everywhere."""
    locked: bool = False
    codes: tuple[str, ...] = ()
    token: Token | None = None
    second_name: str = ""
    second_password: str = ""
    has_pin: bool = False
    """The PIN is chosen at the first login and asked for at the others."""
    password_expired: bool = False
    """The password has to be changed at the first login."""


USERS = {
    "ada": User("secret", second_name="countess", second_password="analytical"),
    "grace": User("p<ss & w\u00f6rd", groups=("Lab",)),
    "alan": User("enigma", codes=("123456",)),
    "joan": User("crib", codes=("271828", "314159", "161803")),
    "hedy": User("frequency", token=Token(TOTP, "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"), second_name="hedwig"),
    "radia": User("spanning", token=Token(HOTP, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"), second_name="perlman"),
    "dorothy": User("bombe", has_pin=True),
    "edith": User("secret", password_expired=True),
    "mallory": User("secret", locked=True),
}


@dataclass
class Memory:
    """What logins have changed, by user; a new one knows nothing and everybody is as in USERS."""

    passwords: dict[str, str] = field(default_factory=dict)
    pins: dict[str, str] = field(default_factory=dict)
    unused_counters: dict[str, int] = field(default_factory=dict)
    """The first counter (HOTP) or time step (TOTP) whose code was not used."""

    def password(self, name: str) -> str:
        """The password in force, "" for an unknown user."""
        user = USERS.get(name)
        return self.passwords.get(name, user.password if user else "")

    def find(self, name: str, group: str, password: str) -> User | None:
        """The user, if the password is right and the user belongs to the group."""
        user = USERS.get(name)
        same = hmac.compare_digest(self.password(name).encode(), password.encode())
        return user if user and same and (not user.groups or group in user.groups) else None

    def use_code(self, name: str, code: str, now: float) -> str:
        """Take a code of the user's token: "right code", "wrong code" or "used code"."""
        user = USERS[name]
        unused = self.unused_counters.get(name, 0)
        counter = user.token.counter_of(code, unused, now) if user.token else None
        if counter is None:
            return "wrong code"
        if counter < unused:
            return "used code"
        self.unused_counters[name] = counter + 1
        return "right code"
