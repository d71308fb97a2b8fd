"""The PKI of the test gateway, made when the container starts.

In the directory: x509ca/ca.pem, and a certificate with its key for each name of
`scenario.CERTIFICATES`; linked into /etc/swanctl, where swanctl looks for them.
"""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from container.scenario import GATEWAY_NAME

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
DAY = dt.timedelta(days=1)
SWANCTL = Path("/etc/swanctl")


def name(common_name: str) -> x509.Name:
    """A distinguished name with a common name only."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def authority(common_name: str, now: dt.datetime) -> tuple[x509.Certificate, PrivateKey]:
    """A self-signed CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name(common_name))
        .issuer_name(name(common_name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + 365 * DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(key_cert_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .sign(key, SHA256())
    )
    return certificate, key


def key_usage(**wanted: bool) -> x509.KeyUsage:
    """A key usage extension with the named bits only."""
    bits = (
        "digital_signature content_commitment key_encipherment data_encipherment "
        "key_agreement key_cert_sign crl_sign encipher_only decipher_only"
    )
    return x509.KeyUsage(**{bit: wanted.get(bit, False) for bit in bits.split()})


def gateway_certificate(
    host: str,
    key: PrivateKey,
    issuer: tuple[x509.Certificate, PrivateKey],
    not_after: dt.datetime,
) -> x509.Certificate:
    """A gateway's certificate for a host name, valid from a month before not_after or now."""
    ca, ca_key = issuer
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name(host))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, not_after) - 30 * DAY)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), False)
        .sign(ca_key, SHA256())
    )


def write(directory: Path) -> None:
    """Make everything: one RSA key serves all RSA certificates, to start fast."""
    now = dt.datetime.now(dt.UTC)
    trusted = authority("anyike test CA", now)
    other = authority("another CA", now)
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    ec_key = ec.generate_private_key(ec.SECP256R1())
    year = now + 300 * DAY
    leaves = {
        "valid": (gateway_certificate(GATEWAY_NAME, rsa_key, trusted, year), rsa_key),
        "ecdsa": (gateway_certificate(GATEWAY_NAME, ec_key, trusted, year), ec_key),
        "expired": (gateway_certificate(GATEWAY_NAME, rsa_key, trusted, now - DAY), rsa_key),
        "wrong-name": (gateway_certificate("other.example.net", rsa_key, trusted, year), rsa_key),
        "other-ca": (gateway_certificate(GATEWAY_NAME, rsa_key, other, year), rsa_key),
    }
    for kind in ("x509", "x509ca", "private"):
        (directory / kind).mkdir(parents=True, exist_ok=True)
    (directory / "x509ca/ca.pem").write_bytes(trusted[0].public_bytes(Encoding.PEM))
    for label, (certificate, key) in leaves.items():
        (directory / f"x509/{label}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (directory / f"private/{label}.pem").write_bytes(pem)


def link(directory: Path) -> None:
    """Let swanctl find the files."""
    for kind in ("x509", "x509ca", "private"):
        place = SWANCTL / kind
        if place.is_dir() and not place.is_symlink():
            place.rmdir()
        if not place.is_symlink():
            place.symlink_to(directory / kind)


if __name__ == "__main__":
    if not (Path(sys.argv[1]) / "x509ca/ca.pem").exists():
        write(Path(sys.argv[1]))
    link(Path(sys.argv[1]))
