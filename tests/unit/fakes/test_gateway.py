"""The test gateway's own part of a login, and its UDP server: what it takes, and what it keeps quiet about."""

from __future__ import annotations

import socket
import threading

import pytest

from tests.anyike_gateway.__main__ import main
from tests.anyike_gateway.server import MARKER, MAX_LOGINS, Server, check_address
from tests.fakes.gateway import Gateway, Profile
from tests.fakes.scenario_login import ScenarioLogin
from tests.fakes.wire import KE, NONCE, SA, Header, Payload, Proposal, chain
from tests.scenarios.catalogue import SCENARIOS

AES_GCM, PRF_SHA256, X25519 = (1, 20, 256), (2, 5, 0), (4, 31, 0)


def init_request(spi: bytes = b"initiate") -> bytes:
    proposal = Proposal(1, 1, b"", (AES_GCM, PRF_SHA256, X25519))
    key_exchange = bytes([0, 31, 0, 0]) + bytes([9]) + bytes(31)
    payloads = [Payload(SA, proposal.encode()), Payload(KE, key_exchange), Payload(NONCE, bytes(32))]
    first, content = chain(payloads)
    return Header(spi, bytes(8), 0, 34, 8, 0).message(first, content)


@pytest.fixture
def made() -> list[Gateway]:
    return []


@pytest.fixture
def server(made):
    def make(_peer):
        made.append(Gateway(ScenarioLogin(SCENARIOS["password"]), Profile()))
        return made[-1]

    server = Server("127.0.0.1", (0, 0), make)
    yield server
    server.close()


@pytest.fixture
def peer():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(10)
        yield peer


def serve(server: Server, count: int) -> threading.Thread:
    """Until that many messages were handed to a gateway."""
    left = iter(range(count - 1))
    thread = threading.Thread(target=server.serve, args=(lambda _gateway: next(left, None) is None,))
    thread.start()
    return thread


def test_the_first_port_speaks_ike_and_the_second_behind_a_marker(server, peer, made):
    serving = serve(server, 2)
    peer.sendto(init_request(b"spi-of-1"), ("127.0.0.1", server.ports[0]))
    first = peer.recv(65535)
    peer.sendto(MARKER + init_request(b"spi-of-2"), ("127.0.0.1", server.ports[1]))
    second = peer.recv(65535)
    serving.join()
    assert first[:8] == b"spi-of-1"
    assert second[:12] == MARKER + b"spi-of-2"
    assert first[18] == second[22] == 34
    assert len(made) == 2


def test_esp_keep_alives_and_short_datagrams_get_no_answer(server, peer, made):
    serving = serve(server, 1)
    for data in (b"\xff", b"\0\0\0\1" + bytes(60), init_request(), MARKER, MARKER + bytes(10), b""):
        peer.sendto(data, ("127.0.0.1", server.ports[1]))
    for data in (b"", b"\xff", bytes(27)):
        peer.sendto(data, ("127.0.0.1", server.ports[0]))
    peer.sendto(MARKER + init_request(b"the-last"), ("127.0.0.1", server.ports[1]))
    assert peer.recv(65535)[4:12] == b"the-last"
    serving.join()
    assert len(made) == 1


def test_a_repeated_request_reaches_the_same_gateway(server, peer, made):
    serving = serve(server, 2)
    for _ in range(2):
        peer.sendto(init_request(), ("127.0.0.1", server.ports[0]))
    assert peer.recv(65535) == peer.recv(65535)
    serving.join()
    assert len(made) == 1


def test_the_oldest_login_goes_when_there_are_too_many(server, peer, made):
    serving = serve(server, MAX_LOGINS + 2)
    spis = [number.to_bytes(8, "big") for number in range(1, MAX_LOGINS + 2)]
    for spi in [*spis, spis[0]]:
        peer.sendto(init_request(spi), ("127.0.0.1", server.ports[0]))
        assert peer.recv(65535)[:8] == spi
    serving.join()
    assert len(made) == MAX_LOGINS + 2


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "", "localhost"])
def test_it_listens_on_single_addresses_only(address):
    with pytest.raises(ValueError, match=r"no single address|does not appear"):
        check_address(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "192.0.2.1"])
def test_addresses_that_somebody_names(address):
    assert check_address(address) == address


def test_ipv6_loopback(made):
    server = Server("::1", (0, 0), lambda _peer: made.append(None))
    assert all(server.ports)
    server.close()


def test_the_tool_lists_every_scenario_and_says_what_is_guessed(capsys):
    assert main(["--list"]) == 0
    shown = capsys.readouterr().out
    for scenario in SCENARIOS.values():
        assert f"{scenario.name} " in shown
        assert scenario.title in shown
        assert scenario.guessed in shown


def test_the_tool_refuses_to_listen_everywhere(capsys):
    with pytest.raises(SystemExit):
        main(["--listen", "0.0.0.0"])
    assert "no single address" in capsys.readouterr().err
