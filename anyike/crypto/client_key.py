"""The client's private key out of a file: PEM, DER or PKCS#12, told apart by content, and what it signs.

Signatures are as TLV 1 wants them (AnyConnect-EAP notes, section 6): RSASSA-PKCS1-v1_5, or ECDSA as r | s (RFC 4754).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
    pkcs12,
)

from anyike.crypto.signatures import HASHES
from anyike.crypto.x509 import parse_certificates
from anyike.errors import ConfigurationError, LoginFailed

CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
"""Specification: RFC 4754 defines ECDSA for these three."""
_PEM_KEY = re.compile(rb"-----BEGIN ((?:[A-Z0-9]+ )*PRIVATE KEY)-----.+?-----END \1-----", re.DOTALL)
_PEM_START = b"-----BEGIN "
_PFX_VERSION = bytes.fromhex("020103")
"""RFC 7292 section 4: a PFX is a SEQUENCE that starts with INTEGER 3."""
_SEQUENCE = 0x30
_LONG_FORM = 0x80


class PassPhraseNeeded(LoginFailed):
    """The key is encrypted, and no pass phrase was given."""


class PassPhraseWrong(LoginFailed):
    """The pass phrase does not open the key; a damaged file looks the same."""


@dataclass(frozen=True, slots=True)
class ClientKey:
    """A private key that signs and is never handed out."""

    _key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def public_key_der(self) -> bytes:
        """Its SubjectPublicKeyInfo."""
        return self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def sign(self, octets: bytes, hash_name: str) -> bytes:
        """The bare signature: as long as an RSA key's modulus, or r | s, each as long as the curve's order.

        Raises:
            LoginFailed: this machine does not sign with that hash, or the key is too short for it.
        """
        try:
            algorithm = HASHES[hash_name]()
            if isinstance(self._key, rsa.RSAPrivateKey):
                return self._key.sign(octets, padding.PKCS1v15(), algorithm)
            r, s = decode_dss_signature(self._key.sign(octets, ec.ECDSA(algorithm)))
        except (KeyError, ValueError, UnsupportedAlgorithm):
            raise LoginFailed(f"the client's key cannot sign with the hash {hash_name} on this machine") from None
        half = (self._key.curve.key_size + 7) // 8
        return r.to_bytes(half, "big") + s.to_bytes(half, "big")


@dataclass(frozen=True, slots=True)
class KeyStore:
    """What a file holds: at most one key, and DER certificates in the file's order."""

    key: ClientKey | None
    certificates: tuple[bytes, ...]


def read_key_store(data: bytes, pass_phrase: str | None = None, *, with_key: bool = True) -> KeyStore:
    """The key and the certificates of a PEM, DER or PKCS#12 file; without `with_key` a PEM file's key is left alone.

    Raises:
        PassPhraseNeeded: it is encrypted, and `pass_phrase` is None.
        PassPhraseWrong: it is encrypted with another one.
        ConfigurationError: what it holds cannot be read or used; the message starts with "it".
    """
    if _PEM_START in data:
        return _read_pem(data, pass_phrase, with_key=with_key)
    if _is_pkcs12(data):
        return _read_pkcs12(data, pass_phrase)
    try:
        return KeyStore(None, parse_certificates(data))
    except ValueError:
        return KeyStore(_usable(_load(data, pass_phrase, pem=False)), ())


def _read_pem(data: bytes, pass_phrase: str | None, *, with_key: bool) -> KeyStore:
    certificates: tuple[bytes, ...] = ()
    if b"-----BEGIN CERTIFICATE-----" in data:
        try:
            certificates = parse_certificates(data)
        except ValueError:
            raise ConfigurationError("it holds a certificate that cannot be read") from None
    keys = list(_PEM_KEY.finditer(data)) if with_key else []
    if len(keys) > 1:
        raise ConfigurationError(f"it holds {len(keys)} private keys, one is wanted")
    if not keys:
        return KeyStore(None, certificates)
    if keys[0][1] == b"OPENSSH PRIVATE KEY":
        raise ConfigurationError(
            "it holds a key in the format of OpenSSH; convert a copy: ssh-keygen -p -m PKCS8 -f COPY"
        )
    return KeyStore(_usable(_load(keys[0][0] + b"\n", pass_phrase, pem=True)), certificates)


_OLD_ENCRYPTION = b"Proc-Type: 4,ENCRYPTED"
"""RFC 1421: what nothing tells a wrong pass phrase of but the padding."""


def _load(data: bytes, pass_phrase: str | None, *, pem: bool) -> PrivateKeyTypes:
    load = load_pem_private_key if pem else load_der_private_key
    try:
        return load(data, None if pass_phrase is None else pass_phrase.encode())
    except TypeError:  # how the library says that there must be, or must not be, a pass phrase
        if pass_phrase is None:
            raise PassPhraseNeeded("the private key is encrypted") from None
        return _load(data, None, pem=pem)
    except UnsupportedAlgorithm as error:
        raise ConfigurationError(f"it holds a private key that cannot be read: {error}") from None
    except ValueError as error:
        # With a wrong one an old PEM key may come out with a padding that is right by chance: then it is garbage.
        if pass_phrase is not None and ("assword" in str(error) or _OLD_ENCRYPTION in data):
            raise PassPhraseWrong("the pass phrase does not open the private key") from None
        if pem:
            raise ConfigurationError(f"it holds a private key that cannot be read: {error}") from None
        raise ConfigurationError(
            "it is no certificate, private key or PKCS#12 file, neither in PEM nor in DER"
        ) from None


def _read_pkcs12(data: bytes, pass_phrase: str | None) -> KeyStore:
    """Whatever its encryption, those of old programs (RC2, triple DES with SHA-1) included."""
    try:
        content = pkcs12.load_pkcs12(data, None if pass_phrase is None else pass_phrase.encode())
    except UnsupportedAlgorithm as error:
        raise ConfigurationError(f"it is a PKCS#12 file that cannot be read: {error}") from None
    except (TypeError, ValueError):
        # A damaged file is not told from an encrypted one.
        if pass_phrase is None:
            raise PassPhraseNeeded("the PKCS#12 file is encrypted, or damaged") from None
        raise PassPhraseWrong("the pass phrase does not open the PKCS#12 file, or the file is damaged") from None
    found = [content.cert] if content.cert is not None else []
    certificates = tuple(entry.certificate.public_bytes(Encoding.DER) for entry in (*found, *content.additional_certs))
    return KeyStore(None if content.key is None else _usable(content.key), certificates)


def _is_pkcs12(data: bytes) -> bool:
    """Also with an indefinite length, which some programs write."""
    if len(data) < len(_PFX_VERSION) + 2 or data[0] != _SEQUENCE:
        return False
    length_octets = data[1] - _LONG_FORM if data[1] > _LONG_FORM else 0
    return data[2 + length_octets :].startswith(_PFX_VERSION)


def _usable(key: PrivateKeyTypes) -> ClientKey:
    if isinstance(key, rsa.RSAPrivateKey) or (
        isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, CURVES)
    ):
        return ClientKey(key)
    kind = (
        key.curve.name if isinstance(key, ec.EllipticCurvePrivateKey) else type(key).__name__.removesuffix("PrivateKey")
    )
    raise ConfigurationError(
        f"it holds a private key of the kind {kind}, with which nobody can log in by AnyConnect-EAP: "
        "RSA keys can, and ECDSA keys on P-256, P-384 and P-521"
    )
