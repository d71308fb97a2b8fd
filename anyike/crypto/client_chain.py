"""The client's own certificates: which belongs to the key, who issued it, until when it is valid."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from anyike.crypto.certificate_path import signed_path
from anyike.crypto.signatures import HASHES
from anyike.text import printable_line


class KeyKind(StrEnum):
    """What a client can log in with."""

    RSA = "RSA"
    ECDSA = "ECDSA"


def order_chain(certificates: Sequence[bytes], public_key_der: bytes) -> tuple[bytes, ...]:
    """The certificate of this key (SubjectPublicKeyInfo) and after it its issuers up to the last that is there.

    Of several certificates for one key (renewed ones) that which is valid longest. Unrelated ones are left out. Empty when
    none is for the key. ValueError when one cannot be read.
    """
    loaded = [_load(der) for der in certificates]
    own = [certificate for certificate in loaded if _public_key_der(certificate) == public_key_der]
    if not own:
        return ()
    leaf = max(own, key=lambda certificate: certificate.not_valid_after_utc)
    others = [certificate for certificate in loaded if certificate not in own]
    return tuple(certificate.public_bytes(Encoding.DER) for certificate in signed_path(leaf, others, ()))


def public_key_of(certificate: bytes) -> bytes:
    """Its SubjectPublicKeyInfo. ValueError when the certificate or its key cannot be read."""
    key = _public_key_der(_load(certificate))
    if key is None:
        raise ValueError("its public key is of an unknown kind")
    return key


def key_kind(certificate: bytes) -> KeyKind | None:
    """The kind of its key; None when it is another. ValueError when the certificate cannot be read."""
    try:
        key = _load(certificate).public_key()
    except UnsupportedAlgorithm:
        return None
    if isinstance(key, rsa.RSAPublicKey):
        return KeyKind.RSA
    return KeyKind.ECDSA if isinstance(key, ec.EllipticCurvePublicKey) else None


def is_made_with(certificate: bytes, signature: bytes, octets: bytes, hash_name: str) -> bool:
    """Whether the bare signature (as `ClientKey.sign` gives it) was made with this certificate's key."""
    try:
        key = _load(certificate).public_key()
        algorithm = HASHES[hash_name]()
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, octets, padding.PKCS1v15(), algorithm)
            return True
        if isinstance(key, ec.EllipticCurvePublicKey):
            half = (key.curve.key_size + 7) // 8
            r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
            key.verify(encode_dss_signature(r, s), octets, ec.ECDSA(algorithm))
            return len(signature) == 2 * half
    except (InvalidSignature, KeyError, ValueError, UnsupportedAlgorithm):
        return False
    return False


def is_authority(certificate: bytes) -> bool:
    """Whether it is a CA's. ValueError when it cannot be read."""
    try:
        return _load(certificate).extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def validity(certificate: bytes) -> tuple[datetime, datetime]:
    """From when and until when, in UTC. ValueError when it cannot be read."""
    loaded = _load(certificate)
    return loaded.not_valid_before_utc, loaded.not_valid_after_utc


def subject(certificate: bytes) -> str:
    """Whose it is, as a harmless RFC 4514 string. ValueError when it cannot be read."""
    return printable_line(_load(certificate).subject.rfc4514_string())


def _load(der: bytes) -> x509.Certificate:
    with warnings.catch_warnings():
        # The parser warns about oddities such as a serial number of zero: nothing that the user could act upon.
        warnings.simplefilter("ignore")
        return x509.load_der_x509_certificate(der)


def _public_key_der(certificate: x509.Certificate) -> bytes | None:
    try:
        return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm):
        return None
