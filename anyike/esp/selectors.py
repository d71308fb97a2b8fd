"""Traffic selectors as a filter over inner packets (RFC 4301 section 4.4.1.1, RFC 7296 section 3.13.1)."""

from __future__ import annotations

from collections.abc import Iterable

from anyike.esp.inner import addresses, next_layer
from anyike.ikev2.child_sa import TrafficSelector

ANY_PROTOCOL = 0
LAST_PORT = 65535


class TrafficFilter:
    """Admits a packet whose source fits one selector of `sources` and whose destination fits one of `destinations`."""

    __slots__ = ("_destinations", "_sources")

    def __init__(self, sources: Iterable[TrafficSelector], destinations: Iterable[TrafficSelector]) -> None:
        self._sources = _AddressMap(sources)
        self._destinations = _AddressMap(destinations)

    def admits(self, packet: bytes) -> bool:
        """Whether a packet that `inner.trim` accepted may pass."""
        source, destination = addresses(packet)
        if self._sources.admits_all_of(source) and self._destinations.admits_all_of(destination):
            return True
        protocol, source_port, destination_port = next_layer(packet)
        return self._sources.admits(source, protocol, source_port) and self._destinations.admits(
            destination, protocol, destination_port
        )


class _AddressMap:
    """Selectors of one side; addresses are packed bytes, which compare in the order of the numbers."""

    __slots__ = ("_selectors", "_whole_ranges")

    def __init__(self, selectors: Iterable[TrafficSelector]) -> None:
        self._selectors = [(each.start.packed, each.end.packed, each) for each in selectors]
        # Nearly every gateway selects by address alone: then nobody needs to look for ports.
        self._whole_ranges = [
            (start, end)
            for start, end, each in self._selectors
            if each.protocol == ANY_PROTOCOL and each.start_port == 0 and each.end_port == LAST_PORT
        ]

    def admits_all_of(self, address: bytes) -> bool:
        """Whether every protocol and port of this address is selected."""
        width = len(address)
        return any(start <= address <= end and len(start) == width for start, end in self._whole_ranges)

    def admits(self, address: bytes, protocol: int | None, port: int | None) -> bool:
        """Whether this address, protocol and port are selected; None is a value that the packet does not show."""
        return any(
            start <= address <= end
            and len(start) == len(address)
            and each.protocol in (ANY_PROTOCOL, protocol)
            and _port_fits(each, port)
            for start, end, each in self._selectors
        )


def _port_fits(selector: TrafficSelector, port: int | None) -> bool:
    if port is not None:
        return selector.start_port <= port <= selector.end_port
    # ANY covers packets without visible ports; 65535-0 (OPAQUE) selects just those.
    return (selector.start_port, selector.end_port) in ((0, LAST_PORT), (LAST_PORT, 0))
