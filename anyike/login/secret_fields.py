"""What a form wants with each of its passwords, as far as names and places tell (AnyConnect-EAP notes, section 5)."""

from __future__ import annotations

from enum import Enum, auto

from anyike.eap.form import Field, FieldType, Form

CHALLENGE = "challenge"
"""The id of a form that asks for a one-time code."""
_NEW = frozenset({"new_pin", "new_password"})
_SECOND = "secondary_password"


class Purpose(Enum):
    """What a password field is for."""

    FIRST_PASSWORD = auto()
    ONE_TIME_CODE = auto()
    NEW = auto()
    REPEAT = auto()
    OTHER = auto()


def purposes_of(form: Form) -> dict[str, Purpose]:
    """The purpose of every password by its field's name; a new password or PIN is what has such a name or a repeat."""
    found = {field.name: _by_itself(form, field) for field in form.fields if field.type is FieldType.PASSWORD}
    return found | dict.fromkeys(repeated_fields(form).values(), Purpose.NEW)


def repeated_fields(form: Form) -> dict[str, str]:
    """Name of a repeat to the name of what it repeats: the last password before it."""
    found = {}
    password = None
    for field in form.fields:
        if field.repeat:
            if password is not None:
                found[field.name] = password
        elif field.type is FieldType.PASSWORD:
            password = field.name
    return found


def _by_itself(form: Form, field: Field) -> Purpose:
    if field.repeat:
        return Purpose.REPEAT
    if field.name in _NEW:
        return Purpose.NEW
    if form.id == CHALLENGE or field.second_factor or field.name == _SECOND:
        return Purpose.ONE_TIME_CODE
    return Purpose.FIRST_PASSWORD if field.name == "password" else Purpose.OTHER
