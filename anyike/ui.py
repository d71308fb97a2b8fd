"""What a connection needs of a user interface: it shows what happens. Who answers questions is `login.respondent`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Stage(StrEnum):
    """The steps of a connection in their order; the value is what a person reads."""

    RESOLVE = "resolving"
    IKE_SA_INIT = "IKE_SA_INIT"
    VERIFIED = "gateway verified"
    LOGIN = "login"
    TUNNEL = "tunnel"


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelSummary:
    """An established tunnel for people: every entry is a text of its own, an empty one is not shown.

    `routes` go through the tunnel, `excluded` stay outside. `mtu` in bytes; `lifetimes` such as "IKE SA: 8 h".
    """

    interface: str
    gateway: str
    addresses: tuple[str, ...]
    mtu: int
    ike_algorithms: str
    esp_algorithms: str
    dns: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    lifetimes: tuple[str, ...] = ()


class UserInterface(Protocol):
    """Everything here returns at once. Implementations make foreign text harmless themselves (`printable`)."""

    def stage(self, stage: Stage, detail: str) -> None:
        """A step begins or is done, and what came of it in a few words."""

    def notice(self, text: str) -> None:
        """The gateway's banner or message, of any number of lines."""

    def warning(self, text: str) -> None:
        """Something that works but should not stay as it is."""

    def established(self, summary: TunnelSummary) -> None:
        """The tunnel carries traffic."""

    def ended(self, reason: str) -> None:
        """The tunnel is down and this machine is as it was before."""
