"""The turns of a login, read from a capture that scapy wrote."""

from __future__ import annotations

from pathlib import Path

import pytest
from login_answer import Turns, read_turns
from peers import BenchFailed
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet
from scapy.utils import wrpcap

CLIENT, GATEWAY = "192.0.2.2", "192.0.2.1"
START = 1_700_000_000
IKE_SA_INIT, IKE_AUTH, INFORMATIONAL = 34, 35, 37
ESP = b"\x12\x34\x56\x78" + bytes(60)


def ike(milliseconds: float, number: int, *, response: bool, exchange: int = IKE_AUTH) -> Packet:
    header = b"\x11" * 8 + b"\x22" * 8 + bytes([46, 0x20, exchange, 0x20 if response else 0x08])
    message = header + number.to_bytes(4, "big") + (40).to_bytes(4, "big") + bytes(12)
    port, marker = (500, b"") if exchange == IKE_SA_INIT else (4500, bytes(4))
    source, destination = (GATEWAY, CLIENT) if response else (CLIENT, GATEWAY)
    return at(milliseconds, IP(src=source, dst=destination) / UDP(sport=port, dport=port) / (marker + message))


def at(milliseconds: float, datagram: Packet) -> Packet:
    packet = Ether(src="02:00:00:00:00:02", dst="02:00:00:00:00:01") / datagram  # scapy would ask the network
    packet.time = START + milliseconds / 1000
    return packet


def capture(folder: Path, *packets: Packet) -> bytes:
    file = folder / "login.pcap"
    wrpcap(str(file), sorted(packets, key=lambda packet: packet.time), nano=True)
    return file.read_bytes()


def login() -> list[Packet]:
    """Requests 1 to 5 at 10, 20, 30 ... ms, each answered after 2 ms; the form (2) comes in two fragments."""
    requests = [ike(10 * number, number, response=False) for number in range(1, 6)]
    responses = [ike(10 * number + 2, number, response=True) for number in range(1, 6)]
    return [
        ike(0, 0, response=False, exchange=IKE_SA_INIT),
        ike(1, 0, response=True, exchange=IKE_SA_INIT),
        *requests,
        *responses,
        ike(25, 2, response=True),
        at(60, IP(src=CLIENT, dst=GATEWAY) / UDP(sport=4500, dport=4500) / ESP),
        ike(70, 6, response=False, exchange=INFORMATIONAL),
    ]


def test_the_turns_end_with_the_exchange_before_the_last(tmp_path: Path) -> None:
    turns = read_turns(capture(tmp_path, *login()))
    assert turns.answered == pytest.approx(0.005, abs=1e-6)  # from the form's last fragment
    assert turns.acknowledged == pytest.approx(0.008, abs=1e-6)
    assert turns.waited == pytest.approx(0.004, abs=1e-6)
    assert turns.total == pytest.approx(0.017, abs=1e-6)


def test_an_answer_counts_from_the_moment_it_was_typed(tmp_path: Path) -> None:
    assert read_turns(capture(tmp_path, *login()), START + 0.029).answered == pytest.approx(0.001, abs=1e-6)


def test_a_login_that_was_not_seen_whole_gives_no_figures(tmp_path: Path) -> None:
    without_last_response = [packet for packet in login() if packet.time != START + 0.052]
    with pytest.raises(BenchFailed, match=r"requests \[1, 2, 3, 4, 5\], responses \[1, 2, 3, 4\]"):
        read_turns(capture(tmp_path, *without_last_response))


def test_the_clients_own_part_is_both_of_its_turns() -> None:
    assert Turns(answered=1, acknowledged=2, waited=4).own == 3
