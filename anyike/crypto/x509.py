"""Is this the gateway that was asked for? Chain, dates, usage and name of its certificate, or its pinned key."""

from __future__ import annotations

import base64
import hashlib
import re
import ssl
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from anyike.crypto import certificate_names, certificate_path
from anyike.errors import ConfigurationError, GatewayNotTrusted
from anyike.text import printable_line

MAX_CERTIFICATES = 10
"""Implementation limit: real chains have up to five."""
MAX_CHAIN_BYTES = 65_536
"""Implementation limit: more than fits one EAP or IKE message anyway."""
MAX_SHOWN_TEXT = 200
PIN_PREFIX = "pin-sha256:"
CHAIN_PIN_PREFIX = "pin-sha512:"
"""Another hash than that of the other pins, so that the two kinds cannot be mixed up; AnyConnect's profiles have SHA-512."""
PEM_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class Distrust(StrEnum):
    """Why a certificate was not trusted."""

    NO_CERTIFICATE = "no certificate"
    MALFORMED = "malformed"
    EXPIRED = "expired"
    NOT_YET_VALID = "not yet valid"
    WEAK_KEY = "weak key"
    UNTRUSTED_CA = "untrusted CA"
    BAD_CHAIN = "bad chain"
    BAD_USAGE = "bad usage"
    WRONG_NAME = "wrong name"
    WRONG_PIN = "wrong pin"
    WRONG_CHAIN_PIN = "wrong chain pin"


class CertificateNotTrusted(GatewayNotTrusted):
    """The gateway's certificate failed a check. `pin` is the pin that would accept it, None where none would."""

    def __init__(self, reason: Distrust, message: str, pin: str | None = None) -> None:
        hint = f"\nIf you are sure that this is your gateway, accept exactly its key: --servercert {pin}" if pin else ""
        super().__init__(f"the gateway's certificate is not trusted: {message}{hint}")
        self.reason = reason
        self.pin = pin


@dataclass(frozen=True)
class TrustPolicy:
    """What the user trusts.

    `roots` are DER certificates of CAs (or of the gateway itself); one of `names` (host names, IP addresses) must be
    in the certificate. `chain_pins` (`pin-sha512:` and the base64 SHA-512 of a SubjectPublicKeyInfo), when there are
    any, must hold the key of a certificate in the path that was verified, gateway and root included.

    `pins` (`pin-sha256:` and the base64 SHA-256 of the SubjectPublicKeyInfo), when there are any, replace roots, names,
    usage and chain pins, but neither the dates nor the minimum key size.
    """

    roots: Sequence[bytes] = ()
    names: tuple[str, ...] = ()
    pins: tuple[str, ...] = ()
    allow_common_name: bool = False
    chain_pins: tuple[str, ...] = ()


@dataclass(frozen=True)
class VerifiedCertificate:
    """A gateway certificate that passed; names as RFC 4514 strings without control characters."""

    subject: str
    issuer: str
    not_after: datetime
    pin: str
    verified_by: Literal["chain", "pin"]
    public_key_der: bytes


def verify_gateway_certificate(chain: Sequence[bytes], policy: TrustPolicy, now: datetime) -> VerifiedCertificate:
    """Check the CERT payloads of the gateway: DER certificates, its own first, then others in any order.

    `now` is timezone-aware.

    Raises:
        CertificateNotTrusted: with the reason, and the pin that would accept the certificate.
        ConfigurationError: a pin or a root of the policy cannot be read.
    """
    leaf, others = _load_chain(chain)
    verified = _describe(leaf, "pin" if policy.pins else "chain")
    if policy.pins:
        _check_pin(verified.pin, policy.pins)
    _check_dates(leaf, now)
    _check_key_size(leaf)
    if not policy.pins:
        path = _check_path(leaf, others, policy.roots, now, verified.pin)
        _check_usage(leaf, verified.pin)
        _check_name(leaf, policy, verified.pin)
        _check_chain_pins(path, policy.chain_pins, verified.pin)
    return verified


def pin_sha256(certificate_der: bytes) -> str:
    """The pin of a certificate's public key, as openconnect's --servercert takes it. ValueError if it has none."""
    return _pin(_public_key_der(_parse(certificate_der)))


def authority_key_hashes(roots: Sequence[bytes]) -> bytes:
    """What CERTREQ holds for these CAs: the SHA-1 of each SubjectPublicKeyInfo, one after the other (RFC 7296 3.7)."""
    return b"".join(hashlib.sha1(_public_key_der(root)).digest() for root in _load_roots(roots))  # noqa: S324  names a key


def parse_pin(pin: str) -> bytes:
    """The 32 bytes of a pin; ConfigurationError when it is not `pin-sha256:` and the base64 of 32 bytes."""
    value = _parse_hash(pin, PIN_PREFIX)
    if len(value) != hashlib.sha256().digest_size:
        raise ConfigurationError(f"{pin!r} is no pin: write pin-sha256: followed by the base64 of a SHA-256 hash")
    return value


def chain_pin(key_hash: bytes) -> str:
    """The chain pin for a key, of which this is the SHA-512 hash (of its SubjectPublicKeyInfo)."""
    return _show_hash(CHAIN_PIN_PREFIX, key_hash)


def parse_chain_pin(pin: str) -> bytes:
    """The 64 bytes of a chain pin; ConfigurationError when it is not `pin-sha512:` and the base64 of 64 bytes."""
    value = _parse_hash(pin, CHAIN_PIN_PREFIX)
    if len(value) != hashlib.sha512().digest_size:
        raise ConfigurationError(f"{pin!r} is no chain pin: write pin-sha512: followed by the base64 of a SHA-512 hash")
    return value


def parse_certificates(data: bytes, *, skip_unreadable: bool = False) -> tuple[bytes, ...]:
    """The DER certificates of a PEM bundle, or of a single DER file.

    `skip_unreadable` is for bundles that others made: public CAs exist whose serial number breaks RFC 5280.

    Raises:
        ValueError: there is no certificate, or one cannot be read.
    """
    certificates = []
    for block in PEM_CERTIFICATE.findall(data) or [data]:
        try:
            der = block if block is data else ssl.PEM_cert_to_DER_cert(block.decode("ascii"))
            _parse(der)
        except ValueError:
            if not skip_unreadable:
                raise
        else:
            certificates.append(der)
    if not certificates:
        raise ValueError("none of its certificates can be read")
    return tuple(certificates)


def _parse_hash(pin: str, prefix: str) -> bytes:
    """What stands in base64 behind the prefix; nothing where that is not so."""
    if not pin.startswith(prefix):
        return b""
    try:
        return base64.b64decode(pin.removeprefix(prefix), validate=True)
    except ValueError:
        return b""


def _show_hash(prefix: str, value: bytes) -> str:
    return prefix + base64.b64encode(value).decode("ascii")


def _parse(der: bytes) -> x509.Certificate:
    with warnings.catch_warnings():
        # The parser warns about oddities such as a serial number of zero: nothing that the user could act upon.
        warnings.simplefilter("ignore")
        return x509.load_der_x509_certificate(der)


def _load_chain(chain: Sequence[bytes]) -> tuple[x509.Certificate, list[x509.Certificate]]:
    if not chain:
        raise CertificateNotTrusted(Distrust.NO_CERTIFICATE, "the gateway sent none")
    if len(chain) > MAX_CERTIFICATES or sum(map(len, chain)) > MAX_CHAIN_BYTES:
        raise CertificateNotTrusted(
            Distrust.MALFORMED, f"its chain exceeds {MAX_CERTIFICATES} certificates or {MAX_CHAIN_BYTES} bytes"
        )
    leaf, *others = map(_read, chain)
    return leaf, others


def _read(der: bytes) -> x509.Certificate:
    """Parse a certificate, and the fields of it that the parser would leave until they are used."""
    try:
        certificate = _parse(der)
        _ = certificate.subject, certificate.issuer, certificate.extensions, certificate.public_key()
        _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc, certificate.signature_hash_algorithm
    except Exception as error:  # noqa: BLE001 - a hostile certificate makes the parser raise several unrelated types
        raise CertificateNotTrusted(Distrust.MALFORMED, f"it cannot be read ({_printable(str(error))})") from None
    return certificate


def _describe(leaf: x509.Certificate, verified_by: Literal["chain", "pin"]) -> VerifiedCertificate:
    public_key_der = _public_key_der(leaf)
    return VerifiedCertificate(
        subject=_printable(leaf.subject.rfc4514_string()),
        issuer=_printable(leaf.issuer.rfc4514_string()),
        not_after=leaf.not_valid_after_utc,
        pin=_pin(public_key_der),
        verified_by=verified_by,
        public_key_der=public_key_der,
    )


def _public_key_der(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _pin(public_key_der: bytes) -> str:
    return _show_hash(PIN_PREFIX, hashlib.sha256(public_key_der).digest())


def _check_pin(pin: str, accepted: Sequence[str]) -> None:
    actual = parse_pin(pin)
    if actual not in {parse_pin(candidate) for candidate in accepted}:
        raise CertificateNotTrusted(
            Distrust.WRONG_PIN,
            f"its key is not the pinned one; pinned: {', '.join(accepted)}. "
            "The gateway has a new key, or somebody answers in its place",
            pin,
        )


def _check_dates(leaf: x509.Certificate, now: datetime) -> None:
    if now > leaf.not_valid_after_utc:
        raise CertificateNotTrusted(
            Distrust.EXPIRED,
            f"it expired on {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC (now is {now:%Y-%m-%d %H:%M}); "
            "the gateway's administrator must renew it, a pin does not override the dates",
        )
    if now < leaf.not_valid_before_utc:
        raise CertificateNotTrusted(
            Distrust.NOT_YET_VALID,
            f"it is not valid before {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} UTC (now is {now:%Y-%m-%d %H:%M}); "
            "check this machine's clock, a pin does not override the dates",
        )


def _check_key_size(leaf: x509.Certificate) -> None:
    if certificate_path.has_weak_key(leaf):
        raise CertificateNotTrusted(
            Distrust.WEAK_KEY,
            f"its RSA key has less than {certificate_path.MINIMUM_RSA_BITS} bits; the gateway needs a new one",
        )


def _check_path(
    leaf: x509.Certificate, others: Sequence[x509.Certificate], root_ders: Sequence[bytes], now: datetime, pin: str
) -> Sequence[x509.Certificate]:
    """The path that was verified, from the gateway's certificate to a root."""
    roots = _load_roots(root_ders)
    try:
        return certificate_path.find_path(leaf, others, roots, now)
    except certificate_path.NoPath as error:
        problem = str(error)
    path = certificate_path.signed_path(leaf, others, roots)
    if path[-1] not in roots:
        raise CertificateNotTrusted(
            Distrust.UNTRUSTED_CA,
            f"its issuer {_printable(path[-1].issuer.rfc4514_string())!r} is not among the trusted CAs; "
            "set gateway.ca_file (--cafile) to the CA of your gateway",
            pin,
        )
    if certificate_path.is_signed_with_sha1(leaf):
        raise CertificateNotTrusted(Distrust.BAD_CHAIN, "it is signed with SHA-1", pin)
    for certificate, issuer in zip(path[1:], [*path[2:], None], strict=True):
        weakness = certificate_path.weakness(certificate, issuer, now)
        if weakness is not None:
            subject = _printable(certificate.subject.rfc4514_string())
            raise CertificateNotTrusted(Distrust.BAD_CHAIN, f"its issuing certificate {subject!r} {weakness}", pin)
    raise CertificateNotTrusted(Distrust.BAD_CHAIN, f"its chain breaks a rule: {_printable(problem)}", pin)


def _load_roots(ders: Sequence[bytes]) -> list[x509.Certificate]:
    try:
        return [_parse(der) for der in ders]
    except ValueError as error:
        raise ConfigurationError(f"a trusted CA certificate cannot be read: {error}") from None


def _check_usage(leaf: x509.Certificate, pin: str) -> None:
    try:
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        usage = None
    if usage is not None and not (usage.digital_signature or usage.content_commitment):
        raise CertificateNotTrusted(Distrust.BAD_USAGE, "its keyUsage does not allow signatures", pin)
    try:
        extended = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    if certificate_path.GATEWAY_KEY_USAGES.isdisjoint(extended):
        raise CertificateNotTrusted(Distrust.BAD_USAGE, "its extendedKeyUsage allows neither IKE nor TLS servers", pin)


def _check_name(leaf: x509.Certificate, policy: TrustPolicy, pin: str) -> None:
    if certificate_names.matches_any(leaf, policy.names, allow_common_name=policy.allow_common_name):
        return
    presented = ", ".join(certificate_names.presented_names(leaf)) or "none"
    raise CertificateNotTrusted(
        Distrust.WRONG_NAME,
        f"it is not for {' or '.join(policy.names)}; the names in it: {_printable(presented)}; "
        "if one of them is your gateway's, set gateway.gateway_id to it",
        pin,
    )


def _check_chain_pins(path: Sequence[x509.Certificate], accepted: Sequence[str], pin: str) -> None:
    if not accepted:
        return
    hashes = [hashlib.sha512(_public_key_der(certificate)).digest() for certificate in path]
    if {parse_chain_pin(candidate) for candidate in accepted}.isdisjoint(hashes):
        found = "".join(
            f"\n  {chain_pin(key_hash)} is the key of {_printable(certificate.subject.rfc4514_string())}"
            for certificate, key_hash in zip(path, hashes, strict=True)
        )
        raise CertificateNotTrusted(
            Distrust.WRONG_CHAIN_PIN,
            "its chain leads to a trusted CA, but holds no key of gateway.chain_pins. The gateway has a new certificate or "
            f"CA, whose pin its administrator must confirm, or somebody answers in its place. The chain:{found}",
            pin,
        )


def _printable(text: str) -> str:
    """Text of a stranger for a terminal: harmless, on one line, bounded."""
    shown = printable_line(text)
    return shown if len(shown) <= MAX_SHOWN_TEXT else shown[:MAX_SHOWN_TEXT] + "..."
