"""The verdict on the gateway: certificate, signature and identity, before any credential leaves."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address

from anyike.crypto.signatures import verify_gateway_auth
from anyike.crypto.x509 import TrustPolicy, VerifiedCertificate, verify_gateway_certificate
from anyike.errors import GatewayNotTrusted
from anyike.ikev2.constants import IdType, name_of
from anyike.ikev2.events import GatewayProof
from anyike.text import printable_line

log = logging.getLogger(__name__)

MAX_SHOWN_BYTES = 255
"""A host name is not longer (RFC 1035 2.3.4); an identity that is shows only its length."""


@dataclass(frozen=True, slots=True)
class VerifiedGateway:
    """What the user may know of a gateway that passed."""

    certificate: VerifiedCertificate
    signature: str
    identity: str


def judge(
    proof: GatewayProof,
    policy: TrustPolicy,
    *,
    allow_sha1: bool,
    strict_id: bool,
    asked_for: tuple[int, bytes] | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> VerifiedGateway:
    """Check the certificate, then that its key signed this very exchange, then the name it gives itself (IDr).

    `asked_for` is the IDr that we sent, if any: type and data. Without one the gateway should call itself by a trusted name.

    Raises:
        GatewayNotTrusted: naming the check that failed and the setting that rules it.
    """
    certificate = verify_gateway_certificate(proof.chain, policy, clock())
    signature = verify_gateway_auth(
        proof.chain[0], proof.auth_method, proof.auth_data, proof.signed_octets, proof.prf_hash, allow_sha1
    )
    identity = show_identity(proof.identity)
    expected = proof.identity == asked_for if asked_for else identity.lower() in {name.lower() for name in policy.names}
    if not expected:
        wanted = show_identity(asked_for) if asked_for else " or ".join(policy.names)
        if strict_id:
            raise GatewayNotTrusted(
                f"the gateway calls itself {identity}, not {wanted}: set gateway.gateway_id (or gateway.idr) to that name if "
                "it is right, or gateway.strict_id = false"
            )
        log.info("the gateway calls itself %s, and not %s, which its certificate or pin stands for", identity, wanted)
    return VerifiedGateway(certificate, signature, identity)


def show_identity(identity: tuple[int, bytes]) -> str:
    """An IDr for people: names and addresses as they are written, anything else as type and hexadecimal."""
    kind, data = identity
    if len(data) > MAX_SHOWN_BYTES:
        return f"{name_of(IdType, kind)} of {len(data)} bytes"
    if kind in (IdType.FQDN, IdType.RFC822_ADDR, IdType.KEY_ID):
        return printable_line(data.decode("utf-8", "replace"))
    if (kind, len(data)) in ((IdType.IPV4_ADDR, 4), (IdType.IPV6_ADDR, 16)):
        return str(ip_address(data))
    return f"{name_of(IdType, kind)} {data.hex()}"
