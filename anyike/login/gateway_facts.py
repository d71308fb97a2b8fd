"""Whom a login is with: what its parts may rely on, since the gateway has proved it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GatewayFacts:
    """The gateway's host name or address as it was connected to, its certificate and the client's (DER, or None)."""

    host: str
    certificate: bytes
    client_certificate: bytes | None = None
