"""The gateway's XML documents (AnyConnect-EAP notes, section 5)."""

from __future__ import annotations

from xml.sax.saxutils import escape

VERSION = "9.16(4)"
TERMS = (
    "This gateway exists for tests. Whoever logs in agrees that packets are lost, repeated, "
    "cut into pieces and put together again, that keys are short-lived and that every word "
    "of this text has to arrive. "
)


def document(kind: str, content: str) -> bytes:
    """A whole document of one type."""
    head = f'<config-auth client="vpn" type="{kind}" aggregate-auth-version="2"'
    root = f"{head}>{content}</config-auth>" if content else f"{head}/>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{root}\n'.encode()


def hello() -> bytes:
    """The gateway's first words: the observed 107 bytes."""
    return document("hello", "")


def opaque(group: str, nonce: str) -> str:
    """The element that must come back byte for byte, spelt as no serialiser would spell it."""
    return (
        f"<opaque  is-for='sg' >\n\t<tunnel-group >{escape(group)}</tunnel-group>\n  "
        f"<config-hash><![CDATA[{nonce}  & <kept>]]></config-hash ><aggauth-handle /></opaque>"
    )


def terms(size: int) -> str:
    """A text of `size` bytes to read before the login."""
    return (TERMS * (size // len(TERMS) + 1))[:size].strip()


def auth_request(content: str, opaque_element: str = "") -> bytes:
    """An auth-request with an <auth>, with an error beside it, or with a question for a certificate."""
    head = f'<version who="sg">{VERSION}</version>{opaque_element}<csport>443</csport>'
    return document("auth-request", head + content)


def complete(session: str, token: str, banner: str) -> bytes:
    """The login was good."""
    shown = f"<banner>{escape(banner)}</banner>" if banner else ""
    return document(
        "complete",
        f'<version who="sg">{VERSION}</version><session-id>{session}</session-id>'
        f"<session-token>{token}</session-token>"
        f'<auth id="success">{shown}<message id="0" param1="" param2=""/></auth>'
        "<capabilities><crypto-supported>ssl-dhe</crypto-supported></capabilities>"
        '<config client="vpn" type="private"><vpn-base-config><server-cert-hash>'
        f"{'0' * 40}</server-cert-hash></vpn-base-config><csport>443</csport>"
        '<opaque is-for="vpn-client"><custom-attr><dynamic-split-exclude-domains>'
        "<![CDATA[, cdn.example.net]]></dynamic-split-exclude-domains></custom-attr></opaque>"
        "</config>",
    )
