"""`<ClientInitialization>`: settings for all hosts, which are about another client. Each one that matters is named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from anyike.eap_anyconnect.xml_reader import Element
from anyike.profile_import.elements import LeftOut, name_of, own_text

_UNKNOWN = "no setting of anyike corresponds to it"


@dataclass(frozen=True, slots=True)
class _Rule:
    """Why a setting is left out, and the values (lower case) with which nothing is: anyike does the same."""

    reason: str
    same: frozenset[str] = frozenset()


_WINDOWS = _Rule("is about Windows alone")
_DESKTOP = _Rule("is about Windows and macOS alone")
_STORE = _Rule("there is no certificate store: certificate.file, or --certificate, names the certificate")
_PROXY = _Rule("there are no proxies: IKEv2 runs over UDP, which they do not carry", frozenset({"ignoreproxy"}))
_LOGON = _Rule("who else is logged in makes no difference")
_OFF = frozenset({"false", ""})

_RULES = {
    "UseStartBeforeLogon": _Rule("there is no connecting before the user logs in; a system service can", _OFF),
    "AutomaticCertSelection": _STORE,
    "ShowPreConnectMessage": _Rule("the message is in AnyConnect's own catalogue of messages", _OFF),
    "CertificateStore": _STORE,
    "CertificateStoreMac": _STORE,
    "CertificateStoreLinux": _STORE,
    "CertificateStoreOverride": _WINDOWS,
    "ProxySettings": _PROXY,
    "AllowLocalProxyConnections": _Rule(_PROXY.reason, _OFF),
    "AutoConnectOnStart": _Rule("connecting starts with the command and never by itself; a service can call it", _OFF),
    "MinimizeOnConnect": _Rule("there is no window"),
    "LocalLanAccess": _Rule("the gateway's split exclude list alone says what stays outside the tunnel"),
    "DisableCaptivePortalDetection": _Rule("captive portals are not looked for", frozenset({"true"})),
    "AutoReconnect": _Rule("a tunnel that is lost ends the command; a service manager can start it again", _OFF),
    "AutoUpdate": _Rule("nothing is ever downloaded from the gateway", _OFF),
    "RSASecurIDIntegration": _Rule(
        "no token software is asked for codes; see token.mode for TOTP and HOTP", frozenset({"hardwaretoken"})
    ),
    "WindowsLogonEnforcement": _WINDOWS,
    "WindowsVPNEstablishment": _WINDOWS,
    "LinuxLogonEnforcement": _LOGON,
    "LinuxVPNEstablishment": _LOGON,
    "RetainVpnOnLogoff": _DESKTOP,
    "AutomaticVPNPolicy": _Rule("trusted networks are not detected: nothing connects or disconnects by itself", _OFF),
    "AutomaticVPNPolicy/AlwaysOn": _Rule("traffic is not blocked while there is no tunnel", _OFF),
    "PPPExclusion": _Rule("servers of PPP connections are not looked for", frozenset({"disable"})),
    "EnableScripting": _Rule("no OnConnect and OnDisconnect scripts are run", _OFF),
    "CertificateMatch": _Rule("a certificate is not searched by its attributes: certificate.file names it"),
    "MobilePolicy": _Rule("is about Windows Mobile alone"),
    "CertificateEnrollment": _Rule("there is no enrolment of certificates (SCEP)"),
    "DeviceLockRequired": _Rule("is about mobile devices alone"),
    "EnableAutomaticServerSelection": _Rule("the nearest gateway is not searched: say which one to connect to", _OFF),
    "AuthenticationTimeout": _Rule("how long answers are waited for is set by ike.retransmit_timeout and the settings beside it"),
    "SafeWordSofTokenIntegration": _Rule("no token software is asked for codes", _OFF),
    "AllowIPsecOverSSL": _Rule("IPsec runs over UDP only", _OFF),
    "ClearSmartcardPin": _WINDOWS,
    "ServiceDisable": _Rule("anyike connects whenever it is called", _OFF),
    "IPProtocolSupport": _Rule("IPv6 and IPv4 are both tried, in the order that the system's resolver prefers"),
    "AllowManualHostInput": _Rule("any host can be given on the command line", frozenset({"true"})),
}  # fmt: skip
"""By path below `<ClientInitialization>`. A setting inside another one is judged only where that one is left out."""

_TAKEN_OVER = frozenset({"BackupServerList", "CertificatePinning"})


def client_settings_left_out(initialization: Element, where: str) -> Iterator[LeftOut]:
    """Every setting that asks for something else than what anyike does."""
    for element in initialization:
        if element.tag not in _TAKEN_OVER:
            yield from _judge(element, str(element.tag), f"{where}/{name_of(element)}")


def _judge(element: Element, path: str, where: str) -> Iterator[LeftOut]:
    rule = _RULES.get(path, _Rule(_UNKNOWN))
    value = own_text(element).lower()
    if value in rule.same or not (value or len(element)):  # an empty element says what a missing one does
        return
    yield LeftOut(where, rule.reason)
    for child in element:
        if f"{path}/{child.tag}" in _RULES:
            yield from _judge(child, f"{path}/{child.tag}", f"{where}/{name_of(child)}")
