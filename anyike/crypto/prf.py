"""Pseudorandom functions of IKEv2 (RFC 7296 section 2.13, RFC 4868) and plain digests."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

MAX_PLUS_BLOCKS = 255
"""Specification limit: prf+ counts its blocks in one byte (RFC 7296 section 2.13)."""


@dataclass(frozen=True)
class Prf:
    """An HMAC used as PRF. The preferred key length is the output length, both in bytes."""

    transform_id: int
    name: str
    hash_name: str
    output_length: int

    def __call__(self, key: bytes, data: bytes) -> bytes:
        """prf(key, data): `output_length` bytes."""
        return hmac.digest(key, data, self.hash_name)

    def plus(self, key: bytes, seed: bytes, length: int) -> bytes:
        """prf+(key, seed), cut to `length` bytes (RFC 7296 section 2.13).

        Raises:
            ValueError: more than 255 blocks are wanted.
        """
        if not 0 <= length <= MAX_PLUS_BLOCKS * self.output_length:
            raise ValueError(f"prf+ with {self.name} yields at most {MAX_PLUS_BLOCKS * self.output_length} bytes")
        output = bytearray()
        block = b""
        counter = 0
        while len(output) < length:
            counter += 1
            block = self(key, block + seed + bytes((counter,)))
            output += block
        return bytes(output[:length])


PRFS: Mapping[int, Prf] = MappingProxyType(
    {
        prf.transform_id: prf
        for prf in (
            Prf(2, "PRF_HMAC_SHA1", "sha1", 20),
            Prf(5, "PRF_HMAC_SHA2_256", "sha256", 32),
            Prf(6, "PRF_HMAC_SHA2_384", "sha384", 48),
            Prf(7, "PRF_HMAC_SHA2_512", "sha512", 64),
        )
    }
)
"""The PRFs by their IKEv2 transform identifier (IANA, transform type 2)."""


def digest(hash_name: str, data: bytes) -> bytes:
    """The plain hash of `data`; `hash_name` as hashlib spells it ("sha1", "sha256" ...).

    SHA-1 is what NAT detection (RFC 7296 section 2.23) and CERTREQ (section 3.7) demand; neither is a security use.
    """
    return hashlib.new(hash_name, data, usedforsecurity=False).digest()
