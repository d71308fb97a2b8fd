"""From the gateway's certificate to a trusted root, and why there is no such path.

The path itself is built and checked by `cryptography.x509.verification` (signatures, dates, basic and name
constraints, no unknown critical extension, RSA from 2048 bits, no SHA-1). Its web-PKI profile is replaced by an
explicit one, since gateways often have certificates for IKE from small private CAs: what RFC 5280 demands stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, Policy, PolicyBuilder, Store, VerificationError

MINIMUM_RSA_BITS = 2048
MAXIMUM_INTERMEDIATES = 8
PATH_KEYS = (rsa.RSAPublicKey, ec.EllipticCurvePublicKey)
"""Keys with which a CA may sign: the path verifier knows no others."""
IKE_INTERMEDIATE = x509.ObjectIdentifier("1.3.6.1.5.5.8.2.2")
GATEWAY_KEY_USAGES = frozenset(
    {
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.IPSEC_IKE,
        IKE_INTERMEDIATE,
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    }
)
"""Extended key usages of a gateway (RFC 4945 section 5.1.3.12, and what Cisco and Microsoft CAs issue)."""


class NoPath(Exception):
    """No valid path leads to a root; the message is the verifier's, and may hold text of strangers."""


def find_path(
    leaf: x509.Certificate, others: Sequence[x509.Certificate], roots: Sequence[x509.Certificate], now: datetime
) -> Sequence[x509.Certificate]:
    """The first valid path that is found, from the leaf to a root, both included.

    Raises:
        NoPath: there is none.
    """
    if not roots:
        raise NoPath("no CA is trusted")
    if leaf in roots:
        return [leaf]
    verifier = (
        PolicyBuilder()
        .store(Store(list(roots)))
        .time(now)
        .max_chain_depth(MAXIMUM_INTERMEDIATES)
        .extension_policies(ca_policy=_ca_policy(), ee_policy=ExtensionPolicy.permit_all())
        .build_client_verifier()
    )
    try:
        return verifier.verify(leaf, list(others)).chain
    except (VerificationError, x509.UnsupportedGeneralNameType, ValueError) as error:
        raise NoPath(str(error)) from None


def _ca_policy() -> ExtensionPolicy:
    return (
        ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _demand_ca)
        .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _demand_certificate_signing)
        .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _demand_gateway_usage)
    )


def _demand_ca(_policy: Policy, _certificate: x509.Certificate, extension: x509.BasicConstraints) -> None:
    if not extension.ca:
        raise ValueError("an issuer is not a CA (basicConstraints)")


def _demand_certificate_signing(
    _policy: Policy, _certificate: x509.Certificate, extension: x509.KeyUsage | None
) -> None:
    if extension is not None and not extension.key_cert_sign:
        raise ValueError("an issuer may not sign certificates (keyUsage)")


def _demand_gateway_usage(
    _policy: Policy, _certificate: x509.Certificate, extension: x509.ExtendedKeyUsage | None
) -> None:
    if extension is not None and GATEWAY_KEY_USAGES.isdisjoint(extension):
        raise ValueError("an issuer may not issue certificates for gateways (extendedKeyUsage)")


def signed_path(
    leaf: x509.Certificate, others: Sequence[x509.Certificate], roots: Sequence[x509.Certificate]
) -> list[x509.Certificate]:
    """The longest path that signatures alone give, leaf first: for saying why `find_path` found none, not for trust.

    Every certificate is looked at once, which bounds the signature checks by the square of their number.
    """
    path = [leaf]
    while path[-1] not in roots:
        issuer = next(_issuers(path[-1], [*roots, *others], path), None)
        if issuer is None:
            break
        path.append(issuer)
    return path


def _issuers(
    certificate: x509.Certificate, candidates: Sequence[x509.Certificate], used: Sequence[x509.Certificate]
) -> Iterator[x509.Certificate]:
    for candidate in candidates:
        if candidate.subject != certificate.issuer or candidate in used:
            continue
        # `cryptography` does not check SHA-1 here, and need not: such a path only explains a refusal.
        if is_signed_with_sha1(certificate) or _is_signed_by(certificate, candidate):
            yield candidate


def _is_signed_by(certificate: x509.Certificate, candidate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(candidate)
    except Exception:  # noqa: BLE001 - hostile keys and signatures raise several unrelated types
        return False
    return True


def weakness(certificate: x509.Certificate, issuer: x509.Certificate | None, now: datetime) -> str | None:
    """What disqualifies a CA certificate, or the signature that its issuer made; None when nothing here does."""
    findings = {
        f"expired on {certificate.not_valid_after_utc:%Y-%m-%d}": now > certificate.not_valid_after_utc,
        f"is not valid before {certificate.not_valid_before_utc:%Y-%m-%d}": now < certificate.not_valid_before_utc,
        "is an X.509 version 1 certificate, which cannot be a CA": certificate.version is not x509.Version.v3,
        "is no CA: its basicConstraints are missing or say so": not _is_ca(certificate),
        f"has an RSA key of less than {MINIMUM_RSA_BITS} bits": has_weak_key(certificate),
        "has a key that is neither RSA nor ECDSA": not isinstance(certificate.public_key(), PATH_KEYS),
        "is signed with SHA-1": issuer is not None and is_signed_with_sha1(certificate),
    }
    return next((text for text, found in findings.items() if found), None)


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def has_weak_key(certificate: x509.Certificate) -> bool:
    """Whether the certificate holds an RSA key below the minimum."""
    key = certificate.public_key()
    return isinstance(key, rsa.RSAPublicKey) and key.key_size < MINIMUM_RSA_BITS


def is_signed_with_sha1(certificate: x509.Certificate) -> bool:
    """Whether the issuer hashed with SHA-1."""
    return isinstance(certificate.signature_hash_algorithm, hashes.SHA1)
