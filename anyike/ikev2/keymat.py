"""Keys of an IKE SA and of its CHILD_SAs (RFC 7296 sections 2.14, 2.15 and 2.17)."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from anyike.crypto.cipher import Cipher, CipherSuite
from anyike.crypto.prf import PRFS, Prf
from anyike.ikev2.child_sa import EspKeys

KEY_PAD = b"Key Pad for IKEv2"


@dataclass(frozen=True, slots=True)
class IkeKeys:
    """The seven keys of an IKE SA, none of which is ever printed."""

    prf: Prf
    suite: CipherSuite
    sk_d: bytes = field(repr=False)
    sk_ai: bytes = field(repr=False)
    sk_ar: bytes = field(repr=False)
    sk_ei: bytes = field(repr=False)
    sk_er: bytes = field(repr=False)
    sk_pi: bytes = field(repr=False)
    sk_pr: bytes = field(repr=False)

    def initiator_cipher(self) -> Cipher:
        """Protects what the initiator sends."""
        return self.suite.bind(self.sk_ei, self.sk_ai)

    def responder_cipher(self) -> Cipher:
        """Protects what the responder sends."""
        return self.suite.bind(self.sk_er, self.sk_ar)


def derive_ike_keys(
    prf_id: int, suite: CipherSuite, shared_secret: bytes, ni: bytes, nr: bytes, spi_i: bytes, spi_r: bytes
) -> IkeKeys:
    """SKEYSEED = prf(Ni | Nr, g^ir), then prf+ (SKEYSEED, Ni | Nr | SPIi | SPIr) cut into the seven keys."""
    prf = PRFS[prf_id]
    skeyseed = prf(ni + nr, shared_secret)
    return expand_ike_keys(prf, suite, skeyseed, ni, nr, spi_i, spi_r)


def expand_ike_keys(
    prf: Prf, suite: CipherSuite, skeyseed: bytes, ni: bytes, nr: bytes, spi_i: bytes, spi_r: bytes
) -> IkeKeys:
    """The second half of `derive_ike_keys`, from SKEYSEED on."""
    lengths = (
        prf.output_length,
        suite.integrity_key_length,
        suite.integrity_key_length,
        suite.encryption_key_length,
        suite.encryption_key_length,
        prf.output_length,
        prf.output_length,
    )
    return IkeKeys(prf, suite, *_cut(prf.plus(skeyseed, ni + nr + spi_i + spi_r, sum(lengths)), lengths))


def derive_rekeyed_ike_keys(
    old: IkeKeys,
    prf_id: int,
    suite: CipherSuite,
    shared_secret: bytes,
    ni: bytes,
    nr: bytes,
    spi_i: bytes,
    spi_r: bytes,
) -> IkeKeys:
    """SKEYSEED = prf(SK_d (old), g^ir (new) | Ni | Nr), with the old SA's PRF (RFC 7296 2.18); the rest with the new one's."""
    skeyseed = old.prf(old.sk_d, shared_secret + ni + nr)
    return expand_ike_keys(PRFS[prf_id], suite, skeyseed, ni, nr, spi_i, spi_r)


def derive_child_keys(
    keys: IkeKeys, suite: CipherSuite, ni: bytes, nr: bytes, shared_secret: bytes = b""
) -> tuple[EspKeys, EspKeys]:
    """KEYMAT = prf+ (SK_d, [g^ir (new) |] Ni | Nr): keys from the exchange's initiator to its responder, then back.

    `shared_secret` is that of a key exchange of the CHILD_SA's own (perfect forward secrecy), empty without one.
    """
    lengths = (suite.encryption_key_length, suite.integrity_key_length) * 2
    parts = _cut(keys.prf.plus(keys.sk_d, shared_secret + ni + nr, sum(lengths)), lengths)
    return EspKeys(parts[0], parts[1]), EspKeys(parts[2], parts[3])


def signed_octets(message: bytes, peer_nonce: bytes, prf: Prf, sk_p: bytes, id_body: bytes) -> bytes:
    """InitiatorSignedOctets or ResponderSignedOctets (RFC 7296 2.15).

    `message` is the sender's whole IKE_SA_INIT message, `id_body` its identification payload without the generic header.
    """
    return message + peer_nonce + prf(sk_p, id_body)


def shared_key_mic(prf: Prf, shared_secret: bytes, octets: bytes) -> bytes:
    """AUTH data of method 2. With an EAP method that makes no key the shared secret is SK_pi or SK_pr (RFC 7296 2.16)."""
    return prf(prf(shared_secret, KEY_PAD), octets)


def same_mic(left: bytes, right: bytes) -> bool:
    """Constant-time comparison."""
    return hmac.compare_digest(left, right)


def _cut(data: bytes, lengths: tuple[int, ...]) -> list[bytes]:
    parts = []
    position = 0
    for length in lengths:
        parts.append(data[position : position + length])
        position += length
    return parts
