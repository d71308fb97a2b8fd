"""All CHILD_SAs of a tunnel: which one opens a packet, and which one protects the next.

In a rekey the two halves move at different moments: `install` accepts by the new pair at once beside the old one,
`switch_outbound` moves what is sent, `remove` ends the old pair when the gateway has had time to follow.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from anyike.errors import ProtocolError
from anyike.esp.drops import DropReason
from anyike.esp.packet import ESP_HEADER_LENGTH
from anyike.esp.sa import InboundSa, OutboundSa
from anyike.esp.wear import NO_LIMITS, KeyLimits, Wear
from anyike.ikev2.child_sa import ChildSa

FIRST_SPI = 0x100
"""0 marks IKE on port 4500, 1 to 255 are reserved (RFC 4303 section 2.1)."""
SPI_COUNT = 2**32 - FIRST_SPI


class SaTable:
    """Bytes in, bytes or a reason out.

    `random` gives SPIs and the IVs of block ciphers. `on_worn` is called once with the inbound SPI of a CHILD_SA that
    has carried as much as `limits` say: its sequence numbers and its keys are not for ever.
    """

    def __init__(
        self,
        random: Callable[[int], bytes],
        limits: KeyLimits = NO_LIMITS,
        on_worn: Callable[[int], None] = lambda _inbound_spi: None,
    ) -> None:
        self._random = random
        self._limits = limits
        self._on_worn = on_worn
        self._reserved: set[int] = set()
        self._inbound: dict[int, InboundSa] = {}
        self._outbound: dict[int, OutboundSa] = {}
        self._outbound_of_inbound: dict[int, int] = {}
        self._current: OutboundSa | None = None

    def allocate_spi(self) -> int:
        """An inbound SPI that nobody can guess, reserved until `install` or `remove`."""
        while True:
            spi = FIRST_SPI + int.from_bytes(self._random(8), "big") % SPI_COUNT
            if spi not in self._reserved and spi not in self._inbound:
                self._reserved.add(spi)
                return spi

    def install(self, child: ChildSa) -> None:
        """Accept packets of this CHILD_SA; send by it only after `switch_outbound`.

        Raises:
            ProtocolError: the gateway chose an SPI that one of its other SAs still has.
        """
        if child.inbound_spi in self._inbound:
            raise ValueError(f"inbound SPI {child.inbound_spi:#010x} is in use")
        if child.outbound_spi in self._outbound:
            raise ProtocolError(f"The gateway chose SPI {child.outbound_spi:#010x} for two ESP SAs at once.")
        wear = Wear(self._limits, self._random, partial(self._on_worn, child.inbound_spi))
        inbound, outbound = InboundSa(child, wear), OutboundSa(child, self._random, wear)
        self._inbound[child.inbound_spi] = inbound
        self._outbound[child.outbound_spi] = outbound
        self._outbound_of_inbound[child.inbound_spi] = child.outbound_spi
        self._reserved.discard(child.inbound_spi)

    def switch_outbound(self, outbound_spi: int) -> None:
        """Protect by this SA from now on; one that is not installed is a ValueError."""
        if outbound_spi not in self._outbound:
            raise ValueError(f"outbound SPI {outbound_spi:#010x} is not installed")
        self._current = self._outbound[outbound_spi]

    def remove(self, inbound_spi: int) -> None:
        """Forget both halves and their keys, or a reserved SPI; unknown ones are ignored."""
        self._reserved.discard(inbound_spi)
        if self._inbound.pop(inbound_spi, None) is None:
            return
        outbound = self._outbound.pop(self._outbound_of_inbound.pop(inbound_spi))
        if self._current is outbound:
            self._current = None

    def clear(self) -> None:
        """Forget everything."""
        self._reserved.clear()
        self._inbound.clear()
        self._outbound.clear()
        self._outbound_of_inbound.clear()
        self._current = None

    def protect(self, packet: bytes) -> bytes | DropReason:
        """The ESP packet for one inner IP packet, by the SA that was switched to."""
        current = self._current
        return DropReason.NO_OUTBOUND_SA if current is None else current.protect(packet)

    def unprotect(self, packet: bytes) -> bytes | DropReason:
        """The inner IP packet of an ESP packet, whatever bytes it may be."""
        if len(packet) < ESP_HEADER_LENGTH:
            return DropReason.MALFORMED
        inbound = self._inbound.get(int.from_bytes(packet[:4], "big"))
        return DropReason.UNKNOWN_SPI if inbound is None else inbound.unprotect(packet)
