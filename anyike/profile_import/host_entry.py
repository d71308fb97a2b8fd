"""One `<HostEntry>` as settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from anyike.eap_anyconnect.xml_reader import Element
from anyike.profile_import.elements import LeftOut, child_text, name_of, own_text, shown
from anyike.profile_import.pins import read_pins
from anyike.profile_import.profile_text import fault_of
from anyike.profile_import.server_address import ServerAddress, parse_address
from anyike.text import printable

DEFAULT_IDENTITY = "*$AnyConnectClient$*"
"""What AnyConnect, and anyike, call themselves (IDi) where the profile says nothing."""

MAX_BACKUP_SERVERS = 32
"""Implementation limit: each one may cost a full series of retransmissions."""

_IPSEC = "ipsec"
_ANYCONNECT_EAP = "eap-anyconnect"
_DEFAULT_PROTOCOL = "SSL"  # specification: AnyConnectProfile.xsd
_DEFAULT_STANDARD_METHOD = "EAP-GTC"  # specification: AnyConnectProfile.xsd

_READ = frozenset({"HostName", "HostAddress", "UserGroup", "BackupServerList", "PrimaryProtocol", "CertificatePinList"})
_REASONS = {
    "LoadBalancingServerList": "the members of a cluster are not listed: name them in gateway.backup_servers if needed",
    "AutomaticSCEPHost": "there is no enrolment of certificates (SCEP)",
    "CAURL": "there is no enrolment of certificates (SCEP)",
    "MobileHostEntryInfo": "is about mobile devices alone",
}
_UNKNOWN = "no setting of anyike corresponds to it"
_PORT = "is the port of TLS; IKEv2 has the UDP ports 500 and 4500 (gateway.port, gateway.nat_port)"


@dataclass(frozen=True, slots=True)
class HostSettings:
    """What one host entry says: sections of settings, still unchecked, and what they do not hold."""

    settings: Mapping[str, Mapping[str, object]]
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True, slots=True)
class CommonSettings:
    """What the profile says for all hosts.

    The backup servers are for those without a list of their own; the pins are accepted beside a host's own, and
    None where no pins are checked.
    """

    backup_servers: Sequence[str] = ()
    pins: Sequence[str] | None = None


def read_host(entry: Element, where: str, common: CommonSettings) -> HostSettings | LeftOut:
    """The settings for one host, or why there are none."""
    return _Reading(where).run(entry, common)


def read_backup_servers(parent: Element, where: str, left_out: list[LeftOut]) -> tuple[str, ...]:
    """The usable hosts of `parent`'s `<BackupServerList>`, in their order; the others are added to `left_out`."""
    usable: list[str] = []
    for number, element in enumerate(parent.iterfind("BackupServerList/HostAddress"), 1):
        text = own_text(element)
        place = f"{where}/BackupServerList/HostAddress[{number}]"
        address = parse_address(text)
        if not text or address.host in usable:
            continue
        if len(usable) == MAX_BACKUP_SERVERS:
            left_out.append(
                LeftOut(place, f"at most {MAX_BACKUP_SERVERS} are taken over; it and those after it are not")
            )
            break
        if fault := fault_of({"gateway": {"host": address.host}}):
            left_out.append(LeftOut(place, fault))
            continue
        usable.append(address.host)
        if address.port:
            left_out.append(LeftOut(place, f":{address.port} {_PORT}"))
        if address.group:
            left_out.append(LeftOut(place, "a backup server has the group of its host, and none of its own"))
    return tuple(usable)


class _Reading:
    def __init__(self, where: str) -> None:
        self._where = where
        self._left_out: list[LeftOut] = []

    def run(self, entry: Element, common: CommonSettings) -> HostSettings | LeftOut:
        address = parse_address(child_text(entry, "HostAddress") or child_text(entry, "HostName"))
        if not address.host:
            return LeftOut(self._where, "has neither a HostAddress nor a HostName")
        protocol = entry.find("PrimaryProtocol")
        if method := _standard_method(protocol):
            return LeftOut(
                f"{self._where}/PrimaryProtocol/StandardAuthenticationOnly",
                f"the gateway takes only {shown(method)}; anyike logs in by EAP-AnyConnect and by nothing else",
            )
        if address.port:
            self._leave_out("HostAddress", f":{address.port} {_PORT}")
        gateway: dict[str, object] = {"host": address.host}
        backups = read_backup_servers(entry, self._where, self._left_out) or common.backup_servers
        if backups := [host for host in backups if host != address.host]:
            gateway["backup_servers"] = backups
        if pins := self._pins(entry, common.pins):
            gateway["chain_pins"] = pins
        settings: dict[str, dict[str, object]] = {"gateway": gateway}
        if identity := self._identity(protocol):
            settings["ike"] = {"local_id": {"type": "anyconnect", "value": identity}}
        if group := self._user_group(entry, address):
            settings["login"] = {"user_group": group}
        self._note_protocol(protocol)
        self._left_out += self._others(entry)
        return HostSettings(settings, tuple(self._left_out))

    def _leave_out(self, name: str, reason: str) -> None:
        self._left_out.append(LeftOut(f"{self._where}/{name}", reason))

    def _note_protocol(self, protocol: Element | None) -> None:
        text = own_text(protocol) or _DEFAULT_PROTOCOL
        if text.lower() != _IPSEC:
            self._leave_out(
                "PrimaryProtocol",
                f"asks for {shown(text)}; anyike speaks IKEv2 only, which this gateway must offer as well",
            )

    def _identity(self, protocol: Element | None) -> str:
        """The `<IKEIdentity>`: the text of IDi. The profile has no type for it; AnyConnect's own is 201."""
        standard = _standard_only(protocol)
        text = "" if standard is None else child_text(standard, "IKEIdentity")
        if text == DEFAULT_IDENTITY:
            return ""
        return self._plain("PrimaryProtocol/StandardAuthenticationOnly/IKEIdentity", text)

    def _user_group(self, entry: Element, address: ServerAddress) -> str:
        """The `<UserGroup>`, which stands behind the address in a group URL; or else what stands there already."""
        group = self._plain("UserGroup", child_text(entry, "UserGroup"))
        if group:
            if address.group and address.group != group:
                self._leave_out("HostAddress", "its group is not used, since there is a UserGroup")
            return group
        if address.group:
            self._leave_out(
                "HostAddress",
                "its group became login.user_group; a gateway may know that URL, and another name of the group inside IKEv2",
            )
        return self._plain("HostAddress", address.group)

    def _pins(self, entry: Element, common: Sequence[str] | None) -> list[str]:
        if common is None:
            if entry.find("CertificatePinList/Pin") is not None:
                self._leave_out("CertificatePinList", "is not checked, since CertificatePinning is off for all hosts")
            return []
        pins = list(dict.fromkeys((*common, *read_pins(entry, self._where, self._left_out))))
        if not pins:
            self._leave_out(
                "CertificatePinList",
                "CertificatePinning is on, but there is no pin to use: the gateway's CA alone decides",
            )
        return pins

    def _plain(self, name: str, text: str) -> str:
        """`text`, or "" where it could disguise itself in the file that is made of it."""
        if "\n" in text or printable(text) != text:
            self._leave_out(name, f"{shown(text)} has characters that cannot be shown")
            return ""
        return text

    def _others(self, entry: Element) -> Iterator[LeftOut]:
        for element in entry:
            if element.tag not in _READ:
                reason = _REASONS.get(str(element.tag), _UNKNOWN)
                yield LeftOut(f"{self._where}/{name_of(element)}", reason)


def _standard_only(protocol: Element | None) -> Element | None:
    """`<StandardAuthenticationOnly>`, where it is switched on; it means something inside IPsec only."""
    if protocol is None or own_text(protocol).lower() != _IPSEC:
        return None
    standard = protocol.find("StandardAuthenticationOnly")
    return standard if own_text(standard).lower() == "true" else None


def _standard_method(protocol: Element | None) -> str:
    """The login that a gateway insists on, if it is another one than AnyConnect EAP; else ""."""
    standard = _standard_only(protocol)
    if standard is None:
        return ""
    method = child_text(standard, "AuthMethodDuringIKENegotiation") or _DEFAULT_STANDARD_METHOD
    return "" if method.lower() == _ANYCONNECT_EAP else method
