"""What the gateway's `complete` document tells about the session (AnyConnect-EAP notes, section 7)."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from anyike.eap_anyconnect.gateway_document import GatewayDocument, port, shown_text
from anyike.text import printable_line

logger = logging.getLogger(__name__)

_CUSTOM = "config/opaque/custom-attr/"


@dataclass(frozen=True, slots=True)
class Session:
    """A login that the gateway accepted.

    `session_id` and `session_token` name the session to the gateway. `csport` is its HTTPS port, None when it does not
    say. The domains are those of dynamic split tunnelling, as they came.
    """

    session_id: str = field(repr=False)
    session_token: str = field(repr=False)
    banner: str = ""
    csport: int | None = None
    dynamic_split_exclude_domains: tuple[str, ...] = ()
    dynamic_split_include_domains: tuple[str, ...] = ()


def read_session(document: GatewayDocument) -> Session:
    """The facts of `complete`; what is missing or unreadable has its default."""
    for name in ("server-cert-hash", "client-cert-hash"):
        logger.debug("%s of the gateway: %s", name, printable_line(document.text(f"config/vpn-base-config/{name}")))
    return Session(
        session_id=document.text("session-id"),
        session_token=document.text("session-token"),
        banner=shown_text(document.find("auth/banner")),
        csport=port(document.text("config/csport") or document.text("csport")),
        dynamic_split_exclude_domains=_domains(document.text(f"{_CUSTOM}dynamic-split-exclude-domains")),
        dynamic_split_include_domains=_domains(document.text(f"{_CUSTOM}dynamic-split-include-domains")),
    )


def _domains(text: str) -> tuple[str, ...]:
    return tuple(name for part in text.split(",") if (name := printable_line(part)))
