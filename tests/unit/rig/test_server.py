"""The RADIUS server against pyrad as the other side: sizes, authenticity, repetition, and what it remembers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from container.scenario import GROUP_COST, TEXT_LIMIT, Scenario
from pyrad.dictionary import Dictionary
from pyrad.packet import AccessChallenge, AccessReject, AuthPacket
from radius import eap, server
from radius.groups import GROUPS

from tests.unit.rig.client import IDENTITY, OPAQUE, document, init, response

TICKET = re.compile(r'name="ticket" value="(.*?)"')


class Nas:
    """Sends RADIUS as charon's eap-radius does: by pyrad, with chunks and State."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.since = 1
        self.server = server.Server(folder / "log", lambda: Scenario(**settings), lambda: self.since)
        self.dictionary = Dictionary(str(Path(server.__file__).with_name("dictionary")))
        self.state = b""

    def request(self, message: bytes) -> AuthPacket:
        packet = AuthPacket(secret=server.SECRET, dict=self.dictionary)
        packet[server.EAP_MESSAGE] = [message[at : at + 253] for at in range(0, len(message), 253)]
        if self.state:
            packet[server.STATE] = [self.state]
        packet.add_message_authenticator()
        return packet

    def send(self, message: bytes) -> tuple[int, bytes]:
        packet = self.request(message)
        raw = self.server.handle(packet.RequestPacket())
        assert raw is not None
        assert len(raw) <= server.LARGEST_PACKET
        reply = packet.CreateReply(packet=raw)
        assert packet.VerifyReply(reply, raw)
        assert reply.verify_message_authenticator(original_authenticator=packet.authenticator)
        self.state = reply.get(server.STATE, [self.state])[0]
        return reply.code, b"".join(reply[server.EAP_MESSAGE])


@pytest.mark.parametrize("group", [*GROUPS, "G" * 20])
def test_the_longest_form_of_a_group_fits_one_radius_packet(tmp_path: Path, group: str) -> None:
    groups = (*GROUPS, "G" * 20)
    text = TEXT_LIMIT - sum(len(name) + GROUP_COST for name in groups)
    nas = Nas(tmp_path, login_text=text, groups=groups)
    code, hello = nas.send(IDENTITY.encode())
    assert (code, hello[:4]) == (AccessChallenge, bytes([1, 1]) + len(hello).to_bytes(2, "big"))
    code, form = nas.send(init(group).encode())
    assert code == AccessChallenge
    assert len(form) > text
    code, answer = nas.send(response("<other/>").encode())
    assert (code, answer) == (AccessReject, bytes([4, 7, 0, 4]))


def test_a_list_of_groups_nearly_fills_one_radius_packet(tmp_path: Path) -> None:
    groups = tuple(f"B{number:03}" for number in range(TEXT_LIMIT // (4 + GROUP_COST)))
    nas = Nas(tmp_path, login_text=0, groups=groups)
    nas.send(IDENTITY.encode())
    _, form = nas.send(init("B007").encode())
    assert form.count(b"<option") == len(groups)
    assert len(form) > 3000


def test_the_longest_form_with_an_error_fits_too(tmp_path: Path) -> None:
    text = TEXT_LIMIT - len("Vault") - GROUP_COST
    nas = Nas(tmp_path, login_text=text, groups=("Vault",))
    nas.send(IDENTITY.encode())
    form = nas.send(init("Vault").encode())[1].decode("latin-1")
    opaque, ticket = OPAQUE.search(form)[0], TICKET.search(form)[1]
    fields = {"username": "ada", "password": "secret", "secondary_username": "", "secondary_password": ""}
    auth = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    reply = document("auth-reply", f"{opaque}<auth>{auth}<ticket>{ticket}</ticket></auth>")
    _, form = nas.send(reply.encode())
    assert b"The second login of %s to the group %s failed." in form
    assert len(form) > text


def test_what_a_client_says_is_repeated_shortened(tmp_path: Path) -> None:
    nas = Nas(tmp_path)
    nas.send(IDENTITY.encode())
    _, final = nas.send(init("x" * 3000).encode())
    assert b'param1="' + b"x" * 64 + b'"' in final


def test_memory_lasts_until_a_scenario_is_put_in_force(tmp_path: Path) -> None:
    nas = Nas(tmp_path)
    nas.server.current_memory().pins["dorothy"] = "2718"
    assert nas.server.current_memory().pins == {"dorothy": "2718"}
    nas.since += 1
    assert nas.server.current_memory().pins == {}


def test_a_repeated_request_gets_the_same_answer_and_is_taken_once(tmp_path: Path) -> None:
    nas = Nas(tmp_path)
    raw = nas.request(IDENTITY.encode()).RequestPacket()
    assert nas.server.handle(raw) == nas.server.handle(raw)
    assert len((tmp_path / "log").read_text().splitlines()) == 1


def test_a_wrong_message_authenticator_is_ignored(tmp_path: Path) -> None:
    nas = Nas(tmp_path)
    raw = nas.request(IDENTITY.encode()).RequestPacket()
    assert nas.server.handle(raw[:-1] + bytes([raw[-1] ^ 1])) is None


def test_an_unknown_state_is_rejected(tmp_path: Path) -> None:
    nas = Nas(tmp_path)
    nas.state = b"nonsense"
    assert nas.send(init("Staff").encode()) == (AccessReject, bytes([4, 7, 0, 4]))


def test_the_identity_is_not_anyconnects(tmp_path: Path) -> None:
    nas = Nas(tmp_path)
    code, request = nas.send(eap.Packet(eap.RESPONSE, 0, eap.IDENTITY, b"ada@example.com").encode())
    assert (code, request[4]) == (AccessChallenge, eap.MSCHAPV2)
