"""Which payloads a message may and must hold (RFC 7296 1.2 to 1.4 and appendix C), as a table.

Checked before anybody acts on a message. Notify, Vendor ID and payloads that nothing here reads may stand anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from anyike.ikev2.channel import Inbound
from anyike.ikev2.constants import ExchangeType, NotifyType, PayloadType, name_of
from anyike.ikev2.message import MAX_PAYLOADS, InvalidSyntax, UnsupportedCriticalPayload
from anyike.ikev2.payloads import Notify, Payload, UnknownPayload, VendorId
from anyike.wire import DecodeError

ANYWHERE = (Notify, VendorId, UnknownPayload)


@dataclass(frozen=True, slots=True)
class Count:
    """How often a payload type may stand in a message."""

    least: int
    most: int


OPTIONAL = Count(0, 1)
LIST = Count(0, MAX_PAYLOADS)

RULES: dict[tuple[int, bool], dict[int, Count]] = {
    # (exchange, is a response): payload type -> how often. Error responses hold less, so SA, KE and Nonce are not demanded here.
    (ExchangeType.IKE_SA_INIT, True): {
        PayloadType.SA: OPTIONAL,
        PayloadType.KE: OPTIONAL,
        PayloadType.NONCE: OPTIONAL,
        PayloadType.CERTREQ: LIST,
    },
    # All rounds of IKE_AUTH: what each of them needs is the exchange's own business, since it depends on the one before.
    (ExchangeType.IKE_AUTH, True): {
        PayloadType.IDR: OPTIONAL,
        PayloadType.CERT: LIST,
        PayloadType.CERTREQ: LIST,
        PayloadType.AUTH: OPTIONAL,
        PayloadType.EAP: OPTIONAL,
        PayloadType.CP: OPTIONAL,
        PayloadType.SA: OPTIONAL,
        PayloadType.TSI: OPTIONAL,
        PayloadType.TSR: OPTIONAL,
    },
    (ExchangeType.CREATE_CHILD_SA, False): {
        PayloadType.SA: Count(1, 1),
        PayloadType.NONCE: Count(1, 1),
        PayloadType.KE: OPTIONAL,
        PayloadType.TSI: OPTIONAL,
        PayloadType.TSR: OPTIONAL,
        PayloadType.CP: OPTIONAL,
    },
    (ExchangeType.CREATE_CHILD_SA, True): {
        PayloadType.SA: OPTIONAL,
        PayloadType.NONCE: OPTIONAL,
        PayloadType.KE: OPTIONAL,
        PayloadType.TSI: OPTIONAL,
        PayloadType.TSR: OPTIONAL,
        PayloadType.CP: OPTIONAL,
    },
    (ExchangeType.INFORMATIONAL, False): {PayloadType.DELETE: LIST, PayloadType.CP: OPTIONAL},
    (ExchangeType.INFORMATIONAL, True): {PayloadType.DELETE: LIST, PayloadType.CP: OPTIONAL},
}


def check(exchange: int, payloads: Iterable[Payload], *, is_response: bool) -> None:
    """Compare a message's payloads (those that were encrypted, or all of IKE_SA_INIT) with the table.

    Payloads in front of SK are not the message's: they are never acted on, whatever they are (AnyConnect-EAP notes, section 7).

    Raises:
        InvalidSyntax: a payload that has no place here, is missing, or stands too often.
    """
    allowed = RULES.get((exchange, is_response))
    if allowed is None:
        direction = "response" if is_response else "request"
        raise InvalidSyntax(f"a gateway sends no {name_of(ExchangeType, exchange)} {direction}")
    seen: dict[int, int] = {}
    for payload in payloads:
        if isinstance(payload, ANYWHERE):
            continue
        kind = payload.TYPE
        seen[kind] = seen.get(kind, 0) + 1
        if kind not in allowed:
            raise InvalidSyntax(f"{type(payload).__name__} has no place in this message")
        if seen[kind] > allowed[kind].most:
            raise InvalidSyntax(f"{type(payload).__name__} stands in this message {seen[kind]} times")
    for kind, count in allowed.items():
        if seen.get(kind, 0) < count.least:
            raise InvalidSyntax(f"{PayloadType(kind).name} is missing from this message")


def legal(inbound: Inbound) -> tuple[Payload, ...]:
    """The payloads of a message that could be read and keeps the rules; DecodeError for any other."""
    if inbound.error is not None:
        raise inbound.error
    check(inbound.header.exchange, inbound.payloads, is_response=inbound.header.is_response)
    return inbound.payloads


def notify_for(error: DecodeError) -> Notify:
    """What the sender of a request that broke a rule is told (RFC 7296 2.21.2)."""
    data = bytes([error.type]) if isinstance(error, UnsupportedCriticalPayload) else b""
    return Notify(getattr(error, "notify", NotifyType.INVALID_SYNTAX), data)
