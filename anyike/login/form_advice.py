"""The words for a form that nobody can fill: which field, by its name for settings, and the safe ways to answer it."""

from __future__ import annotations

from collections.abc import Sequence

from anyike.eap.form import Field, FieldType, Form
from anyike.login.form_entries import ANY_FORM, FormEntry, entry_name
from anyike.login.form_prompt import label_of, shortened
from anyike.login.secret_fields import Purpose, purposes_of
from anyike.login.secret_lines import STANDARD_INPUT_OPTION

NO_TERMINAL = "there is no terminal to ask on, or --non-inter was given"
_MAX_NAMED = 10
"""Fields or options that one message names."""


def missing(form: Form, fields: Sequence[Field]) -> str:
    """Nobody can be asked for these fields."""
    purposes = purposes_of(form)
    named = [
        f"{label_of(field)!r} ({_name(form, field)}, by {_ways(form, field, purposes.get(field.name))})"
        for field in fields[:_MAX_NAMED]
    ]
    return f"The gateway asks for {_list(named, len(fields))}, and {NO_TERMINAL}.{said(form)}"


def password_in_entry(form: Form, field: Field, entry: FormEntry) -> str:
    """A form entry names a password."""
    ways = _ways(form, field, purposes_of(form).get(field.name))
    return (
        f"{_entry(entry)}: the gateway asks for a password there, and command lines and profiles can be read by others."
        f" Give it by {ways} instead."
    )


def no_such_choice(field: Field, entry: FormEntry) -> str:
    """A form entry names an option that the gateway does not have."""
    return f"{_entry(entry)}: {shortened(entry.value)!r} is no choice; the gateway offers {_offers(field)}."


def said(form: Form) -> str:
    """The gateway's own words as the last sentence of a message; "" when it said nothing."""
    words = shortened(form.error or form.message)
    return f" The gateway says: {words}" if words else ""


def _ways(form: Form, field: Field, purpose: Purpose | None) -> str:
    if purpose is Purpose.FIRST_PASSWORD:
        others = "login.password_command, login.password_keyring or login.password_credential"
        return f"{STANDARD_INPUT_OPTION}, {others}"
    if purpose is not None:
        token = "[token], " if purpose is Purpose.ONE_TIME_CODE else ""
        key = _name(form, field).removeprefix(f"{ANY_FORM}:")
        return f'{token}[login.secrets] "{key}" or {STANDARD_INPUT_OPTION}'
    if field.name == "username" and not field.second_factor:
        return "--user or login.user"
    if field.name == "group_list":
        return "--authgroup or login.group"
    offers = f" as one of {_offers(field)}" if field.type is FieldType.SELECT else ""
    return f"--form-entry {_name(form, field)}=VALUE or login.form_entries{offers}"


def _offers(field: Field) -> str:
    return _list([shortened(option.label) for option in field.options[:_MAX_NAMED]], len(field.options))


def _list(named: Sequence[str], count: int) -> str:
    return ", ".join(named) + (f" and {count - len(named)} more" if count > len(named) else "")


def _name(form: Form, field: Field) -> str:
    return shortened(entry_name(form.id, field.name))


def _entry(entry: FormEntry) -> str:
    return f"{entry.given_by} {shortened(f'{entry.form}:{entry.field}')}"
