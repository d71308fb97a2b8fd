"""The gateway's XML, read without trust: it arrives before the user is authenticated.

One parser does everything: expat tells the events with their byte offsets, and lxml's TreeBuilder makes a tree of them.
lxml's own parser gives no offsets, and the `<opaque>` element has to go back as the very bytes that came; a second
parser only for the offsets could read the same bytes otherwise than the first one.

Refused are a DOCTYPE (so that no entity can ever be declared, internal or external), any encoding other than UTF-8, and
whatever exceeds the limits below. Comments and processing instructions are dropped; the dialect knows no namespaces, so
names lose theirs, and attributes that have one are dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn
from xml.parsers import expat

from lxml import etree

from anyike.wire import DecodeError

MAX_DOCUMENT = 0xFFFF  # specification: one TLV in one EAP packet
# Implementation: observed documents nest 8 deep, hold some 50 elements and 5 attributes each. A group list that fills a
# whole packet is about 4,000 elements.
MAX_DEPTH = 64
MAX_ELEMENTS = 8192
MAX_ATTRIBUTES = 64

Element = etree._Element  # noqa: SLF001  lxml has no public name for it
"""What a tree is made of, for those who walk through one."""

_NAMESPACE_SEPARATOR = "}"
_ENCODINGS = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})  # ASCII is UTF-8 as well


@dataclass(frozen=True, slots=True)
class Child:
    """A direct child of the root, and its exact bytes in the document."""

    element: etree._Element
    raw: bytes


@dataclass(frozen=True, slots=True)
class XmlDocument:
    """The tree, and the root's children with the bytes they were read from."""

    root: etree._Element
    children: tuple[Child, ...]


def read_xml(data: bytes, *, max_size: int = MAX_DOCUMENT) -> XmlDocument:
    """Parse one document of at most `max_size` bytes.

    Raises:
        DecodeError: it is refused or malformed, with the offset in the document.
    """
    if len(data) > max_size:
        raise DecodeError(f"XML document of {len(data)} bytes, at most {max_size} are accepted")
    # expat would guess UTF-16 from a byte order mark or from a zero byte, whatever encoding it is told.
    if b"\0" in data:
        raise DecodeError("XML: a zero byte, which UTF-8 text cannot hold", data.index(b"\0"))
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise DecodeError("XML: not UTF-8", error.start) from None
    return _Reading(data).run()


class _Reading:
    """One run of expat over one document."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._builder = etree.TreeBuilder()
        self._depth = 0
        self._elements = 0
        self._child_start = 0
        self._start_tag_is_last = False
        self._spans: list[bytes] = []
        self._parser = self._make_parser()

    def _make_parser(self) -> expat.XMLParserType:
        parser = expat.ParserCreate("UTF-8", _NAMESPACE_SEPARATOR)
        parser.buffer_text = True
        parser.ordered_attributes = True
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        parser.XmlDeclHandler = self._declaration
        parser.StartDoctypeDeclHandler = self._doctype
        parser.EntityDeclHandler = self._doctype
        parser.ExternalEntityRefHandler = self._doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        return parser

    def run(self) -> XmlDocument:
        try:
            self._parser.Parse(self._data, True)
            root = self._builder.close()
        except expat.ExpatError as error:
            raise DecodeError(f"XML: {expat.ErrorString(error.code)}", max(self._parser.ErrorByteIndex, 0)) from None
        except (
            ValueError
        ) as error:  # builds of expat and libxml2 may differ in the names and characters that they allow
            raise DecodeError(f"XML: {error}", self._offset()) from None
        return XmlDocument(root, tuple(map(Child, root, self._spans)))

    def _offset(self) -> int:
        return max(self._parser.CurrentByteIndex, 0)

    def _fail(self, reason: str) -> NoReturn:
        raise DecodeError(f"XML: {reason}", self._offset())

    def _declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.lower() not in _ENCODINGS:
            self._fail("the document declares an encoding other than UTF-8")

    def _doctype(self, *_details: object) -> NoReturn:
        self._fail("a DTD or entity, which are never accepted")

    def _start(self, name: str, attributes: list[str]) -> None:
        if self._depth == 1:
            self._child_start = self._parser.CurrentByteIndex
        self._depth += 1
        self._elements += 1
        self._start_tag_is_last = True
        if self._depth > MAX_DEPTH:
            self._fail(f"more than {MAX_DEPTH} elements inside each other")
        if self._elements > MAX_ELEMENTS:
            self._fail(f"more than {MAX_ELEMENTS} elements")
        if len(attributes) > 2 * MAX_ATTRIBUTES:
            self._fail(f"more than {MAX_ATTRIBUTES} attributes on one element")
        pairs = zip(attributes[::2], attributes[1::2], strict=True)
        plain: dict[str | bytes, str | bytes] = {key: value for key, value in pairs if _NAMESPACE_SEPARATOR not in key}
        self._builder.start(name.rpartition(_NAMESPACE_SEPARATOR)[2], plain)

    def _text(self, text: str) -> None:
        self._start_tag_is_last = False
        self._builder.data(text)

    def _end(self, name: str) -> None:
        self._builder.end(name.rpartition(_NAMESPACE_SEPARATOR)[2])
        self._depth -= 1
        if self._depth == 1:
            self._spans.append(self._data[self._child_start : self._tag_end()])
        self._start_tag_is_last = False

    def _tag_end(self) -> int:
        """Where the tag ends that closes the current element.

        expat stands at the start of an end tag, but behind a tag that closes itself (`<a/>`).
        """
        position: int = self._parser.CurrentByteIndex
        if self._start_tag_is_last and self._data.endswith(b"/>", 0, position):
            return position
        return self._data.index(b">", position) + 1
