"""A client that is bytes and nothing else: what the authenticator is told in these tests."""

from __future__ import annotations

from tests.fakes import eap
from tests.fakes.scenario import Scenario
from tests.fakes.scenario_login import ScenarioLogin, Site
from tests.fakes.session import IkeAttributes

IDENTITY = b"\xc9\0\0\0*$AnyConnectClient$*"
HEADER = '<version who="vpn">4.9</version><device-id unique-id="00">linux</device-id>'
ACCESS = "<group-access>Staff</group-access><capabilities><auth-method>multiple-cert</auth-method></capabilities>"
NO_SESSION = "<session-id/><session-token/>"


def document(kind: str, body: str) -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<config-auth client="vpn" type="{kind}" aggregate-auth-version="2">{HEADER}{body}</config-auth>\n'
    ).encode()


INIT = document("init", ACCESS)
ACK = document("ack", "")


def auth_reply(opaque: str, auth: str, after: str = "") -> bytes:
    return document("auth-reply", f"{NO_SESSION}{opaque}<auth>{auth}</auth>{after}")


class Client:
    """Speaks to one authenticator; everything that it says is a document, or TLVs."""

    def __init__(self, scenario: Scenario, site: Site | None = None, octets: bytes = b"", **options: object) -> None:
        self.login = ScenarioLogin(scenario, site=site, **options)
        self.login.begin(IDENTITY, IkeAttributes(octets, "sha256"))
        self.identifier = 0
        self.heard = b""
        self.listen()

    def listen(self) -> bytes:
        packet = self.login.send_packet()
        self.identifier = packet[1]
        self.heard = packet[16:] if packet[0] == eap.REQUEST else packet
        return self.heard

    def say(self, document: bytes, *tlvs: tuple[int, bytes], identifier: int | None = None) -> bytes:
        """A Response with these TLVs and then the document; what the gateway says to that."""
        content = b"".join(eap.tlv(*tlv) for tlv in (*tlvs, (0, document)))
        return self.send(content, identifier)

    def send(self, content: bytes, identifier: int | None = None) -> bytes:
        packet = bytearray(eap.request(self.identifier if identifier is None else identifier, content))
        packet[0] = eap.RESPONSE
        self.login.receive_packet(bytes(packet))
        return self.listen()
