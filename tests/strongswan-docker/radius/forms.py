"""Forms: what the gateway asks, as XML, and what has to come back (AnyConnect-EAP notes, section 5)."""

from __future__ import annotations

from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

# How the client names a field in its reply, where that is not the field's own name; "" is never sent.
REPLY_NAMES = {
    "answer": "password",
    "whichpin": "password",
    "new_password": "password",
    "verify_pin": "",
    "verify_password": "",
}
TICKET = "ticket"
# A parameter may repeat what the client sent, and the form has to fit one RADIUS packet.
PARAMETER_LIMIT = 64


@dataclass(frozen=True)
class Words:
    """A text whose `%s` the client replaces by the parameters, at most two."""

    text: str
    parameters: tuple[str, ...] = ()

    def xml(self, element: str, number: int) -> str:
        """The words as <message> or <error>."""
        first, second = (parameter[:PARAMETER_LIMIT] for parameter in (*self.parameters, "", "")[:2])
        parameters = f"param1={quoteattr(first)} param2={quoteattr(second)}"
        return f'<{element} id="{number}" {parameters}>{escape(self.text)}</{element}>'


@dataclass(frozen=True)
class Problem:
    """Why the last answer was refused, with the number that the gateway has for it."""

    number: int
    words: Words

    def xml(self) -> str:
        """The <error>."""
        return self.words.xml("error", self.number)


def problem(number: int, text: str, *parameters: str) -> Problem:
    """A problem in one line."""
    return Problem(number, Words(text, parameters))


@dataclass(frozen=True)
class Input:
    """One field; `second` marks those of the second factor."""

    kind: str
    name: str
    label: str
    second: bool = False

    def xml(self) -> str:
        """The <input>."""
        mark = ' second-auth="1"' if self.second else ""
        return f'<input type="{self.kind}" name="{self.name}" label={quoteattr(self.label)}{mark}/>'


@dataclass(frozen=True)
class Form:
    """One form. `choice` is the <select> of the groups; with `ticket` it has a hidden field, which must come back."""

    identifier: str
    title: str
    message: Words = Words("")
    inputs: tuple[Input, ...] = ()
    choice: str = ""
    banner: str = ""
    ticket: bool = True

    def xml(self, ticket: str, refused: Problem | None) -> str:
        """The whole <auth>; `ticket` is the hidden field's value."""
        shown = f"<title>{escape(self.title)}</title>"
        shown += f"<banner>{escape(self.banner)}</banner>" if self.banner else ""
        shown += self.message.xml("message", 1) if self.message.text else ""
        shown += refused.xml() if refused else ""
        fields = "".join(field.xml() for field in self.inputs)
        fields += f'<input type="hidden" name="{TICKET}" value={quoteattr(ticket)}/>' if self.ticket else ""
        button = '<input type="submit" name="Continue" value="Continue"/>'
        form = f'<form method="post" action="/">{fields}{self.choice}{button}</form>'
        return f'<auth id="{self.identifier}">{shown}{form}</auth>'

    def reply_names(self) -> set[str]:
        """The elements that the client's <auth> has to hold: these and no other."""
        names = {REPLY_NAMES.get(field.name, field.name) for field in self.inputs} - {""}
        return names | {TICKET} if self.ticket else names
