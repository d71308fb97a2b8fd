"""Keys and protection of the test gateway, written from RFC 7296 with `hashlib`, `hmac` and `cryptography` alone.

Nothing here is shared with the client: two ends with one mistake would agree.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from anyike.crypto.modp import MODP_PRIMES
from tests.fakes.wire import DH, ENCR, INTEG, PRF, Proposal

PRF_HASHES = {2: "sha1", 5: "sha256", 6: "sha384", 7: "sha512"}
MACS = {2: ("sha1", 20, 12), 12: ("sha256", 32, 16), 13: ("sha384", 48, 24), 14: ("sha512", 64, 32)}
AES_CBC, AES_GCM, CHACHA, TRIPLE_DES = 12, 20, 28, 3
CURVES = {19: ec.SECP256R1(), 20: ec.SECP384R1(), 21: ec.SECP521R1()}


class NotAuthentic(Exception):
    """An integrity check value does not match."""


@dataclass(frozen=True)
class Algorithms:
    """What one proposal settles; `prf` and `group` are 0 for ESP."""

    encryption: int
    key_bits: int
    integrity: int
    prf: int
    group: int

    @classmethod
    def of(cls, proposal: Proposal) -> Algorithms:
        chosen = {kind: (identifier, bits) for kind, identifier, bits in proposal.transforms}
        ids = [chosen.get(kind, (0, 0))[0] for kind in (INTEG, PRF, DH)]
        return cls(*chosen[ENCR], *ids)

    @property
    def aead(self) -> bool:
        return self.encryption in (AES_GCM, CHACHA)

    @property
    def key_length(self) -> int:
        return {TRIPLE_DES: 24, CHACHA: 32 + 4, AES_CBC: self.key_bits // 8, AES_GCM: self.key_bits // 8 + 4}[
            self.encryption
        ]

    @property
    def mac_length(self) -> int:
        return 0 if self.aead else MACS[self.integrity][1]


def prf(hash_name: str, key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, getattr(hashlib, hash_name)).digest()


def prf_plus(hash_name: str, key: bytes, seed: bytes, length: int) -> bytes:
    """RFC 7296 2.13: T1 | T2 ..., Tn = prf(key, Tn-1 | seed | n)."""
    blocks = [b""]
    while sum(map(len, blocks)) < length:
        blocks.append(prf(hash_name, key, blocks[-1] + seed + bytes([len(blocks)])))
    return b"".join(blocks)[:length]


def split(data: bytes, *lengths: int) -> list[bytes]:
    parts = []
    for length in lengths:
        parts.append(data[:length])
        data = data[length:]
    return parts


@dataclass(frozen=True)
class IkeKeys:
    """The seven keys of RFC 7296 2.14."""

    algorithms: Algorithms
    hash_name: str
    sk_d: bytes
    sk_ai: bytes
    sk_ar: bytes
    sk_ei: bytes
    sk_er: bytes
    sk_pi: bytes
    sk_pr: bytes

    @classmethod
    def derive(cls, algorithms: Algorithms, secret: bytes, nonces: bytes, spis: bytes) -> IkeKeys:
        """RFC 7296 2.14: SKEYSEED = prf(Ni | Nr, g^ir)."""
        return cls._expand(algorithms, prf(PRF_HASHES[algorithms.prf], nonces, secret), nonces + spis)

    def rekeyed(self, algorithms: Algorithms, secret: bytes, nonces: bytes, spis: bytes) -> IkeKeys:
        """RFC 7296 2.18: SKEYSEED = prf(SK_d (old), g^ir (new) | Ni | Nr), with the PRF of the old one."""
        return self._expand(algorithms, prf(self.hash_name, self.sk_d, secret + nonces), nonces + spis)

    @classmethod
    def _expand(cls, algorithms: Algorithms, skeyseed: bytes, seed: bytes) -> IkeKeys:
        hash_name = PRF_HASHES[algorithms.prf]
        size = hashlib.new(hash_name).digest_size
        mac, key = algorithms.mac_length, algorithms.key_length
        lengths = (size, mac, mac, key, key, size, size)
        return cls(algorithms, hash_name, *split(prf_plus(hash_name, skeyseed, seed, sum(lengths)), *lengths))

    def shared_key_mic(self, sk_p: bytes, message: bytes, nonce: bytes, identity: bytes) -> bytes:
        """AUTH of method 2 with SK_p as the shared secret."""
        octets = message + nonce + prf(self.hash_name, sk_p, identity)
        return prf(self.hash_name, prf(self.hash_name, sk_p, b"Key Pad for IKEv2"), octets)

    def child(self, esp: Algorithms, nonces: bytes, secret: bytes = b"") -> list[bytes]:
        """KEYMAT: encryption and integrity key from the initiator, then from the responder; `secret` is PFS's."""
        lengths = (esp.key_length, esp.mac_length) * 2
        return split(prf_plus(self.hash_name, self.sk_d, secret + nonces, sum(lengths)), *lengths)


def protect(algorithms: Algorithms, key: bytes, mac_key: bytes, iv: bytes, plain: bytes, aad: bytes) -> bytes:
    """IV, ciphertext and integrity check value. `plain` has its padding already; `aad` is all before the IV."""
    if algorithms.aead:
        return iv + _aead(algorithms, key).encrypt(key[-4:] + iv, plain, aad)
    encryptor = _blocks(algorithms, key, iv).encryptor()
    sealed = iv + encryptor.update(plain) + encryptor.finalize()
    hash_name, _, length = MACS[algorithms.integrity]
    return sealed + prf(hash_name, mac_key, aad + sealed)[:length]


def unprotect(algorithms: Algorithms, key: bytes, mac_key: bytes, sealed: bytes, aad: bytes) -> bytes:
    if algorithms.aead:
        try:
            return _aead(algorithms, key).decrypt(key[-4:] + sealed[:8], sealed[8:], aad)
        except InvalidTag:
            raise NotAuthentic from None
    hash_name, _, length = MACS[algorithms.integrity]
    body, icv = sealed[:-length], sealed[-length:]
    if prf(hash_name, mac_key, aad + body)[:length] != icv:
        raise NotAuthentic
    size = iv_length(algorithms)
    decryptor = _blocks(algorithms, key, body[:size]).decryptor()
    return decryptor.update(body[size:]) + decryptor.finalize()


def iv_length(algorithms: Algorithms) -> int:
    return {AES_CBC: 16}.get(algorithms.encryption, 8)


def icv_length(algorithms: Algorithms) -> int:
    return 16 if algorithms.aead else MACS[algorithms.integrity][2]


def pad(algorithms: Algorithms, plain: bytes) -> bytes:
    """Padding and its length byte."""
    block = 1 if algorithms.aead else iv_length(algorithms)
    count = -(len(plain) + 1) % block
    return plain + bytes(count) + bytes([count])


def unpad(plain: bytes) -> bytes:
    return plain[: -1 - plain[-1]]


class KeyPair:
    """One side of a Diffie-Hellman exchange."""

    def __init__(self, group: int, random: Callable[[int], bytes]) -> None:
        self.group = group
        self._curve = CURVES.get(group)
        if group == 31:
            self._x25519 = X25519PrivateKey.from_private_bytes(random(32))
            self.public = self._x25519.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        elif self._curve is not None:
            size = self._curve.key_size
            scalar = int.from_bytes(random((size + 7) // 8), "big") % (1 << (size - 1)) + 1
            self._private = ec.derive_private_key(scalar, self._curve)
            encoded = self._private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
            self.public = encoded[1:]
        else:
            self._prime = MODP_PRIMES[group]
            self._exponent = int.from_bytes(random(40), "big") | 1 << 319
            self.public = pow(2, self._exponent, self._prime).to_bytes(self._modp_size, "big")

    @property
    def _modp_size(self) -> int:
        return (self._prime.bit_length() + 7) // 8

    def secret(self, peer: bytes) -> bytes:
        """What both sides know."""
        if self.group == 31:
            return self._x25519.exchange(X25519PublicKey.from_public_bytes(peer))
        if self._curve is not None:
            point = ec.EllipticCurvePublicKey.from_encoded_point(self._curve, b"\x04" + peer)
            return self._private.exchange(ec.ECDH(), point)
        if len(peer) != self._modp_size:
            raise ValueError("public value of the wrong size")
        return pow(int.from_bytes(peer, "big"), self._exponent, self._prime).to_bytes(self._modp_size, "big")


def exchange_keys(group: int, peer: bytes, random: Callable[[int], bytes]) -> tuple[bytes, bytes]:
    """As responder: our public value and the shared secret."""
    pair = KeyPair(group, random)
    return pair.public, pair.secret(peer)


def _aead(algorithms: Algorithms, key: bytes) -> AESGCM | ChaCha20Poly1305:
    return AESGCM(key[:-4]) if algorithms.encryption == AES_GCM else ChaCha20Poly1305(key[:-4])


def _blocks(algorithms: Algorithms, key: bytes, iv: bytes) -> Cipher:
    return Cipher(TripleDES(key) if algorithms.encryption == TRIPLE_DES else AES(key), CBC(iv))
