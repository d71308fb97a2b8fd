"""The fields of a form asked on a terminal: no echo for secrets, choices by number or name.

Pass phrases and PINs, which stay on this machine, are asked for as well. Nobody must take a gateway's question for one of
those, so these alone begin with LOCAL_MARK: in what a gateway has written, brackets of all kinds are shown as round ones.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from anyike.eap.form import BANNER, Field, FieldType, Form
from anyike.errors import LoginFailed
from anyike.prompt import Console
from anyike.text import printable, printable_line

LOCAL_MARK = "[this machine] "
"""Begins the questions whose answers are never sent."""
_ROUND = {"Ps": "(", "Pe": ")"}
"""By Unicode category, opening and closing punctuation: there are a dozen look-alikes of a square bracket."""
_MAX_SHOWN = 200
"""Characters of a label or a default: a gateway's label can be as long as an EAP packet."""
_MAX_OPTIONS = 100
"""Options that are listed; the others can be answered all the same."""
_MAX_NEAR = 10
"""Options that are named when an answer is only a part of their names."""


class FormPrompt:
    """Asks on a console, and keeps what was typed as the default for the next try, except secrets."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._typed: dict[tuple[str, str], str] = {}

    def tell(self, text: str) -> None:
        """Show one line, made harmless."""
        self._console.write(f"{printable_line(text)}\n")

    async def ask(self, form: Form, fields: Sequence[Field]) -> dict[str, str]:
        """Show the form's words in full and ask for each of the fields. LoginFailed when the input ends."""
        for text in (form.title, form.message, form.error):
            if text:
                self._console.write(f"{_unmarked(printable(text))}\n")
        return {field.name: await self._ask_field(form, field) for field in fields}

    async def ask_local_secret(self, label: str) -> str:
        """One invisible line that is for this machine and not for a gateway. LoginFailed when the input ends."""
        return await self._ask_line(label, f"{LOCAL_MARK}{_unmarked(label)}: ", secret=True)

    async def _ask_field(self, form: Form, field: Field) -> str:
        label = _unmarked(label_of(field))
        if field.type is FieldType.PASSWORD:
            return await self._ask_line(label, f"{label}: ", secret=True)
        key = form.id, field.name
        default = self._typed.get(key, field.value)
        if field.type is FieldType.SELECT:
            value = await self._ask_choice(field, label, default)
        else:
            value = await self._ask_line(label, f"{label}{_in_brackets(default)}: ") or default
        if form.id != BANNER:  # a yes to one text is none to another
            self._typed[key] = value
        return value

    async def _ask_choice(self, field: Field, label: str, default: str) -> str:
        options = field.options[:_MAX_OPTIONS]
        lines = [f"  {number}) {shortened(option.label)}\n" for number, option in enumerate(options, 1)]
        if len(field.options) > len(options):
            lines.append(
                f"  and {len(field.options) - len(options)} more: answer with a part of a name to see which have it\n"
            )
        self._console.write(f"{label}:\n{''.join(lines)}")
        shown = next((option.label for option in field.options if option.value == default), None)
        while True:
            typed = await self._ask_line(label, f"Number or name{_in_brackets(shown or '')}: ")
            if not typed and shown is not None:
                return default
            chosen = _option_by_number_or_name(field, typed)
            if chosen is not None:
                return chosen
            self._console.write(f"{shortened(typed)!r} is none of the choices{_near(field, typed)}\n")

    async def _ask_line(self, label: str, prompt: str, *, secret: bool = False) -> str:
        while True:
            try:
                return await self._console.ask(prompt, secret=secret)
            except EOFError:
                raise LoginFailed(f"The input ended before an answer to {label!r}") from None
            except UnicodeError:
                self.tell("this is no UTF-8 text")  # the error's own words would repeat what was typed
            except ValueError as error:
                self.tell(str(error))


def label_of(field: Field) -> str:
    """The field's label for a prompt or a message: one harmless line of bounded length."""
    return prompt_label(field.label) or shortened(field.name)


def prompt_label(text: str) -> str:
    """A foreign text as a label: one harmless line of bounded length, without the colon that a prompt adds."""
    return shortened(printable_line(text).rstrip(" :"))


def shortened(text: str) -> str:
    """A foreign text as one harmless line of bounded length."""
    line = printable_line(text)
    return line if len(line) <= _MAX_SHOWN else f"{line[:_MAX_SHOWN]}..."


def option_by_name(field: Field, name: str) -> str | None:
    """The value of the option that is meant by its value or its label, in whatever case if that leaves only one."""
    for option in field.options:
        if name in {option.value, option.label}:
            return option.value
    folded = name.casefold()
    alike = [option for option in field.options if folded in {option.value.casefold(), option.label.casefold()}]
    return alike[0].value if len(alike) == 1 else None


def _option_by_number_or_name(field: Field, typed: str) -> str | None:
    wanted = typed.strip()
    named = option_by_name(field, wanted)
    if named is not None:
        return named
    if wanted.isascii() and wanted.isdecimal() and 1 <= int(wanted[:6]) <= len(field.options):
        return field.options[int(wanted[:6]) - 1].value
    return None


def _near(field: Field, typed: str) -> str:
    part = typed.strip().casefold()
    near = [option.label for option in field.options if part and part in option.label.casefold()]
    if not near:
        return ""
    more = f" and {len(near) - _MAX_NEAR} more" if len(near) > _MAX_NEAR else ""
    return f"; it is a part of {', '.join(shortened(label) for label in near[:_MAX_NEAR])}{more}"


def _in_brackets(default: str) -> str:
    return f" [{_unmarked(shortened(default))}]" if default else ""


def _unmarked(text: str) -> str:
    return "".join(_ROUND.get(unicodedata.category(character), character) for character in text)
