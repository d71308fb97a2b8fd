"""The gateway's two ways of cutting a message: RFC 7383, and Cisco's payload 132 (AnyConnect-EAP notes, section 2)."""

from __future__ import annotations

from tests.fakes.wire import CISCO_FRAGMENT, HEADER, Header


def pieces(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def cut_cisco(header: Header, message: bytes, limit: int) -> list[bytes]:
    """Unprotected pieces of a finished, encrypted message."""
    parts = pieces(message, limit - HEADER - 8)
    return [
        header.message(
            CISCO_FRAGMENT,
            bytes(2) + (8 + len(part)).to_bytes(2, "big") + b"\0\1" + bytes([number, number == len(parts)]) + part,
        )
        for number, part in enumerate(parts, 1)
    ]


class Collected:
    """The pieces of one message of the client, of either format."""

    def __init__(self) -> None:
        self._message_id = -1
        self._parts: dict[int, bytes] = {}
        self._total = 0

    def add(self, message_id: int, number: int, total: int, part: bytes) -> bytes | None:
        """The whole, once every piece is there. `total` is 0 as long as it is not known."""
        if message_id != self._message_id:
            self._message_id, self._parts, self._total = message_id, {}, 0
        self._total = total or self._total
        self._parts.setdefault(number, part)
        if not self._total or len(self._parts) < self._total:
            return None
        whole = b"".join(self._parts[position] for position in sorted(self._parts))
        self._message_id = -1
        return whole
