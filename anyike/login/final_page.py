"""Where a single sign-on may end: at the gateway itself.

The gateway names the page and the cookie that it gets from it. Were any page allowed, a gateway could have the cookie of
whatever site the user is logged in to in that browser, such as the session at their identity provider.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import ip_address
from urllib.parse import urlsplit

from anyike.crypto.x509 import CertificateNotTrusted, TrustPolicy, verify_gateway_certificate
from anyike.login.gateway_facts import GatewayFacts


def is_of_gateway(url: str, gateway: GatewayFacts, *, trust_names: bool, other_hosts: Sequence[str] = ()) -> bool:
    """Whether the page's host is the gateway's: the one connected to, a name in its certificate, or one that the user names.

    Args:
        url: an https address with a host.
        gateway: who was connected to.
        trust_names: whether a CA stands for the names in the certificate; one accepted by its pin may hold any.
        other_hosts: host names and addresses that the user's settings allow.
    """
    host = urlsplit(url).hostname
    if not host:
        return False
    if _plain(host) in map(_plain, (gateway.host, *other_hosts)):
        return True
    return trust_names and _is_certified(gateway.certificate, host)


def _is_certified(certificate: bytes, host: str) -> bool:
    """The connection's own judgement of a name, for a certificate that is trusted already."""
    policy = TrustPolicy(roots=(certificate,), names=(host,))
    try:
        verify_gateway_certificate((certificate,), policy, datetime.now(UTC))
    except CertificateNotTrusted:
        return False
    return True


def _plain(host: str) -> str:
    """One spelling for each host."""
    try:
        return str(ip_address(host))
    except ValueError:
        return host.removesuffix(".").lower()
