from __future__ import annotations

import hmac
import os
from random import Random

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from hypothesis import given, settings
from hypothesis import strategies as st

from anyike.errors import ProtocolError
from anyike.esp import sa as sa_module
from anyike.esp.drops import DropReason
from anyike.esp.packet import encapsulate
from anyike.esp.replay import REPLAY_WINDOW
from anyike.esp.table import SaTable
from anyike.esp.wear import KeyLimits
from tests.unit.esp.samples import FAST, ONE_OF_EACH_KIND, children, inner_packets, ipv4, ipv6, suites


def pair(suite=FAST, **selectors) -> tuple[SaTable, SaTable]:
    """A client's and a gateway's table with one CHILD_SA, both sending by it."""
    client, gateway = SaTable(os.urandom), SaTable(os.urandom)
    connect(client, gateway, suite, 1, **selectors)
    return client, gateway


def connect(client: SaTable, gateway: SaTable, suite, number: int, **selectors) -> None:
    for table, child in zip((client, gateway), children(suite, number, **selectors), strict=True):
        table.install(child)
        table.switch_outbound(child.outbound_spi)


def forged(next_header: int, payload: bytes, sequence: int = 1, suite=FAST) -> bytes:
    """What a gateway with the right keys but odd ideas could send to the client."""
    keys = children(suite)[0].inbound_keys
    cipher = suite.bind(keys.encryption, keys.integrity)
    iv = sequence.to_bytes(cipher.iv_length, "big")
    return encapsulate(cipher, 0x1001, sequence, payload, iv=iv, next_header=next_header)


@given(suites, st.lists(inner_packets, max_size=4))
@settings(max_examples=60)
def test_packets_come_out_as_they_went_in(suite, packets: list[bytes]) -> None:
    client, gateway = pair(suite)
    for number, packet in enumerate(packets, 1):
        sealed = client.protect(packet)
        assert sealed[:8] == (0x2001).to_bytes(4, "big") + number.to_bytes(4, "big")
        assert gateway.unprotect(sealed) == packet


@pytest.mark.parametrize("suite", ONE_OF_EACH_KIND, ids=lambda suite: suite.name)
def test_a_changed_byte_drops_the_packet_and_leaves_the_window(suite) -> None:
    client, gateway = pair(suite)
    sealed = client.protect(ipv4(bytes(40)))
    for position in range(4, len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 0x80
        assert gateway.unprotect(bytes(changed)) is DropReason.NOT_AUTHENTICATED, position
    assert gateway.unprotect(sealed) == ipv4(bytes(40))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_dropped(data: bytes) -> None:
    client, gateway = pair()
    assert isinstance(gateway.unprotect(data), DropReason)
    assert isinstance(gateway.unprotect(bytes.fromhex("00002001") + data), DropReason)
    outbound = client.protect(data)
    assert outbound in (DropReason.BAD_OUTBOUND_PACKET, DropReason.OUTSIDE_OUTBOUND_SELECTORS)


@pytest.mark.parametrize("seed", range(5))
def test_a_link_that_loses_reorders_and_repeats(seed: int) -> None:
    chance = Random(seed)
    client, gateway = pair()
    sent = [ipv4(index.to_bytes(4, "big")) for index in range(3000)]
    link = [(index, client.protect(packet)) for index, packet in enumerate(sent) if chance.random() < 0.9]
    link += chance.sample(link, len(link) // 3)
    # Reordered, but by less than the window: nothing may be lost to it.
    link.sort(key=lambda each: each[0] + chance.uniform(0, REPLAY_WINDOW // 2))
    arrived = [gateway.unprotect(sealed) for _, sealed in link]

    delivered = [each for each in arrived if isinstance(each, bytes)]
    assert sorted(delivered) == [sent[index] for index in sorted({index for index, _ in link})]
    assert {each for each in arrived if isinstance(each, DropReason)} == {DropReason.REPLAYED}
    assert len(arrived) - len(delivered) == len(link) - len({index for index, _ in link})


def test_a_packet_left_of_the_window_is_too_old() -> None:
    client, gateway = pair()
    sealed = [client.protect(ipv4()) for _ in range(REPLAY_WINDOW + 1)]
    assert gateway.unprotect(sealed[-1]) == ipv4()
    assert gateway.unprotect(sealed[0]) is DropReason.TOO_OLD
    assert gateway.unprotect(sealed[1]) == ipv4()


@pytest.mark.parametrize(
    ("next_header", "payload", "expected"),
    [
        pytest.param(4, ipv4(source="10.9.0.1", destination="10.0.0.1"), bytes, id="good"),
        pytest.param(59, b"anything", DropReason.DUMMY, id="dummy"),
        pytest.param(59, b"", DropReason.DUMMY, id="empty dummy"),
        pytest.param(6, b"transport mode", DropReason.BAD_NEXT_HEADER, id="transport mode"),
        pytest.param(41, ipv4(source="10.9.0.1"), DropReason.BAD_INNER_PACKET, id="IPv4 that claims to be IPv6"),
        pytest.param(4, ipv6(), DropReason.BAD_INNER_PACKET, id="IPv6 that claims to be IPv4"),
        pytest.param(4, b"", DropReason.BAD_INNER_PACKET, id="nothing inside"),
        pytest.param(4, ipv4(bytes(9))[:-1], DropReason.BAD_INNER_PACKET, id="cut"),
        pytest.param(4, ipv4(destination="10.0.0.2"), DropReason.OUTSIDE_INBOUND_SELECTORS, id="for somebody else"),
    ],
)
def test_what_an_authenticated_gateway_may_send(next_header: int, payload: bytes, expected) -> None:
    client, _ = pair()
    packet = forged(next_header, payload)
    result = client.unprotect(packet)
    assert isinstance(result, bytes) if expected is bytes else result is expected
    assert client.unprotect(packet) is DropReason.REPLAYED


def test_tfc_padding_after_the_packet_is_cut_off() -> None:
    client, _ = pair()
    packet = ipv4(b"data", source="10.9.0.1", destination="10.0.0.1")
    assert client.unprotect(forged(4, packet + bytes(100))) == packet


def test_bad_padding_under_good_authentication() -> None:
    client, _ = pair()
    keys = children()[0].inbound_keys
    cipher = FAST.bind(keys.encryption, keys.integrity)
    header, iv = bytes.fromhex("0000100100000001"), bytes(8)
    assert client.unprotect(header + iv + cipher.seal(iv, bytes([9, 9, 2, 4]), header)) is DropReason.BAD_PADDING


def test_outbound_selectors() -> None:
    client, gateway = pair()
    assert client.protect(ipv4(source="10.0.0.2")) is DropReason.OUTSIDE_OUTBOUND_SELECTORS
    assert client.protect(b"\x00" * 40) is DropReason.BAD_OUTBOUND_PACKET
    sealed = client.protect(ipv4())
    assert sealed[4:8] == bytes([0, 0, 0, 1]), "a dropped packet uses no sequence number"
    assert gateway.unprotect(sealed) == ipv4()


def test_sequence_numbers_never_come_round_again() -> None:
    client, gateway = pair()
    client._current.sequence = sa_module.LAST_SEQUENCE - 1
    last = client.protect(ipv4())
    assert last[4:8] == b"\xff\xff\xff\xff"
    assert gateway.unprotect(last) == ipv4()
    assert client.protect(ipv4()) is DropReason.SEQUENCE_EXHAUSTED
    assert client.protect(ipv4()) is DropReason.SEQUENCE_EXHAUSTED


def test_cbc_initialisation_vectors_come_from_the_random_source() -> None:
    table = SaTable(lambda count: b"\x5a" * count)
    child, _ = children(ONE_OF_EACH_KIND[2])
    table.install(child)
    table.switch_outbound(child.outbound_spi)
    assert table.protect(ipv4())[8:24] == b"\x5a" * 16


def test_a_rekey_without_a_gap() -> None:
    client, gateway = SaTable(os.urandom), SaTable(os.urandom)
    connect(client, gateway, FAST, 1)
    late = client.protect(ipv4(b"late"))
    new_client, new_gateway = children(FAST, 2)

    client.install(new_client)
    gateway.install(new_gateway)
    assert client.protect(ipv4())[:4] == (0x2001).to_bytes(4, "big"), "installing does not switch"
    client.switch_outbound(new_client.outbound_spi)
    sealed = client.protect(ipv4(b"new"))
    assert sealed[:8] == bytes.fromhex("0000200200000001")
    assert gateway.unprotect(sealed) == ipv4(b"new"), "before the gateway has switched"
    assert gateway.unprotect(late) == ipv4(b"late"), "the old SA still receives"
    back = ipv4(source="10.9.0.1", destination="10.0.0.1")
    assert client.unprotect(gateway.protect(back)) == back, "the gateway still sends by the old one"

    client.remove(0x1001)
    gateway.switch_outbound(new_gateway.outbound_spi)
    gateway.remove(0x2001)
    assert gateway.unprotect(late) is DropReason.UNKNOWN_SPI
    assert client.unprotect(gateway.protect(back)) == back
    assert gateway.unprotect(client.protect(ipv4())) == ipv4()


def test_nothing_is_sent_before_the_switch_or_after_the_removal() -> None:
    table = SaTable(os.urandom)
    child, _ = children()
    assert table.protect(ipv4()) is DropReason.NO_OUTBOUND_SA
    table.install(child)
    assert table.protect(ipv4()) is DropReason.NO_OUTBOUND_SA
    table.switch_outbound(child.outbound_spi)
    assert isinstance(table.protect(ipv4()), bytes)
    table.remove(child.inbound_spi)
    table.remove(child.inbound_spi)
    assert table.protect(ipv4()) is DropReason.NO_OUTBOUND_SA
    with pytest.raises(ValueError, match="not installed"):
        table.switch_outbound(child.outbound_spi)


def test_clear_forgets_everything() -> None:
    client, gateway = pair()
    sealed = client.protect(ipv4())
    gateway.clear()
    assert gateway.unprotect(sealed) is DropReason.UNKNOWN_SPI
    assert gateway.protect(ipv4()) is DropReason.NO_OUTBOUND_SA
    gateway.install(children()[1])


def test_spis() -> None:
    draws = iter([0, 0, 5, 0, 5, 2**32 - 0x101, 0])
    table = SaTable(lambda count: next(draws).to_bytes(count, "big"))
    assert table.allocate_spi() == 0x100
    assert table.allocate_spi() == 0x105, "a reserved one is not given twice"
    assert table.allocate_spi() == 2**32 - 1
    table.remove(0x100)
    assert table.allocate_spi() == 0x100


def test_an_installed_spi_is_not_given_again() -> None:
    draws = iter([0x1001 - 0x100, 7])
    table = SaTable(lambda count: next(draws).to_bytes(count, "big"))
    table.install(children()[0])
    assert table.allocate_spi() == 0x107


def test_an_spi_in_use_is_refused_and_the_old_sa_lives_on() -> None:
    client, gateway = pair()
    same_outbound = children(FAST, 1)[0]
    with pytest.raises(ValueError, match="in use"):
        client.install(same_outbound)
    client.remove(same_outbound.inbound_spi)
    client.install(same_outbound)
    gateway_reuses = children(FAST, 2)[0]
    object.__setattr__(gateway_reuses, "outbound_spi", same_outbound.outbound_spi)
    with pytest.raises(ProtocolError, match="0x00002001"):
        client.install(gateway_reuses)
    client.switch_outbound(same_outbound.outbound_spi)
    assert gateway.unprotect(client.protect(ipv4())) == ipv4()


@pytest.mark.parametrize("limits", [KeyLimits(packets=4), KeyLimits(octets=80)], ids=["packets", "bytes"])
def test_worn_keys_are_reported_once_for_both_directions_of_each_child(limits: KeyLimits) -> None:
    told: list[int] = []
    client, gateway = SaTable(bytes, limits, told.append), SaTable(os.urandom)
    back = ipv4(source="10.9.0.1", destination="10.0.0.1")
    for number in (1, 2):
        connect(client, gateway, FAST, number)
        for _ in range(2):
            client.unprotect(gateway.protect(back))
            assert told == [0x1001][: number - 1]
            assert isinstance(client.protect(ipv4()), bytes)
        for _ in range(5):
            client.unprotect(gateway.protect(back))
            client.protect(ipv4())
        assert told == [0x1001, 0x1002][:number]


def test_forgeries_and_packets_that_are_not_sent_wear_no_key() -> None:
    told: list[int] = []
    client, gateway = SaTable(bytes, KeyLimits(packets=1), told.append), SaTable(os.urandom)
    connect(client, gateway, FAST, 1)
    sealed = gateway.protect(ipv4(source="10.9.0.1", destination="10.0.0.1"))
    assert client.unprotect(sealed[:-1] + bytes([sealed[-1] ^ 1])) is DropReason.NOT_AUTHENTICATED
    assert client.protect(ipv4(source="10.0.0.2")) is DropReason.OUTSIDE_OUTBOUND_SELECTORS
    assert told == []
    assert isinstance(client.unprotect(sealed), bytes)
    assert told == [0x1001]


# --- extended sequence numbers ----------------------------------------------------------------------------------------

BORDER = 2**32


def extended_pair(suite, sequence: int) -> tuple[SaTable, SaTable]:
    """Client and gateway with a CHILD_SA by which `sequence` packets have gone to the gateway."""
    client, gateway = pair(suite, esn=True)
    client._current.sequence = sequence - 1
    arrive = gateway._inbound[client._current.spi]._window
    arrive.mark(sequence - 1)
    assert gateway.unprotect(client.protect(ipv4())) == ipv4()
    return client, gateway


def sealed_by_hand(suite, sequence: int, payload: bytes) -> bytes:
    """A packet to the gateway as RFC 4303 section 2.2.1 and RFC 4106 section 5 have it, written with the primitives alone."""
    keys = children(suite)[0].outbound_keys
    plaintext = payload + bytes([1, 2, 2, 4])
    assert len(payload) % 16 == 12
    spi, high, low = b"\0\0\x20\x01", (sequence >> 32).to_bytes(4, "big"), (sequence % BORDER).to_bytes(4, "big")
    if suite.is_aead:
        iv = sequence.to_bytes(8, "big")
        aead = (AESGCM if suite.encryption == 20 else ChaCha20Poly1305)(keys.encryption[:-4])
        return spi + low + iv + aead.encrypt(keys.encryption[-4:] + iv, plaintext, spi + high + low)
    iv = bytes(16)
    encryptor = Cipher(AES(keys.encryption), CBC(iv)).encryptor()
    sent = spi + low + iv + encryptor.update(plaintext) + encryptor.finalize()
    return sent + hmac.digest(keys.integrity, sent + high, "sha256")[:16]


@pytest.mark.parametrize("sequence", [1, BORDER - 1, BORDER, BORDER + 1, 0x123456789ABCDEF0, 2**64 - 1])
@pytest.mark.parametrize("suite", ONE_OF_EACH_KIND, ids=lambda suite: suite.name)
def test_extended_packets_are_those_of_a_second_implementation(suite, sequence: int) -> None:
    payload = ipv4(bytes(8))
    client, _ = pair(suite, esn=True)
    client._current._random = bytes
    client._current.sequence = sequence - 1
    expected = sealed_by_hand(suite, sequence, payload)
    assert client.protect(payload) == expected
    _, gateway = pair(suite, esn=True)
    if sequence > 1:
        gateway._inbound[0x2001]._window.mark(sequence - 1)
    assert gateway.unprotect(expected) == payload
    assert gateway.unprotect(expected) is DropReason.REPLAYED


@pytest.mark.parametrize("suite", ONE_OF_EACH_KIND, ids=lambda suite: suite.name)
@given(offsets=st.lists(st.integers(0, 60), min_size=1, max_size=60), border=st.sampled_from([1, 2, 7]))
@settings(max_examples=25)
def test_packets_cross_the_border_in_any_order_and_each_arrives_once(suite, offsets: list[int], border: int) -> None:
    client, gateway = extended_pair(suite, border * BORDER - 30)
    sent = [(ipv4(bytes([number])), client.protect(ipv4(bytes([number])))) for number in range(61)]
    assert sent[0][1][4:8] > sent[-1][1][4:8], "the low half began again"
    arrived: set[int] = set()
    for offset in offsets:
        packet, sealed = sent[offset]
        assert gateway.unprotect(sealed) == (DropReason.REPLAYED if offset in arrived else packet)
        arrived.add(offset)


@pytest.mark.parametrize("suite", ONE_OF_EACH_KIND, ids=lambda suite: suite.name)
def test_a_packet_of_an_earlier_round_is_no_packet_of_this_one(suite) -> None:
    client, gateway = extended_pair(suite, 5000)
    old = client.protect(ipv4(b"old"))
    client._current.sequence = BORDER - 2
    for _ in range(50):
        assert isinstance(gateway.unprotect(client.protect(ipv4())), bytes)
    assert gateway.unprotect(old) is DropReason.NOT_AUTHENTICATED
    assert isinstance(gateway.unprotect(client.protect(ipv4())), bytes), "and the window has not moved"


@pytest.mark.parametrize("suite", ONE_OF_EACH_KIND, ids=lambda suite: suite.name)
def test_two_ends_that_disagree_on_extension_do_not_understand_each_other(suite) -> None:
    client, _ = pair(suite, esn=True)
    _, gateway = pair(suite)
    assert gateway.unprotect(client.protect(ipv4())) is DropReason.NOT_AUTHENTICATED
    client, _ = pair(suite)
    _, gateway = pair(suite, esn=True)
    assert gateway.unprotect(client.protect(ipv4())) is DropReason.NOT_AUTHENTICATED


def test_extended_sequence_numbers_end_too() -> None:
    client, gateway = extended_pair(FAST, 2**64 - 2)
    last = client.protect(ipv4())
    assert last[4:8] == b"\xff\xff\xff\xff"
    assert gateway.unprotect(last) == ipv4()
    assert client.protect(ipv4()) is DropReason.SEQUENCE_EXHAUSTED
    assert client.protect(ipv4()) is DropReason.SEQUENCE_EXHAUSTED
    assert gateway.unprotect(last) is DropReason.REPLAYED
    forged = last[:4] + b"\0\0\0\1" + last[8:]
    assert gateway.unprotect(forged) is DropReason.TOO_OLD


@given(st.binary(min_size=4, max_size=120))
def test_arbitrary_bytes_are_dropped_by_an_extended_sa(data: bytes) -> None:
    for sequence in (2, BORDER + 5, 2**64 - 1):
        _, gateway = extended_pair(FAST, sequence)
        assert isinstance(gateway.unprotect(bytes.fromhex("00002001") + data), DropReason)
