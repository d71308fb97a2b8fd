"""A client's proof by certificate: TLV 3 and TLV 1 (AnyConnect-EAP notes, section 6), judged without the client's own code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tests.fakes.pki import HASHES

SEQUENCE, SET, CONTEXT_0, INTEGER, OCTETS, OID = 0x30, 0x31, 0xA0, 0x02, 0x04, 0x06
SIGNED_DATA, DATA = bytes.fromhex("2a864886f70d010702"), bytes.fromhex("2a864886f70d010701")


class ProofRefused(Exception):
    """The proof does not hold; the text says why."""


@dataclass(frozen=True)
class Trust:
    """Whose certificates are taken, and when."""

    authority: bytes
    now: datetime


def check(container: bytes, signature: bytes, octets: bytes, hash_name: str, trust: Trust) -> str:
    """The common name of the client whose certificate is the first of TLV 3 and whose key made TLV 1; ProofRefused."""
    chain = [x509.load_der_x509_certificate(certificate) for certificate in read_certificates(container)]
    if not chain:
        raise ProofRefused("no certificate")
    check_chain(chain, trust)
    check_signature(chain[0], signature, octets, hash_name)
    return common_name(chain[0])


def common_name(certificate: x509.Certificate) -> str:
    return str(certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)


def check_chain(chain: Sequence[x509.Certificate], trust: Trust) -> None:
    """The client's own first, each issued by the next, the last by the authority that is trusted or that authority itself."""
    root = x509.load_der_x509_certificate(trust.authority)
    path = list(chain) if chain[-1] == root else [*chain, root]
    if path == [root]:
        raise ProofRefused("the CA's certificate is no client's")
    for certificate in path:
        if not certificate.not_valid_before_utc <= trust.now <= certificate.not_valid_after_utc:
            raise ProofRefused(f"{common_name(certificate)} is not valid now")
    for certificate, issuer in pairwise(path):
        if not _is_authority(issuer):
            raise ProofRefused(f"{common_name(issuer)} is no CA")
        try:
            certificate.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            raise ProofRefused(f"{common_name(certificate)} was not issued by {common_name(issuer)}") from None
    if _is_authority(path[0]):
        raise ProofRefused(f"{common_name(path[0])} is a CA and comes first")


def check_signature(certificate: x509.Certificate, signature: bytes, octets: bytes, hash_name: str) -> None:
    """RSASSA-PKCS1-v1_5, or r | s of ECDSA as in RFC 4754 (a guess, nobody has seen one)."""
    key = certificate.public_key()
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, octets, padding.PKCS1v15(), HASHES[hash_name])
            return
        if isinstance(key, ec.EllipticCurvePublicKey) and len(signature) == 2 * _half(key):
            r, s = (int.from_bytes(part, "big") for part in (signature[: _half(key)], signature[_half(key) :]))
            key.verify(encode_dss_signature(r, s), octets, ec.ECDSA(HASHES[hash_name]))
            return
    except InvalidSignature:
        pass
    raise ProofRefused(f"the signature of {common_name(certificate)} with {hash_name} does not fit the octets")


def _half(key: ec.EllipticCurvePublicKey) -> int:
    """Bytes of r, and of s."""
    return (key.curve.key_size + 7) // 8


def read_certificates(container: bytes) -> list[bytes]:
    """The certificates (DER) of a degenerate PKCS#7 SignedData in exactly the shape that was observed; ProofRefused."""
    content_info = _only(container, SEQUENCE, "ContentInfo")
    kind, rest = _take(content_info, OID, "contentType")
    if kind != SIGNED_DATA:
        raise ProofRefused(f"the contentType is {kind.hex()}, not signedData")
    rest = _only(_only(rest, CONTEXT_0, "content"), SEQUENCE, "SignedData")
    version, rest = _take(rest, INTEGER, "version")
    digests, rest = _take(rest, SET, "digestAlgorithms")
    encapsulated, rest = _take(rest, SEQUENCE, "encapContentInfo")
    certificates, rest = _take(rest, CONTEXT_0, "certificates")
    signers = _only(rest, SET, "signerInfos")
    if (version, digests, signers) != (b"\1", b"", b""):
        raise ProofRefused("a version other than 1, a digest algorithm or a signer")
    kind, rest = _take(encapsulated, OID, "eContentType")
    if kind != DATA or _only(_only(rest, CONTEXT_0, "eContent"), OCTETS, "content octets"):
        raise ProofRefused("the content is not an empty OCTET STRING")
    found = []
    while certificates:
        _, rest = _take(certificates, SEQUENCE, "certificate")
        found.append(certificates[: len(certificates) - len(rest)])
        certificates = rest
    return found


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _only(data: bytes, tag: int, name: str) -> bytes:
    """The content of the one element that `data` is."""
    content, rest = _take(data, tag, name)
    if rest:
        raise ProofRefused(f"{len(rest)} bytes behind {name}")
    return content


def _take(data: bytes, tag: int, name: str) -> tuple[bytes, bytes]:
    """The content of the first element, and what follows it. Definite lengths in their shortest form, as DER wants."""
    if len(data) < 2 or data[0] != tag:
        raise ProofRefused(f"no {name} (tag {tag:02x}) at {data[:4].hex()}")
    length, start = data[1], 2
    if length == 0x80:
        raise ProofRefused(f"{name} has an indefinite length")
    if length > 0x80:
        start = 2 + length - 0x80
        length = int.from_bytes(data[2:start], "big")
        if length < 0x80 or data[2] == 0:
            raise ProofRefused(f"{name} has a length that is not DER")
    if start + length > len(data):
        raise ProofRefused(f"{name} is cut off")
    return data[start : start + length], data[start + length :]
