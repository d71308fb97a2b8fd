"""The payloads of IKEv2 as bytes and as values (RFC 7296 section 3). No payload knows an SA.

`encode` gives the body without the 4-byte generic header; `decode` takes a reader over exactly that body and must use it up.
Reserved bytes of identification payloads are kept as received, since AUTH covers them.
"""

from __future__ import annotations

from anyike.ikev2.payloads.authentication import (
    Authentication,
    Certificate,
    CertificateRequest,
    Eap,
    IdInitiator,
    IdResponder,
)
from anyike.ikev2.payloads.base import Payload, UnknownPayload
from anyike.ikev2.payloads.configuration import Attribute, Configuration
from anyike.ikev2.payloads.key_exchange import KeyExchange, Nonce
from anyike.ikev2.payloads.notices import Delete, Notify, VendorId
from anyike.ikev2.payloads.security_association import Proposal, SecurityAssociation, Transform
from anyike.ikev2.payloads.traffic_selectors import OpaqueSelector, TsInitiator, TsResponder

READABLE = {
    kind.TYPE: kind
    for kind in (
        SecurityAssociation,
        KeyExchange,
        IdInitiator,
        IdResponder,
        Certificate,
        CertificateRequest,
        Authentication,
        Nonce,
        Notify,
        Delete,
        VendorId,
        TsInitiator,
        TsResponder,
        Configuration,
        Eap,
    )
}
"""Payload classes by their type."""

__all__ = [
    "READABLE",
    "Attribute",
    "Authentication",
    "Certificate",
    "CertificateRequest",
    "Configuration",
    "Delete",
    "Eap",
    "IdInitiator",
    "IdResponder",
    "KeyExchange",
    "Nonce",
    "Notify",
    "OpaqueSelector",
    "Payload",
    "Proposal",
    "SecurityAssociation",
    "Transform",
    "TsInitiator",
    "TsResponder",
    "UnknownPayload",
    "VendorId",
]
