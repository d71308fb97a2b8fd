"""The profile's certificate pins, none of which can become a pin of ours.

A pin of the profile is "SHA-512 hash of the public key", checked in the "server certificate chain"
(AnyConnectProfile.xsd), in addition to the CA. A pin of ours is the SHA-256 hash of the gateway's own key, in place of the CA. No
hash can be made of another one, and a CA's key is not the gateway's.
"""

from __future__ import annotations

from collections.abc import Iterator

from anyike.eap_anyconnect.xml_reader import Element
from anyike.profile_import.elements import LeftOut, shown

_REASON = (
    "a SHA-512 hash of a key somewhere in the gateway's chain; gateway.servercert takes the SHA-256 hash of the gateway's own key "
    "(pin-sha256:...), and neither can be made of the other. Without a pin the gateway's CA decides"
)


def pins_left_out(parent: Element, where: str) -> Iterator[LeftOut]:
    """One for each pin in `parent`'s `<CertificatePinList>`, named by the subject that the profile's editor wrote beside it."""
    for number, pin in enumerate(parent.iterfind("CertificatePinList/Pin"), 1):
        subject = shown(str(pin.get("Subject", "")))
        place = f"{where}/CertificatePinList/Pin[{number}]"
        yield LeftOut(f"{place} ({subject})" if subject else place, _REASON)
