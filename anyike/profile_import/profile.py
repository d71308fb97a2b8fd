"""A whole AnyConnect profile: XML in, one profile of ours for each host out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anyike.eap_anyconnect.xml_reader import Element, read_xml
from anyike.errors import ConfigurationError
from anyike.profile_import.client_settings import client_settings_left_out
from anyike.profile_import.elements import LeftOut, child_text, name_of, shown
from anyike.profile_import.host_entry import CommonSettings, read_backup_servers, read_host
from anyike.profile_import.pins import read_common_pins
from anyike.profile_import.profile_text import fault_of, profile_text
from anyike.profiles import file_name
from anyike.text import printable_line
from anyike.wire import DecodeError

MAX_SIZE = 1024 * 1024
"""Implementation limit in bytes: profiles have some kilobytes."""
MAX_HOSTS = 256
"""Implementation limit: each host becomes a file. Long lists have some dozens."""
MAX_LEFT_OUT = 128
"""Implementation limit, of one host and of all hosts: the schema has some 40 settings."""

_ROOT = "AnyConnectProfile"
_READ = frozenset({"ClientInitialization", "ServerList"})


@dataclass(frozen=True, slots=True)
class ImportedHost:
    """One host: its name as the XML has it (safe to show), and the profile that stands for it.

    The profile is called `profile_name` by `anyike connect`; `text` is TOML that the settings accept, its comments
    included. `left_out` is what this host asks for in vain.
    """

    name: str
    profile_name: str
    text: str
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True, slots=True)
class ImportedProfile:
    """All hosts that can be connected to, those that cannot, and what the settings for all hosts ask for in vain."""

    hosts: tuple[ImportedHost, ...]
    refused: tuple[LeftOut, ...]
    left_out: tuple[LeftOut, ...]


def import_profile(data: bytes, source: str) -> ImportedProfile:
    """Read the XML of an AnyConnect profile; `source` is its name for messages and comments.

    Raises:
        ConfigurationError: it is no such profile, exceeds a limit, or none of its hosts can be used.
    """
    source = printable_line(source)
    root = _read_root(data, source)
    left_out = [LeftOut(name_of(element), "is unknown") for element in root if element.tag not in _READ]
    common = CommonSettings()
    for number, initialization in enumerate(root.iterfind("ClientInitialization"), 1):
        if number > 1:
            left_out.append(LeftOut(f"ClientInitialization[{number}]", "there may be only one; the first is taken"))
            break
        common = CommonSettings(
            read_backup_servers(initialization, "ClientInitialization", left_out),
            read_common_pins(initialization, "ClientInitialization", left_out),
        )
        left_out += client_settings_left_out(initialization, "ClientInitialization")
    _check_count(left_out, "for all hosts", source)
    hosts, refused = _read_hosts(root, source, common, left_out)
    if not hosts:
        reasons = "".join(f"\n{entry}" for entry in refused) or " there is no ServerList with a HostEntry"
        raise ConfigurationError(f"{source}: has no host that can be connected to:{reasons}")
    return ImportedProfile(tuple(hosts), tuple(refused), tuple(left_out))


def _read_root(data: bytes, source: str) -> Element:
    try:
        root = read_xml(data, max_size=MAX_SIZE).root
    except DecodeError as error:
        raise ConfigurationError(f"{source}: cannot be read as an AnyConnect profile (XML in UTF-8): {error}") from None
    if root.tag != _ROOT:
        raise ConfigurationError(f"{source}: is no AnyConnect profile: its root is <{name_of(root)}>, not <{_ROOT}>")
    return root


def _read_hosts(
    root: Element, source: str, common: CommonSettings, common_left_out: Sequence[LeftOut]
) -> tuple[list[ImportedHost], list[LeftOut]]:
    entries = root.findall("ServerList/HostEntry")
    if len(entries) > MAX_HOSTS:
        raise ConfigurationError(f"{source}: has {len(entries)} hosts, at most {MAX_HOSTS} can be imported")
    hosts: list[ImportedHost] = []
    refused: list[LeftOut] = []
    taken: set[str] = set()
    for number, entry in enumerate(entries, 1):
        name = child_text(entry, "HostName") or child_text(entry, "HostAddress")
        where = f"ServerList/HostEntry[{number}] ({shown(name)})"
        found = read_host(entry, where, common)
        if isinstance(found, LeftOut):
            refused.append(found)
        elif fault := fault_of(found.settings):
            refused.append(LeftOut(where, fault))
        else:
            _check_count(found.left_out, where, source)
            title = f"{shown(name)}, made by anyike import from the AnyConnect profile {source}"
            text = profile_text(title, found.settings, (*found.left_out, *common_left_out))
            hosts.append(ImportedHost(shown(name), _profile_name(name, taken), text, found.left_out))
    return hosts, refused


def _check_count(left_out: Sequence[LeftOut], where: str, source: str) -> None:
    if len(left_out) > MAX_LEFT_OUT:
        raise ConfigurationError(
            f"{source}: {where}: {len(left_out)} settings cannot be taken over, which no real profile has; "
            f"at most {MAX_LEFT_OUT} are accepted"
        )


def _profile_name(name: str, taken: set[str]) -> str:
    """A name that no host before this one has, for a file and for the command line (where - begins an option)."""
    base = file_name(name.lstrip(".-"))
    found, count = base, 1
    while found in taken:
        count += 1
        found = f"{base}-{count}"
    taken.add(found)
    return found
