"""Login forms: the gateway's `<form>` as a neutral Form, and answers as the elements of a reply.

The rules are those of AnyConnect-EAP notes, section 5.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from lxml import etree

from anyike.eap.form import Field, FieldType, Form, Option
from anyike.eap_anyconnect.gateway_document import message_text, shown_text
from anyike.errors import LoginFailed
from anyike.text import printable_line
from anyike.wire import DecodeError

logger = logging.getLogger(__name__)

GROUP_FIELD = "group_list"

_SIGN_ON = "sso"
_BUTTONS = frozenset({"submit", "reset"})
_INPUT_TYPES = {"text": FieldType.TEXT, "password": FieldType.PASSWORD, "hidden": FieldType.HIDDEN}
_SENT_AS_PASSWORD = frozenset({"answer", "whichpin", "new_password"})
_REPEATS = frozenset({"verify_pin", "verify_password"})

_MAX_NAMED = 10
"""Implementation: options that one message names; a form can have thousands."""
_MAX_SHOWN = 200
"""Implementation: characters of a label in a message; it can be as long as an EAP packet."""

# A field goes back as an element of its name.
_ELEMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


def read_form(auth: etree._Element, error: str) -> Form | None:
    """The form inside `<auth>`, None when there is none; `error` is the gateway's word on the previous try.

    DecodeError for a form that no reply can be built for, LoginFailed for a field of a kind that we cannot fill.
    """
    form = auth.find("form")
    if form is None:
        return None
    fields = [field for element in form for field in _read_field(element)]
    for name, count in Counter(field.name for field in fields).items():
        if count > 1:
            raise DecodeError(f"XML: the form has {count} fields named {shortened(name)!r}")
    return Form(
        id=printable_line(auth.get("id", "")),
        title=shown_text(auth.find("title")),
        message=message_text(auth.find("message")),
        error=error,
        fields=tuple(fields),
    )


def _read_field(element: etree._Element) -> Iterable[Field]:
    kind = "select" if element.tag == "select" else element.get("type", "text")
    if element.tag not in {"input", "select"} or kind in _BUTTONS:
        return
    name = element.get("name", "")
    if not _ELEMENT_NAME.fullmatch(name):
        raise DecodeError(f"XML: the form has a field with the name {name[:80]!r}, which no reply can hold")
    label = printable_line(element.get("label", "")) or name
    field = Field(
        name, FieldType.SELECT, label, second_factor=element.get("second-auth") == "1", repeat=name in _REPEATS
    )
    if element.tag == "select":
        yield _read_select(element, field)
    elif kind in _INPUT_TYPES:
        yield replace(field, type=_INPUT_TYPES[kind], value=element.get("value", ""))
    elif kind != _SIGN_ON:
        raise LoginFailed(
            f"The gateway's login form has a field of the unknown type {shortened(kind)!r} ({shortened(label)})."
        )


def _read_select(element: etree._Element, field: Field) -> Field:
    options = []
    selected = None
    for option in element.iterfind("option"):
        text = (option.text or "").strip()
        value = option.get("value", text)
        options.append(Option(value, printable_line(text) or printable_line(value)))
        if option.get("selected") == "true":
            selected = value
    if not options:
        raise LoginFailed(f"The gateway's login form wants a choice and offers none ({shortened(field.label)}).")
    return replace(field, options=tuple(options), value=options[0].value if selected is None else selected)


def sign_on_field(auth: etree._Element, *, wanted: bool) -> str:
    """The name of the field that takes the token of a single sign-on, "" when there is none.

    LoginFailed when a token is `wanted` and has no field, or the other way round: then nobody knows what to do.
    """
    names = [element.get("name", "") for element in auth.iterfind("form/input") if element.get("type") == _SIGN_ON]
    if len(names) != wanted:
        raise LoginFailed(
            f"The gateway's single sign-on cannot be understood: its form has {len(names)} fields for the token and "
            f"{'a' if wanted else 'no'} page to log in at."
        )
    return names[0] if names else ""


def group_field(form: Form) -> Field | None:
    """The field that chooses the group, None when the form has no such choice."""
    found = [field for field in form.fields if field.name == GROUP_FIELD and field.type is FieldType.SELECT]
    return found[0] if found else None


def choose_option(field: Field, wanted: str) -> str | None:
    """The value of the option that `wanted` names by its value or its label, None when it is not offered."""
    for option in field.options:
        if wanted in {option.value, option.label}:
            return option.value
    return None


def offers(field: Field) -> str:
    """What a choice offers, for a message: the first options by their labels, and how many more there are."""
    named = ", ".join(shortened(option.label) for option in field.options[:_MAX_NAMED])
    more = len(field.options) - _MAX_NAMED
    return f"{named} and {more} more" if more > 0 else named


def shortened(text: str) -> str:
    """A text of the gateway for a message: one harmless line of bounded length."""
    line = printable_line(text)
    return line if len(line) <= _MAX_SHOWN else f"{line[:_MAX_SHOWN]}..."


def complete_answers(form: Form, answers: Mapping[str, str]) -> dict[str, str]:
    """A value for every field: hidden ones as they came, the others as answered.

    LoginFailed names a field that has no answer, or an answer that is not among the options.
    """
    values = {}
    for field in form.fields:
        value = field.value if field.type is FieldType.HIDDEN else answers.get(field.name)
        if value is None:
            raise LoginFailed(
                f"The gateway asks for {shortened(field.label)!r} (field {shortened(field.name)}), and no answer was given."
            )
        if field.type is FieldType.SELECT:
            choice = choose_option(field, value)
            if choice is None:
                raise LoginFailed(
                    f"{value!r} is no choice for {shortened(field.label)!r}; the gateway offers: {offers(field)}."
                )
            value = choice
        values[field.name] = value
    return values


def repeat_differs(form: Form, values: Mapping[str, str]) -> bool:
    """Whether a repeat differs from the password field before it: checked here, never sent."""
    entered = ""
    for field in form.fields:
        if field.repeat and values[field.name] != entered:
            return True
        if field.type is FieldType.PASSWORD and not field.repeat:
            entered = values[field.name]
    return False


def reply_elements(form: Form, values: Mapping[str, str]) -> list[tuple[str, str]]:
    """Name and text of the children of `<auth>`: passwords first, as Cisco's client has them, else form order."""
    sent = [field for field in form.fields if not field.repeat and field.name != GROUP_FIELD]
    sent.sort(key=lambda field: field.type is not FieldType.PASSWORD)
    return [("password" if field.name in _SENT_AS_PASSWORD else field.name, values[field.name]) for field in sent]
