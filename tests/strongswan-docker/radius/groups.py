"""The groups of the test gateway: what the login form of each asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from radius.forms import Input

USERNAME = Input("text", "username", "Username:")
PASSWORD = Input("password", "password", "Password:")


@dataclass(frozen=True)
class Group:
    """One group.

    `attributes` are those of its <option>, as over TLS, where one form may serve all groups. Here every group has a form of
    its own, and nobody needs them.
    """

    label: str = ""
    message: str = "Please enter your username and password."
    inputs: tuple[Input, ...] = (USERNAME, PASSWORD)
    attributes: tuple[tuple[str, str], ...] = ()


DEFAULT = "Staff"
GROUPS = {
    "Staff": Group(),
    "Lab": Group(),
    "Vault": Group(
        message="Please enter your username and password, and those of the vault.",
        inputs=(
            USERNAME,
            PASSWORD,
            Input("text", "secondary_username", "Vault username:", second=True),
            Input("password", "secondary_password", "Vault password:", second=True),
        ),
        attributes=(("second-auth", "1"),),
    ),
    "Kiosk": Group(message="Nobody is asked who they are here.", inputs=(), attributes=(("noaaa", "1"),)),
    "Workshop": Group(
        label="Workshop (badges & passcodes)",
        message="Please enter what is on your badge.",
        inputs=(Input("text", "badge", "Badge name:"), Input("password", "passcode", "Passcode:")),
        attributes=(("override-name", "passcode"), ("override-label", "Passcode:")),
    ),
}


def find(name: str, offered: Sequence[str]) -> Group | None:
    """The group of a name: one of GROUPS, or a plain one if it is offered."""
    return GROUPS.get(name) or (Group() if name in offered else None)


def choice(offered: Sequence[str], selected: str) -> str:
    """The <select> of the groups on offer."""
    options = "".join(_option(name, GROUPS.get(name, Group()), name == selected) for name in offered)
    return f'<select name="group_list" label="GROUP:">{options}</select>'


def _option(name: str, group: Group, selected: bool) -> str:
    attributes = [("selected", "true")] if selected else []
    attributes += [("value", name)] if group.label else []
    attributes += group.attributes
    written = "".join(f" {key}={quoteattr(value)}" for key, value in attributes)
    return f"<option{written}>{escape(group.label or name)}</option>"
