"""A program of its own that speaks to a PKCS#11 module: `python -m anyike.login.token_program`.

A module is the user's code and may do whatever it likes, crash included, so it runs with the user's rights in a process
that holds nothing else. Requests come over standard input, one JSON object to a line, each answered by one on standard output:

    {"command": "open", "module_path": null, "module_name": null, "token": {"token": "LABEL", ...}}
        {"label": "...", "login": "none" | "pin" | "pad", "pin": "fine" | "low" | "final" | "locked"}
    {"command": "certificates"}             {"certificates": [{"label": "...", "id": HEX, "der": BASE64}, ...]}
    {"command": "log_in", "pin": "..."}     {}  (null where the reader has a keypad of its own)
    {"command": "find_key", "label": "..." | null, "id": HEX | null}    {}
    {"command": "sign", "octets": BASE64, "hash": "sha256"}             {"signature": BASE64}

An answer that failed is `{"error": KIND, "message": TEXT}`. A PIN is never in one, nor in arguments or the environment.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass, TokenFlag
from pkcs11.types import PROTECTED_AUTH

from anyike.process import harden

DEFAULT_MODULE = "p11-kit-proxy.so"
"""All modules that the system knows; found as the linker finds libraries."""
MAX_CERTIFICATES = 64
"""Implementation limit: a smart card holds a handful; the system's list of public CAs is a token too."""
MAX_CERTIFICATE_BYTES = 16 * 1024
_DIGEST_INFO = {
    "sha1": bytes.fromhex("3021300906052b0e03021a05000414"),
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}
"""RFC 8017 section 9.2, note 1: tokens that know no hash still sign one."""


class ErrorKind(StrEnum):
    """Why a request failed, for whoever asked."""

    MODULE = "module"
    NO_TOKEN = "no token"  # noqa: S105  a word, not a secret
    SEVERAL_TOKENS = "several tokens"
    WRONG_PIN = "wrong pin"
    LOCKED = "locked"
    NO_KEY = "no key"
    SEVERAL_KEYS = "several keys"
    TOKEN = "token"  # noqa: S105  a word, not a secret


class PinState(StrEnum):
    """What the token says of its PIN's tries."""

    FINE = "fine"
    LOW = "low"
    FINAL = "final"
    LOCKED = "locked"


class Refusal(Exception):
    """A request that cannot be fulfilled."""

    def __init__(self, kind: ErrorKind, message: str = "") -> None:
        super().__init__(message)
        self.kind = kind


class Program:
    """One module, one token of it, and one key on that."""

    def __init__(self) -> None:
        self._slot: pkcs11.Slot | None = None
        self._session: pkcs11.Session | None = None
        self._key: Any = None
        self._pin: str | None = None

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one request; Refusal or PKCS11Error when it failed."""
        match request["command"]:
            case "open":
                return self._open(request)
            case "certificates":
                return {"certificates": list(self._certificates())}
            case "log_in":
                return self._log_in(request["pin"])
            case "find_key":
                return self._find_key(request["label"], request["id"])
            case _:
                return self._sign(base64.b64decode(request["octets"]), request["hash"])

    def _open(self, request: Mapping[str, Any]) -> dict[str, Any]:
        library = _load(request["module_path"] or _module_of_name(request["module_name"]))
        wanted = request["token"]
        found = [(slot, token) for slot, token in _tokens(library) if _fits(library, slot, token, wanted)]
        # The system's list of CAs is a token too, and holds nobody's key.
        found = [(slot, token) for slot, token in found if token.flags & TokenFlag.LOGIN_REQUIRED] or found
        if not found:
            labels = ", ".join(sorted(token.label for _, token in _tokens(library)))
            raise Refusal(ErrorKind.NO_TOKEN, labels)
        if len(found) > 1:
            raise Refusal(ErrorKind.SEVERAL_TOKENS, ", ".join(f"{t.label} (serial {_serial(t)})" for _, t in found))
        self._slot, token = found[0]
        self._session = token.open()
        login = "none"
        if token.flags & TokenFlag.LOGIN_REQUIRED:
            login = "pad" if token.flags & TokenFlag.PROTECTED_AUTHENTICATION_PATH else "pin"
        return {"label": token.label, "login": login, "pin": _pin_state(token.flags)}

    def _certificates(self) -> Iterator[dict[str, str]]:
        assert self._session is not None
        count = 0
        for found in self._session.get_objects({Attribute.CLASS: ObjectClass.CERTIFICATE}):
            der = _attribute(found, Attribute.VALUE) or b""
            if 0 < len(der) <= MAX_CERTIFICATE_BYTES and count < MAX_CERTIFICATES:
                count += 1
                label, identifier = _attribute(found, Attribute.LABEL) or "", _attribute(found, Attribute.ID) or b""
                yield {"label": label, "id": identifier.hex(), "der": base64.b64encode(der).decode()}

    def _log_in(self, pin: str | None) -> dict[str, Any]:
        assert self._slot is not None
        try:
            self._session = self._slot.get_token().open(user_pin=PROTECTED_AUTH if pin is None else pin)
        except (pkcs11.exceptions.PinIncorrect, pkcs11.exceptions.PinInvalid, pkcs11.exceptions.PinLenRange):
            state = _pin_state(self._slot.get_token().flags)
            raise Refusal(ErrorKind.LOCKED if state is PinState.LOCKED else ErrorKind.WRONG_PIN, state) from None
        except pkcs11.exceptions.PinLocked:
            raise Refusal(ErrorKind.LOCKED) from None
        self._pin = pin
        return {}

    def _find_key(self, label: str | None, identifier: str | None) -> dict[str, Any]:
        assert self._session is not None
        wanted: dict[Attribute, Any] = {Attribute.CLASS: ObjectClass.PRIVATE_KEY}
        if label is not None:
            wanted[Attribute.LABEL] = label
        if identifier is not None:
            wanted[Attribute.ID] = bytes.fromhex(identifier)
        keys = list(self._session.get_objects(wanted))
        if len(keys) != 1:
            raise Refusal(ErrorKind.SEVERAL_KEYS if keys else ErrorKind.NO_KEY)
        self._key = keys[0]
        if self._key.key_type not in {KeyType.RSA, KeyType.EC}:
            raise Refusal(ErrorKind.TOKEN, "its key is neither RSA nor EC")
        return {}

    def _sign(self, octets: bytes, hash_name: str) -> dict[str, Any]:
        digest = hashlib.new(hash_name, octets).digest()
        # A key may demand the PIN anew for each signature (PIV slot 9c does).
        pin = self._pin if _attribute(self._key, Attribute.ALWAYS_AUTHENTICATE) else None
        if self._key.key_type is KeyType.RSA:
            signature = self._key.sign(_DIGEST_INFO[hash_name] + digest, mechanism=Mechanism.RSA_PKCS, pin=pin)
        else:
            signature = self._key.sign(digest, mechanism=Mechanism.ECDSA, pin=pin)
        return {"signature": base64.b64encode(signature).decode()}


def main() -> None:
    """Answer until standard input ends."""
    harden()  # the PIN: a module that crashes must not leave it in a file, and the user's other programs must not read it
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # modules print what they like
    _serve(sys.stdin.buffer, answers)


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    program = Program()
    for line in requests:
        try:
            answer = program.answer(json.loads(line))
        except Refusal as refusal:
            answer = {"error": refusal.kind, "message": str(refusal)}
        except pkcs11.PKCS11Error as error:
            answer = {"error": ErrorKind.TOKEN, "message": f"{type(error).__name__} {error}".strip()}
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


def _load(module: str) -> Any:
    try:
        return pkcs11.lib(module)
    except (pkcs11.PKCS11Error, OSError) as error:
        raise Refusal(ErrorKind.MODULE, str(error) or type(error).__name__) from None


def _module_of_name(name: str | None) -> str:
    """The file of a module-name, which stands for no particular one (RFC 7512 section 2.3)."""
    if name is None:
        return DEFAULT_MODULE
    libraries = [Path(f"/usr/lib/{sysconfig.get_config_var('MULTIARCH')}"), Path("/usr/lib64"), Path("/usr/lib")]
    for folder in [Path("/usr/local/lib"), *libraries]:
        for place in (folder / "pkcs11", folder, folder / "softhsm"):
            for file in (place / f"{name}.so", place / f"lib{name}.so"):
                if file.is_file():
                    return str(file)
    raise Refusal(ErrorKind.MODULE, f"no library of the system is called {name}.so or lib{name}.so")


def _tokens(library: Any) -> Iterator[tuple[pkcs11.Slot, pkcs11.Token]]:
    for slot in library.get_slots(token_present=True):
        try:
            token = slot.get_token()
        except pkcs11.PKCS11Error:
            continue  # a card that was pulled out, or of another kind
        if token.flags & TokenFlag.TOKEN_INITIALIZED:
            yield slot, token


def _fits(library: Any, slot: pkcs11.Slot, token: pkcs11.Token, wanted: Mapping[str, str]) -> bool:
    actual = {
        "token": token.label,
        "manufacturer": token.manufacturer_id,
        "serial": _serial(token),
        "model": token.model,
        "library-manufacturer": library.manufacturer_id,
        "library-description": library.library_description,
        "library-version": ".".join(str(number) for number in library.library_version),
        "slot-manufacturer": slot.manufacturer_id,
        "slot-description": slot.slot_description,
        "slot-id": str(slot.slot_id),
    }
    # Fields of fixed length are padded with blanks.
    return all(actual[name].rstrip() == value.rstrip() for name, value in wanted.items())


def _serial(token: pkcs11.Token) -> str:
    return token.serial.decode(errors="replace").rstrip()


def _pin_state(flags: TokenFlag) -> PinState:
    if flags & TokenFlag.USER_PIN_LOCKED:
        return PinState.LOCKED
    if flags & TokenFlag.USER_PIN_FINAL_TRY:
        return PinState.FINAL
    return PinState.LOW if flags & TokenFlag.USER_PIN_COUNT_LOW else PinState.FINE


def _attribute(found: Any, attribute: Attribute) -> Any:
    """None where the token does not tell, as many do not for the optional ones."""
    try:
        return found[attribute]
    except (pkcs11.PKCS11Error, KeyError, NotImplementedError):
        return None


if __name__ == "__main__":
    main()
