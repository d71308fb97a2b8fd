"""The client's certificates: the order that a gateway wants, dates, and whose signature it is."""

from __future__ import annotations

import itertools

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from anyike.crypto import client_chain
from anyike.crypto.client_chain import KeyKind
from tests.unit.crypto.certificates import NOW, Issued, make_root

RSA = rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def pki():
    root = make_root()
    sub = root.ca("Sub CA")
    issuing = sub.ca("Issuing CA")
    return [Issued("ada", issuing, key=RSA), issuing, sub, root]


def test_every_order_becomes_leaf_first(pki):
    expected = tuple(issued.der for issued in pki)
    key = client_chain.public_key_of(pki[0].der)
    for order in itertools.permutations(expected):
        assert client_chain.order_chain(order, key) == expected


def test_unrelated_certificates_are_left_out(pki):
    stranger = make_root().ca("Another CA")
    key = client_chain.public_key_of(pki[0].der)
    assert client_chain.order_chain([stranger.der, pki[1].der, pki[0].der], key) == (pki[0].der, pki[1].der)


def test_an_issuer_of_the_same_name_must_have_signed(pki):
    impostor = make_root().ca("Issuing CA")
    key = client_chain.public_key_of(pki[0].der)
    assert client_chain.order_chain([impostor.der, pki[1].der, pki[0].der], key) == (pki[0].der, pki[1].der)


def test_of_renewed_certificates_the_one_that_lasts(pki):
    renewed = Issued("ada", pki[1], key=RSA, days=(-1, 700))
    chain = client_chain.order_chain([pki[0].der, pki[1].der, renewed.der], client_chain.public_key_of(pki[0].der))
    assert chain == (renewed.der, pki[1].der)


def test_none_for_this_key(pki):
    assert client_chain.order_chain([issued.der for issued in pki[1:]], client_chain.public_key_of(pki[0].der)) == ()


def test_kinds_and_names(pki):
    assert client_chain.key_kind(pki[0].der) is KeyKind.RSA
    assert client_chain.key_kind(pki[1].der) is KeyKind.ECDSA
    assert client_chain.key_kind(Issued("e", pki[1], key=ed25519.Ed25519PrivateKey.generate()).der) is None
    assert [client_chain.is_authority(issued.der) for issued in pki] == [False, True, True, True]
    assert client_chain.subject(Issued("a\x1b[2Jb").der) == "CN=a\ufffd[2Jb"
    assert client_chain.validity(pki[0].der)[0] < NOW < client_chain.validity(pki[0].der)[1]


def test_whose_signature(pki):
    signature = RSA.sign(b"octets", padding.PKCS1v15(), hashes.SHA256())
    assert client_chain.is_made_with(pki[0].der, signature, b"octets", "sha256")
    assert not client_chain.is_made_with(pki[0].der, signature, b"others", "sha256")
    assert not client_chain.is_made_with(pki[0].der, signature, b"octets", "sha384")
    assert not client_chain.is_made_with(pki[0].der, signature, b"octets", "md5")
    assert not client_chain.is_made_with(pki[1].der, signature, b"octets", "sha256")


@pytest.mark.parametrize("length", [0, 1, 63, 65, 128])
def test_an_ecdsa_signature_of_another_length(pki, length):
    assert not client_chain.is_made_with(pki[1].der, b"\1" * length, b"octets", "sha256")


def test_what_is_no_certificate():
    for function in (
        client_chain.public_key_of,
        client_chain.key_kind,
        client_chain.is_authority,
        client_chain.subject,
    ):
        with pytest.raises(ValueError, match=r".+"):
            function(b"\x30\x03\x02\x01\x01")


def test_a_p521_signature_has_132_bytes(pki):
    key = ec.generate_private_key(ec.SECP521R1())
    leaf = Issued("e", pki[1], key=key)
    from anyike.crypto.client_key import ClientKey

    signature = ClientKey(key).sign(b"octets", "sha512")
    assert len(signature) == 132
    assert client_chain.is_made_with(leaf.der, signature, b"octets", "sha512")
    assert not client_chain.is_made_with(leaf.der, signature + b"\0\0", b"octets", "sha512")
