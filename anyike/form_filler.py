"""Answers to a gateway's form: what is known already, the password on standard input, and the rest from the user."""

from __future__ import annotations

from collections.abc import Sequence

from anyike.eap.form import Answers, Field, FieldType, Form
from anyike.errors import LoginFailed
from anyike.prompt import Console, read_secret_line
from anyike.text import printable, printable_line

_OPTION_FOR = {"username": "--user", "group_list": "--authgroup"}
_PASSWORD_OPTION = "--passwd-on-stdin"  # noqa: S105  an option, not a password


class FormFiller:
    """Fills the forms of one login.

    Args:
        user: the answer to the field `username`, where it is the first factor's.
        console: where to ask; None never asks.
        password_from: file descriptor whose first line answers the first password field, once.
    """

    def __init__(self, user: str | None, console: Console | None, password_from: int | None) -> None:
        self._user = user
        self._console = console
        self._password_from = password_from
        self._password_used_for: str | None = None
        self._typed: dict[str, str] = {}

    async def fill(self, form: Form) -> Answers:
        """An answer for every field. LoginFailed names what is missing and how to give it."""
        values = {field.name: value for field in form.fields if (value := self._known(field)) is not None}
        values |= await self._given_password(form)
        unknown = [field for field in form.fields if field.name not in values]
        if unknown:
            values |= await self._ask(form, unknown)
        return Answers(values)

    def _known(self, field: Field) -> str | None:
        if field.type is FieldType.HIDDEN:
            return field.value
        if field.type is FieldType.SELECT and len(field.options) == 1:
            return field.options[0].value
        if field.name == "username" and not field.second_factor and self._user is not None:
            return self._user
        if self._console is None and field.type is not FieldType.PASSWORD:
            return field.value or None
        return None

    async def _given_password(self, form: Form) -> dict[str, str]:
        fields = [field for field in form.fields if field.type is FieldType.PASSWORD]
        if self._password_from is None or not fields:
            return {}
        if self._password_used_for in {field.name for field in fields}:
            reason = printable_line(form.error) or "it asks for the password again"
            raise LoginFailed(f"The gateway rejected the password from {_PASSWORD_OPTION}: {reason}")
        if self._password_used_for is not None:
            return {}
        self._password_used_for = fields[0].name
        try:
            return {fields[0].name: await read_secret_line(self._password_from)}
        except EOFError:
            raise LoginFailed(f"{_PASSWORD_OPTION}: standard input ended before a password came") from None
        except ValueError:
            raise LoginFailed(f"{_PASSWORD_OPTION}: what came is no line of UTF-8 text") from None

    async def _ask(self, form: Form, unknown: Sequence[Field]) -> dict[str, str]:
        console = self._console
        if console is None:
            raise LoginFailed(_missing(form, unknown))
        for text in (form.title, form.message, form.error):
            if text:
                console.write(f"{printable(text)}\n")
        values = {}
        for field in unknown:
            try:
                values[field.name] = await self._ask_field(console, field)
            except EOFError:
                raise LoginFailed(f"The input ended before an answer to {_label(field)!r}") from None
        return values

    async def _ask_field(self, console: Console, field: Field) -> str:
        while True:
            try:
                if field.type is FieldType.PASSWORD:
                    return await console.ask(f"{_label(field)}: ", secret=True)
                value = await self._ask_visible(console, field)
            except ValueError as error:
                # An undecodable line's own error would repeat what was typed.
                reason = "this is no UTF-8 text" if isinstance(error, UnicodeError) else str(error)
                console.write(f"{reason}\n")
            else:
                self._typed[field.name] = value
                return value

    async def _ask_visible(self, console: Console, field: Field) -> str:
        """ValueError says what is wrong with the answer."""
        default = self._typed.get(field.name, field.value)
        if field.type is FieldType.SELECT:
            lines = [f"  {number}) {printable_line(option.label)}\n" for number, option in enumerate(field.options, 1)]
            console.write(f"{_label(field)}:\n{''.join(lines)}")
            shown = next((option.label for option in field.options if option.value == default), "")
            typed = await console.ask(f"Number or name{_in_brackets(shown)}: ")
            return _choice(field, typed or shown)
        return await console.ask(f"{_label(field)}{_in_brackets(default)}: ") or default


def _choice(field: Field, typed: str) -> str:
    """The value of the option that was meant by its name or its number. ValueError when there is none."""
    wanted = typed.strip()
    for option in field.options:
        if wanted in {option.value, option.label}:
            return option.value
    alike = [
        option for option in field.options if wanted.casefold() in {option.value.casefold(), option.label.casefold()}
    ]
    if len(alike) == 1:
        return alike[0].value
    if wanted.isascii() and wanted.isdecimal() and 1 <= int(wanted[:6]) <= len(field.options):
        return field.options[int(wanted[:6]) - 1].value
    raise ValueError(f"{printable_line(typed)!r} is none of the choices")


def _missing(form: Form, unknown: Sequence[Field]) -> str:
    wanted = []
    for field in unknown:
        option = _PASSWORD_OPTION if field.type is FieldType.PASSWORD else _OPTION_FOR.get(field.name)
        wanted.append(f"{_label(field)!r} ({option})" if option else repr(_label(field)))
    said = f" The gateway says: {printable_line(form.error)}" if form.error else ""
    return (
        f"The gateway asks for {', '.join(wanted)}, and there is no terminal to ask on, or --non-inter was given.{said}"
    )


def _label(field: Field) -> str:
    return printable_line(field.label).rstrip(" :") or printable_line(field.name)


def _in_brackets(default: str) -> str:
    return f" [{printable_line(default)}]" if default else ""
