"""How a kind of gateway writes its documents: two dialects of one content (AnyConnect-EAP notes, section 5).

Parts of the ASA's have been seen: the compact form, `<opaque>` and `csport` in the golden exchange (between two programs that
are not Cisco's), `<version who="sg">` in debug output. Everything of the IOS dialect, and the words of every error, are guessed:
a client must not depend on any of them, which is what the second dialect is for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>\n'


@dataclass(frozen=True)
class Node:
    """An element. `raw` stands for the whole of it, as it is: an `<opaque>`, whose bytes have to come back."""

    name: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    children: tuple[Node, ...] = ()
    raw: str = ""


@dataclass(frozen=True)
class Dialect:
    """One kind of gateway.

    `version` and `csport` are left out where they are "" and None. `opaque` holds `{group}`. `login_failed` is an error's id and
    text, with `%s` for the user's name. `spacious` puts every element on a line of its own, attributes in reverse order and
    end tags on empty elements.
    """

    name: str
    version: str
    csport: int | None
    opaque: str
    login_failed: tuple[str, str]
    capabilities: str
    banner: str
    spacious: bool

    def document(self, kind: str, *children: Node) -> bytes:
        """A whole document of this type."""
        version = (Node("version", {"who": "sg"}, self.version),) if self.version and kind != "complete" else ()
        attributes = {"client": "vpn", "type": kind, "aggregate-auth-version": "2"}
        return (
            DECLARATION + self.write(Node("config-auth", attributes, children=(*version, *children))).encode() + b"\n"
        )

    def opaque_of(self, group: str) -> str:
        """The bytes that have to come back, as text."""
        return self.opaque.replace("{group}", escape(group))

    def write(self, node: Node, depth: int = 0) -> str:
        """An element in this dialect."""
        if node.raw:
            return node.raw
        pairs = list(node.attributes.items())
        if self.spacious:
            pairs.reverse()
        start = "".join([node.name, *(f" {name}={quoteattr(value)}" for name, value in pairs)])
        content = escape(node.text)
        if node.children and self.spacious:
            indent = "\n" + "  " * depth
            content += "".join(f"{indent}  {self.write(child, depth + 1)}" for child in node.children) + indent
        elif node.children:
            content += "".join(self.write(child) for child in node.children)
        if not content and not self.spacious:
            return f"<{start}/>"
        return f"<{start}>{content}</{node.name}>"


ASA = Dialect(
    name="asa",
    version="9.16(4)",
    csport=443,
    opaque='<opaque is-for="sg"><tunnel-group>{group}</tunnel-group><config-hash>1367268141499</config-hash></opaque>',
    login_failed=("13", "Login failed."),
    capabilities="ssl-dhe",
    banner="This system is for the staff of Example Ltd.",
    spacious=False,
)

IOS = Dialect(
    name="ios",
    version="0.1(1)",
    csport=None,
    opaque=(
        "<opaque\n      is-for = 'sg'><aaa-session group=\"{group}\" >\r\n\t<![CDATA[<id> & ]] >]]>&#x41;&amp;&#10;"
        "</aaa-session >\n    <!-- kept --><x/></opaque >"
    ),
    login_failed=("11", "Access denied for %s"),
    capabilities="",
    banner="Authorised use only.\nAll sessions are recorded.",
    spacious=True,
)

DIALECTS = {dialect.name: dialect for dialect in (ASA, IOS)}
