"""Key exchange methods of IKEv2 (transform type 4): MODP (RFC 3526), ECP (RFC 5903), Curve25519 (RFC 8031).

Peer values are checked as RFC 6989 demands before the secret operation sees them. The private value lives in
`cryptography`'s key object and is made from the bytes that the caller's `random` returns.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from anyike.crypto.modp import MODP_PRIMES
from anyike.errors import ProtocolError, UnsupportedAlgorithm

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.dh import DHParameterNumbers, DHPrivateNumbers, DHPublicNumbers
else:
    # `cryptography` 50 deprecates finite-field groups on access to these names; IKEv2 gateways still need group 14.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cryptography.hazmat.primitives.asymmetric.dh import DHParameterNumbers, DHPrivateNumbers, DHPublicNumbers

CURVE25519 = 31
CURVE25519_LENGTH = 32
GENERATOR = 2
EXPONENT_BYTES = {2: 32, 5: 32, 14: 40, 15: 53, 16: 60}
"""Private exponent sizes: the larger estimate of RFC 3526 section 8, and 256 bits for the two weak groups."""
ECP_CURVES: dict[int, ec.EllipticCurve] = {19: ec.SECP256R1(), 20: ec.SECP384R1(), 21: ec.SECP521R1()}


class InvalidKeyExchange(ProtocolError):
    """The peer's public value has the wrong length, is out of range, is no point of the curve or forces the secret."""


class KeyExchange(ABC):
    """One private value and its public one, as they stand in a KE payload. Use it for one IKE SA only."""

    group: int
    public: bytes

    @abstractmethod
    def shared_secret(self, peer_public: bytes) -> bytes:
        """g^ir, of the group's fixed length.

        Raises:
            InvalidKeyExchange: the peer's value fails the checks of RFC 6989 section 2.
        """


class _Modp(KeyExchange):
    """Public value and secret are left-padded to the length of the prime (RFC 7296 section 3.4)."""

    def __init__(self, group: int, exponent: int) -> None:
        self.group = group
        self._prime = MODP_PRIMES[group]
        self._parameters = DHParameterNumbers(self._prime, GENERATOR)
        # The numbers want a public value, which is what is to be computed: the generator stands in for it, and
        # an exchange with the generator as peer is g^x, done by the constant-time operation.
        stand_in = DHPublicNumbers(GENERATOR, self._parameters)
        self._private = DHPrivateNumbers(exponent, stand_in).private_key()
        self.public = self._power(GENERATOR)

    def shared_secret(self, peer_public: bytes) -> bytes:
        length = self._prime.bit_length() // 8
        if len(peer_public) != length:
            raise InvalidKeyExchange(f"group {self.group}: a public value of {len(peer_public)} bytes, not {length}")
        value = int.from_bytes(peer_public, "big")
        if not 1 < value < self._prime - 1:
            raise InvalidKeyExchange(f"group {self.group}: the public value is not between 1 and p-1")
        return self._power(value)

    def _power(self, base: int) -> bytes:
        return self._private.exchange(DHPublicNumbers(base, self._parameters).public_key())


class _Ecp(KeyExchange):
    """Public value is x | y without a prefix; the secret is x alone (RFC 5903 section 7)."""

    def __init__(self, group: int, scalar: int) -> None:
        self.group = group
        self._curve = ECP_CURVES[group]
        self._private = ec.derive_private_key(scalar, self._curve)
        self.public = self._private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]

    def shared_secret(self, peer_public: bytes) -> bytes:
        if len(peer_public) != len(self.public):
            raise InvalidKeyExchange(
                f"group {self.group}: a public value of {len(peer_public)} bytes, not {len(self.public)}"
            )
        try:
            peer = ec.EllipticCurvePublicKey.from_encoded_point(self._curve, b"\x04" + peer_public)
        except ValueError:
            raise InvalidKeyExchange(f"group {self.group}: the public value is not a point of the curve") from None
        return self._private.exchange(ec.ECDH(), peer)


class _Curve25519(KeyExchange):
    """32 bytes each way; an all-zero secret is refused (RFC 8031 section 3.2)."""

    group = CURVE25519

    def __init__(self, private: bytes) -> None:
        self._private = X25519PrivateKey.from_private_bytes(private)
        self.public = self._private.public_key().public_bytes_raw()

    def shared_secret(self, peer_public: bytes) -> bytes:
        if len(peer_public) != CURVE25519_LENGTH:
            raise InvalidKeyExchange(
                f"group {self.group}: a public value of {len(peer_public)} bytes, not {CURVE25519_LENGTH}"
            )
        try:
            return self._private.exchange(X25519PublicKey.from_public_bytes(peer_public))
        except ValueError:
            raise InvalidKeyExchange(f"group {self.group}: the public value forces an all-zero secret") from None


def generate(group: int, random: Callable[[int], bytes]) -> KeyExchange:
    """A new private value of this group, from the bytes that `random(count)` returns.

    Raises:
        UnsupportedAlgorithm: no code here implements the group.
    """
    if group == CURVE25519:
        return _Curve25519(random(CURVE25519_LENGTH))
    if group in ECP_CURVES:
        order = ECP_CURVES[group].group_order
        # 64 bits more than needed make the bias of the reduction negligible (FIPS 186-5 appendix A.2.1).
        extra = int.from_bytes(random((order.bit_length() + 7) // 8 + 8), "big")
        return _Ecp(group, extra % (order - 1) + 1)
    if group in MODP_PRIMES:
        # The top bit is set: never 0 or 1, and the exponent has its full length.
        size = EXPONENT_BYTES[group]
        return _Modp(group, int.from_bytes(random(size), "big") | 1 << (8 * size - 1))
    raise UnsupportedAlgorithm(f"key exchange group {group}")
