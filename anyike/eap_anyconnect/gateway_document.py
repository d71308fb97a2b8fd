"""What a document of the gateway says, whatever its type (AnyConnect-EAP notes, section 5)."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from itertools import chain, islice

from lxml import etree

from anyike.eap_anyconnect.xml_reader import Child, XmlDocument, read_xml
from anyike.text import printable
from anyike.wire import DecodeError

logger = logging.getLogger(__name__)

# Implementation: what a log line or an error may quote of a document's names (observed: 6 names of 20 characters).
MAX_NAMES = 20
MAX_NAME = 80

_MAX_PORT = 0xFFFF
_PORT_DIGITS = 5


@dataclass(frozen=True, slots=True)
class GatewayDocument:
    """One `<config-auth>`; `data` is all of it, `opaque` the exact bytes of `<opaque is-for="sg">`, None when there is none."""

    type: str
    root: etree._Element = field(repr=False)
    opaque: bytes | None = field(repr=False)
    data: bytes = field(repr=False)

    def find(self, path: str) -> etree._Element | None:
        """The first element at `path` below the root."""
        return self.root.find(path)

    def text(self, path: str) -> str:
        """The text of the first element at `path`, "" when there is none."""
        return self.root.findtext(path, "").strip()

    def child_names(self) -> list[str]:
        """The names of the root's children and of what `<auth>` holds, safe to show; the first MAX_NAMES of them."""
        elements = chain(self.root, self.root.iterfind("auth/*"))
        return [printable(element.tag[:MAX_NAME]) for element in islice(elements, MAX_NAMES)]


def read_document(data: bytes) -> GatewayDocument:
    """Parse one document; DecodeError when it is no well-formed `<config-auth>` with a type."""
    document = read_xml(data)
    kind = document.root.get("type")
    if document.root.tag != "config-auth" or not kind:
        raise DecodeError("XML: the root is not <config-auth> with a type")
    return GatewayDocument(printable(kind[:MAX_NAME]), document.root, _opaque(document), data)


def message_text(element: etree._Element | None) -> str:
    """The text of a `<message>` or `<error>`, safe to show: the first `%s` becomes `param1`, the next `param2`."""
    if element is None:
        return ""
    first, *others = _inner_text(element).strip().split("%s")
    parameters = [element.get("param1", ""), element.get("param2", "")]
    parameters += ["%s"] * len(others)
    return printable(first + "".join(value + part for value, part in zip(parameters, others, strict=False)))


def shown_text(element: etree._Element | None) -> str:
    """The text of a `<title>` or `<banner>`, safe to show."""
    return "" if element is None else printable(_inner_text(element)).strip()


def port(text: str) -> int | None:
    """The number of a TCP port; None when the text is none."""
    if text.isascii() and text.isdecimal() and len(text) <= _PORT_DIGITS and 0 < int(text) <= _MAX_PORT:
        return int(text)
    if text:
        logger.warning("ignored the gateway's csport %r", text[:MAX_NAME])
    return None


def _inner_text(element: etree._Element) -> str:
    return "".join(str(part) for part in element.itertext())


def _opaque(document: XmlDocument) -> bytes | None:
    found = [child.raw for child in document.children if _is_for_gateway(child)]
    if len(found) > 1:
        raise DecodeError(f'XML: {len(found)} elements <opaque is-for="sg">, at most 1 may be there')
    return found[0] if found else None


def _is_for_gateway(child: Child) -> bool:
    return child.element.tag == "opaque" and child.element.get("is-for") == "sg"
