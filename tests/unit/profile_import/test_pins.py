"""Certificate pins: which become chain pins, of which host, and what is said of the others."""

from __future__ import annotations

import base64
import hashlib
import tomllib

import pytest

from anyike.profile_import.pins import MAX_PINS
from anyike.profile_import.profile import ImportedProfile, import_profile

A, B, C = (hashlib.sha512(text).digest() for text in (b"a", b"b", b"c"))


def encoded(value: bytes) -> str:
    return base64.b64encode(value).decode()


def pin_list(*pins: bytes | str) -> str:
    texts = (pin if isinstance(pin, str) else encoded(pin) for pin in pins)
    return f"<CertificatePinList>{''.join(f'<Pin>{text}</Pin>' for text in texts)}</CertificatePinList>"


def imported(common: str, *lists: str) -> ImportedProfile:
    hosts = "".join(
        f"<HostEntry><HostName>h{number}.example.com</HostName>"
        f"<PrimaryProtocol>IPsec</PrimaryProtocol>{pins}</HostEntry>"
        for number, pins in enumerate(lists or ("",))
    )
    text = (
        f"<AnyConnectProfile><ClientInitialization>{common}</ClientInitialization>"
        f"<ServerList>{hosts}</ServerList></AnyConnectProfile>"
    )
    return import_profile(text.encode(), "x.xml")


def pins_of(found: ImportedProfile) -> list[list[str]]:
    return [tomllib.loads(host.text)["gateway"].get("chain_pins", []) for host in found.hosts]


def switched_on(*pins: bytes | str) -> str:
    return f"<CertificatePinning>true{pin_list(*pins)}</CertificatePinning>"


def as_pins(*values: bytes) -> list[str]:
    return [f"pin-sha512:{encoded(value)}" for value in values]


def test_those_for_all_hosts_and_the_hosts_own_ones():
    found = imported(switched_on(A), "", pin_list(B, A, C, B))
    assert pins_of(found) == [as_pins(A), as_pins(A, B, C)]
    assert [entry.where for entry in found.left_out] == ["ClientInitialization/CertificatePinning"]
    assert "SubjectPublicKeyInfo" in found.left_out[0].reason
    assert all(host.left_out == () for host in found.hosts)


def test_own_ones_alone():
    assert pins_of(imported("<CertificatePinning>true</CertificatePinning>", pin_list(B))) == [as_pins(B)]


@pytest.mark.parametrize(
    "text",
    [
        encoded(A),
        f"\n\t{encoded(A)[:40]}\n\t{encoded(A)[40:]}\n",
        f"<!-- root -->{encoded(A)}",
        A.hex(),
        A.hex().upper(),
        A.hex(":"),
        A.hex(" ", 2),
    ],
)
def test_ways_to_write_one(text):
    assert pins_of(imported(switched_on(text))) == [as_pins(A)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        encoded(A)[:-4],
        A.hex()[:-2],
        encoded(A + b"x"),
        encoded(hashlib.sha256(b"a").digest()),
        hashlib.sha256(b"a").hexdigest(),
        "pin-sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        encoded(A).replace("=", ""),
        encoded(A).replace("H", "\N{LATIN SMALL LETTER E WITH ACUTE}"),
        "\N{ARABIC-INDIC DIGIT ONE}" * 128,
    ],
)
def test_what_is_none(text):
    found = imported(switched_on(B, text))
    assert pins_of(found) == [as_pins(B)]
    assert [entry.where for entry in found.left_out[1:]] == [
        "ClientInitialization/CertificatePinning/CertificatePinList/Pin[2]"
    ]
    assert "64 bytes in base64 or hexadecimal" in found.left_out[1].reason


def test_the_subject_is_shown_and_harmless():
    pin = '<CertificatePinList><Pin Subject="/CN=&#x202e;Root&#10;CA" Issuer="x">00</Pin></CertificatePinList>'
    (entry,) = imported("<CertificatePinning>true</CertificatePinning>", pin).hosts[0].left_out[:1]
    assert entry.where.startswith("ServerList/HostEntry[1] (h0.example.com)/CertificatePinList/Pin[1] (/CN=")
    assert entry.where.isprintable()


@pytest.mark.parametrize("common", ["<CertificatePinning>true</CertificatePinning>", switched_on("00")])
def test_a_demand_without_a_usable_pin_is_named_at_the_host(common):
    found = imported(common)
    assert pins_of(found) == [[]]
    assert "the gateway's CA alone decides" in found.hosts[0].left_out[0].reason


@pytest.mark.parametrize(
    "common",
    [
        "",
        "<CertificatePinning/>",
        f"<CertificatePinning>False{pin_list(A)}</CertificatePinning>",
        f"<CertificatePinning>{pin_list(A)}</CertificatePinning>",
    ],
)
def test_switched_off_as_it_is_without_a_word(common):
    found = imported(common, "", pin_list(B))
    assert pins_of(found) == [[], []]
    assert found.left_out == ()
    assert [host.left_out == () for host in found.hosts] == [True, False]
    assert "CertificatePinning is off" in found.hosts[1].left_out[0].reason


def test_they_have_an_end():
    many = [hashlib.sha512(bytes([number])).digest() for number in range(MAX_PINS + 2)]
    found = imported(switched_on(*many), pin_list(*many))
    assert pins_of(found) == [as_pins(*many[:MAX_PINS])]
    assert found.left_out[1].where.endswith(f"/Pin[{MAX_PINS + 1}]")
    assert len(found.left_out) == 2
