"""The narrow interface between the tunnel's life and whatever encrypts its packets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from anyike.ikev2.child_sa import ChildSa

Address = tuple[str, int]


class DataPath(Protocol):
    """Moves the packets of CHILD_SAs between the tunnel interface and the gateway."""

    @property
    def needs_udp_encapsulation(self) -> bool:
        """Whether the gateway must be made to believe in a NAT, since bare ESP (protocol 50) never reaches this path."""

    @property
    def interface(self) -> str:
        """Name of the tunnel interface."""

    async def open(self) -> None:
        """Create the interface, down and without addresses. HostSetupFailed, MissingPrivilege."""

    async def allocate_spi(self) -> int:
        """A fresh inbound SPI (256 to 2^32-1), reserved until `install` or `remove`."""

    async def install(self, child: ChildSa, local: Address, remote: Address) -> None:
        """Accept inbound packets of this CHILD_SA from now on; its outbound half waits for `switch_outbound`."""

    async def switch_outbound(self, outbound_spi: int) -> None:
        """Send by the outbound half of an installed CHILD_SA from now on."""

    async def update_addresses(self, local: Address, remote: Address) -> None:
        """The tunnel's outer addresses changed (NAT mapping, MOBIKE): keys and sequence numbers stay."""

    async def remove(self, inbound_spi: int) -> None:
        """Forget a CHILD_SA or a reserved SPI; unknown ones are ignored."""

    async def remove_all(self) -> None:
        """Forget every CHILD_SA; the interface stays, and what is routed into it is dropped and counted."""

    def counters(self) -> Mapping[str, int]:
        """Packets, bytes and drops by reason, since `open`."""

    async def close(self) -> None:
        """Remove the interface and wipe the keys. Safe to call twice."""
