"""The two halves of a CHILD_SA: keys, sequence numbers, replay window and traffic selectors of one direction each."""

from __future__ import annotations

from collections.abc import Callable

from anyike.esp.drops import DropReason
from anyike.esp.inner import trim, version_of
from anyike.esp.packet import (
    ESP_HEADER,
    NEXT_HEADER_IPV4,
    NEXT_HEADER_IPV6,
    NEXT_HEADER_NONE,
    decrypt,
    encapsulate,
    strip_trailer,
)
from anyike.esp.replay import LAST_EXTENDED_SEQUENCE, ReplayWindow
from anyike.esp.selectors import TrafficFilter
from anyike.esp.wear import Wear
from anyike.ikev2.child_sa import ChildSa

LAST_SEQUENCE = 2**32 - 1
NEXT_HEADER_OF_VERSION = {4: NEXT_HEADER_IPV4, 6: NEXT_HEADER_IPV6}
VERSION_OF_NEXT_HEADER = {NEXT_HEADER_IPV4: 4, NEXT_HEADER_IPV6: 6}


class OutboundSa:
    """Protects what this host sends, and counts it. `random` gives the IVs of block ciphers."""

    __slots__ = ("_cipher", "_esn", "_filter", "_last_sequence", "_random", "_wear", "sequence", "spi")

    def __init__(self, child: ChildSa, random: Callable[[int], bytes], wear: Wear) -> None:
        self.spi = child.outbound_spi
        self.sequence = 0
        self._esn = child.esn
        self._last_sequence = LAST_EXTENDED_SEQUENCE if child.esn else LAST_SEQUENCE
        self._cipher = child.suite.bind(child.outbound_keys.encryption, child.outbound_keys.integrity, esn=child.esn)
        self._filter = TrafficFilter(sources=child.local_selectors, destinations=child.remote_selectors)
        self._random = random
        self._wear = wear

    def protect(self, packet: bytes) -> bytes | DropReason:
        """The ESP packet for one inner IP packet.

        Sequence numbers start at 1 and never come round again, since an AEAD nonce is made of them
        (RFC 4303 section 3.3.3): after the last one everything is SEQUENCE_EXHAUSTED.
        """
        inner = trim(packet)
        if inner is None:
            return DropReason.BAD_OUTBOUND_PACKET
        if not self._filter.admits(inner):
            return DropReason.OUTSIDE_OUTBOUND_SELECTORS
        if self.sequence == self._last_sequence:
            return DropReason.SEQUENCE_EXHAUSTED
        self.sequence = sequence = self.sequence + 1
        self._wear.note(len(inner))
        cipher = self._cipher
        iv = cipher.make_iv(sequence, self._random)
        next_header = NEXT_HEADER_OF_VERSION[version_of(inner)]
        return encapsulate(cipher, self.spi, sequence, inner, iv=iv, next_header=next_header, esn=self._esn)


class InboundSa:
    """Checks and opens what the gateway sends, and counts what is authentic."""

    __slots__ = ("_cipher", "_esn", "_filter", "_wear", "_window", "spi")

    def __init__(self, child: ChildSa, wear: Wear) -> None:
        self.spi = child.inbound_spi
        self._esn = child.esn
        self._cipher = child.suite.bind(child.inbound_keys.encryption, child.inbound_keys.integrity, esn=child.esn)
        self._filter = TrafficFilter(sources=child.remote_selectors, destinations=child.local_selectors)
        self._window = ReplayWindow()
        self._wear = wear

    def unprotect(self, packet: bytes) -> bytes | DropReason:
        """The inner IP packet of an ESP packet that has at least its header and carries this SPI."""
        sequence = ESP_HEADER.unpack_from(packet)[1]
        if self._esn:
            sequence = self._window.extend(sequence)
        refused = self._window.check(sequence)
        if refused is not None:
            return refused
        plaintext = decrypt(self._cipher, packet, sequence if self._esn else None)
        if isinstance(plaintext, DropReason):
            return plaintext
        self._window.mark(sequence)
        self._wear.note(len(plaintext))
        return self._inner(plaintext)

    def _inner(self, plaintext: bytes) -> bytes | DropReason:
        content = strip_trailer(plaintext)
        if isinstance(content, DropReason):
            return content
        next_header, payload = content
        if next_header == NEXT_HEADER_NONE:
            return DropReason.DUMMY
        version = VERSION_OF_NEXT_HEADER.get(next_header)
        if version is None:
            return DropReason.BAD_NEXT_HEADER
        inner = trim(payload)
        if inner is None or version_of(inner) != version:
            return DropReason.BAD_INNER_PACKET
        return inner if self._filter.admits(inner) else DropReason.OUTSIDE_INBOUND_SELECTORS
