"""The journal of a session, and that the test gateway is nobody's other half."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.fakes import session
from tests.fakes.eap import describe, request, tlv
from tests.fakes.session import Call, IkeAttributes, RecordedSession
from tests.unit.fakes.client import IDENTITY

FAKES = Path(session.__file__).parent


class Parrot:
    """Says what it hears."""

    def __init__(self) -> None:
        self.heard = b"\3\1\0\4"
        self.ends = 0

    def begin(self, identity: bytes, attributes: IkeAttributes) -> None:
        self.begun = identity, attributes

    def receive_packet(self, packet: bytes) -> None:
        self.heard = packet

    def send_packet(self) -> bytes:
        return self.heard

    def get_result(self) -> bool | None:
        return None

    def end(self) -> None:
        self.ends += 1


def test_every_call_is_in_the_journal_and_reaches_the_authenticator():
    calls: list[Call] = []
    parrot = Parrot()
    recorded = RecordedSession(parrot, calls.append)
    recorded.begin(IDENTITY, IkeAttributes(b"octets", "sha384"))
    recorded.receive_packet(request(2, tlv(0, b"<config-auth/>")))
    assert recorded.send_packet() == parrot.heard
    assert recorded.get_result() is None
    recorded.end()
    recorded.end()
    assert [call.name for call in calls] == ["begin", "receive packet", "send packet", "get result", "end"]
    assert parrot.begun == (IDENTITY, IkeAttributes(b"octets", "sha384"))
    assert parrot.ends == 1
    assert str(calls[0]) == "begin: b'\\xc9\\x00\\x00\\x00*$AnyConnectClient$*', 6 octets to sign, sha384"
    assert str(calls[1]) == "receive packet: Request 2\n<config-auth/>"
    assert str(calls[-1]) == "end"


def test_packets_as_the_journal_shows_them():
    assert describe(b"\3\7\0\4") == "Success 7"
    assert describe(b"\4\7\0\4") == "Failure 7"
    assert describe(b"\1\1\0\5\1") == "Request 1 01"
    assert describe(b"\1") == "no EAP packet: 01"
    shown = describe(request(3, tlv(3, bytes(20)) + tlv(1, b"\xff") + tlv(9, b"") + tlv(0, b"<x/>\xff")))
    assert shown.splitlines() == [
        "Request 3",
        f"TLV 3 (certificates), 20 bytes, {'00' * 16}...",
        "TLV 1 (signature), 1 bytes, ff...",
        "TLV 9 (unknown), 0 bytes, ...",
        "<x/>\ufffd",
    ]


def test_the_gateway_shares_no_code_with_the_client():
    """All but the network of two and its data path, which hold both; the primes are checked against their formula elsewhere."""
    for path in FAKES.glob("*.py"):
        if path.name not in ("link.py", "data_path.py"):
            assert imports(path) <= {"anyike.crypto.modp"}, path


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names |= {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
        names |= {str(node.module)} if isinstance(node, ast.ImportFrom) else set()
    return {name for name in names if name.split(".")[0] == "anyike"}
