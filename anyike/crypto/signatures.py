"""The gateway's AUTH payload by certificate: RFC 7296 section 3.8, RFC 4754 (ECDSA), RFC 7427 (Digital Signature).

Cisco gateways hash with the negotiated PRF's hash where RFC 7296 only defaults to SHA-1 (AnyConnect-EAP notes,
section 3), so method 1 tries the SHA-2 family first. SHA-1 counts only when the user's setting allows it, MD5 never.
"""

from __future__ import annotations

from collections.abc import Callable

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509 import load_der_x509_certificate

from anyike.crypto.algorithm_identifier import SignatureAlgorithm, parse_algorithm_identifier
from anyike.errors import GatewayNotTrusted
from anyike.wire import DecodeError, Reader

METHOD_RSA = 1
METHOD_DIGITAL_SIGNATURE = 14
ECDSA_METHODS: dict[int, tuple[type[ec.EllipticCurve], str]] = {
    9: (ec.SECP256R1, "sha256"),
    10: (ec.SECP384R1, "sha384"),
    11: (ec.SECP521R1, "sha512"),
}
SHA1 = "sha1"
SHA2 = ("sha256", "sha384", "sha512")
HASHES: dict[str, Callable[[], hashes.HashAlgorithm]] = {
    "sha1": hashes.SHA1,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}


class SignatureInvalid(GatewayNotTrusted):
    """The gateway's AUTH payload was not made with the key of the certificate that it sent."""


class Sha1SignatureRefused(GatewayNotTrusted):
    """The gateway signed with SHA-1, which the settings do not allow."""

    def __init__(self) -> None:
        super().__init__(
            "the gateway signed its AUTH payload with SHA-1, which can be forged by a capable attacker. Set "
            "ike.signature_hash_algorithms = true to ask it for a better hash (strongSwan needs that), or "
            "gateway.allow_sha1_signature = true if you accept the risk for this gateway"
        )


def verify_gateway_auth(
    certificate_der: bytes, method: int, auth_data: bytes, signed_octets: bytes, prf_hash: str, allow_sha1: bool
) -> str:
    """Check the gateway's signature; the name of what verified, e.g. `RSASSA-PKCS1-v1_5 with SHA-256`.

    `method` and `auth_data` are those of the AUTH payload, `signed_octets` the ResponderSignedOctets,
    `prf_hash` the hash of the negotiated PRF ("sha256" ...).

    Raises:
        Sha1SignatureRefused: only SHA-1 verifies (or is named), and `allow_sha1` is false.
        SignatureInvalid: anything else that does not verify, an unknown method included.
    """
    try:
        key = load_der_x509_certificate(certificate_der).public_key()
    except Exception as error:  # noqa: BLE001 - a hostile certificate makes the parser raise several unrelated types
        raise SignatureInvalid(f"the gateway's certificate holds no usable public key: {error}") from None
    if method == METHOD_RSA:
        return _verify_rsa(key, auth_data, signed_octets, prf_hash, allow_sha1=allow_sha1)
    if method in ECDSA_METHODS:
        return _verify_ecdsa_raw(key, method, auth_data, signed_octets)
    if method == METHOD_DIGITAL_SIGNATURE:
        return _verify_digital_signature(key, auth_data, signed_octets, allow_sha1=allow_sha1)
    raise SignatureInvalid(f"the gateway authenticated with method {method}, which is no signature by certificate")


def _verify_rsa(
    key: CertificatePublicKeyTypes, signature: bytes, signed_octets: bytes, prf_hash: str, *, allow_sha1: bool
) -> str:
    for hash_name in (*sorted(SHA2, key=lambda name: name != prf_hash), SHA1):
        algorithm = SignatureAlgorithm("rsa", hash_name)
        if not _verifies(key, algorithm, signature, signed_octets):
            continue
        if hash_name == SHA1 and not allow_sha1:
            raise Sha1SignatureRefused
        return algorithm.name
    raise SignatureInvalid(
        "the gateway's RSA signature does not verify with the key of its certificate and SHA-256, SHA-384, SHA-512 "
        "or SHA-1: the messages were altered on the way, or the gateway does not own that certificate"
    )


def _verify_ecdsa_raw(key: CertificatePublicKeyTypes, method: int, auth_data: bytes, signed_octets: bytes) -> str:
    """Signature r | s, each as long as the curve's order; curve and hash are fixed (RFC 4754 section 7)."""
    curve, hash_name = ECDSA_METHODS[method]
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, curve):
        raise SignatureInvalid(
            f"the gateway's certificate has no {curve.name} key, as its AUTH method {method} demands"
        )
    half = (curve().key_size + 7) // 8
    if len(auth_data) != 2 * half:
        raise SignatureInvalid(f"an ECDSA signature of {len(auth_data)} bytes, not {2 * half}")
    r, s = (int.from_bytes(part, "big") for part in (auth_data[:half], auth_data[half:]))
    algorithm = SignatureAlgorithm("ecdsa", hash_name)
    if not _verifies(key, algorithm, encode_dss_signature(r, s), signed_octets):
        raise SignatureInvalid(_mismatch(algorithm))
    return algorithm.name


def _verify_digital_signature(
    key: CertificatePublicKeyTypes, auth_data: bytes, signed_octets: bytes, *, allow_sha1: bool
) -> str:
    """ASN.1 length, AlgorithmIdentifier, signature value (RFC 7427 section 3)."""
    reader = Reader(auth_data)
    try:
        identifier = reader.take(reader.u8("ASN.1 length"), "AlgorithmIdentifier")
        algorithm = parse_algorithm_identifier(identifier)
    except DecodeError as error:
        raise SignatureInvalid(f"the gateway's AUTH payload names its algorithm wrongly: {error}") from None
    if algorithm is None:
        raise SignatureInvalid(f"the gateway signed with an algorithm that is not supported: {identifier.hex()}")
    if SHA1 in (algorithm.hash_name, algorithm.mgf_hash_name) and not allow_sha1:
        raise Sha1SignatureRefused
    if not _verifies(key, algorithm, reader.rest(), signed_octets):
        raise SignatureInvalid(_mismatch(algorithm))
    return algorithm.name


def _mismatch(algorithm: SignatureAlgorithm) -> str:
    return (
        f"the gateway's signature ({algorithm.name}) does not verify with the key of its certificate: "
        "the messages were altered on the way, or the gateway does not own that certificate"
    )


def _verifies(
    key: CertificatePublicKeyTypes, algorithm: SignatureAlgorithm, signature: bytes, signed_octets: bytes
) -> bool:
    """Whether the signature was made by this key with this algorithm; false too when the key is of another kind."""
    try:
        match algorithm.kind, key:
            case "rsa", rsa.RSAPublicKey():
                key.verify(signature, signed_octets, padding.PKCS1v15(), HASHES[algorithm.hash_name]())
            case "rsa-pss", rsa.RSAPublicKey():
                mgf = padding.MGF1(HASHES[algorithm.mgf_hash_name]())
                pss = padding.PSS(mgf, algorithm.salt_length)
                key.verify(signature, signed_octets, pss, HASHES[algorithm.hash_name]())
            case "ecdsa", ec.EllipticCurvePublicKey():
                key.verify(signature, signed_octets, ec.ECDSA(HASHES[algorithm.hash_name]()))
            case "ed25519", ed25519.Ed25519PublicKey():
                key.verify(signature, signed_octets)
            case "ed448", ed448.Ed448PublicKey():
                key.verify(signature, signed_octets)
            case _:
                return False
    except (
        InvalidSignature,
        ValueError,
        UnsupportedAlgorithm,
    ):  # a salt that does not fit the key; a hash that the host forbids
        return False
    return True
