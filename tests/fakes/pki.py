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
            return 9, self.bare_signature(octets, "sha256")
        hash_name = {"prf": prf_hash, "sha1": "sha1", "rfc7427": "sha256"}[method]
        signature = self.bare_signature(octets, hash_name)
        if method == "rfc7427":
            return 14, bytes([len(SHA256_RSA)]) + SHA256_RSA + signature
        return 1, signature

    def bare_signature(self, octets: bytes, hash_name: str) -> bytes:
        """RSASSA-PKCS1-v1_5, or r | s of ECDSA with P-256 (RFC 4754)."""
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            r, s = decode_dss_signature(self.key.sign(octets, ec.ECDSA(HASHES[hash_name])))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return self.key.sign(octets, padding.PKCS1v15(), HASHES[hash_name])


def authority(name: str = "Test CA", now: datetime = NOW) -> Credential:
    return _authority(name, now)


def intermediate(name: str = "Test Issuing CA", ca: str = "Test CA", now: datetime = NOW) -> Credential:
    """A CA below another one."""
    return _intermediate(name, ca, now)


def gateway_credential(kind: str = "rsa", host: str = HOST, ca: str = "Test CA", now: datetime = NOW) -> Credential:
    return _gateway_credential(kind, host, ca, now)


def client_credential(
    name: str = "ada", kind: str = "rsa", issuer: str = "Test Issuing CA", ca: str = "Test CA", now: datetime = NOW
) -> Credential:
    """A client's certificate of the intermediate CA `issuer`, or of `ca` itself when that is the same."""
    return _client_credential(name, kind, issuer, ca, now)


# The cache is keyed by all arguments, so it has to stand behind the defaults.


@cache
def _authority(name: str, now: datetime) -> Credential:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _authority_builder(_name(name), _name(name), key.public_key(), now)
    return Credential(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER), key)


@cache
def _intermediate(name: str, ca: str, now: datetime) -> Credential:
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = authority(ca, now)
    return _issued(_authority_builder(_name(name), _subject(issuer), key.public_key(), now), key, issuer)


@cache
def _gateway_credential(kind: str, host: str, ca: str, now: datetime) -> Credential:
    key = _key(kind)
    issuer = authority(ca, now)
    builder = (
        _builder(_name(host), _subject(issuer), key.public_key(), now)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    return _issued(builder, key, issuer)


@cache
def _client_credential(name: str, kind: str, issuer: str, ca: str, now: datetime) -> Credential:
    key = _key(kind)
    signer = authority(ca, now) if issuer == ca else intermediate(issuer, ca, now)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    builder = _builder(_name(name), _subject(signer), key.public_key(), now).add_extension(usage, critical=False)
    return _issued(builder, key, signer)


def distinguished_name(common_name: str) -> bytes:
    """A Name (RFC 5280) in DER."""
    return _name(common_name).public_bytes()


def _key(kind: str) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    if kind == "ecdsa":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _subject(credential: Credential) -> x509.Name:
    return x509.load_der_x509_certificate(credential.certificate).subject


def _builder(subject: x509.Name, issuer: x509.Name, public_key, now: datetime) -> x509.CertificateBuilder:
    start, end = now - timedelta(days=1), now + timedelta(days=365)
    return x509.CertificateBuilder(issuer, subject, public_key, x509.random_serial_number(), start, end)


def _authority_builder(subject: x509.Name, issuer: x509.Name, public_key, now: datetime) -> x509.CertificateBuilder:
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    return _builder(subject, issuer, public_key, now).add_extension(constraints, critical=True)


def _issued(
    builder: x509.CertificateBuilder, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, issuer: Credential
) -> Credential:
    return Credential(builder.sign(issuer.key, hashes.SHA256()).public_bytes(Encoding.DER), key)
