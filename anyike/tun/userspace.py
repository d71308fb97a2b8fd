"""The data path in this process: TUN interface <-> ESP <-> the UDP socket that IKE uses too.

The simple one: one packet at a time, on the event loop. It holds no queue of its own; what waits, waits in the
kernel's bounded queues of the interface and of the socket.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping

from anyike.errors import AnyikeError, HostSetupFailed, TunnelLost
from anyike.esp.drops import Counters, DropReason
from anyike.esp.table import SaTable
from anyike.esp.wear import NO_LIMITS, KeyLimits
from anyike.ikev2.child_sa import ChildSa
from anyike.tun.base import Address
from anyike.tun.device import TunDevice, open_tun

READ_BATCH = 64
"""Packets taken from the interface per wake-up: enough to make the wake-up cheap, and about a millisecond of work,
after which IKE gets its turn."""


class UserspaceDataPath:
    """A `DataPath` that encrypts by itself.

    Args:
        send: puts one ESP packet into a UDP datagram to an address, from the shared port. It neither blocks nor
            raises; what the socket refuses, its owner counts.
        on_failure: called from the event loop when the interface is taken away while open, or no sequence number is left.
        interface: name of the tunnel interface; `%d` in it lets the kernel choose the number.
        open_device: creates the interface.
        limits: what a CHILD_SA may carry before `on_worn` is told its inbound SPI, once.

    The socket's owner gives every ESP datagram to `receive_esp`.
    """

    needs_udp_encapsulation = True

    def __init__(
        self,
        send: Callable[[bytes, Address], None],
        on_failure: Callable[[AnyikeError], None],
        interface: str = "anyike%d",
        open_device: Callable[[str], TunDevice] = open_tun,
        limits: KeyLimits = NO_LIMITS,
        on_worn: Callable[[int], None] = lambda _inbound_spi: None,
    ) -> None:
        self._send = send
        self._on_failure = on_failure
        self._interface = interface
        self._open_device = open_device
        self._device: TunDevice | None = None
        self._table = SaTable(os.urandom, limits, on_worn)
        self._counters = Counters()
        self._remote: Address | None = None

    @property
    def interface(self) -> str:
        """Name of the tunnel interface; before `open` the one that was asked for."""
        return self._interface

    async def open(self) -> None:
        """Create the interface, down and without addresses. HostSetupFailed, MissingPrivilege."""
        self._device = device = self._open_device(self._interface)
        self._interface = device.name
        asyncio.get_running_loop().add_reader(device, self._interface_readable, device)

    async def allocate_spi(self) -> int:
        """A fresh inbound SPI, reserved until `install` or `remove`."""
        return self._table.allocate_spi()

    async def install(self, child: ChildSa, local: Address, remote: Address) -> None:
        """Accept inbound packets of this CHILD_SA from now on; its outbound half waits for `switch_outbound`."""
        if not child.udp_encapsulation:
            raise ValueError("userspace ESP reaches the gateway in UDP only")
        self._table.install(child)
        await self.update_addresses(local, remote)

    async def switch_outbound(self, outbound_spi: int) -> None:
        """Send by the outbound half of an installed CHILD_SA from now on."""
        self._table.switch_outbound(outbound_spi)

    async def update_addresses(self, local: Address, remote: Address) -> None:  # noqa: ARG002 - the socket knows it
        """The tunnel's outer addresses changed: keys and sequence numbers stay."""
        self._remote = remote

    async def remove(self, inbound_spi: int) -> None:
        """Forget a CHILD_SA or a reserved SPI; unknown ones are ignored."""
        self._table.remove(inbound_spi)

    async def remove_all(self) -> None:
        """Forget every CHILD_SA: what is routed into the tunnel is dropped from now on."""
        self._table.clear()

    def counters(self) -> Mapping[str, int]:
        """`packets_in` and the like, and `dropped_` with each `DropReason`; bytes are those of inner packets."""
        return self._counters.as_mapping()

    async def close(self) -> None:
        """Remove the interface and let go of the keys (Python cannot overwrite them). Safe to call twice."""
        self._table.clear()
        self._close_device()

    def receive_esp(self, datagram: bytes, source: Address) -> None:
        """An ESP packet that came in UDP, without the UDP header; any bytes are safe."""
        counters = self._counters
        packet = self._table.unprotect(datagram)
        if isinstance(packet, DropReason):
            counters.drop(packet)
            return
        if source != self._remote:
            counters.packets_from_other_address += 1
        refused = DropReason.INTERFACE_REFUSED if self._device is None else self._device.write(packet)
        if refused is not None:
            counters.drop(refused)
            return
        counters.packets_in += 1
        counters.bytes_in += len(packet)

    def _interface_readable(self, device: TunDevice) -> None:
        for _ in range(READ_BATCH):
            try:
                packet = device.read()
            except OSError as error:
                self._interface_lost(error)
                return
            if packet is None:
                return
            self._send_packet(packet)

    def _send_packet(self, packet: bytes) -> None:
        counters = self._counters
        remote = self._remote
        if remote is None:
            counters.drop(DropReason.NO_OUTBOUND_SA)
            return
        sealed = self._table.protect(packet)
        if isinstance(sealed, DropReason):
            counters.drop(sealed)
            if sealed is DropReason.SEQUENCE_EXHAUSTED:
                self._on_failure(
                    TunnelLost("The tunnel has sent as many packets as one key may protect. Connect again.")
                )
            return
        self._send(sealed, remote)
        counters.packets_out += 1
        counters.bytes_out += len(packet)

    def _interface_lost(self, error: OSError) -> None:
        # A removed interface stays readable for ever: without this the event loop would spin.
        self._close_device()
        self._on_failure(
            HostSetupFailed(
                f"The tunnel interface {self._interface} was removed by somebody else ({error.strerror}). "
                "Connect again."
            )
        )

    def _close_device(self) -> None:
        device, self._device = self._device, None
        if device is not None:
            asyncio.get_running_loop().remove_reader(device)
            device.close()
