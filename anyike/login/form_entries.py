"""Form entries: answers to single fields that are known beforehand, as openconnect's `--form-entry` has them.

An entry is written FORM:FIELD=VALUE, where FORM and FIELD are the gateway's own names (`<auth id>` and the field's name).
It is cut at the first `=`, and what is before that at the first `:`. Beyond openconnect, FORM can be `*` for any form:
some gateways' forms have no id.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from anyike.text import printable_line

ANY_FORM = "*"
_EXAMPLE = "an entry is FORM:FIELD=VALUE, such as main:username=ada, or *:username=ada for any form"


@dataclass(frozen=True, slots=True)
class FormEntry:
    """The answer to a field of a form. `given_by` is the option or the setting it came by, for messages."""

    form: str
    field: str
    value: str = dataclasses.field(repr=False)
    given_by: str


def parse_form_entry(text: str, given_by: str) -> FormEntry:
    """Read FORM:FIELD=VALUE. ValueError says what is wrong and never repeats VALUE, which may be a password by mistake."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"it has no '=': {_EXAMPLE}")
    form, _, field = name.partition(":")
    if not form or not field:
        raise ValueError(f"{printable_line(name)!r} is no FORM:FIELD: {_EXAMPLE}")
    return FormEntry(form, field, value, given_by)


def find_entry(entries: Sequence[FormEntry], form_id: str, field_name: str) -> FormEntry | None:
    """The entry for a field: one for this form before one for any, and of several the last, as openconnect has it."""
    found = [entry for entry in entries if entry.field == field_name and entry.form in {form_id, ANY_FORM}]
    exact = [entry for entry in found if entry.form == form_id]
    candidates = exact or found
    return candidates[-1] if candidates else None


def entry_name(form_id: str, field_name: str) -> str:
    """FORM:FIELD by which an entry can name the field; the form is `*` where its id cannot be written in one."""
    writable = form_id and not {":", "="} & set(form_id)
    return f"{form_id if writable else ANY_FORM}:{field_name}"
