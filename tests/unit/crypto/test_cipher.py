"""Ciphers against ESP-GCM vectors, RFC 7634, RFC 3602 and FIPS 81 tables; alteration of anything is noticed."""

import hashlib
import hmac
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyike.crypto.cipher import CipherSuite
from anyike.errors import AuthenticationFailed, UnsupportedAlgorithm

VECTORS = Path(__file__).parents[2] / "vectors/crypto"
GCM_CASES = json.loads((VECTORS / "esp_gcm.json").read_text())
CHACHA = json.loads((VECTORS / "chacha20_poly1305.json").read_text())

SUITES = [
    # suite, name, key with salt, integrity key, IV, ICV, block
    (CipherSuite(20, 128), "AES_GCM_16_128", 20, 0, 8, 16, 1),
    (CipherSuite(20, 192), "AES_GCM_16_192", 28, 0, 8, 16, 1),
    (CipherSuite(20, 256), "AES_GCM_16_256", 36, 0, 8, 16, 1),
    (CipherSuite(28), "CHACHA20_POLY1305", 36, 0, 8, 16, 1),
    (CipherSuite(12, 128, 2), "AES_CBC_128/HMAC_SHA1_96", 16, 20, 16, 12, 16),
    (CipherSuite(12, 128, 12), "AES_CBC_128/HMAC_SHA2_256_128", 16, 32, 16, 16, 16),
    (CipherSuite(12, 192, 13), "AES_CBC_192/HMAC_SHA2_384_192", 24, 48, 16, 24, 16),
    (CipherSuite(12, 256, 14), "AES_CBC_256/HMAC_SHA2_512_256", 32, 64, 16, 32, 16),
    (CipherSuite(3, 0, 2), "3DES_CBC/HMAC_SHA1_96", 24, 20, 8, 12, 8),
]
IDS = [name for _, name, *_ in SUITES]
suites = pytest.mark.parametrize("suite", [suite for suite, *_ in SUITES], ids=IDS)


def bind(suite: CipherSuite):
    return suite.bind(bytes(range(suite.encryption_key_length)), bytes(range(100, 100 + suite.integrity_key_length)))


@pytest.mark.parametrize(("suite", "name", "key", "integrity_key", "iv", "icv", "block"), SUITES, ids=IDS)
def test_properties(suite, name, key, integrity_key, iv, icv, block):
    assert suite.name == name
    assert (suite.encryption_key_length, suite.integrity_key_length) == (key, integrity_key)
    assert (suite.iv_length, suite.icv_length, suite.block_size) == (iv, icv, block)
    assert suite.is_aead == (integrity_key == 0)
    cipher = bind(suite)
    assert (cipher.iv_length, cipher.icv_length, cipher.block_size) == (iv, icv, block)


@pytest.mark.parametrize("case", GCM_CASES, ids=lambda case: case["aad"])
def test_aes_gcm_esp(case):
    value = {name: bytes.fromhex(text) for name, text in case.items()}
    cipher = CipherSuite(20, 8 * len(value["key"])).bind(value["key"] + value["salt"], b"")
    assert cipher.seal(value["iv"], value["plaintext"], value["aad"]) == value["sealed"]
    assert cipher.open(value["iv"], value["sealed"], value["aad"]) == value["plaintext"]


@pytest.mark.parametrize("case", CHACHA["cases"], ids=lambda case: case["name"])
def test_rfc_7634(case):
    cipher = CipherSuite(28).bind(bytes.fromhex(CHACHA["key"]), b"")
    iv, aad, plaintext, sealed = (
        bytes.fromhex(text) for text in (CHACHA["iv"], case["aad"], case["plaintext"], case["sealed"])
    )
    assert cipher.seal(iv, plaintext, aad) == sealed
    assert cipher.open(iv, sealed, aad) == plaintext


@pytest.mark.parametrize(
    ("encryption", "key", "iv", "plaintext", "ciphertext"),
    [
        pytest.param(
            12,
            "06a9214036b8a15b512e03d534120006",
            "3dafba429d9eb430b422da802c9fac41",
            b"Single block msg".hex(),
            "e353779c1079aeb82708942dbe77181a",
            id="RFC 3602 case 1",
        ),
        pytest.param(
            12,
            "c286696d887c9aa0611bbb3e2025a45a",
            "562e17996d093d28ddb3ba695a2e6f58",
            bytes(range(32)).hex(),
            "d296cd94c2cccf8a3a863028b5e1dc0a7586602d253cfff91b8266bea6d61ab1",
            id="RFC 3602 case 2",
        ),
        pytest.param(
            3,
            "01" * 24,
            "00" * 8,
            "8000000000000000",
            "95f8a5e5dd31d900",
            id="SP 800-17 variable plaintext 1",
        ),
    ],
)
def test_cbc_and_its_hmac_over_aad_iv_and_ciphertext(encryption, key, iv, plaintext, ciphertext):
    key, iv, plaintext, ciphertext = (bytes.fromhex(text) for text in (key, iv, plaintext, ciphertext))
    integrity_key = bytes(range(32))
    cipher = CipherSuite(encryption, 128 if encryption == 12 else 0, 12).bind(key, integrity_key)
    sealed = cipher.seal(iv, plaintext, b"header")
    icv = hmac.new(integrity_key, b"header" + iv + ciphertext, hashlib.sha256).digest()[:16]
    assert sealed == ciphertext + icv
    assert cipher.open(iv, sealed, b"header") == plaintext


@pytest.mark.parametrize(
    ("integrity", "key_length", "expected"),
    [
        (12, 32, "198a607eb44bfbc69903a0f1cf2bbdc5"),
        (13, 48, "b6a8d5636f5c6a7224f9977dcf7ee6c7fb6d0c48cbdee973"),
        (14, 64, "637edc6e01dce7e6742a99451aae82df23da3e92439e590e43e761b33e910fb8"),
    ],
)
def test_rfc_4868_auth_vectors(integrity, key_length, expected):
    """AUTH256-1, AUTH384-1 and AUTH512-1 (RFC 4868 section 2.7.2.1): key 0b repeated, data `Hi There`."""
    cipher = CipherSuite(12, 128, integrity).bind(bytes(16), b"\x0b" * key_length)
    assert cipher._icv(b"Hi", b" There", b"").hex() == expected


@suites
@given(data=st.data())
def test_what_is_sealed_opens(suite, data):
    cipher = bind(suite)
    iv = data.draw(st.binary(min_size=suite.iv_length, max_size=suite.iv_length))
    plaintext = data.draw(st.binary(max_size=20)) * suite.block_size
    aad = data.draw(st.binary(max_size=40))
    sealed = cipher.seal(iv, plaintext, aad)
    assert len(sealed) == len(plaintext) + suite.icv_length
    assert cipher.open(iv, sealed, aad) == plaintext


@suites
@given(data=st.data())
def test_one_altered_bit_is_noticed(suite, data):
    cipher = bind(suite)
    iv, aad = bytes(suite.iv_length), b"additional"
    parts = [iv, cipher.seal(iv, bytes(32), aad), aad]
    which = data.draw(st.integers(0, 2))
    altered = bytearray(parts[which])
    altered[data.draw(st.integers(0, len(altered) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    parts[which] = bytes(altered)
    with pytest.raises(AuthenticationFailed):
        cipher.open(*parts)


@suites
@given(iv=st.binary(max_size=20), sealed=st.binary(max_size=80), aad=st.binary(max_size=8))
def test_arbitrary_bytes_fail_with_the_declared_error(suite, iv, sealed, aad):
    with pytest.raises(AuthenticationFailed):
        bind(suite).open(iv, sealed, aad)


@suites
def test_ivs(suite):
    cipher = bind(suite)
    asked = []

    def random(count: int) -> bytes:
        asked.append(count)
        return b"\xaa" * count

    ivs = [cipher.make_iv(counter, random) for counter in (1, 2, 2**64 - 1)]
    if suite.is_aead:
        assert ivs == [bytes(7) + b"\x01", bytes(7) + b"\x02", b"\xff" * 8]
        assert asked == []
    else:
        assert ivs == [b"\xaa" * suite.iv_length] * 3
        assert asked == [suite.iv_length] * 3


def test_aead_counter_never_wraps():
    with pytest.raises(OverflowError):
        bind(CipherSuite(20, 128)).make_iv(2**64, bytes)


@pytest.mark.parametrize(
    ("encryption", "key_bits", "integrity"),
    [
        (0, 0, 0),
        (2, 0, 2),
        (11, 0, 12),
        (18, 128, 0),
        (20, 0, 0),
        (20, 129, 0),
        (20, 256, 12),
        (28, 256, 0),
        (28, 0, 2),
        (12, 128, 0),
        (12, 0, 12),
        (12, 128, 1),
        (12, 128, 5),
        (3, 192, 2),
        (3, 0, 0),
    ],
)
def test_unknown_combinations(encryption, key_bits, integrity):
    with pytest.raises(UnsupportedAlgorithm):
        CipherSuite(encryption, key_bits, integrity)


@suites
def test_keys_of_a_wrong_length(suite):
    for extra in ((1, 0), (-1, 0), (0, 1)):
        with pytest.raises(ValueError, match="keys of"):
            suite.bind(bytes(suite.encryption_key_length + extra[0]), bytes(suite.integrity_key_length + extra[1]))


@suites
def test_the_repr_holds_no_key(suite):
    assert repr(bind(suite)).startswith("<anyike.crypto.cipher.")
