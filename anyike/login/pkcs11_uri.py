"""PKCS#11 URIs (RFC 7512): which object on which token, and by which module."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import quote, unquote_to_bytes

from anyike.errors import ConfigurationError

SCHEME = "pkcs11:"
TOKEN_ATTRIBUTES = frozenset(
    {
        "token", "manufacturer", "serial", "model",
        "library-manufacturer", "library-description", "library-version",
        "slot-manufacturer", "slot-description", "slot-id",
    }
)  # fmt: skip
"""Specification: RFC 7512 section 2.3, those that choose a token."""
_OBJECT_ATTRIBUTES = frozenset({"object", "type", "id"})
_QUERY_ATTRIBUTES = frozenset({"pin-source", "pin-value", "module-name", "module-path"})
_TYPES = frozenset({"public", "private", "cert", "secret-key", "data"})
# Section 2.3: unreserved characters, those that each part allows besides, and percent-encoded octets.
_PATH_VALUE = re.compile(r"(?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=&]|%[0-9A-Fa-f]{2})*")
_QUERY_VALUE = re.compile(r"(?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=/?|]|%[0-9A-Fa-f]{2})*")
_NAME = re.compile(r"[A-Za-z0-9\-_]+")
_MODULE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_SLOT_ID = re.compile(r"[0-9]{1,20}")
_MAX_LENGTH = 4096
"""Implementation limit: every attribute of a token together has a few hundred characters."""


@dataclass(frozen=True, slots=True)
class Pkcs11Uri:
    """A URI that was parsed; None is an attribute that it does not have.

    `token` holds the attributes that choose a token, decoded. `id` is CKA_ID, `object` CKA_LABEL.
    """

    token: Mapping[str, str]
    object: str | None
    id: bytes | None
    type: str | None
    module_path: str | None
    module_name: str | None
    pin_source: str | None
    has_pin: bool = field(default=False)


def is_pkcs11_uri(text: str) -> bool:
    """Whether this is meant as one, and not as the path of a file."""
    return text[: len(SCHEME)].lower() == SCHEME


def parse_pkcs11_uri(text: str) -> Pkcs11Uri:
    """Parse it, strictly. A PIN in it (`pin-value`) is noted and not kept.

    Raises:
        ConfigurationError: it breaks RFC 7512; the message never quotes a value, which could be a PIN.
    """
    if not is_pkcs11_uri(text):
        raise ConfigurationError("a PKCS#11 URI starts with pkcs11:")
    if len(text) > _MAX_LENGTH:
        raise ConfigurationError(f"the PKCS#11 URI has more than {_MAX_LENGTH} characters")
    path_text, _, query_text = text[len(SCHEME) :].partition("?")
    path = dict(_attributes(path_text, ";", _PATH_VALUE))
    query = dict(_attributes(query_text, "&", _QUERY_VALUE))
    _check_path(path)
    if {"pin-source", "pin-value"} <= query.keys():
        raise ConfigurationError("the PKCS#11 URI has both pin-source and pin-value (RFC 7512 section 2.4)")
    decoded = {name: _text(name, value) for name, value in path.items() if name != "id"}
    module_path, module_name = _module(query)
    return Pkcs11Uri(
        token=MappingProxyType({name: value for name, value in decoded.items() if name in TOKEN_ATTRIBUTES}),
        object=decoded.get("object"),
        id=path.get("id"),
        type=decoded.get("type"),
        module_path=module_path,
        module_name=module_name,
        pin_source=_text("pin-source", query["pin-source"]) if "pin-source" in query else None,
        has_pin="pin-value" in query,
    )


def write_attribute(name: str, value: str | bytes) -> str:
    """`name=value` as it is written in a URI's path; an id has all its bytes escaped."""
    if isinstance(value, bytes):
        return f"{name}={''.join(f'%{octet:02X}' for octet in value)}"
    return f"{name}={quote(value, safe='')}"


def _attributes(text: str, separator: str, allowed: re.Pattern[str]) -> Iterator[tuple[str, bytes]]:
    """Names and decoded values, each name once."""
    seen = set()
    for part in text.split(separator) if text else []:
        name, equals, value = part.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise ConfigurationError("an attribute of the PKCS#11 URI has not the form name=value")
        if name in seen:
            raise ConfigurationError(f"the PKCS#11 URI has the attribute {name} twice")
        if not allowed.fullmatch(value):
            raise ConfigurationError(
                f"the PKCS#11 URI has a character in {name} that must be written as % and two hexadecimal digits"
            )
        seen.add(name)
        yield name, unquote_to_bytes(value)


def _check_path(path: Mapping[str, bytes]) -> None:
    # What cannot be compared must not be passed over: another object than the one that was meant would match.
    unknown = sorted(path.keys() - TOKEN_ATTRIBUTES - _OBJECT_ATTRIBUTES)
    if unknown:
        misplaced = _QUERY_ATTRIBUTES.intersection(unknown)
        hint = "it belongs behind a question mark" if misplaced else "this program does not know it"
        raise ConfigurationError(f"the PKCS#11 URI has the attribute {unknown[0]}: {hint}")
    if "type" in path and path["type"].decode(errors="replace") not in _TYPES:
        raise ConfigurationError(f"the PKCS#11 URI's type is none of {', '.join(sorted(_TYPES))}")
    if "slot-id" in path and not _SLOT_ID.fullmatch(path["slot-id"].decode(errors="replace")):
        raise ConfigurationError("the PKCS#11 URI's slot-id is no decimal number")


def _module(query: Mapping[str, bytes]) -> tuple[str | None, str | None]:
    path = _text("module-path", query["module-path"]) if "module-path" in query else None
    name = _text("module-name", query["module-name"]) if "module-name" in query else None
    if path is not None and not path.startswith("/"):
        raise ConfigurationError("the PKCS#11 URI's module-path is not absolute")
    if name is not None and not _MODULE_NAME.fullmatch(name):
        raise ConfigurationError("the PKCS#11 URI's module-name is a bare name, such as opensc-pkcs11; see module-path")
    if path is not None and name is not None:
        raise ConfigurationError("the PKCS#11 URI has both module-path and module-name")
    return path, name


def _text(name: str, value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise ConfigurationError(f"the PKCS#11 URI's {name} is no UTF-8 text") from None
    if "\0" in text:
        raise ConfigurationError(f"the PKCS#11 URI's {name} holds a zero byte")
    return text
