"""What the core counts. Every datagram that is not acted on is dropped for exactly one of these reasons."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum


class Count(StrEnum):
    """Names of the core's counters."""

    MESSAGES_IN = "messages_in"
    MESSAGES_OUT = "messages_out"
    RETRANSMISSIONS_OUT = "retransmissions_out"
    RETRANSMISSIONS_IN = "retransmissions_in"
    FRAGMENTS_IN = "fragments_in"
    KEEPALIVES_OUT = "keepalives_out"
    DROPPED_WRONG_SOURCE = "dropped_wrong_source"
    DROPPED_MALFORMED = "dropped_malformed"
    DROPPED_WRONG_SPI = "dropped_wrong_spi"
    DROPPED_WRONG_MESSAGE_ID = "dropped_wrong_message_id"
    DROPPED_WRONG_EXCHANGE = "dropped_wrong_exchange"
    DROPPED_NOT_AUTHENTICATED = "dropped_not_authenticated"
    DROPPED_NOT_PROTECTED = "dropped_not_protected"
    DROPPED_STALE = "dropped_stale"
    DROPPED_FRAGMENT = "dropped_fragment"
    UNAUTHENTICATED_ERRORS = "unauthenticated_errors"
    DROPPED_AFTER_END = "dropped_after_end"


Counters = Counter[Count]
