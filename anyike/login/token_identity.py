"""A client certificate on a PKCS#11 token: found by its URI, unlocked by a PIN, and a key that never leaves the token."""

from __future__ import annotations

import base64
import binascii
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from anyike.crypto import client_chain
from anyike.errors import ConfigurationError, LoginFailed
from anyike.invoking_user import InvokingUser, read_file
from anyike.login.key_secrets import KeySecrets
from anyike.login.pkcs11_uri import Pkcs11Uri, parse_pkcs11_uri, write_attribute
from anyike.login.token_process import PROGRAM, TokenProcess, TokenRefused
from anyike.text import printable_line

FIND_SECONDS = 30.0
PIN_SECONDS = 120.0
"""Implementation: time enough to type on the keypad of a reader."""
SIGN_SECONDS = 60.0
"""Implementation: a token may wait for a touch."""
MAX_TRIES = 3
MAX_PIN_BYTES = 256

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TokenObject:
    """What a setting names on a token."""

    setting: str
    uri: Pkcs11Uri


@dataclass(frozen=True, slots=True)
class StoredCertificate:
    """A certificate on a token: its label (CKA_LABEL), its identifier (CKA_ID) and its DER."""

    label: str
    identifier: bytes
    der: bytes

    def __str__(self) -> str:
        """As the end of the URI that chooses it."""
        return ";".join((write_attribute("object", self.label), write_attribute("id", self.identifier)))


@dataclass(frozen=True, slots=True)
class TokenIdentity:
    """A certificate with a key on a token. Every signature is checked, so that the wrong key is never believed."""

    chain: tuple[bytes, ...]
    _setting: str
    _process: TokenProcess = field(repr=False)

    async def sign(self, octets: bytes, hash_name: str) -> bytes:
        """The bare signature. LoginFailed when the token does not make one, or not with this certificate's key."""
        request = {"command": "sign", "octets": base64.b64encode(octets).decode(), "hash": hash_name}
        try:
            answer = await self._process.ask(request, SIGN_SECONDS)
            signature = base64.b64decode(str(answer["signature"]), validate=True)
        except TokenRefused as refused:
            raise LoginFailed(f"{self._setting}: the token did not sign: {refused.detail}") from None
        except (KeyError, binascii.Error):
            raise LoginFailed(f"{self._setting}: the token's program gave no signature") from None
        if not client_chain.is_made_with(self.chain[0], signature, octets, hash_name):
            raise LoginFailed(
                f"{self._setting}: the token's private key does not belong to the certificate "
                f"{client_chain.subject(self.chain[0])}; name the one that does by {_sibling(self._setting, 'key')}"
            )
        return signature

    async def close(self) -> None:
        """Let go of the token."""
        await self._process.close()


def token_object(setting: str, text: str, kind: str) -> TokenObject:
    """Parse a setting's URI, which must be for an object of this type ("cert", "private"). ConfigurationError."""
    try:
        uri = parse_pkcs11_uri(text)
    except ConfigurationError as error:
        raise ConfigurationError(f"{setting}: {error}") from None
    if uri.has_pin:
        raise ConfigurationError(
            f"{setting}: the URI holds a PIN (pin-value), which whoever sees the setting can read; use "
            f"{_sibling(setting, 'pass_phrase_command')}, {_sibling(setting, 'pass_phrase_credential')} or "
            "pin-source=file:/PATH"
        )
    if uri.type not in {None, kind}:
        raise ConfigurationError(
            f"{setting}: the URI says type={uri.type}, but an object of type={kind} is wanted here"
        )
    return TokenObject(setting, uri)


async def open_token_identity(
    key: TokenObject,
    certificates: Sequence[bytes] | TokenObject,
    user: InvokingUser,
    secrets: KeySecrets,
    program: Sequence[str] = PROGRAM,
) -> TokenIdentity:
    """Find the key and log in to its token. `certificates` are from a file (DER) or on the same token.

    Where `certificates` is `key` itself, it names a certificate, and the key is the one that goes with that.
    `secrets` has the PIN where the URI names no `pin-source`; `program` speaks to the module.

    Raises:
        ConfigurationError: what the URIs name is not there, or there is more than one of it.
        LoginFailed: the PIN was refused, the token is locked, or the module failed.
    """
    process = await TokenProcess.start(key.setting, user, program)
    try:
        opened = await _open_token(process, key, certificates if isinstance(certificates, TokenObject) else key)
        found = await _stored_certificates(process, key.setting)
        if isinstance(certificates, TokenObject):
            stored = _choose(certificates, found)
            chain = _chain(stored.der, [other.der for other in found])
        else:
            stored, chain = None, tuple(certificates)
        await _log_in(process, key, opened, _with_pin_source(key, user, secrets))
        named = key.uri.object is not None or key.uri.id is not None
        if stored is not None and (certificates is key or not named):
            # By convention certificate and key have one identifier; where there is none, they have the label in common.
            await _find_key(process, key, None if stored.identifier else stored.label, stored.identifier or None)
        else:
            await _find_key(process, key, key.uri.object, key.uri.id)
        return TokenIdentity(chain, key.setting, process)
    except BaseException:
        await process.close()
        raise


async def _open_token(process: TokenProcess, key: TokenObject, certificate: TokenObject) -> dict[str, Any]:
    request = {"command": "open", **_place(key, certificate)}
    try:
        return await process.ask(request, FIND_SECONDS)
    except TokenRefused as refused:
        raise ConfigurationError(f"{key.setting}: {_why_not_open(refused)}") from None


def _place(key: TokenObject, certificate: TokenObject) -> dict[str, Any]:
    """Module and token, from what either URI says of them."""
    places = [
        {"module_path": uri.module_path, "module_name": uri.module_name, **uri.token}
        for uri in (certificate.uri, key.uri)
    ]
    said, also_said = ({name: value for name, value in place.items() if value is not None} for place in places)
    if any(said[name] != also_said[name] for name in said.keys() & also_said.keys()):
        raise ConfigurationError(
            f"{key.setting}: its URI names another token or module than that of {certificate.setting}; "
            "certificate and key must be on one token"
        )
    both = said | also_said
    return {"module_path": both.pop("module_path", None), "module_name": both.pop("module_name", None), "token": both}


def _why_not_open(refused: TokenRefused) -> str:
    match refused.kind:
        case "module":
            return (
                f"the PKCS#11 module cannot be used: {refused.detail}. Install p11-kit-modules (Debian) and the token's "
                "driver, or name the driver in the URI: ?module-path=/PATH/MODULE.so"
            )
        case "no token":
            there = f"; there: {refused.detail}" if refused.detail else "; the module sees no token at all"
            return f"no token fits the URI{there}. Is it plugged in?"
        case "several tokens":
            return f"several tokens fit the URI, add token=LABEL or serial=NUMBER: {refused.detail}"
        case _:
            return f"the token cannot be opened: {refused.detail}"


async def _stored_certificates(process: TokenProcess, setting: str) -> list[StoredCertificate]:
    try:
        answer = await process.ask({"command": "certificates"}, FIND_SECONDS)
        return [
            StoredCertificate(str(entry["label"]), bytes.fromhex(entry["id"]), base64.b64decode(entry["der"]))
            for entry in answer["certificates"]
        ]
    except TokenRefused as refused:
        raise LoginFailed(f"{setting}: the token does not show its certificates: {refused.detail}") from None
    except (KeyError, TypeError, ValueError):
        raise LoginFailed(f"{setting}: the token's program gave no list of certificates") from None


def _choose(wanted: TokenObject, found: Sequence[StoredCertificate]) -> StoredCertificate:
    """The one that the URI means; CAs, which tokens hold besides, only where nothing else fits."""
    fitting = [
        stored
        for stored in found
        if wanted.uri.object in {None, stored.label} and wanted.uri.id in {None, stored.identifier}
    ]
    readable = [stored for stored in fitting if _is_readable(stored.der)]
    own = [stored for stored in readable if not client_chain.is_authority(stored.der)] or readable
    if len(own) == 1:
        return own[0]
    listed = printable_line(", ".join(str(stored) for stored in own or found)) or "none at all"
    if not own:
        raise ConfigurationError(
            f"{wanted.setting}: no certificate with an RSA or ECDSA key on the token fits the URI; there: {listed}"
        )
    raise ConfigurationError(
        f"{wanted.setting}: {len(own)} certificates on the token fit the URI, add object= or id= of one: {listed}"
    )


def _is_readable(der: bytes) -> bool:
    try:
        client_chain.is_authority(der)
        return client_chain.key_kind(der) is not None
    except ValueError:
        return False


def _chain(leaf: bytes, certificates: Sequence[bytes]) -> tuple[bytes, ...]:
    """The leaf that was chosen and its issuers, though another certificate should be for the same key."""
    key = client_chain.public_key_of(leaf)
    others = [
        der for der in certificates if der != leaf and _is_readable(der) and client_chain.public_key_of(der) != key
    ]
    return client_chain.order_chain([leaf, *others], key)


async def _log_in(process: TokenProcess, key: TokenObject, opened: dict[str, Any], secrets: KeySecrets) -> None:
    if opened.get("login") == "none":
        return
    label = printable_line(str(opened.get("label", "")))
    if opened.get("login") == "pad":
        if not secrets.attended:
            raise LoginFailed(
                f"{key.setting}: the PIN of the token {label!r} has to be typed on its reader, and there is no terminal to ask for "
                "that on, or --non-inter was given"
            )
        logger.warning("Enter the PIN of the token %r on its reader", label)
        await _try_pin(process, key, label, None)
        return
    state = opened.get("pin")
    _check_tries(key, label, state)
    prompt = f"PIN of the token {label!r}{' (the last one was wrong)' if state == 'low' else ''}: "
    refused: set[str] = set()
    while len(refused) < MAX_TRIES:
        # Once a PIN was wrong only the user may go on: what is set would be tried at every login, until the token locks.
        pin = await secrets.ask(prompt, None if state == "low" or refused else label)
        if not pin or len(pin.encode()) > MAX_PIN_BYTES or "\0" in pin:
            raise LoginFailed(f"{key.setting}: what was given as the PIN of the token {label!r} is empty or no PIN")
        if pin in refused:
            raise LoginFailed(f"{key.setting}: the token {label!r} refused this PIN already; not tried again")
        state = await _try_pin(process, key, label, pin)
        if state is None:
            return
        refused.add(pin)
        _check_tries(key, label, state)
        prompt = f"That is not it. PIN of the token {label!r}: "
    raise LoginFailed(f"{key.setting}: the token {label!r} refused {MAX_TRIES} PINs")


async def _try_pin(process: TokenProcess, key: TokenObject, label: str, pin: str | None) -> str | None:
    """None when the token is open, else what it says of the tries that are left."""
    try:
        await process.ask({"command": "log_in", "pin": pin}, PIN_SECONDS)
    except TokenRefused as refused:
        if refused.kind == "locked":
            return "locked"
        if refused.kind == "wrong pin" and pin is not None:
            return refused.detail
        raise LoginFailed(
            f"{key.setting}: the token {label!r} did not open: {refused.detail or refused.kind}"
        ) from None
    return None


def _check_tries(key: TokenObject, label: str, state: object) -> None:
    if state == "locked":
        raise LoginFailed(
            f"{key.setting}: the token {label!r} has locked its PIN after too many wrong ones: unblock it with its PUK"
        )
    if state == "final":
        raise LoginFailed(
            f"{key.setting}: one more wrong PIN locks the token {label!r}, so none is tried here. Log in to it once "
            "with its own program; that resets the count"
        )


@dataclass(frozen=True, slots=True)
class _PinFile:
    """The first line of the file that a URI's `pin-source` names."""

    name: str
    user: InvokingUser
    path: Path

    async def read(self) -> str:
        try:
            lines = read_file(self.user, self.path, MAX_PIN_BYTES, secret=True).decode().splitlines()
        except (OSError, UnicodeDecodeError):
            raise ConfigurationError(f"{self.name}: {self.user.name} cannot read a PIN from {self.path}") from None
        return lines[0] if lines else ""


def _with_pin_source(key: TokenObject, user: InvokingUser, secrets: KeySecrets) -> KeySecrets:
    source = key.uri.pin_source
    if source is None:
        return secrets
    parts = urlsplit(source)
    path = parts.path if parts.scheme == "file" and parts.netloc in {"", "localhost"} else source
    if not path.startswith("/"):
        raise ConfigurationError(
            f"{key.setting}: pin-source must be file:/PATH; for a command set {_sibling(key.setting, 'pass_phrase_command')}"
        )
    return secrets.from_sources([_PinFile(key.setting, user, Path(path))])


def _sibling(setting: str, name: str) -> str:
    """Another setting of the same certificate: `certificate.user_file` has `certificate.user_key`."""
    return f"{setting.removesuffix('file').removesuffix('key')}{name}"


async def _find_key(process: TokenProcess, key: TokenObject, label: str | None, identifier: bytes | None) -> None:
    request = {"command": "find_key", "label": label, "id": None if identifier is None else identifier.hex()}
    try:
        await process.ask(request, FIND_SECONDS)
    except TokenRefused as refused:
        reasons = {
            "no key": "the token shows no private key that fits",
            "several keys": "several private keys on the token fit; add object= or id= to the key's URI",
        }
        raise ConfigurationError(f"{key.setting}: {reasons.get(refused.kind, refused.detail)}") from None
