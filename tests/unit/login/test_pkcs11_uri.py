"""PKCS#11 URIs: the examples of RFC 7512 section 3, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyike.errors import ConfigurationError
from anyike.login.pkcs11_uri import is_pkcs11_uri, parse_pkcs11_uri, write_attribute


def test_an_empty_uri():
    uri = parse_pkcs11_uri("pkcs11:")
    assert (dict(uri.token), uri.object, uri.id, uri.type) == ({}, None, None, None)


def test_the_example_of_a_token_and_a_certificate():
    uri = parse_pkcs11_uri(
        "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;"
        "object=my-certificate;type=cert;id=%69%95%3E%5C%F4%BD%EC%91;serial=?pin-source=file:/etc/token_pin"
    )
    assert uri.token == {
        "token": "The Software PKCS#11 Softtoken", "manufacturer": "Snake Oil, Inc.", "model": "1.0", "serial": "",
    }  # fmt: skip
    assert (uri.object, uri.type, uri.id.hex()) == ("my-certificate", "cert", "69953e5cf4bdec91")
    assert (uri.pin_source, uri.has_pin) == ("file:/etc/token_pin", False)


def test_the_example_of_slots_and_libraries():
    uri = parse_pkcs11_uri("pkcs11:slot-description=Sun%20Metaslot;slot-id=327;library-version=3;library-description=x")
    assert uri.token == {
        "slot-description": "Sun Metaslot", "slot-id": "327", "library-version": "3", "library-description": "x",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "path", "name"),
    [
        ("module-path=/opt/x/my%20module.so", "/opt/x/my module.so", None),
        ("module-name=opensc-pkcs11", None, "opensc-pkcs11"),
    ],
)
def test_modules(query, path, name):
    uri = parse_pkcs11_uri(f"PKCS11:object=%C3%A9t%C3%A9?{query}&vendor-x=1")
    assert (uri.module_path, uri.module_name, uri.object) == (path, name, "été")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("file:/key", "starts with pkcs11:"),
        ("pkcs11:object", "name=value"),
        ("pkcs11:object=a;", "name=value"),
        ("pkcs11:=a", "name=value"),
        ("pkcs11:object=a;object=b", "object twice"),
        ("pkcs11:object=a b", "character in object"),
        ("pkcs11:object=a%2", "character in object"),
        ("pkcs11:object=a%zz", "character in object"),
        ("pkcs11:object=été", "character in object"),
        ("pkcs11:object=%ff", "no UTF-8"),
        ("pkcs11:object=a%00b", "zero byte"),
        ("pkcs11:objekt=a", "objekt: this program does not know it"),
        ("pkcs11:x-vendor=a", "x-vendor"),
        ("pkcs11:pin-source=file:a", "behind a question mark"),
        ("pkcs11:type=key", "type is none of"),
        ("pkcs11:slot-id=x", "slot-id is no decimal number"),
        ("pkcs11:?module-path=a.so", "not absolute"),
        ("pkcs11:?module-name=../a", "bare name"),
        ("pkcs11:?module-name=..", "bare name"),
        ("pkcs11:?module-path=/a&module-name=b", "both"),
        ("pkcs11:?pin-source=/a&pin-value=1", "both pin-source and pin-value"),
        ("pkcs11:?module-path=/a&module-path=/b", "module-path twice"),
        ("pkcs11:object=" + "a" * 5000, "characters"),
    ],
)
def test_refused(text, reason):
    with pytest.raises(ConfigurationError, match=reason):
        parse_pkcs11_uri(text)


@pytest.mark.parametrize(
    "text", ["pkcs11:?pin-value=s3cret", "pkcs11:?pin-value=s3cret&pin-value=s3cret", "pkcs11:?pin-value=s3cret %"]
)
def test_a_pin_is_noted_and_never_shown(text):
    try:
        shown = repr(parse_pkcs11_uri(text))
    except ConfigurationError as error:
        shown = str(error)
    else:
        assert parse_pkcs11_uri(text).has_pin
    assert "s3cret" not in shown


def test_what_is_meant_as_a_uri():
    assert is_pkcs11_uri("Pkcs11:object=a")
    assert not is_pkcs11_uri("/etc/pkcs11:key.pem")


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40), st.binary(max_size=20))
def test_what_is_written_is_read_again(label, identifier):
    uri = parse_pkcs11_uri(f"pkcs11:{write_attribute('object', label)};{write_attribute('id', identifier)}")
    assert (uri.object, uri.id) == (label, identifier)


@given(st.text(max_size=80))
def test_any_text_is_a_uri_or_one_error(text):
    try:
        parse_pkcs11_uri("pkcs11:" + text)
    except ConfigurationError:
        return
