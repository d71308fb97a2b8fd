"""A client certificate and its private key from files: PEM, DER or PKCS#12, in one file or in two."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from anyike.crypto import client_chain
from anyike.crypto.client_key import ClientKey, KeyStore, PassPhraseNeeded, PassPhraseWrong, read_key_store
from anyike.errors import ConfigurationError, LoginFailed
from anyike.invoking_user import InvokingUser, read_file
from anyike.login.key_secrets import KeySecrets

MAX_FILE_BYTES = 256 * 1024
"""Implementation limit: a key, its certificate and a handful of CAs have a few kilobytes."""
MAX_TRIES = 3


@dataclass(frozen=True, slots=True)
class CertificateFile:
    """A file that a setting names."""

    setting: str
    path: Path
    user: InvokingUser

    def read(self, *, secret: bool = False) -> bytes:
        """Its content. A secret one, as ssh has it, nobody else may read: not even an encrypted key is for others to guess at."""
        try:
            return read_file(self.user, self.path, MAX_FILE_BYTES, secret=secret)
        except ConfigurationError as error:
            raise ConfigurationError(f"{self.setting}: {error}") from None
        except OSError as error:
            raise ConfigurationError(
                f"{self.setting}: {self.user.name} cannot read {self.path}: {error.strerror}"
            ) from None


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """A certificate with a key that this process holds."""

    chain: tuple[bytes, ...]
    _key: ClientKey = field(repr=False)

    async def sign(self, octets: bytes, hash_name: str) -> bytes:
        """The bare signature."""
        return self._key.sign(octets, hash_name)

    async def close(self) -> None:
        """Nothing is open."""


async def open_file_identity(
    certificate: CertificateFile,
    key: CertificateFile | None,
    key_setting: str,
    secrets: KeySecrets,
) -> FileIdentity:
    """Load certificate and key; `key` None: both are in one file. `secrets` has the pass phrases, for either file.

    `key_setting` is the name of the setting that names another file for the key.

    Raises:
        ConfigurationError: a file cannot be read or used, or the two do not belong together.
        LoginFailed: the pass phrase was wrong too often, or there is nobody to ask.
    """
    store = await _open(certificate, secrets, with_key=key is None)
    found = store.key if key is None else (await _open(key, secrets, with_key=True)).key
    key_file = key or certificate
    if found is None:
        hint = f"; if it is in a file of its own, set {key_setting} to that" if key is None else ""
        raise ConfigurationError(f"{key_file.setting}: {key_file.path} holds no private key{hint}")
    return FileIdentity(_own_chain(certificate, store.certificates, found.public_key_der, key_setting), found)


async def read_own_chain(file: CertificateFile, secrets: KeySecrets) -> tuple[bytes, ...]:
    """The one certificate of the file that is no CA's, and its issuers: where the key is on a token and cannot tell.

    Only the user opens the file, should it be encrypted: what is set is the token's PIN.

    Raises as `open_file_identity` does.
    """
    certificates = (await _open(file, secrets, with_key=False, by_user=True)).certificates
    try:
        own = [der for der in certificates if not client_chain.is_authority(der)] or list(certificates)
        if len(own) == 1:
            return client_chain.order_chain(certificates, client_chain.public_key_of(own[0]))
    except ValueError:
        raise ConfigurationError(f"{file.setting}: {file.path} holds a certificate that cannot be read") from None
    raise ConfigurationError(f"{file.setting}: {file.path} must hold one client certificate, not {len(own)}")


async def _open(file: CertificateFile, secrets: KeySecrets, *, with_key: bool, by_user: bool = False) -> KeyStore:
    try:
        store = _parse(file, file.read(), None, with_key=with_key)
    except PassPhraseNeeded:
        data = file.read(secret=True)
    else:
        return store if store.key is None else _parse(file, file.read(secret=True), None, with_key=True)
    prompt = f"Pass phrase for {file.path}: "
    for remaining in reversed(range(MAX_TRIES)):
        pass_phrase = await secrets.ask(prompt, None if by_user else str(file.path))
        try:
            return _parse(file, data, pass_phrase, with_key=with_key)
        except PassPhraseWrong as wrong:
            if not remaining:
                raise LoginFailed(f"{file.setting}: {file.path}: {wrong}; {MAX_TRIES} tries") from None
        prompt = f"That is not it. Pass phrase for {file.path}: "
    raise AssertionError("a try is left")


def _parse(file: CertificateFile, data: bytes, pass_phrase: str | None, *, with_key: bool) -> KeyStore:
    try:
        return read_key_store(data, pass_phrase, with_key=with_key)
    except ConfigurationError as error:
        raise ConfigurationError(f"{file.setting}: {file.path} cannot be used: {error}") from None


def _own_chain(
    file: CertificateFile, certificates: tuple[bytes, ...], public_key_der: bytes, key_setting: str
) -> tuple[bytes, ...]:
    """What of the file belongs to this key, in order."""
    if not certificates:
        raise ConfigurationError(f"{file.setting}: {file.path} holds no certificate")
    try:
        chain = client_chain.order_chain(certificates, public_key_der)
    except ValueError:
        raise ConfigurationError(f"{file.setting}: {file.path} holds a certificate that cannot be read") from None
    if not chain:
        raise ConfigurationError(
            f"{file.setting}: none of the {len(certificates)} certificate(s) in {file.path} belongs to the private key; "
            f"{key_setting} must name the key that goes with the certificate"
        )
    return chain
