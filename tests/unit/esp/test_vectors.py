"""Published ESP packets, and those of the golden AnyConnect exchange."""

from __future__ import annotations

import hmac
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from anyike.crypto.cipher import CipherSuite
from anyike.esp.drops import DropReason
from anyike.esp.packet import NEXT_HEADER_IPV4, decrypt, encapsulate, strip_trailer
from anyike.esp.sa import InboundSa
from anyike.ikev2.child_sa import ChildSa, EspKeys
from tests.unit.esp.samples import UNLIMITED, WHOLE_WORLD, selector

GOLDEN = Path(__file__).parents[2] / "vectors" / "anyconnect"

RFC_7634_PACKET = bytes.fromhex(
    "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec10"
    "0007362708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223"
    "2425262728292a2b2c2d2e2f3031323334353637"
)
RFC_7634_ESP = bytes.fromhex(
    "01020304 00000005 1011121314151617"
    "24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c6"
    "14ee8099d52844eb61aa95dfab4c02f72aa71e7c4c4f64c9befe2facc638e8f3"
    "cbec163fac469b502773f6fb94e664da9165b82829f641e0"
    "76aaa8266b7fb0f7b11b369907e1ad43"
)
CHACHA20_POLY1305 = CipherSuite(28)
RFC_7634_KEYMAT = bytes(range(0x80, 0xA4))

# draft-mcgrew-gcm-test-01 section 4, those without extended sequence numbers and with a whole ESP trailer of its own:
# key | salt, SPI, sequence number, IV, payload, next header (1 throughout), ciphertext | ICV.
GCM_CASES = {
    "two DNS questions, no padding": (
        "feffe9928665731c6d6a8f9467308308 cafebabe",
        (0x0000A5F8, 10, "facedbaddecaf888"),
        (
            "4500003e698f000080114dccc0a80102c0a801010a980035002a2343b2d001000001000000000000"
            "037369700963796265726369747902646b0000010001"
        ),
        (
            "deb22cd9b07c72c16e3a65beeb8df304a5a5897d33ae530f1ba76d5d114d2a5c3de81827c10e9a4f51330d0eec416642"
            "cfbb85a5b47e48a4ec3b9ba95d918bd183b70d3aa8bc6ee4c309e9d85a41ad4a"
        ),
    ),
    "256-bit key": (
        "abbccddef00112233445566778899aababbccddef00112233445566778899aab 11223344",
        (0x4A2CBFE3, 2, "0102030405060708"),
        "4500003069a6400080062690c0a801029389155e0a9e008b2dc57ee0000000007002400020bf0000020405b401010402",
        (
            "ff425c9b724599df7a3bcd510194e00d6a78107f1b0b1cbf06efae9d65a5d763748a637985771d347f0545659f14e99d"
            "ef842d8eb335f4eecfdbf831824b4c4915956c96"
        ),
    ),
    "a key of zeros": (
        "00000000000000000000000000000000 00000000",
        (0, 1, "0000000000000000"),
        (
            "4500003c99c500008001cb7a40679318010101010800075c02004400"
            "6162636465666768696a6b6c6d6e6f7071727374757677616263646566676869"
        ),
        (
            "4688daf2f973a392732909c331d56d60f694abaa414b5e7ff5fdcdfff5e9a284456476492719ffb64de7d9dca1e1d894"
            "bc3bd57873ed4d181d19d4d5c8c18af3f821d496eeb096e98ad2b69e4799c71d"
        ),
    ),
    "nothing inside, the last sequence number": (
        "7d773d00c144c525ac619d18c84a3f47 d9664267",
        (0x335467AE, 0xFFFFFFFF, "43457e9182443bc6"),
        "",
        "437f866bcb3f699fe9b0822bac961c4504bef270",
    ),
}

# The same, but with extended sequence numbers.
EXTENDED_GCM_CASES = {
    "the low half is zero": (
        "4c80cdefbb5d10da906ac73c3613a634 2e443b68",
        (0x00004321, 0x8765432100000000, "4956ed7e3b244cfe"),
        (
            "45000048699a000080114db7c0a80102c0a801010a9bf15638d3010000010000"
            "00000000045f736970045f756470037369700963796265726369747902646b0000210001"
        ),
        (
            "fecf537e729d5b07dc30df528dd22b768d1b98736696a6fd348509fa13ceac34cfa2436f14a3f3cf65925bf1f4a13c5d"
            "15b21e1884f5ff6247aeabb786b93bce61bc17d768fd9732459018148f6cbe722fd04796562dfdb4"
        ),
    ),
    "both halves are the same": (
        "3de09874b388e6491988d0c3607eae1f 57690e43",
        (0x42F67E3F, 0x1010101010101010, "4e280000a2fca1a3"),
        (
            "4500003c99c300008001cb7c40679318010101010800085c02004300"
            "6162636465666768696a6b6c6d6e6f7071727374757677616263646566676869"
        ),
        (
            "fba2caa4853cf9f0f22cb10d86dd83b0fec75691cf1a04b00d1138ec9c35791765acbd8701ad79845bf9fe3fba487bc9"
            "1755e6662b4c8d0d1f5e22739530320ae0d731cc978ecafaeae88f00e80d6e48"
        ),
    ),
    "a short packet": (
        "3de09874b388e6491988d0c3607eae1f 57690e43",
        (0x42F67E3F, 0x1010101010101010, "4e280000a2fca1a3"),
        "4500001c42a200008001441f406793b6e00000020a00f5ff",
        "fba2ca845e5df9f0f22c3e6e86dd831e1fc65792cd1af9130e1379ed369f071f35e034be95f112e4e7d05d35",
    ),
    "the first packet, one byte of padding": (
        "abbccddef00112233445566778899aab decaf888",
        (0x00000100, 1, "cafedebaceface74"),
        (
            "4500004933ba00007f119106c3fb1d10c2b1d326c02831ce0035dd7b800302d500004e20001e8c18d75b81dc91baa047"
            "6b91b924b280389d92c963bac046ec959b6266c04722b14923"
        ),
        (
            "18a6fd42f72cbf4ab2a2ea901f73d814e3e7f243d95412e1c349c1d2fbec168f9190feebaf2cb01984e65863965d7472"
            "b79da345e0e780191f0d2f0e0f496c226f2127b27db35724e7845d68651f57e65f354f75ff17015769623436"
        ),
    ),
    "256-bit key, text": (
        "abbccddef00112233445566778899aababbccddef00112233445566778899aab 73616c74",
        (0x17405E67, 0x156F3126DD0DB99B, "616e640169766563"),
        (
            "636973636f0172756c657301746865016e6574776501646566696e6501746865"
            "746563686e6f6c6f67696573017468617477696c6c01646566696e65746f6d6f72726f77"
        ),
        (
            "d4b7ed86a1777f2ea13d6973d324c69e7b43f826fb56831226508bebd2dceb18d0a6df10e5487df074113e14c641024e"
            "3e6773d91a62ee429b043a10e3efe6b012a49363412364f8c0cac587f249e56b11e24f30e44ccc76"
        ),
    ),
    "the last sequence number": (
        "6c6567616c697a656d6172696a75616e61616e64646f69746265666f72656961 7475726e",
        (0x796B6963, 0xFFFFFFFFFFFFFFFF, "333021696765746d"),
        "45000030da3a00008001df3bc0a80005c0a800010800c6cd020007006162636465666768696a6b6c6d6e6f7071727374",
        (
            "f97ab2aa356d8edce17644ac8c78e25dd24dedbb29ebf1b64a274b39b49c3a864cd3d78ca4ae68a32b42458fb57dbe82"
            "1dcc63b9d0937ba2945f669368661a329fb4c053"
        ),
    ),
}


@pytest.mark.parametrize("case", GCM_CASES.values(), ids=GCM_CASES)
def test_aes_gcm_packets_of_the_draft(case) -> None:
    keymat, (spi, sequence, iv), payload, sealed = case
    encryption_key = bytes.fromhex(keymat)
    cipher = CipherSuite(20, 8 * (len(encryption_key) - 4)).bind(encryption_key, b"")

    packet = encapsulate(cipher, spi, sequence, bytes.fromhex(payload), iv=bytes.fromhex(iv), next_header=1)

    assert packet.hex() == f"{spi:08x}{sequence:08x}{iv}{sealed}"
    plaintext = decrypt(cipher, packet)
    assert isinstance(plaintext, bytes)
    assert strip_trailer(plaintext) == (1, bytes.fromhex(payload))


@pytest.mark.parametrize("case", EXTENDED_GCM_CASES.values(), ids=EXTENDED_GCM_CASES)
def test_aes_gcm_packets_of_the_draft_with_extended_sequence_numbers(case) -> None:
    keymat, (spi, sequence, iv), payload, sealed = case
    encryption_key = bytes.fromhex(keymat)
    cipher = CipherSuite(20, 8 * (len(encryption_key) - 4)).bind(encryption_key, b"", esn=True)

    packet = encapsulate(cipher, spi, sequence, bytes.fromhex(payload), iv=bytes.fromhex(iv), next_header=1, esn=True)

    assert packet.hex() == f"{spi:08x}{sequence & 0xFFFFFFFF:08x}{iv}{sealed}"
    plaintext = decrypt(cipher, packet, sequence)
    assert isinstance(plaintext, bytes)
    assert strip_trailer(plaintext) == (1, bytes.fromhex(payload))
    assert decrypt(cipher, packet, sequence ^ 1 << 32) is DropReason.NOT_AUTHENTICATED
    assert decrypt(cipher, packet) is DropReason.NOT_AUTHENTICATED


def test_chacha20_poly1305_packet_of_rfc_7634_appendix_a() -> None:
    cipher = CHACHA20_POLY1305.bind(RFC_7634_KEYMAT, b"")
    iv = bytes(range(0x10, 0x18))
    packet = encapsulate(cipher, 0x01020304, 5, RFC_7634_PACKET, iv=iv, next_header=NEXT_HEADER_IPV4)
    assert packet == RFC_7634_ESP


def test_an_inbound_sa_opens_the_rfc_7634_packet_once() -> None:
    keys = EspKeys(RFC_7634_KEYMAT, b"")
    sa = InboundSa(ChildSa(0x01020304, 0x1000, CHACHA20_POLY1305, keys, keys, WHOLE_WORLD, WHOLE_WORLD), UNLIMITED)
    assert sa.unprotect(RFC_7634_ESP) == RFC_7634_PACKET
    assert sa.unprotect(RFC_7634_ESP) is DropReason.REPLAYED


def golden_udp() -> Iterator[tuple[int, bytes]]:
    """Destination port and payload of each UDP datagram in the capture (Ethernet, little-endian pcap)."""
    capture = (GOLDEN / "anyconnect-cert-login.pcap").read_bytes()
    position = 24
    while position < len(capture):
        length = struct.unpack_from("<I", capture, position + 8)[0]
        frame = capture[position + 16 : position + 16 + length]
        position += 16 + length
        if frame[12:14] == b"\x08\0" and frame[23] == 17:
            udp = frame[14 + 4 * (frame[14] & 15) :]
            yield int.from_bytes(udp[2:4], "big"), udp[8 : int.from_bytes(udp[4:6], "big")]


def nonce(message: bytes) -> bytes:
    """Data of the Nonce payload (40) of an unencrypted IKE message."""
    kind, offset = message[16], 28
    while kind != 40:
        kind, offset = message[offset], offset + int.from_bytes(message[offset + 2 : offset + 4], "big")
    return message[offset + 4 : offset + int.from_bytes(message[offset + 2 : offset + 4], "big")]


def golden_child() -> ChildSa:
    """The client's CHILD_SA; KEYMAT = prf+(SK_d, Ni | Nr) (RFC 7296 section 2.17), computed here on its own."""
    lines = (GOLDEN / "anyconnect-cert-login.keys").read_text().splitlines()
    sk_d = bytes.fromhex(next(line.split()[1] for line in lines if line.startswith("Sk_d ")))
    ni, nr = [nonce(data) for port, data in golden_udp() if port == 500][:2]
    keymat = block = b""
    for counter in range(1, 5):
        block = hmac.digest(sk_d, block + ni + nr + bytes([counter]), "sha256")
        keymat += block
    to_gateway, to_client = (EspKeys(keymat[at : at + 32], keymat[at + 32 : at + 64]) for at in (0, 64))
    client_address = (selector("10.88.0.1"),)
    return ChildSa(
        0x427AFF34, 0x6CBEA26D, CipherSuite(12, 256, 12), to_client, to_gateway, client_address, WHOLE_WORLD[:1]
    )


def test_the_esp_packets_of_the_golden_exchange_are_pings() -> None:
    child = golden_child()
    gateway_side = ChildSa(
        child.outbound_spi,
        child.inbound_spi,
        child.suite,
        child.outbound_keys,
        child.inbound_keys,
        child.remote_selectors,
        child.local_selectors,
    )
    sas = {child.inbound_spi: InboundSa(child, UNLIMITED), child.outbound_spi: InboundSa(gateway_side, UNLIMITED)}
    esp = [data for port, data in golden_udp() if port == 4500 and data[:4] != bytes(4)]
    opened = [sas[int.from_bytes(data[:4], "big")].unprotect(data) for data in esp]

    assert len(opened) == 6
    for request, reply in zip(opened[::2], opened[1::2], strict=True):
        assert isinstance(request, bytes)
        assert isinstance(reply, bytes)
        assert (request[9], request[20], reply[9], reply[20]) == (1, 8, 1, 0)  # ICMP echo, echo reply
        assert request[12:16] == reply[16:20] == bytes([10, 88, 0, 1])
        assert request[24:] == reply[24:]


def test_our_encoder_gives_back_the_golden_packet() -> None:
    child = golden_child()
    golden = next(data for port, data in golden_udp() if port == 4500 and data[:4] == bytes.fromhex("6cbea26d"))
    cipher = child.suite.bind(child.outbound_keys.encryption, child.outbound_keys.integrity)
    plaintext = decrypt(cipher, golden)
    assert isinstance(plaintext, bytes)
    content = strip_trailer(plaintext)
    assert not isinstance(content, DropReason)
    next_header, payload = content
    assert encapsulate(cipher, 0x6CBEA26D, 1, payload, iv=golden[8:24], next_header=next_header) == golden
