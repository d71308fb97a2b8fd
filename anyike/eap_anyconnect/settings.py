"""What the caller decides about a login."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeviceIdentity:
    """The `<device-id>` and `<mac-address-list>` of every client document (AnyConnect-EAP notes, section 5).

    `platform` is `linux`, `win` or `mac`. An attribute that is None is left out. `mac_addresses` are written
    `82-00-11-aa-bb-cc`, that of the public interface first; without any the list is left out.
    """

    computer_name: str
    platform_version: str
    unique_id: str
    unique_id_global: str | None = None
    device_type: str = "anyike"
    platform: str = "linux"
    mac_addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LoginSettings:
    """One login.

    `group` (--authgroup) is chosen where the gateway offers groups; `group_access` is the text of `<group-access>`: the
    group's name, or the URL `https://host/group`. `auth_methods` are the capabilities that are announced. `max_tries` counts
    logins that the gateway rejects. With `accept_banner` every banner has to be accepted, not only where nothing else is asked.
    """

    device: DeviceIdentity
    group_access: str
    username: str | None = None
    group: str | None = None
    version: str = "4.9.01095"
    auth_methods: tuple[str, ...] = ("multiple-cert",)
    max_tries: int = 3
    accept_banner: bool = False
