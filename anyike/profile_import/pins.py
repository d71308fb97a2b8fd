"""The profile's certificate pins as chain pins of ours.

Certain (AnyConnectProfile.xsd): `<CertificatePinning>` "dictates whether or not AnyConnect should perform certificate pinning
checks for server certificate chain", and a `<Pin>` is the "SHA-512 hash of the public key". A `Subject` and an `Issuer` beside it
are information. Not documented, and taken as it is likely: the hash is that of the SubjectPublicKeyInfo in DER; one key
of the list for all hosts or of the host's own is enough. The two ways to write 64 bytes cannot be mixed up: base64 has 88
characters, hexadecimal 128.
"""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress

from anyike.crypto.x509 import chain_pin
from anyike.eap_anyconnect.xml_reader import Element
from anyike.profile_import.elements import LeftOut, own_text, shown

MAX_PINS = 64
"""Implementation limit, of one list. Real ones hold a chain and its successor."""

_OFF = frozenset({"false", ""})


def read_common_pins(initialization: Element, where: str, left_out: list[LeftOut]) -> tuple[str, ...] | None:
    """The pins for all hosts, None where pins are not checked at all; what cannot be used is added to `left_out`."""
    switch = initialization.find("CertificatePinning")
    if switch is None or own_text(switch).lower() in _OFF:
        return None
    place = f"{where}/CertificatePinning"
    left_out.append(
        LeftOut(
            place,
            "which encoding of a key is hashed is not documented: gateway.chain_pins takes SubjectPublicKeyInfo (DER), and one key "
            "of those for all hosts or for the host is enough",
        )
    )
    return read_pins(switch, place, left_out)


def read_pins(parent: Element, where: str, left_out: list[LeftOut]) -> tuple[str, ...]:
    """The usable pins of `parent`'s `<CertificatePinList>`, without repetition; the others are added to `left_out`.

    Those are named by the subject that the profile's editor wrote beside them.
    """
    usable: list[str] = []
    for number, element in enumerate(parent.iterfind("CertificatePinList/Pin"), 1):
        subject = shown(str(element.get("Subject", "")))
        place = f"{where}/CertificatePinList/Pin[{number}]" + (f" ({subject})" if subject else "")
        key_hash = _key_hash(own_text(element))
        if key_hash is None:
            left_out.append(LeftOut(place, "is no SHA-512 hash: 64 bytes in base64 or hexadecimal"))
        elif (pin := chain_pin(key_hash)) in usable:
            continue
        elif len(usable) == MAX_PINS:
            left_out.append(LeftOut(place, f"at most {MAX_PINS} are taken over; it and those after it are not"))
            break
        else:
            usable.append(pin)
    return tuple(usable)


def _key_hash(text: str) -> bytes | None:
    text = "".join(text.split())
    found = []
    with suppress(ValueError):
        found.append(base64.b64decode(text, validate=True))
    with suppress(ValueError):
        found.append(bytes.fromhex(text.replace(":", "")))
    return next((value for value in found if len(value) == hashlib.sha512().digest_size), None)
