"""A neutral login form: what a gateway asks, for any front end to fill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class FieldType(StrEnum):
    """How a front end has to treat a field."""

    TEXT = "text"
    PASSWORD = "password"  # noqa: S105  a type of field, not a secret
    SELECT = "select"
    HIDDEN = "hidden"


@dataclass(frozen=True, slots=True)
class Option:
    """One choice of a SELECT field: `value` is sent, `label` is shown."""

    value: str
    label: str


@dataclass(frozen=True, slots=True)
class Field:
    """One thing that is asked. `value` is the gateway's preset (HIDDEN: what goes back as it is).

    `repeat`: the password before it once more, which is compared and never sent.
    """

    name: str
    type: FieldType
    label: str
    value: str = field(default="", repr=False)
    options: tuple[Option, ...] = ()
    second_factor: bool = False
    repeat: bool = False


@dataclass(frozen=True, slots=True)
class Form:
    """A form as the gateway sent it. `error` is the gateway's word on the previous try, "" on the first."""

    id: str
    title: str = ""
    message: str = ""
    error: str = ""
    fields: tuple[Field, ...] = ()


BANNER = "banner"
"""The id of the form that asks whether a gateway's banner is accepted."""
_ACCEPT = "accept"


def acceptance_of(banner: str) -> Form:
    """The question whether the user accepts a banner."""
    options = (Option(_ACCEPT, "Accept"), Option("decline", "Decline"))
    field = Field(_ACCEPT, FieldType.SELECT, "Accept and go on?", options=options)
    return Form(BANNER, message=banner, fields=(field,))


def is_accepted(answers: Answers) -> bool:
    """Whether the answer to `acceptance_of` is yes."""
    return answers.values.get(_ACCEPT) == _ACCEPT


@dataclass(frozen=True, slots=True)
class Answers:
    """Field name to value. Never printed: it holds passwords."""

    values: Mapping[str, str] = field(repr=False)
