"""What the gateway says in an INFORMATIONAL request (RFC 7296 1.4): deletions, errors, and its words about them."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from anyike.ikev2.constants import NotifyType, ProtocolId, name_of
from anyike.ikev2.exchanges.refusals import is_error
from anyike.ikev2.payloads import Delete, Notify, Payload, VendorId

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Informational:
    """`reason`: why the IKE SA is over, "" while it is not. `child_spis`: the gateway's inbound SPIs, our outbound ones.

    `words`: what it says about that, with a colon before it, or "". `auth_lifetime`: seconds until we have to log in again.
    """

    reason: str
    child_spis: frozenset[int]
    words: str
    auth_lifetime: int | None

    @property
    def ends_ike_sa(self) -> bool:
        """Whether the IKE SA is deleted."""
        return bool(self.reason)


def read_informational(payloads: tuple[Payload, ...]) -> Informational:
    """Of an authentic, legal request."""
    words = _gateways_words(payloads)
    deletes = [payload for payload in payloads if isinstance(payload, Delete)]
    spis = {int.from_bytes(spi, "big") for d in deletes if d.protocol == ProtocolId.ESP for spi in d.spis}
    errors = [payload for payload in payloads if isinstance(payload, Notify) and is_error(payload)]
    reason = ""
    if any(delete.protocol == ProtocolId.IKE for delete in deletes):
        reason = "the gateway ended the session"
    elif any(notify.type == NotifyType.AUTHENTICATION_FAILED for notify in errors):
        reason = "the gateway ended the session (AUTHENTICATION_FAILED)"
    return Informational(reason, frozenset(spis), words, auth_lifetime(payloads))


def auth_lifetime(payloads: tuple[Payload, ...]) -> int | None:
    """Seconds for which this login is good (AUTH_LIFETIME, RFC 4478), or None when the gateway does not say."""
    for payload in payloads:
        if isinstance(payload, Notify) and payload.type == NotifyType.AUTH_LIFETIME and len(payload.data) == 4:
            return int.from_bytes(payload.data, "big")
    return None


def _gateways_words(payloads: tuple[Payload, ...]) -> str:
    """The form of Cisco's delete reason is not known: whatever readable text rides along is shown."""
    texts = []
    for payload in payloads:
        data = payload.data if isinstance(payload, Notify | VendorId) else b""
        name = f"{name_of(NotifyType, payload.type)} " if isinstance(payload, Notify) else ""
        if data:
            log.info("beside the delete: %s%s", name, data.hex())
        text = data.decode("ascii", "replace").strip("\0 ")
        if len(text) >= 4 and text.isprintable() and "\ufffd" not in text:
            texts.append(text)
    return f": {'; '.join(texts)}" if texts else ""
