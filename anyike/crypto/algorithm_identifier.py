"""AlgorithmIdentifier of a signature (RFC 7427 appendix A, RFC 4055, RFC 8420), parsed to what verifying needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from anyike.crypto import der
from anyike.wire import Reader

Kind = Literal["rsa", "rsa-pss", "ecdsa", "ed25519", "ed448"]

HASH_OIDS = {
    bytes.fromhex("2b0e03021a"): "sha1",
    bytes.fromhex("608648016503040201"): "sha256",
    bytes.fromhex("608648016503040202"): "sha384",
    bytes.fromhex("608648016503040203"): "sha512",
}
MGF1_OID = bytes.fromhex("2a864886f70d010108")
RSA_PSS_OID = bytes.fromhex("2a864886f70d01010a")
PSS_DEFAULT_SALT_LENGTH = 20
PSS_TRAILER_FIELD = 1


@dataclass(frozen=True)
class SignatureAlgorithm:
    """A signature scheme and its hash(es); `mgf_hash_name` and `salt_length` (bytes) only for RSASSA-PSS."""

    kind: Kind
    hash_name: str = ""
    mgf_hash_name: str = ""
    salt_length: int = 0

    @property
    def name(self) -> str:
        """For people, e.g. `RSASSA-PKCS1-v1_5 with SHA-256`."""
        scheme = {"rsa": "RSASSA-PKCS1-v1_5", "rsa-pss": "RSASSA-PSS", "ecdsa": "ECDSA"}
        if self.kind not in scheme:
            return self.kind.capitalize()
        return f"{scheme[self.kind]} with SHA-{self.hash_name.removeprefix('sha')}"


PLAIN_OIDS = {
    bytes.fromhex("2a864886f70d010105"): SignatureAlgorithm("rsa", "sha1"),
    bytes.fromhex("2a864886f70d01010b"): SignatureAlgorithm("rsa", "sha256"),
    bytes.fromhex("2a864886f70d01010c"): SignatureAlgorithm("rsa", "sha384"),
    bytes.fromhex("2a864886f70d01010d"): SignatureAlgorithm("rsa", "sha512"),
    bytes.fromhex("2a8648ce3d0401"): SignatureAlgorithm("ecdsa", "sha1"),
    bytes.fromhex("2a8648ce3d040302"): SignatureAlgorithm("ecdsa", "sha256"),
    bytes.fromhex("2a8648ce3d040303"): SignatureAlgorithm("ecdsa", "sha384"),
    bytes.fromhex("2a8648ce3d040304"): SignatureAlgorithm("ecdsa", "sha512"),
    bytes.fromhex("2b6570"): SignatureAlgorithm("ed25519"),
    bytes.fromhex("2b6571"): SignatureAlgorithm("ed448"),
}


def parse_algorithm_identifier(data: bytes) -> SignatureAlgorithm | None:
    """The algorithm that this DER AlgorithmIdentifier names; None when it is well-formed but not supported.

    Raises:
        DecodeError: not DER, parameters where none belong, or bytes left over.
    """
    reader = Reader(data)
    oid, parameters = _read_identifier(reader)
    reader.end("AlgorithmIdentifier")
    if oid == RSA_PSS_OID:
        return _parse_pss_parameters(parameters)
    algorithm = PLAIN_OIDS.get(oid)
    if algorithm is not None:
        _demand_null_or_nothing(parameters)
    return algorithm


def _read_identifier(reader: Reader) -> tuple[bytes, Reader]:
    """Object identifier (its encoded contents) and a reader over the parameters."""
    sequence = der.read(reader, der.SEQUENCE)
    return der.read(sequence, der.OBJECT_IDENTIFIER).rest(), sequence


def _demand_null_or_nothing(parameters: Reader) -> None:
    if parameters.remaining:
        der.read(parameters, der.NULL).end("NULL")
    parameters.end("parameters")


def _parse_hash(reader: Reader) -> str | None:
    oid, parameters = _read_identifier(reader)
    _demand_null_or_nothing(parameters)
    return HASH_OIDS.get(oid)


def _parse_pss_parameters(parameters: Reader) -> SignatureAlgorithm | None:
    """RSASSA-PSS-params (RFC 4055 section 3.1): four tagged fields, each with a default, in this order."""
    hash_name: str | None = "sha1"
    mgf_hash_name: str | None = "sha1"
    salt_length = PSS_DEFAULT_SALT_LENGTH
    trailer_field = PSS_TRAILER_FIELD
    if not parameters.remaining:
        parameters.fail("RSASSA-PSS without its parameters")
    fields = der.read(parameters, der.SEQUENCE)
    parameters.end("parameters")
    last = -1
    while fields.remaining:
        tag, field = der.read_any(fields)
        if tag <= last:
            field.fail("RSASSA-PSS parameters out of order")
        last = tag
        match tag:
            case 0xA0:
                hash_name = _parse_hash(field)
            case 0xA1:
                oid, mgf = _read_identifier(field)
                mgf_hash_name = _parse_hash(mgf) if oid == MGF1_OID else None
            case 0xA2:
                salt_length = der.read_small_integer(field)
            case 0xA3:
                trailer_field = der.read_small_integer(field)
            case _:
                field.fail("unknown RSASSA-PSS parameter")
        if mgf_hash_name is not None:
            field.end("RSASSA-PSS parameter")
    if hash_name is None or mgf_hash_name is None or trailer_field != PSS_TRAILER_FIELD:
        return None
    return SignatureAlgorithm("rsa-pss", hash_name, mgf_hash_name, salt_length)
