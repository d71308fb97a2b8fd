"""The client's XML documents: init, auth-reply and ack (AnyConnect-EAP notes, section 5).

The bytes are those that were observed: the declaration, a newline, the root without white space between elements, a
newline. lxml writes each child; they are joined as bytes because the gateway's `<opaque>` goes back unparsed.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence

from lxml import etree

from anyike.eap_anyconnect.settings import DeviceIdentity, LoginSettings

_START = b'<?xml version="1.0" encoding="UTF-8"?>\n<config-auth client="vpn" type="%b" aggregate-auth-version="2">'
_END = b"</config-auth>\n"


def init(
    settings: LoginSettings, *, opaque: bytes = b"", group_select: str | None = None, client_cert_fail: bool = False
) -> bytes:
    """The document that starts a login, or starts it over: with another group, or without a certificate."""
    body = [opaque]
    if group_select is not None:
        body.append(_element("group-select", group_select))
    body.append(_element("group-access", settings.group_access))
    if client_cert_fail:
        body.append(_element("client-cert-fail"))
    body.append(_parent("capabilities", [("auth-method", method) for method in settings.auth_methods]))
    return _document("init", settings, body)


def auth_reply(
    settings: LoginSettings,
    *,
    opaque: bytes = b"",
    session_id: str = "",
    session_token: str = "",
    answers: Sequence[tuple[str, str]] = (),
    group_select: str | None = None,
    host_scan_token: str | None = None,
) -> bytes:
    """The answer to an auth-request; `answers` are the elements of `<auth>`, name and text, in their order.

    ValueError when a text holds characters that XML cannot carry.
    """
    body = [_element("session-id", session_id), _element("session-token", session_token), opaque]
    body.append(_parent("auth", answers))
    if group_select is not None:
        body.append(_element("group-select", group_select))
    if host_scan_token is not None:
        body.append(_element("host-scan-token", host_scan_token))
    return _document("auth-reply", settings, body)


def second_certificate_reply(
    settings: LoginSettings,
    *,
    opaque: bytes = b"",
    session_id: str = "",
    session_token: str = "",
    certificates: bytes,
    signature: bytes,
    hash_name: str,
) -> bytes:
    """The answer to multiple-client-cert-request, as known from the same dialect over TLS.

    `certificates` are the user's as a PKCS#7 SignedData, `signature` theirs over the gateway's document; the first
    certificate ("1M", the machine's) was proven before.
    """
    auth = etree.Element("auth")
    machine = etree.SubElement(auth, "client-cert-chain", {"cert-store": "1M"})
    etree.SubElement(machine, "client-cert-sent-via-protocol")
    user = etree.SubElement(auth, "client-cert-chain", {"cert-store": "1U"})
    etree.SubElement(user, "client-cert", {"cert-format": "pkcs7"}).text = b64encode(certificates).decode()
    proof = etree.SubElement(user, "client-cert-auth-signature", {"hash-algorithm-chosen": hash_name})
    proof.text = b64encode(signature).decode()
    body = [_element("session-id", session_id), _element("session-token", session_token), opaque, _serialize(auth)]
    return _document("auth-reply", settings, body)


def ack(settings: LoginSettings) -> bytes:
    """The answer to `complete`."""
    return _document("ack", settings, [])


def _document(kind: str, settings: LoginSettings, body: Iterable[bytes]) -> bytes:
    version = _element("version", settings.version, {"who": "vpn"})
    return b"".join([_START % kind.encode(), version, *_device(settings.device), *body, _END])


def _device(device: DeviceIdentity) -> list[bytes]:
    attributes = {
        "computer-name": device.computer_name,
        "device-type": device.device_type,
        "platform-version": device.platform_version,
        "unique-id": device.unique_id,
        "unique-id-global": device.unique_id_global,
    }
    present = {name: value for name, value in attributes.items() if value is not None}
    elements = [_element("device-id", device.platform, present)]
    if device.mac_addresses:
        addresses = etree.Element("mac-address-list")
        for position, address in enumerate(device.mac_addresses):
            public = {"public-interface": "true"} if position == 0 else {}
            etree.SubElement(addresses, "mac-address", public).text = address
        elements.append(_serialize(addresses))
    return elements


def _element(name: str, text: str = "", attributes: dict[str, str] | None = None) -> bytes:
    element = etree.Element(name, attributes or {})
    element.text = text or None
    return _serialize(element)


def _parent(name: str, children: Iterable[tuple[str, str]]) -> bytes:
    parent = etree.Element(name)
    for child, text in children:
        etree.SubElement(parent, child).text = text or None
    return _serialize(parent)


def _serialize(element: etree._Element) -> bytes:
    return etree.tostring(element, encoding="UTF-8", xml_declaration=False)
