"""The hardened XML reader: exact bytes of children, and what is refused."""

from __future__ import annotations

import time
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyike.eap_anyconnect.xml_reader import MAX_ATTRIBUTES, MAX_DEPTH, MAX_DOCUMENT, MAX_ELEMENTS, read_xml
from anyike.wire import DecodeError
from tests.unit.eap_anyconnect.dialogue import golden_documents

CHILDREN = [
    b"<o/>",
    b"<o />",
    b"<o></o>",
    b"<o></o \n>",
    b"<o><o/></o>",
    b"<o><b/><c/></o>",
    b"<o>text<b/></o>",
    b"<o><![CDATA[<o/> ]] > ]]></o>",
    b"<o><![CDATA[]]></o>",
    b"<o><!-- > </o> /> --></o>",
    b"<o><?pi </o> /?></o>",
    b"<o b='\">' a = \"/>\"\t c='&#x41;&lt;'/>",
    b'<o a="/">/></o>',
    b'<x:o xmlns:x="urn:x y" x:a="1" a="2"><x:b/></x:o>',
    b'<o xmlns="urn:d"><b>&#13;&amp;\r\n</b>\n</o>',
    "<ö>ünï\N{GRINNING FACE}</ö>".encode(),
]


@pytest.mark.parametrize("raw", CHILDREN)
@pytest.mark.parametrize(
    ("before", "after"), [(b"", b""), (b"\n <p/>t", b"/>&gt;<q>x</q>"), (b"<!-- <o> -->", b"<?x?>")]
)
def test_the_bytes_of_a_child_are_exact(raw, before, after):
    document = read_xml(b'\xef\xbb\xbf<?xml version="1.0"?>\n<root>' + before + raw + after + b"</root>\n")
    assert raw in [child.raw for child in document.children]


def test_names_lose_their_namespace_and_attributes_of_one_are_dropped():
    document = read_xml(b'<x:r xmlns:x="urn:x" x:a="1" a="2"><x:o/></x:r>')
    assert (document.root.tag, dict(document.root.attrib), document.children[0].element.tag) == ("r", {"a": "2"}, "o")


@pytest.mark.parametrize("golden", golden_documents())
def test_golden_documents_read_as_another_parser_reads_them(golden):
    other = [(e.tag, e.attrib, e.text, e.tail) for e in ET.fromstring(golden).iter()]
    assert [(e.tag, dict(e.attrib), e.text, e.tail) for e in read_xml(golden).root.iter()] == other


BILLION_LAUGHS = (
    b'<!DOCTYPE a [<!ENTITY a "ha">'
    + b"".join(b'<!ENTITY %c "%b">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
    + b"]><a>&j;</a>"
)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no element"),
        (b"\x00" * 20, "zero byte"),
        (b"<a>\x00</a>", "zero byte"),
        (b"<a></a>\x00", "zero byte"),
        (b"<a>", "no element"),
        (b"<a></b>", "mismatched tag"),
        (b"<a/><b/>", "junk"),
        (b'<a b="1" b="2"/>', "duplicate attribute"),
        (b"<x:a/>", "unbound prefix"),
        (b"<a>\xff</a>", "not UTF-8"),
        (b"<a>&#0;</a>", "reference to invalid character"),
        (b"<a>&#xffffffffff;</a>", "reference to invalid character"),
        (b"<a>&b;</a>", "undefined entity"),
        (b"<!DOCTYPE a><a/>", "DTD or entity"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "DTD or entity"),
        (b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>', "DTD or entity"),
        (b'<!DOCTYPE a [<!ENTITY % b SYSTEM "http://127.0.0.1/">%b;]><a/>', "DTD or entity"),
        (BILLION_LAUGHS, "DTD or entity"),
        (b'<?xml version="1.0" encoding="ISO-8859-1"?><a>\xe9</a>', "not UTF-8"),
        (b'<?xml version="1.0" encoding="ISO-8859-1"?><a>e</a>', "encoding"),
        (b'<?xml version="1.0" encoding="UTF-7"?><a/>', "encoding"),
        ('<?xml version="1.0" encoding="UTF-16"?><a/>'.encode("utf-16"), "zero byte"),
        ("<a/>".encode("utf-16-be"), "zero byte"),
        ("<a/>".encode("utf-32"), "zero byte"),
        (b"<a>" * (MAX_DEPTH + 1), "inside each other"),
        (b"<a>" * (MAX_DOCUMENT // 3), "inside each other"),
        (b"<a>" + b"<b/>" * MAX_ELEMENTS + b"</a>", "elements"),
        (b"<a>" + b"<b/>" * 16_000 + b"</a>", "elements"),
        (b"<a " + b" ".join(b'a%d=""' % n for n in range(MAX_ATTRIBUTES + 1)) + b"/>", "attributes"),
        (b"<a " + b" ".join(b'a%d=""' % n for n in range(6000)) + b"/>", "attributes"),
        (b"<a>" + b" " * MAX_DOCUMENT + b"</a>", "at most 65535"),
    ],
)
def test_refused(data, reason):
    started = time.process_time()
    with pytest.raises(DecodeError, match=reason):
        read_xml(data)
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    "data",
    [
        b"<a>" + b"<b/>" * (MAX_ELEMENTS - 1) + b"</a>",
        b"<a>" * MAX_DEPTH + b"</a>" * MAX_DEPTH,
        b'<a b="' + b"x" * 65_000 + b'"/>',
        b'<a b="' + b"&#65;" * 13_000 + b'"/>',
        b"<a>" + b"&amp;<b/>" * 6_000 + b"</a>",
        b"<a>" + b"x<!---->" * 8_000 + b"</a>",
        b"<a>" + b"]]&gt;" * 10_000 + b"</a>",
        b"<" + b"n" * 65_000 + b"/>",
        b"<a " + b" ".join(b'xmlns:a%d="u"' % n for n in range(3_800)) + b"/>",
    ],
)
def test_as_large_as_fits_is_read_in_little_time(data):
    assert len(data) <= MAX_DOCUMENT
    started = time.process_time()
    assert read_xml(data).root is not None
    assert time.process_time() - started < 1


def test_a_name_that_only_lxml_refuses(monkeypatch):
    class Stricter:
        def start(self, tag, attributes):
            raise ValueError(f"Invalid tag name {tag!r}")

    monkeypatch.setattr("anyike.eap_anyconnect.xml_reader.etree.TreeBuilder", Stricter)
    with pytest.raises(DecodeError, match="Invalid tag name 'a'"):
        read_xml(b"<a/>")


def test_an_error_knows_its_offset():
    with pytest.raises(DecodeError) as caught:
        read_xml(b"<root><o></p></root>")
    assert caught.value.offset == 11


fragments = st.lists(
    st.sampled_from(
        [b"<a>", b"</a>", b"<a/>", b"<x:a", b' xmlns:x="u"', b">", b"/>", b"<!DOCTYPE a [", b"]>", b'<!ENTITY e "x">',
         b"&e;", b"&amp;", b"&#65;", b"<![CDATA[", b"]]>", b"<!--", b"-->", b"<?p ?>", b"\x00", b"\xff", b"\xc3\xa9",
         b' b="1"', b"text", b'<?xml version="1.0" encoding="UTF-8"?>', b":", b"<:a/>", b"<a:/>", b"<xml:a/>",
         b'<a xmlns="}{"/>']
    ),
    max_size=12,
).map(b"".join)  # fmt: skip


@given(st.one_of(st.binary(max_size=60), fragments))
def test_arbitrary_bytes_give_a_document_or_a_decode_error(data):
    try:
        document = read_xml(data)
    except DecodeError:
        return
    assert all(data.count(child.raw) for child in document.children)


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff")))
def test_text_comes_through(text):
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert (read_xml(f"<a>{escaped}</a>".encode()).root.text or "") == text


def test_a_caller_may_allow_other_sizes():
    data = b"<a>" + b" " * MAX_DOCUMENT + b"</a>"
    assert read_xml(data, max_size=len(data)).root.tag == "a"
    with pytest.raises(DecodeError, match=f"at most {len(data) - 1} are accepted"):
        read_xml(data, max_size=len(data) - 1)
