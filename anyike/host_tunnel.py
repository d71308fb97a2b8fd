"""What a tunnel changes on this machine: addresses, routes and rules, and the journal by which they are taken back."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING

from anyike import paths
from anyike.config import Settings
from anyike.errors import HostSetupFailed
from anyike.esp.overhead import inner_mtu
from anyike.ikev2.events import Address, Established
from anyike.net.plan import Plan, Wishes, make_plan

if TYPE_CHECKING:
    from anyike.net.undo import Journal

# The modules that change the machine are imported when there is something to change: loading netlink takes a while.


class HostTunnel:
    """The host's side of one tunnel interface; it may be set up anew while sessions come and go."""

    def __init__(self, settings: Settings, profile: str) -> None:
        self._settings = settings
        self._profile = profile
        self._journal: Journal | None = None
        self._plan: Plan | None = None

    @property
    def stands(self) -> bool:
        """Whether there is anything to take back."""
        return self._plan is not None

    def set_up(self, established: Established, local: Address, remote: Address, interface: str) -> Plan:
        """Have addresses, routes and rules as this session's configuration wants them.

        What stands already and is the same is left alone; else the old goes first.

        Raises:
            HostSetupFailed, MissingPrivilege, AlreadyRunning.
        """
        from anyike.net import host, undo

        mark, configuration = self._settings.tunnel.mark, established.configuration
        wishes = Wishes(
            interface=interface,
            addresses=configuration.addresses,
            remote_selectors=established.child.remote_selectors,
            outer_local=ip_address(local[0].partition("%")[0]),
            gateway=ip_address(remote[0].partition("%")[0]),
            mtu=self._mtu(established, remote, host.outer_mtu(remote[0], mark)),
            split_include=configuration.included(),
            split_exclude=configuration.split_exclude,
            ipv6_enabled=host.ipv6_enabled(interface),
        )
        if self._journal is not None:
            plan = make_plan(wishes, self._journal.table, mark)
            if plan == self._plan:
                return plan
            if self._plan is not None and plan.routes == self._plan.routes:
                before, self._plan = (
                    self._plan,
                    plan,
                )  # whatever stands of the old one goes with the table and the interface
                host.change(before, plan)
                return plan
            self.take_back()
        self._journal = undo.claim(paths.RUNTIME / f"{self._profile}.undo", interface)
        self._plan = make_plan(wishes, self._journal.table, mark)
        host.apply(self._plan)
        return self._plan

    def take_back(self) -> None:
        """Leave the machine as it was. HostSetupFailed, MissingPrivilege."""
        from anyike.net import undo

        journal, self._journal = self._journal, None
        plan, self._plan = self._plan, None
        if journal is not None:
            undo.take_back(plan, journal)

    def _mtu(self, established: Established, remote: Address, outer_mtu: int) -> int:
        """What fits the path; less where the gateway or the user says so."""
        if self._settings.tunnel.mtu is not None:
            return self._settings.tunnel.mtu
        version = ip_address(remote[0].partition("%")[0]).version
        fits = inner_mtu(outer_mtu, established.child.suite, version, udp=established.child.udp_encapsulation)
        return min(fits, established.configuration.mtu or fits)


async def load_host_network() -> None:
    """Load what only an established tunnel needs while the gateway thinks; in pieces, so that no answer waits for all."""
    from anyike.net import host, requests, undo  # noqa: F401
    from anyike.net.netlink import message_class

    with suppress(HostSetupFailed):  # who needs it will say so
        for name in requests.MESSAGES:
            await asyncio.sleep(0)
            message_class(name)
