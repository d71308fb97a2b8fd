"""The captured AnyConnect-EAP login, recomputed from its SKEYSEED with nothing but the crypto room.

The few lines of parsing here are this test's own, so that a mistake of the project's codecs cannot hide one here.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from anyike.crypto.cipher import CipherSuite
from anyike.crypto.prf import PRFS
from anyike.crypto.signatures import Sha1SignatureRefused, SignatureInvalid, verify_gateway_auth
from anyike.crypto.x509 import CertificateNotTrusted, Distrust, TrustPolicy, parse_certificates
from anyike.crypto.x509 import verify_gateway_certificate as verify
from anyike.errors import AuthenticationFailed

GOLDEN = Path(__file__).parents[2] / "vectors/anyconnect"
ETHERNET, IPV4, UDP = 14, 20, 8
NONCE, IDI, IDR, CERT, AUTH, SK, EAP, FRAGMENT = 40, 35, 36, 37, 39, 46, 48, 132
KEYS = ("Sk_d", "Sk_ai", "Sk_ar", "Sk_ei", "Sk_er", "Sk_pi", "Sk_pr")
PRF = PRFS[5]
SUITE = CipherSuite(12, 256, 12)
MESSAGE_COUNT = 16


@dataclass
class Message:
    raw: bytes
    payloads: list[tuple[int, bytes]]

    def all(self, kind: int) -> list[bytes]:
        return [body for payload, body in self.payloads if payload == kind]

    def one(self, kind: int) -> bytes:
        (body,) = self.all(kind)
        return body


def walk(first: int, data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while first:
        length = int.from_bytes(data[2:4], "big")
        found.append((first, data[4:length]))
        first, data = (0, b"") if first == SK else (data[0], data[length:])
    return found


def datagrams() -> list[bytes]:
    capture, offset, found = (GOLDEN / "anyconnect-cert-login.pcap").read_bytes(), 24, []
    while offset < len(capture):
        length = int.from_bytes(capture[offset + 8 : offset + 12], "little")
        frame = capture[offset + 16 : offset + 16 + length]
        offset += 16 + length
        udp = frame[ETHERNET + IPV4 :]
        payload = udp[UDP : int.from_bytes(udp[4:6], "big")]
        if int.from_bytes(udp[2:4], "big") == 500 or int.from_bytes(udp[:2], "big") == 500:
            found.append(payload)
        elif payload[:4] == bytes(4):
            found.append(payload[4:])
    return found


def ike_messages() -> list[bytes]:
    pieces, found = defaultdict(bytes), []
    for datagram in datagrams():
        if datagram[16] != FRAGMENT:
            found.append(datagram)
            continue
        key = datagram[:28]
        pieces[key[:24]] += datagram[28 + 8 :]
        if datagram[28 + 7] == 1:
            found.append(pieces.pop(key[:24]))
    return found


@pytest.fixture(scope="module")
def keys() -> dict[str, bytes]:
    lines = (GOLDEN / "anyconnect-cert-login.keys").read_text().split()
    return {name: bytes.fromhex(value) for name, value in zip(lines[::2], lines[1::2], strict=True)}


@pytest.fixture(scope="module")
def messages(keys) -> list[Message]:
    ciphers = {
        True: SUITE.bind(keys["Sk_ei"], keys["Sk_ai"]),
        False: SUITE.bind(keys["Sk_er"], keys["Sk_ar"]),
    }
    found = []
    for raw in ike_messages():
        assert int.from_bytes(raw[24:28], "big") == len(raw)
        payloads = walk(raw[16], raw[28:])
        if raw[16] == SK:
            plaintext = ciphers[bool(raw[19] & 0x08)].open(raw[32:48], raw[48:], raw[:32])
            payloads = walk(raw[28], plaintext[: -1 - plaintext[-1]])
        found.append(Message(raw, payloads))
    return found


def signed_octets(messages: list[Message], keys: dict[str, bytes], side: str) -> bytes:
    request, response, first_request, first_response = messages[:4]
    if side == "i":
        return request.raw + response.one(NONCE) + PRF(keys["Sk_pi"], first_request.one(IDI))
    return response.raw + request.one(NONCE) + PRF(keys["Sk_pr"], first_response.one(IDR))


def test_every_message_opens(messages):
    assert len(messages) == MESSAGE_COUNT
    assert messages[2].one(IDI) == b"\xc9\x00\x00\x00*$AnyConnectClient$*"
    assert messages[3].one(IDR) == b"\x02\x00\x00\x00vpn.example.com"


def test_every_message_is_noticed_when_altered(keys):
    cipher = SUITE.bind(keys["Sk_ei"], keys["Sk_ai"])
    raw = ike_messages()[2]
    with pytest.raises(AuthenticationFailed):
        cipher.open(raw[32:48], raw[48:], b"\x00" + raw[1:32])


def test_keys_from_skeyseed(messages, keys):
    request, response = messages[:2]
    seed = request.one(NONCE) + response.one(NONCE) + response.raw[:16]
    keymat = PRF.plus(keys["SKEYSEED"], seed, 7 * 32)
    assert [keymat[i : i + 32] for i in range(0, 7 * 32, 32)] == [keys[name] for name in KEYS]


@pytest.mark.parametrize("side", ["i", "r"])
def test_final_auths(messages, keys, side):
    message = messages[12 if side == "i" else 13]
    expected = PRF(PRF(keys[f"Sk_p{side}"], b"Key Pad for IKEv2"), signed_octets(messages, keys, side))
    assert message.one(AUTH) == b"\x02\x00\x00\x00" + expected


def test_the_gateways_signature(messages, keys):
    certificate, auth = messages[3].one(CERT)[1:], messages[3].one(AUTH)
    octets = signed_octets(messages, keys, "r")
    assert verify_gateway_auth(certificate, auth[0], auth[4:], octets, "sha256", allow_sha1=False) == (
        "RSASSA-PKCS1-v1_5 with SHA-256"
    )
    for octets_or_signature in ((octets + b"\x00", auth[4:]), (octets, auth[4:-1] + b"\x00")):
        with pytest.raises(SignatureInvalid) as caught:
            verify_gateway_auth(
                certificate, 1, octets_or_signature[1], octets_or_signature[0], "sha256", allow_sha1=True
            )
        assert not isinstance(caught.value, Sha1SignatureRefused)


def test_the_clients_tlv_1(messages, keys):
    """TLV 1 is a bare RSASSA-PKCS1-v1_5 signature over InitiatorSignedOctets (AnyConnect-EAP notes, section 6)."""
    data, tlvs = messages[6].one(EAP)[12:], {}
    while data:
        length = int.from_bytes(data[2:4], "big")
        tlvs[int.from_bytes(data[:2], "big")] = data[4 : 4 + length]
        data = data[4 + length :]
    start = tlvs[3].index(b"\x30\x82", 4 + 11 + 4 + 4)
    leaf = next(
        tlvs[3][at : at + 4 + int.from_bytes(tlvs[3][at + 2 : at + 4], "big")]
        for at in range(start, len(tlvs[3]))
        if tlvs[3][at : at + 2] == b"\x30\x82" and tlvs[3][at + 4 : at + 6] == b"\x30\x82"
    )
    octets = signed_octets(messages, keys, "i")
    assert verify_gateway_auth(leaf, 1, tlvs[1], octets, "sha256", allow_sha1=False).endswith("SHA-256")


def test_the_gateways_certificate(messages):
    chain = [body[1:] for body in messages[3].all(CERT)]
    roots = parse_certificates((GOLDEN / "anyconnect-cert-login.ca.pem").read_bytes())
    policy = TrustPolicy(roots=roots, names=("vpn.example.com",))
    verified = verify(chain, policy, datetime(2027, 1, 1, tzinfo=UTC))
    assert (verified.subject, verified.verified_by) == ("CN=vpn.example.com,O=Steweg Test,C=XX", "chain")
    with pytest.raises(CertificateNotTrusted) as caught:
        verify(chain, policy, datetime(2026, 1, 1, tzinfo=UTC))
    assert caught.value.reason is Distrust.NOT_YET_VALID
