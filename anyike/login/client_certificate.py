"""The client's certificate and the narrow signer in front of its key: what answers a `ProofRequest`."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from anyike.crypto import client_chain
from anyike.crypto.client_chain import KeyKind
from anyike.eap.question import CertificateProof, ProofRequest
from anyike.errors import ConfigurationError, LoginFailed
from anyike.invoking_user import InvokingUser
from anyike.login.certificate_file import CertificateFile, open_file_identity, read_own_chain
from anyike.login.key_secrets import KeySecrets
from anyike.login.pkcs11_uri import is_pkcs11_uri
from anyike.login.token_identity import open_token_identity, token_object

HASH_NAMES = ("sha512", "sha384", "sha256", "sha1")
"""What is signed with (AnyConnect-EAP notes, section 6). SHA-1 only where the gateway's own choice of a PRF says so; MD5 never."""
MAX_CHAIN_BYTES = 48 * 1024
"""Implementation limit: certificates, signature and document must fit one EAP packet, whose length has 16 bits."""
WARNING_DAYS = 30

logger = logging.getLogger(__name__)


class ClientIdentity(Protocol):
    """A certificate and whatever signs with its key; the key itself is never handed out."""

    @property
    def chain(self) -> tuple[bytes, ...]:
        """DER certificates: the client's own, then those of its issuers that were found with it."""

    async def sign(self, octets: bytes, hash_name: str) -> bytes:
        """The bare signature over the octets: RSASSA-PKCS1-v1_5, or ECDSA as r | s. LoginFailed."""

    async def close(self) -> None:
        """Let go of the key; nothing is signed any more."""


@dataclass(frozen=True, slots=True)
class CertificateSettings:
    """Where the certificate and its key are: paths or `pkcs11:` URIs; `key` None: with the certificate.

    Both belong to `user`. The last two are the settings' names, for messages.
    """

    file: str
    key: str | None
    user: InvokingUser
    file_setting: str = "certificate.file"
    key_setting: str = "certificate.key"


async def open_identity(settings: CertificateSettings, secrets: KeySecrets) -> ClientIdentity:
    """Load the certificate, and unlock its key by a pass phrase or a PIN of `secrets`.

    Raises:
        ConfigurationError: certificate or key are not there, cannot be read, or do not belong together.
        LoginFailed: pass phrase or PIN are wrong, or a token fails.
    """
    identity = await _open(settings, secrets)
    size = sum(map(len, identity.chain))
    if size > MAX_CHAIN_BYTES:
        await identity.close()
        raise ConfigurationError(
            f"{settings.file_setting}: the certificate and its issuers have {size} bytes, more than one message holds "
            f"({MAX_CHAIN_BYTES}): leave issuers out"
        )
    return identity


async def prove(identity: ClientIdentity, request: ProofRequest) -> CertificateProof:
    """Sign what the gateway wants signed, with the first of its hashes that is fit for it.

    Raises:
        LoginFailed: there is none, or the key does not sign.
    """
    hash_name = next((name for name in request.hash_names if name in HASH_NAMES), None)
    if hash_name is None:
        offered = ", ".join(request.hash_names) or "none"
        raise LoginFailed(
            f"the login by certificate wants a hash that is not signed with ({offered}); set ike.proposals"
        )
    if client_chain.key_kind(identity.chain[0]) is KeyKind.ECDSA:
        logger.info("The client's key is ECDSA: signing r | s as in RFC 4754, which no gateway is known to accept yet")
    return CertificateProof(identity.chain, await identity.sign(request.octets, hash_name), hash_name)


def expiry_warning(certificate: bytes, now: datetime, days: int = WARNING_DAYS) -> str | None:
    """What the user should know of this DER certificate's dates; None when it is valid and stays so for so many days.

    `now` is timezone-aware. ValueError when the certificate cannot be read.
    """
    begin, finish = client_chain.validity(certificate)
    name = f"the client certificate {client_chain.subject(certificate)}"
    if now < begin:
        return f"{name} is not valid before {begin:%Y-%m-%d %H:%M} UTC: check this machine's clock"
    if now > finish:
        return f"{name} expired on {finish:%Y-%m-%d}: ask for a new one"
    left = (finish - now).days
    if left >= days:
        return None
    when = "today" if left == 0 else "tomorrow" if left == 1 else f"in {left} days"
    return f"{name} expires {when} ({finish:%Y-%m-%d}): ask for a new one"


async def _open(settings: CertificateSettings, secrets: KeySecrets) -> ClientIdentity:
    user = settings.user
    certificate_on_token = is_pkcs11_uri(settings.file)
    key_on_token = certificate_on_token if settings.key is None else is_pkcs11_uri(settings.key)
    if certificate_on_token and not key_on_token:
        raise ConfigurationError(
            f"{settings.key_setting}: the certificate is on a token ({settings.file_setting}), so its key must be there too"
        )
    if not key_on_token:
        certificate = CertificateFile(settings.file_setting, _path(settings.file, user), user)
        key = None
        if settings.key is not None:
            key = CertificateFile(settings.key_setting, _path(settings.key, user), user)
        return await open_file_identity(certificate, key, settings.key_setting, secrets)
    if settings.key is None:
        stored = token_object(settings.file_setting, settings.file, "cert")
        return await open_token_identity(stored, stored, user, secrets)
    key_object = token_object(settings.key_setting, settings.key, "private")
    if certificate_on_token:
        stored = token_object(settings.file_setting, settings.file, "cert")
        return await open_token_identity(key_object, stored, user, secrets)
    file = CertificateFile(settings.file_setting, _path(settings.file, user), user)
    return await open_token_identity(key_object, await read_own_chain(file, secrets), user, secrets)


def _path(text: str, user: InvokingUser) -> Path:
    """`~/` is the home of the user whose file it is, and not that of root."""
    return user.home / text[2:] if text.startswith("~/") else Path(text)
