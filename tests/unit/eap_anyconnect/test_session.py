"""The facts of `complete`."""

from __future__ import annotations

import pytest

from anyike.eap_anyconnect.gateway_document import read_document
from anyike.eap_anyconnect.session import Session, read_session


def session_of(body: bytes) -> Session:
    return read_session(read_document(b'<config-auth type="complete">%b</config-auth>' % body))


def test_nothing_is_needed():
    assert session_of(b"") == Session("", "")


@pytest.mark.parametrize(
    ("text", "port"),
    [(b" 8443 ", 8443), (b"65535", 65535), (b"0", None), (b"65536", None), (b"-1", None), (b"443x", None),
     (b"9" * 60_000, None), ("\u0664\u0664\u0663".encode(), None), (b"", None)],
)  # fmt: skip
def test_port(text, port):
    assert session_of(b"<config><csport>" + text + b"</csport></config>").csport == port
    assert session_of(b"<csport>" + text + b"</csport>").csport == port


@pytest.mark.parametrize("name", ["exclude", "include"])
def test_domains_are_split_at_commas_stripped_and_never_empty(name):
    element = f"dynamic-split-{name}-domains"
    body = f'<config><opaque is-for="vpn-client"><custom-attr><{element}><![CDATA[, a.org ,,\n b.org\x9b]]></{element}>'
    session = session_of(body.encode() + b"</custom-attr></opaque></config>")
    found = {"exclude": session.dynamic_split_exclude_domains, "include": session.dynamic_split_include_domains}
    assert found.pop(name) == ("a.org", "b.org\ufffd")
    assert list(found.values()) == [()]


def test_the_session_is_named_but_not_printed():
    session = session_of(b"<session-id>4711</session-id><session-token> T0KEN </session-token>")
    assert (session.session_id, session.session_token) == ("4711", "T0KEN")
    assert "4711" not in repr(session)
    assert "T0KEN" not in repr(session)
