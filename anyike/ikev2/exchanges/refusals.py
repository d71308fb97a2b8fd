"""What an error notify of the gateway means to the user."""

from __future__ import annotations

from anyike.errors import AnyikeError, GatewayRefused, NoCommonProposal
from anyike.ikev2.constants import NotifyType, name_of
from anyike.ikev2.payloads import Notify

FIRST_STATUS_TYPE = 16384
"""Notify types below are errors (RFC 7296 3.10.1)."""


def is_error(notify: Notify) -> bool:
    """Whether a notify reports an error rather than a status."""
    return notify.type < FIRST_STATUS_TYPE


def refusal(notify: Notify, during: str, proposals: str = "") -> AnyikeError:
    """The error to show for an error notify; `proposals` is what was offered in this exchange."""
    name = name_of(NotifyType, notify.type)
    match notify.type:
        case NotifyType.NO_PROPOSAL_CHOSEN:
            setting = "ike.proposals" if during == "IKE_SA_INIT" else "esp.proposals"
            return NoCommonProposal(
                f"the gateway accepts none of the offered algorithms (NO_PROPOSAL_CHOSEN during {during}); "
                f"offered was {proposals}; set {setting} to what its administrator names"
            )
        case NotifyType.AUTHENTICATION_FAILED:
            return GatewayRefused(
                f"the gateway refused us during {during} (AUTHENTICATION_FAILED) before it asked for a login: it may expect "
                "another identity (ike.local_id), or it does not offer AnyConnect EAP for this group"
            )
        case NotifyType.INTERNAL_ADDRESS_FAILURE:
            return GatewayRefused(
                "the gateway has no address for us (INTERNAL_ADDRESS_FAILURE): its pool may be used up; try again later "
                "or tell its administrator"
            )
        case NotifyType.FAILED_CP_REQUIRED:
            return GatewayRefused("the gateway wants a configuration request in another form (FAILED_CP_REQUIRED)")
        case NotifyType.TS_UNACCEPTABLE:
            return GatewayRefused("the gateway accepts none of the requested traffic selectors (TS_UNACCEPTABLE)")
        case NotifyType.INVALID_SYNTAX:
            return GatewayRefused(
                f"the gateway could not read our message during {during} (INVALID_SYNTAX): please report this"
            )
        case _:
            return GatewayRefused(f"the gateway refused with {name} during {during}")
