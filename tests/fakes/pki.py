"""A test CA, the gateway's certificate, and its AUTH signatures; keys are made once per process."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

HOST = "vpn.example.com"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
HASHES = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}

# AlgorithmIdentifier of sha256WithRSAEncryption, from RFC 7427 appendix A.1.2.
SHA256_RSA = bytes.fromhex("300d06092a864886f70d01010b0500")


@dataclass(frozen=True)
class Credential:
    """A certificate (DER) and its private key."""

    certificate: bytes
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

    def sign(self, method: str, octets: bytes, prf_hash: str) -> tuple[int, bytes]:
        """AUTH method and data. `method`: "prf" (method 1, the PRF's hash), "sha1", "rfc7427", "ecdsa"."""
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            r, s = decode_dss_signature(self.key.sign(octets, ec.ECDSA(hashes.SHA256())))
            return 9, r.to_bytes(32, "big") + s.to_bytes(32, "big")
        hash_name = {"prf": prf_hash, "sha1": "sha1", "rfc7427": "sha256"}[method]
        signature = self.key.sign(octets, padding.PKCS1v15(), HASHES[hash_name])
        if method == "rfc7427":
            return 14, bytes([len(SHA256_RSA)]) + SHA256_RSA + signature
        return 1, signature


@cache
def authority(name: str = "Test CA") -> Credential:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    builder = _builder(subject, subject, key.public_key())
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return Credential(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER), key)


@cache
def gateway_credential(kind: str = "rsa", host: str = HOST, ca: str = "Test CA") -> Credential:
    key = (
        ec.generate_private_key(ec.SECP256R1())
        if kind == "ecdsa"
        else rsa.generate_private_key(public_exponent=65537, key_size=2048)
    )
    issuer = authority(ca)
    issuer_name = x509.load_der_x509_certificate(issuer.certificate).subject
    builder = (
        _builder(_name(host), issuer_name, key.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    return Credential(builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.DER), key)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(subject: x509.Name, issuer: x509.Name, public_key) -> x509.CertificateBuilder:
    start, end = NOW - timedelta(days=1), NOW + timedelta(days=365)
    return x509.CertificateBuilder(issuer, subject, public_key, x509.random_serial_number(), start, end)
