"""What an element of the profile says, and how a message names it."""

from __future__ import annotations

from dataclasses import dataclass

from anyike.eap_anyconnect.xml_reader import Element
from anyike.text import printable_line

_MAX_SHOWN = 80


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that no setting holds: where it stands (`ClientInitialization/AutoUpdate`), and why it is left out.

    Both are safe to show.
    """

    where: str
    reason: str

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}"


def own_text(element: Element | None) -> str:
    """The element's text without that of its children, stripped; "" without an element.

    Several settings are mixed content: `<PrimaryProtocol>IPsec<StandardAuthenticationOnly>...`.
    """
    if element is None:
        return ""
    return "".join((element.text or "", *(child.tail or "" for child in element))).strip()


def child_text(element: Element, name: str) -> str:
    """The own text of the first child of this name, "" without one."""
    return own_text(element.find(name))


def shown(text: str) -> str:
    """Foreign text as one short line that is safe to show."""
    line = printable_line(text)
    return line if len(line) <= _MAX_SHOWN else f"{line[:_MAX_SHOWN]}..."


def name_of(element: Element) -> str:
    """The element's name, safe to show."""
    return shown(str(element.tag))
