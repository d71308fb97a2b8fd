"""Whether a certificate is for a host: dNSName and iPAddress of RFC 9525, or the common name where that is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address

from cryptography import x509
from cryptography.x509.oid import NameOID

MINIMUM_WILDCARD_LABELS = 3
"""`*.example.com` is a pattern, `*.com` is not."""


def matches_any(certificate: x509.Certificate, wanted: Sequence[str], *, allow_common_name: bool) -> bool:
    """Whether the certificate holds one of the wanted host names or IP addresses.

    Subject alternative names decide; only a certificate without that extension may fall back to its common name.
    A name constraint of a CA does not reach the common name, one reason for which that fallback is off by default.
    """
    alternative = _alternative_names(certificate)
    if alternative is None:
        common_names = _common_names(certificate) if allow_common_name else []
        return any(_same_name(name, pattern) for name in wanted for pattern in common_names)
    patterns = alternative.get_values_for_type(x509.DNSName)
    addresses = alternative.get_values_for_type(x509.IPAddress)
    for name in wanted:
        address = _as_address(name)
        if address is not None:
            if address in addresses:
                return True
        elif any(_matches_pattern(name, pattern) for pattern in patterns):
            return True
    return False


def presented_names(certificate: x509.Certificate) -> list[str]:
    """The host names and addresses that the certificate holds, for messages."""
    alternative = _alternative_names(certificate)
    if alternative is None:
        return [f"{name} (common name only)" for name in _common_names(certificate)]
    return [
        *alternative.get_values_for_type(x509.DNSName),
        *(str(address) for address in alternative.get_values_for_type(x509.IPAddress)),
    ]


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def _common_names(certificate: x509.Certificate) -> list[str]:
    return [
        attribute.value
        for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        if isinstance(attribute.value, str)
    ]


def _as_address(name: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(name)
    except ValueError:
        return None


def _same_name(name: str, common_name: str) -> bool:
    address = _as_address(name)
    return address == _as_address(common_name) if address else _matches_pattern(name, common_name)


def _matches_pattern(name: str, pattern: str) -> bool:
    """RFC 9525 section 6.3: a wildcard is the whole left-most label and stands for exactly one label."""
    labels, pattern_labels = _labels(name), _labels(pattern)
    if not all(labels):
        return False
    if pattern_labels[0] == "*" and len(pattern_labels) >= MINIMUM_WILDCARD_LABELS:
        labels, pattern_labels = labels[1:], pattern_labels[1:]
    return labels == pattern_labels and not any("*" in label for label in pattern_labels)


def _labels(name: str) -> list[str]:
    """Lower-case labels in their ASCII form; a name that has none stays as it is and matches only itself."""
    with suppress(UnicodeError):
        name = name.encode("idna").decode("ascii")
    return name.removesuffix(".").lower().split(".")
