"""What the gateway starts once keys exist: INFORMATIONAL and CREATE_CHILD_SA requests, and our answers."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from anyike.ikev2.constants import ExchangeType, NotifyType, ProtocolId, name_of
from anyike.ikev2.exchanges.refusals import is_error
from anyike.ikev2.payloads import Delete, Notify, Payload, VendorId

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """The response, and why the tunnel is over after it ("" while it goes on)."""

    payloads: tuple[Payload, ...]
    ended: str = ""


def answer(exchange: int, payloads: tuple[Payload, ...], inbound_spi: int | None) -> Answer:
    """The response to an authentic, legal request; `inbound_spi` is our CHILD_SA's, if there is one."""
    if exchange == ExchangeType.CREATE_CHILD_SA:
        log.info("the gateway wants another or a new SA; refused, since rekeying is not supported yet")
        return Answer((Notify(NotifyType.NO_ADDITIONAL_SAS),))
    return _informational(payloads, inbound_spi)


def _informational(payloads: tuple[Payload, ...], inbound_spi: int | None) -> Answer:
    words = _gateways_words(payloads)
    deletes = [payload for payload in payloads if isinstance(payload, Delete)]
    if any(delete.protocol == ProtocolId.IKE for delete in deletes):
        return Answer((), f"the gateway ended the session{words}")
    if any(delete.protocol == ProtocolId.ESP for delete in deletes):
        own = () if inbound_spi is None else (inbound_spi.to_bytes(4, "big"),)
        return Answer(
            (Delete(ProtocolId.ESP, own),) if own else (), f"the gateway deleted the tunnel's CHILD_SA{words}"
        )
    errors = [payload for payload in payloads if isinstance(payload, Notify) and is_error(payload)]
    if any(notify.type == NotifyType.AUTHENTICATION_FAILED for notify in errors):
        return Answer((), f"the gateway ended the session (AUTHENTICATION_FAILED){words}")
    return Answer(())


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
