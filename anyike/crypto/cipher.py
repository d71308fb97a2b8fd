"""Protection of IKE messages and ESP packets: AEAD, and CBC with encrypt-then-MAC, behind one interface.

Both are RFC 7296 section 3.14 and RFC 4303: the caller frames the packet and pads the plaintext to `block_size`;
a cipher turns (IV, plaintext, additional data) into ciphertext followed by its integrity check value, and back.
Secrets stay in the bound objects, which have no telling repr.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher as BlockCipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from anyike.errors import AuthenticationFailed, UnsupportedAlgorithm

ENCR_3DES = 3
ENCR_AES_CBC = 12
ENCR_AES_GCM_16 = 20
ENCR_CHACHA20_POLY1305 = 28
AUTH_NONE = 0
AUTH_HMAC_SHA1_96 = 2
AUTH_HMAC_SHA2_256_128 = 12
AUTH_HMAC_SHA2_384_192 = 13
AUTH_HMAC_SHA2_512_256 = 14

AES_KEY_BITS = (128, 192, 256)
AEAD_IV_LENGTH = 8
AEAD_ICV_LENGTH = 16
AEAD_SALT_LENGTH = 4


class Cipher(Protocol):
    """One direction of one SA, keys included. Lengths in bytes; `block_size` is the plaintext's alignment."""

    @property
    def iv_length(self) -> int:
        """Length of the explicit IV."""

    @property
    def icv_length(self) -> int:
        """Length of the integrity check value."""

    @property
    def block_size(self) -> int:
        """What the plaintext's length must be a multiple of; 1 for AEAD (ESP adds its own 4)."""

    def make_iv(self, counter: int, random: Callable[[int], bytes]) -> bytes:
        """The IV of the packet with this number, which the caller never uses twice under one key."""

    def seal(self, iv: bytes, plaintext: bytes, aad: bytes) -> bytes:
        """Ciphertext followed by the integrity check value."""

    def open(self, iv: bytes, sealed: bytes, aad: bytes) -> bytes:
        """The plaintext; AuthenticationFailed when anything was altered."""


class AeadCipher:
    """AES-GCM (RFC 4106, RFC 5282) or ChaCha20-Poly1305 (RFC 7634): nonce = salt | IV, the IV a counter."""

    iv_length: ClassVar[int] = AEAD_IV_LENGTH
    icv_length: ClassVar[int] = AEAD_ICV_LENGTH
    block_size: ClassVar[int] = 1
    __slots__ = ("_decrypt", "_encrypt", "_salt")

    def __init__(self, aead: AESGCM | ChaCha20Poly1305, salt: bytes) -> None:
        self._encrypt = aead.encrypt
        self._decrypt = aead.decrypt
        self._salt = salt

    def make_iv(self, counter: int, random: Callable[[int], bytes]) -> bytes:  # noqa: ARG002 - CBC needs it
        """The counter itself, big endian: unique per key as long as the counter is, which is all an AEAD asks."""
        return counter.to_bytes(AEAD_IV_LENGTH, "big")

    def seal(self, iv: bytes, plaintext: bytes, aad: bytes) -> bytes:
        """Ciphertext followed by the 16-byte tag."""
        return self._encrypt(self._salt + iv, plaintext, aad)

    def open(self, iv: bytes, sealed: bytes, aad: bytes) -> bytes:
        """The plaintext; AuthenticationFailed when the tag does not match or the lengths cannot be right."""
        if len(iv) != AEAD_IV_LENGTH or len(sealed) < AEAD_ICV_LENGTH:
            raise AuthenticationFailed("too short for its IV and integrity check value")
        try:
            return self._decrypt(self._salt + iv, sealed, aad)
        except InvalidTag:
            raise AuthenticationFailed("the integrity check value does not match") from None


class CbcHmacCipher:
    """AES-CBC (RFC 3602) or 3DES-CBC (RFC 2451), then a truncated HMAC (RFC 4868, RFC 2404) over aad | IV | ciphertext.

    The HMAC key is the whole negotiated key; the additional data is what precedes the IV on the wire.
    """

    __slots__ = ("_algorithm", "_hash_name", "_integrity_key", "block_size", "icv_length", "iv_length")

    def __init__(self, algorithm: AES | TripleDES, integrity_key: bytes, integrity: Integrity) -> None:
        self._algorithm = algorithm
        self._integrity_key = integrity_key
        self._hash_name = integrity.hash_name
        self.block_size = algorithm.block_size // 8
        self.iv_length = self.block_size
        self.icv_length = integrity.icv_length

    def make_iv(self, counter: int, random: Callable[[int], bytes]) -> bytes:  # noqa: ARG002 - AEAD needs it
        """Fresh random bytes: a CBC IV must be unpredictable (RFC 3602 section 3)."""
        return random(self.iv_length)

    def seal(self, iv: bytes, plaintext: bytes, aad: bytes) -> bytes:
        """Ciphertext followed by the truncated HMAC. The plaintext's length is a multiple of `block_size`."""
        encryptor = BlockCipher(self._algorithm, CBC(iv)).encryptor()
        ciphertext = encryptor.update(plaintext) + encryptor.finalize()
        return ciphertext + self._icv(aad, iv, ciphertext)

    def open(self, iv: bytes, sealed: bytes, aad: bytes) -> bytes:
        """The plaintext; AuthenticationFailed before anything is decrypted when the HMAC does not match."""
        length = len(sealed) - self.icv_length
        if len(iv) != self.iv_length or length < 0 or length % self.block_size:
            raise AuthenticationFailed("not an IV, whole cipher blocks and an integrity check value")
        ciphertext = sealed[:length]
        if not hmac.compare_digest(self._icv(aad, iv, ciphertext), sealed[length:]):
            raise AuthenticationFailed("the integrity check value does not match")
        decryptor = BlockCipher(self._algorithm, CBC(iv)).decryptor()
        return decryptor.update(ciphertext) + decryptor.finalize()

    def _icv(self, aad: bytes, iv: bytes, ciphertext: bytes) -> bytes:
        return hmac.digest(self._integrity_key, b"".join((aad, iv, ciphertext)), self._hash_name)[: self.icv_length]


class ExtendedCbcHmacCipher(CbcHmacCipher):
    """The same for ESP with extended sequence numbers; the additional data is SPI 4 | sequence number 8.

    The number's high half is not on the wire, and the HMAC has it last: SPI | low half | IV | ciphertext | high half
    (RFC 4303 section 2.2.1).
    """

    __slots__ = ()

    def _icv(self, aad: bytes, iv: bytes, ciphertext: bytes) -> bytes:
        return super()._icv(aad[:4] + aad[8:], iv, ciphertext + aad[4:8])


@dataclass(frozen=True)
class Integrity:
    """An integrity algorithm; lengths in bytes."""

    name: str
    hash_name: str
    key_length: int
    icv_length: int


INTEGRITY = {
    AUTH_HMAC_SHA1_96: Integrity("HMAC_SHA1_96", "sha1", 20, 12),
    AUTH_HMAC_SHA2_256_128: Integrity("HMAC_SHA2_256_128", "sha256", 32, 16),
    AUTH_HMAC_SHA2_384_192: Integrity("HMAC_SHA2_384_192", "sha384", 48, 24),
    AUTH_HMAC_SHA2_512_256: Integrity("HMAC_SHA2_512_256", "sha512", 64, 32),
}
"""Integrity algorithms by their IKEv2 transform identifier (IANA, transform type 3)."""


@dataclass(frozen=True)
class CipherSuite:
    """What was negotiated: encryption transform, its Key Length attribute (0 when it has none), integrity transform.

    Raises:
        UnsupportedAlgorithm: a combination that no code here implements.
    """

    encryption: int
    key_bits: int = 0
    integrity: int = AUTH_NONE

    def __post_init__(self) -> None:
        has_key_length = self.encryption in (ENCR_AES_CBC, ENCR_AES_GCM_16)
        known = has_key_length or self.encryption in (ENCR_3DES, ENCR_CHACHA20_POLY1305)
        if not known or (self.key_bits not in AES_KEY_BITS if has_key_length else self.key_bits):
            raise UnsupportedAlgorithm(f"encryption transform {self.encryption} with {self.key_bits} key bits")
        if self.integrity != AUTH_NONE if self.is_aead else self.integrity not in INTEGRITY:
            raise UnsupportedAlgorithm(
                f"integrity transform {self.integrity} together with encryption transform {self.encryption}"
            )

    @property
    def is_aead(self) -> bool:
        """Whether encryption protects integrity too, so that no integrity transform is negotiated."""
        return self.encryption in (ENCR_AES_GCM_16, ENCR_CHACHA20_POLY1305)

    @property
    def name(self) -> str:
        """For people and logs, e.g. `AES_GCM_16_256`, `AES_CBC_256/HMAC_SHA2_256_128`, `CHACHA20_POLY1305`."""
        match self.encryption:
            case 20:
                return f"AES_GCM_16_{self.key_bits}"
            case 28:
                return "CHACHA20_POLY1305"
            case 12:
                return f"AES_CBC_{self.key_bits}/{INTEGRITY[self.integrity].name}"
            case _:
                return f"3DES_CBC/{INTEGRITY[self.integrity].name}"

    @property
    def encryption_key_length(self) -> int:
        """Bytes of SK_e or of an ESP encryption key, the AEAD salt at the end included."""
        match self.encryption:
            case 20:
                return self.key_bits // 8 + AEAD_SALT_LENGTH
            case 28:
                return 32 + AEAD_SALT_LENGTH
            case 12:
                return self.key_bits // 8
            case _:
                return 24

    @property
    def integrity_key_length(self) -> int:
        """Bytes of SK_a or of an ESP integrity key; 0 for AEAD."""
        return 0 if self.is_aead else INTEGRITY[self.integrity].key_length

    @property
    def iv_length(self) -> int:
        """Bytes of the IV in each packet."""
        return AEAD_IV_LENGTH if self.is_aead else self.block_size

    @property
    def icv_length(self) -> int:
        """Bytes of the integrity check value in each packet."""
        return AEAD_ICV_LENGTH if self.is_aead else INTEGRITY[self.integrity].icv_length

    @property
    def block_size(self) -> int:
        """What the plaintext's length must be a multiple of."""
        if self.is_aead:
            return 1
        return 8 if self.encryption == ENCR_3DES else 16

    def bind(self, encryption_key: bytes, integrity_key: bytes, *, esn: bool = False) -> Cipher:
        """A cipher with these keys, whose lengths are the properties above (anything else is a ValueError).

        With `esn` it is for ESP with extended sequence numbers, and the additional data is SPI 4 | sequence number 8.
        """
        if (len(encryption_key), len(integrity_key)) != (self.encryption_key_length, self.integrity_key_length):
            raise ValueError(f"{self.name}: keys of {len(encryption_key)} and {len(integrity_key)} bytes")
        if self.is_aead:
            key, salt = encryption_key[:-AEAD_SALT_LENGTH], encryption_key[-AEAD_SALT_LENGTH:]
            return AeadCipher(AESGCM(key) if self.encryption == ENCR_AES_GCM_16 else ChaCha20Poly1305(key), salt)
        algorithm = TripleDES(encryption_key) if self.encryption == ENCR_3DES else AES(encryption_key)
        kind = ExtendedCbcHmacCipher if esn else CbcHmacCipher
        return kind(algorithm, integrity_key, INTEGRITY[self.integrity])
