"""The client's documents: those of the golden exchange, byte for byte, and the parts that it does not show."""

from __future__ import annotations

from dataclasses import replace

import pytest

from anyike.eap_anyconnect import client_documents
from anyike.eap_anyconnect.gateway_document import read_document
from anyike.eap_anyconnect.settings import DeviceIdentity, LoginSettings
from tests.unit.eap_anyconnect.dialogue import OPAQUE, SETTINGS, Dialogue, golden_documents

GOLDEN_DEVICE = DeviceIdentity(
    computer_name="MyPC1",
    device_type="PC Vendor Notebook G1",
    platform_version="10.0.18363",
    unique_id="6670710BAE51885EDEF982FC59BAC8321D0AEE1036A3005FCDF996E19AEF6978",
    unique_id_global="CC182A13D1990CF18436AEDEC8891122345EFD7D",
    platform="win",
    mac_addresses=("82-00-11-aa-bb-cc",),
)
GOLDEN_SETTINGS = LoginSettings(device=GOLDEN_DEVICE, group_access="Tunnel-Group1")

HELLO, INIT, CERT_REQUEST, CERT_INIT, AUTH_REQUEST, AUTH_REPLY, COMPLETE, ACK = golden_documents()


def test_golden_init():
    assert client_documents.init(GOLDEN_SETTINGS) == INIT == CERT_INIT


def test_golden_auth_reply():
    request = read_document(AUTH_REQUEST)
    token = request.text("host-scan/host-scan-token")
    assert client_documents.auth_reply(GOLDEN_SETTINGS, opaque=request.opaque, host_scan_token=token) == AUTH_REPLY


def test_golden_ack():
    assert client_documents.ack(GOLDEN_SETTINGS) == ACK


def test_the_method_sends_the_golden_documents():
    dialogue = Dialogue(GOLDEN_SETTINGS)
    assert dialogue.sends(b"\0\0" + len(HELLO).to_bytes(2, "big") + HELLO).xml == INIT
    assert dialogue.sends(b"\0\0" + len(COMPLETE).to_bytes(2, "big") + COMPLETE).xml == ACK
    session = dialogue.method.session
    assert session.session_id == "2356658127"
    assert session.session_token == "E2DA0A@2356658127@E754@AF950966D7CCBB9F7272860E19AE67FFE85F0B39"
    assert session.csport == 443
    assert session.dynamic_split_exclude_domains == ("domain1.org",)
    assert session.dynamic_split_include_domains == ()


def body_of(document: bytes) -> bytes:
    """What stands after the client header of SETTINGS."""
    return document.removesuffix(b"</config-auth>\n").rpartition(b"linux</device-id>")[2]


def test_restarted_init():
    assert body_of(client_documents.init(SETTINGS, opaque=OPAQUE, group_select="Lab")) == (
        OPAQUE + b"<group-select>Lab</group-select><group-access>Staff</group-access>"
        b"<capabilities><auth-method>multiple-cert</auth-method></capabilities>"
    )


def test_init_without_a_certificate():
    assert body_of(client_documents.init(SETTINGS, client_cert_fail=True)) == (
        b"<group-access>Staff</group-access><client-cert-fail/>"
        b"<capabilities><auth-method>multiple-cert</auth-method></capabilities>"
    )


def test_auth_reply_of_the_notes():
    answers = [("password", "secret"), ("username", "ada")]
    reply = client_documents.auth_reply(SETTINGS, opaque=OPAQUE, answers=answers, group_select="Staff")
    assert body_of(reply) == (
        b"<session-id/><session-token/>" + OPAQUE + b"<auth><password>secret</password><username>ada</username></auth>"
        b"<group-select>Staff</group-select>"
    )


def test_device_without_what_is_not_configured():
    assert client_documents.ack(SETTINGS) == (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<config-auth client="vpn" type="ack" aggregate-auth-version="2">'
        b'<version who="vpn">4.9.01095</version>'
        b'<device-id computer-name="box" device-type="anyike" platform-version="6.1" unique-id="00FF">linux</device-id>'
        b"</config-auth>\n"
    )


def test_only_the_first_mac_address_is_the_public_one():
    device = replace(SETTINGS.device, mac_addresses=("82-00-11-aa-bb-cc", "82-00-11-aa-bb-cd"))
    assert (
        b'<mac-address-list><mac-address public-interface="true">82-00-11-aa-bb-cc</mac-address>'
        b"<mac-address>82-00-11-aa-bb-cd</mac-address></mac-address-list></config-auth>"
    ) in client_documents.ack(replace(SETTINGS, device=device))


def test_markup_in_values_is_escaped():
    device = replace(SETTINGS.device, computer_name='a"<&>', platform="<x>")
    document = client_documents.auth_reply(replace(SETTINGS, device=device), answers=[("password", "</auth>&ü")])
    assert b'computer-name="a&quot;&lt;&amp;&gt;"' in document
    assert b">&lt;x&gt;</device-id>" in document
    assert "<password>&lt;/auth&gt;&amp;ü</password>".encode() in document


@pytest.mark.parametrize("text", ["a\0b", "a\x1bb", "a\udc80b"])
def test_what_xml_cannot_hold_is_a_value_error(text):
    with pytest.raises(ValueError):  # noqa: PT011  the words are lxml's
        client_documents.auth_reply(SETTINGS, answers=[("password", text)])
