"""Which names in a certificate make it the one of the wanted gateway (RFC 9525)."""

import pytest
from cryptography import x509

from anyike.crypto.x509 import Distrust, pin_sha256
from tests.unit.crypto.certificates import HOST, Issued, accepted, make_root, refused, san, trusting


@pytest.fixture(scope="module")
def root() -> Issued:
    return make_root()


@pytest.mark.parametrize(
    ("in_certificate", "wanted", "matches"),
    [
        (HOST, HOST, True),
        ("VPN.Example.COM", HOST, True),
        (HOST, "vpn.example.com.", True),
        (HOST, "example.com", False),
        ("example.com", HOST, False),
        ("*.example.com", HOST, True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "a.vpn.example.com", False),
        ("*.com", "example.com", False),
        ("*", "localhost", False),
        ("*.*.com", "vpn.example.com", False),
        ("v*.example.com", HOST, False),
        ("vpn.*.com", HOST, False),
        ("*.example.com", ".example.com", False),
        ("xn--bcher-kva.example", "bücher.example", True),
        ("xn--bcher-kva.example", "xn--bcher-kva.example", True),
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:DB8:0::1", True),
        ("2001:db8::1", "2001:db8::2", False),
    ],
)
def test_names(root, in_certificate, wanted, matches):
    gateway = root.gateway(san(in_certificate), common_name="other")
    policy = trusting(root, names=("first.example.net", wanted), allow_common_name=True)
    if matches:
        assert accepted([gateway.der], policy)
        return
    error = refused([gateway.der], policy)
    assert error.reason is Distrust.WRONG_NAME
    assert in_certificate in str(error)
    assert wanted in str(error)
    assert error.pin == pin_sha256(gateway.der)


def test_an_address_is_never_matched_by_a_dns_name(root):
    names = x509.SubjectAlternativeName([x509.DNSName("192.0.2.1"), x509.DNSName("*.0.2.1")])
    gateway = root.gateway(names)
    assert refused([gateway.der], trusting(root, names=("192.0.2.1",))).reason is Distrust.WRONG_NAME


@pytest.mark.parametrize(("common_name", "wanted"), [(HOST, HOST), ("192.0.2.1", "192.0.2.1"), ("*.example.com", HOST)])
def test_the_common_name_counts_only_when_allowed_and_alone(root, common_name, wanted):
    bare = root.gateway(x509.BasicConstraints(ca=False, path_length=None), common_name=common_name)
    assert accepted([bare.der], trusting(root, names=(wanted,), allow_common_name=True))
    error = refused([bare.der], trusting(root, names=(wanted,)))
    assert error.reason is Distrust.WRONG_NAME
    assert "common name only" in str(error)
    with_names = root.gateway(san("else.example.com"), common_name=common_name)
    policy = trusting(root, names=(wanted,), allow_common_name=True)
    assert refused([with_names.der], policy).reason is Distrust.WRONG_NAME


def test_no_name_wanted_is_no_name_matched(root):
    assert refused([root.gateway().der], trusting(root, names=())).reason is Distrust.WRONG_NAME
