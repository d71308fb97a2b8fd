"""Keys and AUTH values: NIST's IKEv2 vectors, and the captured login recomputed from its SKEYSEED."""

import json
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest

from anyike.crypto.cipher import CipherSuite
from anyike.crypto.prf import PRFS
from anyike.crypto.signatures import SignatureInvalid, verify_gateway_auth
from anyike.eap.packet import EapPacket
from anyike.eap_anyconnect.tlv import METHOD_TYPE, TlvType, decode_tlvs
from anyike.esp.packet import NEXT_HEADER_IPV4, decrypt, strip_trailer
from anyike.ikev2 import keymat
from anyike.ikev2.fragments import CiscoReassembler
from anyike.ikev2.message import Message, decode_header, decode_payloads
from anyike.ikev2.payloads import (
    Authentication,
    Certificate,
    Eap,
    IdInitiator,
    IdResponder,
    Nonce,
    Payload,
    SecurityAssociation,
)
from anyike.ikev2.proposals import choose_esp, choose_ike, parse_esp, parse_ike
from tests.pcap import udp_datagrams
from tests.unit.ikev2.golden import SUITE, VECTORS, ike_datagrams, keys, observer

KDF_CASES = json.loads((VECTORS.parent / "crypto" / "ikev2_kdf.json").read_text())
PRF = PRFS[5]
IKE = parse_ike("aes256-sha256-modp2048")
ESP = parse_esp("aes256-sha256")
OUR_SPI = 0x427AFF34


@cache
def messages() -> tuple[tuple[bytes, Message], ...]:
    """Every message whole, as bytes and as payloads."""
    collector, found = CiscoReassembler(), []
    for datagram in ike_datagrams():
        header = decode_header(datagram)
        wholes = [datagram]
        if header.next_payload == 132:
            added = collector.add((header.is_response, header.message_id), datagram, 0)
            assert isinstance(added, list)
            wholes = added
        for whole in wholes:
            protected = whole[16] == 46
            payloads = observer(whole).open(whole).payloads if protected else decode_payloads(whole[16], whole[28:])
            found.append((whole, Message(decode_header(whole), payloads)))
    return tuple(found)


def golden(message_id: int, *, response: bool, kind: type[Payload]) -> Payload:
    for _, message in messages():
        if (message.header.message_id, message.header.is_response) == (message_id, response):
            payload = message.get(kind)
            assert payload is not None
            return payload
    raise AssertionError("no such message")


@cache
def golden_keys() -> keymat.IkeKeys:
    ni, nr = (golden(0, response=response, kind=Nonce).data for response in (False, True))
    spis = messages()[1][0][:16]
    return keymat.expand_ike_keys(PRF, SUITE, keys()["skeyseed"], ni, nr, spis[:8], spis[8:])


def octets(side: str) -> bytes:
    derived = golden_keys()
    if side == "i":
        peer_nonce, identity = golden(0, response=True, kind=Nonce), golden(1, response=False, kind=IdInitiator)
        return keymat.signed_octets(messages()[0][0], peer_nonce.data, PRF, derived.sk_pi, identity.encode())
    peer_nonce, identity = golden(0, response=False, kind=Nonce), golden(1, response=True, kind=IdResponder)
    return keymat.signed_octets(messages()[1][0], peer_nonce.data, PRF, derived.sk_pr, identity.encode())


@pytest.mark.parametrize("case", KDF_CASES, ids=lambda case: case["name"])
def test_nist_sp800_135(case):
    value = {name: bytes.fromhex(case[name]) for name in ("ni", "nr", "spi_i", "spi_r", "g_ir", "dkm")}
    suite = CipherSuite(12, 256, 12)
    derived = keymat.derive_ike_keys(
        case["prf"], suite, value["g_ir"], value["ni"], value["nr"], value["spi_i"], value["spi_r"]
    )
    parts = [getattr(derived, f"sk_{name}") for name in ("d", "ai", "ar", "ei", "er", "pi", "pr")]
    size = PRFS[case["prf"]].output_length
    assert [len(part) for part in parts] == [size, 32, 32, 32, 32, size, size]
    together = b"".join(parts)
    common = min(len(together), len(value["dkm"]))
    assert common > 100
    assert together[:common] == value["dkm"][:common]
    if "child_dkm" in case:
        child = bytes.fromhex(case["child_dkm"])
        outbound, inbound = keymat.derive_child_keys(derived, suite, value["ni"], value["nr"])
        assert (outbound.encryption + outbound.integrity + inbound.encryption + inbound.integrity) == child[:128]


def test_the_golden_keys_come_from_skeyseed():
    derived = golden_keys()
    names = [field.name for field in fields(derived) if field.name.startswith("sk_")]
    assert {name: getattr(derived, name) for name in names} == {name: keys()[name] for name in names}
    assert len(names) == 7


def test_the_golden_ciphers_open_their_own_direction():
    first_request = next(whole for whole, message in messages() if message.header.message_id == 1)
    opened = golden_keys().initiator_cipher().open(first_request[32:48], first_request[48:], first_request[:32])
    assert opened[:4] == b"\x29\x00\x00\x1c"  # IDi: a notify follows, 28 bytes


def test_the_golden_choices_are_ones_we_can_offer():
    chosen = choose_ike([IKE], golden(0, response=True, kind=SecurityAssociation))
    assert (chosen.suite, chosen.prf, chosen.group) == (SUITE, 5, 14)
    child = choose_esp([ESP], OUR_SPI, golden(6, response=True, kind=SecurityAssociation))
    assert (child.suite, child.spi) == (SUITE, 0x6CBEA26D)


@pytest.mark.parametrize("side", ["i", "r"])
def test_the_final_auths(side):
    auth = golden(6, response=side == "r", kind=Authentication)
    expected = keymat.shared_key_mic(PRF, getattr(golden_keys(), f"sk_p{side}"), octets(side))
    assert auth.method == 2
    assert keymat.same_mic(auth.data, expected)
    assert not keymat.same_mic(auth.data, keymat.shared_key_mic(PRF, golden_keys().sk_d, octets(side)))
    assert not keymat.same_mic(auth.data[:-1], expected)


def test_the_gateways_signature():
    auth = golden(1, response=True, kind=Authentication)
    certificate = golden(1, response=True, kind=Certificate)
    verified = verify_gateway_auth(certificate.data, auth.method, auth.data, octets("r"), "sha256", allow_sha1=False)
    assert verified == "RSASSA-PKCS1-v1_5 with SHA-256"
    with pytest.raises(SignatureInvalid):
        verify_gateway_auth(certificate.data, auth.method, auth.data, octets("i"), "sha256", allow_sha1=False)


def test_the_clients_tlv_1():
    """A bare signature over InitiatorSignedOctets by the first certificate (AnyConnect-EAP notes, section 6)."""
    packet = EapPacket.decode(golden(3, response=False, kind=Eap).packet)
    assert packet.method_type == METHOD_TYPE
    tlvs = {tlv.type: tlv.value for tlv in decode_tlvs(packet.type_data)}
    bundle = tlvs[TlvType.CERTIFICATES]
    first = bundle[bundle.index(b"\x04\x00\xa0\x82") + 6 :]  # after the empty content and the header of [0]
    leaf = first[: 4 + int.from_bytes(first[2:4], "big")]
    verified = verify_gateway_auth(leaf, 1, tlvs[TlvType.SIGNATURE], octets("i"), "sha256", allow_sha1=False)
    assert verified == "RSASSA-PKCS1-v1_5 with SHA-256"


def test_the_child_keys_open_the_captured_esp():
    ni, nr = (golden(0, response=response, kind=Nonce).data for response in (False, True))
    to_gateway, to_client = keymat.derive_child_keys(golden_keys(), SUITE, ni, nr)
    capture = udp_datagrams(Path(VECTORS) / "anyconnect-cert-login.pcap")
    packets = [d.payload for d in capture if d.destination[1] == 4500 and d.payload[:4] != bytes(4)]
    assert len(packets) == 6
    for packet in packets:
        direction = to_client if int.from_bytes(packet[:4], "big") == OUR_SPI else to_gateway
        plaintext = decrypt(SUITE.bind(direction.encryption, direction.integrity), packet)
        assert isinstance(plaintext, bytes)
        next_header, inner = strip_trailer(plaintext)
        assert (next_header, inner[0] >> 4, inner[9]) == (NEXT_HEADER_IPV4, 4, 1)  # a ping over IPv4


@pytest.mark.parametrize(
    ("suite", "encryption", "integrity"),
    [
        (CipherSuite(20, 128), 20, 0),
        (CipherSuite(20, 256), 36, 0),
        (CipherSuite(28), 36, 0),
        (CipherSuite(12, 128, 14), 16, 64),
        (CipherSuite(3, 0, 2), 24, 20),
    ],
    ids=lambda value: value.name if isinstance(value, CipherSuite) else None,
)
def test_key_lengths_of_each_suite(suite, encryption, integrity):
    """AEAD keys carry their salt and have no integrity key (RFC 5282 7.1, RFC 7634 4); the rest keeps its order."""
    derived = keymat.derive_ike_keys(7, suite, b"secret", b"i" * 32, b"r" * 32, b"I" * 8, b"R" * 8)
    parts = [derived.sk_d, derived.sk_ai, derived.sk_ar, derived.sk_ei, derived.sk_er, derived.sk_pi, derived.sk_pr]
    assert [len(part) for part in parts] == [64, integrity, integrity, encryption, encryption, 64, 64]
    skeyseed = PRFS[7](b"i" * 32 + b"r" * 32, b"secret")
    seed = b"i" * 32 + b"r" * 32 + b"I" * 8 + b"R" * 8
    assert b"".join(parts) == PRFS[7].plus(skeyseed, seed, sum(map(len, parts)))
    outbound, inbound = keymat.derive_child_keys(derived, suite, b"i" * 32, b"r" * 32)
    assert (outbound.encryption + outbound.integrity + inbound.encryption + inbound.integrity) == PRFS[7].plus(
        derived.sk_d, b"i" * 32 + b"r" * 32, 2 * (encryption + integrity)
    )
    sealed = derived.initiator_cipher().seal(bytes(suite.iv_length), bytes(48), b"header")
    assert derived.initiator_cipher().open(bytes(suite.iv_length), sealed, b"header") == bytes(48)
    assert derived.responder_cipher().seal(bytes(suite.iv_length), bytes(48), b"header") != sealed


def test_no_key_is_ever_printed():
    shown = repr(golden_keys()) + repr(keymat.derive_child_keys(golden_keys(), SUITE, b"i" * 16, b"r" * 16))
    secrets = [value for name, value in keys().items() if name != "skeyseed"]
    assert not any(secret.hex() in shown or repr(secret)[2:-1] in shown for secret in secrets)
    assert "sk_" not in shown
