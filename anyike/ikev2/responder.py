"""What the gateway starts once keys exist: INFORMATIONAL and CREATE_CHILD_SA requests, and our answers."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from anyike.ikev2.child_sa import ChildSa
from anyike.ikev2.constants import ExchangeType, NotifyType, ProtocolId, name_of
from anyike.ikev2.exchanges.refusals import is_error
from anyike.ikev2.payloads import Delete, Notify, Payload, VendorId

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """The response. `ended`: why the tunnel is over after it, "" while it goes on. `ike_sa_stands`: it still has to be deleted."""

    payloads: tuple[Payload, ...]
    ended: str = ""
    ike_sa_stands: bool = False


def answer(exchange: int, payloads: tuple[Payload, ...], child: ChildSa | None) -> Answer:
    """The response to an authentic, legal request; `child` is our CHILD_SA, if there is one."""
    if exchange == ExchangeType.CREATE_CHILD_SA:
        log.info("the gateway wants another or a new SA; refused, since rekeying is not supported yet")
        return Answer((Notify(NotifyType.NO_ADDITIONAL_SAS),))
    return _informational(payloads, child)


def _informational(payloads: tuple[Payload, ...], child: ChildSa | None) -> Answer:
    words = _gateways_words(payloads)
    deletes = [payload for payload in payloads if isinstance(payload, Delete)]
    if any(delete.protocol == ProtocolId.IKE for delete in deletes):
        return Answer((), f"the gateway ended the session{words}")
    # Its SPIs are those of its own inbound halves; our answer names ours (RFC 7296 1.4.1).
    deleted = {spi for delete in deletes if delete.protocol == ProtocolId.ESP for spi in delete.spis}
    if child is not None and child.outbound_spi.to_bytes(4, "big") in deleted:
        own = Delete(ProtocolId.ESP, (child.inbound_spi.to_bytes(4, "big"),))
        return Answer((own,), f"the gateway deleted the tunnel's CHILD_SA{words}", ike_sa_stands=True)
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
