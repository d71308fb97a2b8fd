"""Certificates made for a test, and the two verdicts on them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from anyike.crypto.x509 import CertificateNotTrusted, TrustPolicy, verify_gateway_certificate

NOW = datetime(2026, 6, 1, tzinfo=UTC)
HOST = "vpn.example.com"
USAGES = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
USAGES += ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
CA = x509.BasicConstraints(ca=True, path_length=None)
KEY = ec.generate_private_key(ec.SECP256R1())


def key_usage(*set_usages: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in set_usages for usage in USAGES})


def san(*names: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName(
        [
            x509.IPAddress(ip_address(name)) if name.replace(".", "").isdigit() or ":" in name else x509.DNSName(name)
            for name in names
        ]
    )


class Issued:
    """A certificate, its key, and what it issues."""

    def __init__(self, common_name, issuer=None, extensions=(), critical=(), key=None, days=(-1, 365), signed=None):
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        signer = issuer or self
        start, end = (NOW + timedelta(days=day) for day in days)
        builder = x509.CertificateBuilder(
            signer.name, self.name, self.key.public_key(), x509.random_serial_number(), start, end
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=type(extension) in critical)
        self.der = builder.sign(signer.key, signed or hashes.SHA256()).public_bytes(Encoding.DER)

    def ca(self, common_name="Sub CA", extensions=(CA,), **options) -> "Issued":
        return Issued(common_name, self, extensions, **options)

    def gateway(self, *extensions, common_name=HOST, **options) -> "Issued":
        return Issued(common_name, self, extensions or (san(HOST),), key=options.pop("key", KEY), **options)


def make_root() -> Issued:
    extensions = (CA, key_usage("key_cert_sign", "crl_sign"))
    return Issued("Root CA", extensions=extensions, critical=(x509.BasicConstraints,))


def trusting(*roots: Issued, **options) -> TrustPolicy:
    return replace(TrustPolicy(roots=tuple(root.der for root in roots), names=(HOST,)), **options)


def refused(chain: list[bytes], policy: TrustPolicy, now: datetime = NOW) -> CertificateNotTrusted:
    with pytest.raises(CertificateNotTrusted) as caught:
        verify_gateway_certificate(chain, policy, now)
    return caught.value


def accepted(chain: list[bytes], policy: TrustPolicy) -> bool:
    return verify_gateway_certificate(chain, policy, NOW).verified_by == "chain"
