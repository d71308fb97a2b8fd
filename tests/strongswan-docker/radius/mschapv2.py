"""EAP-MSCHAPv2 as the server (RFC 2759, RFC 3079; draft-kamath-pppext-eap-mschapv2).

charon as a client logs in with it: the same gateway and RADIUS server to compare with.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from collections.abc import Callable

from cryptography.hazmat.primitives.ciphers import Cipher, modes

from radius import accounts, eap
from radius.dialogue import ACCEPT, GO_ON, REJECT, Reply
from radius.md4 import md4

try:
    from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
except ImportError:  # Debian 12's cryptography 38, in the container
    from cryptography.hazmat.primitives.ciphers.algorithms import TripleDES

CHALLENGE, RESPONSE, SUCCESS = 1, 2, 3
NAME = b"gateway"
RESPONSE_SIZE = 49

# RFC 2759 section 8.7 and RFC 3079 section 3.4.
SERVER_TO_CLIENT = b"Magic server to client signing constant"
PAD_TO_MORE = b"Pad to make it do more than one iteration"
MASTER_KEY = b"This is the MPPE Master Key"
CLIENT_SENDS = b"On the client side, this is the send key; on the server side, it is the receive key."
CLIENT_RECEIVES = b"On the client side, this is the receive key; on the server side, it is the send key."


def sha1(*parts: bytes) -> bytes:
    """SHA-1 of the parts in a row."""
    return hashlib.sha1(b"".join(parts)).digest()


def des(key: bytes, block: bytes) -> bytes:
    """DES with a 7-byte key, of one block."""
    bits = int.from_bytes(key, "big")
    spread = bytes((bits >> (49 - 7 * index) & 0x7F) << 1 for index in range(8))
    encryptor = Cipher(TripleDES(spread * 3), modes.ECB()).encryptor()
    return encryptor.update(block)


def challenge_hash(peer: bytes, server: bytes, user: bytes) -> bytes:
    """ChallengeHash of RFC 2759 section 8.2: 8 bytes."""
    return sha1(peer, server, user)[:8]


def nt_response(challenge: bytes, password: str) -> bytes:
    """ChallengeResponse of RFC 2759 section 8.5: 24 bytes."""
    key = md4(password.encode("utf-16-le")).ljust(21, b"\0")
    return b"".join(des(key[at : at + 7], challenge) for at in (0, 7, 14))


def authenticator_response(challenge: bytes, password: str, response: bytes) -> str:
    """GenerateAuthenticatorResponse of RFC 2759 section 8.7: "S=" and 40 hex digits."""
    hash_hash = md4(md4(password.encode("utf-16-le")))
    digest = sha1(sha1(hash_hash, response, SERVER_TO_CLIENT), challenge, PAD_TO_MORE)
    return "S=" + digest.hex().upper()


def session_keys(password: str, response: bytes) -> tuple[bytes, bytes]:
    """What the server receives and sends with (RFC 3079 section 3.3): 16 bytes each."""
    master = sha1(md4(md4(password.encode("utf-16-le"))), response, MASTER_KEY)[:16]
    receive, send = (sha1(master, bytes(40), magic, b"\xf2" * 40)[:16] for magic in (CLIENT_SENDS, CLIENT_RECEIVES))
    return receive, send


def hide_key(key: bytes, secret: bytes, authenticator: bytes) -> bytes:
    """The value of an MS-MPPE key attribute (RFC 2548 section 2.4.2): salt and ciphertext."""
    salt = bytes([os.urandom(1)[0] | 0x80]) + os.urandom(1)
    plain = bytes([len(key)]) + key
    plain += bytes(-len(plain) % 16)
    hidden, previous = b"", authenticator + salt
    for offset in range(0, len(plain), 16):
        stream = hashlib.md5(secret + previous).digest()
        previous = bytes(a ^ b for a, b in zip(plain[offset : offset + 16], stream, strict=True))
        hidden += previous
    return salt + hidden


class MSCHAPv2:
    """One login: challenge, response, success."""

    def __init__(self, challenge: bytes, record: Callable[..., None]) -> None:
        self.challenge = challenge
        self.record = record
        self.user = b""
        self.keys: tuple[bytes, bytes] | None = None

    def begin(self, identity: eap.Packet) -> Reply:
        """Answer the EAP-Identity response with the challenge."""
        self.user = identity.data
        self.record("mschapv2-challenge", user=self._name(), outcome="sent")
        value = bytes([len(self.challenge)]) + self.challenge + NAME
        return self._send(identity, CHALLENGE, identity.identifier + 1, value)

    def receive(self, packet: eap.Packet) -> Reply:
        """Check the response, or accept the client's acknowledgement of it."""
        if packet.kind != eap.MSCHAPV2:
            return self._reject(packet)
        if packet.data[:1] == bytes([SUCCESS]) and self.keys:
            self.record("mschapv2-ack", user=self._name(), outcome="accepted")
            return Reply(ACCEPT, eap.Packet(eap.SUCCESS, packet.identifier), self.keys)
        if packet.data[:1] == bytes([RESPONSE]) and len(packet.data) >= 5 + RESPONSE_SIZE:
            return self._response(packet)
        return self._reject(packet)

    def _response(self, packet: eap.Packet) -> Reply:
        peer, response = packet.data[5:21], packet.data[29:53]
        user = accounts.USERS.get(self._name().partition("@")[0])
        password = user.password if user else ""
        challenge = challenge_hash(peer, self.challenge, packet.data[5 + RESPONSE_SIZE :])
        if not user or not hmac.compare_digest(nt_response(challenge, password), response):
            return self._reject(packet)
        self.keys = session_keys(password, response)
        text = authenticator_response(challenge, password, response) + " M=Welcome"
        return self._send(packet, SUCCESS, packet.data[1], text.encode())

    def _send(self, packet: eap.Packet, opcode: int, number: int, value: bytes) -> Reply:
        data = struct.pack(">BBH", opcode, number % 256, 4 + len(value)) + value
        following = (packet.identifier + 1) % 256
        return Reply(GO_ON, eap.Packet(eap.REQUEST, following, eap.MSCHAPV2, data))

    def _reject(self, packet: eap.Packet) -> Reply:
        self.record("mschapv2-response", user=self._name(), outcome="rejected")
        return Reply(REJECT, eap.Packet(eap.FAILURE, packet.identifier))

    def _name(self) -> str:
        return self.user.decode(errors="replace")
