"""PRF, prf+ and digests against NIST SP 800-135 (IKEv2), RFC 4231 and RFC 2202."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyike.crypto.prf import PRFS, Prf, digest

KDF_CASES = json.loads((Path(__file__).parents[2] / "vectors/crypto/ikev2_kdf.json").read_text())


def unhex(case: dict[str, str]) -> dict[str, bytes]:
    return {name: bytes.fromhex(value) for name, value in case.items() if name not in ("name", "prf")}


@pytest.mark.parametrize("case", KDF_CASES, ids=lambda case: case["name"])
def test_nist_sp800_135_ikev2(case):
    prf, value = PRFS[case["prf"]], unhex(case)
    nonces = value["ni"] + value["nr"]
    assert prf(nonces, value["g_ir"]) == value["skeyseed"]
    seed = nonces + value["spi_i"] + value["spi_r"]
    assert prf.plus(value["skeyseed"], seed, len(value["dkm"])) == value["dkm"]


@pytest.mark.parametrize("case", [case for case in KDF_CASES if "child_dkm" in case], ids=lambda case: case["name"])
def test_nist_sp800_135_child_sa(case):
    prf, value = PRFS[case["prf"]], unhex(case)
    sk_d = value["dkm"][: prf.output_length]
    assert prf.plus(sk_d, value["ni"] + value["nr"], len(value["child_dkm"])) == value["child_dkm"]


@pytest.mark.parametrize("case", [case for case in KDF_CASES if "g_ir_new" in case], ids=lambda case: case["name"])
def test_nist_sp800_135_rekey(case):
    prf, value = PRFS[case["prf"]], unhex(case)
    sk_d = value["dkm"][: prf.output_length]
    seed = value["g_ir_new"] + value["ni"] + value["nr"]
    assert prf(sk_d, seed) == value["skeyseed_rekey"]
    expected = value.get("child_dh_dkm", b"")
    assert prf.plus(sk_d, seed, len(expected)) == expected


@pytest.mark.parametrize(
    ("transform_id", "expected"),
    [
        (2, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
        (5, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        (6, "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649"),
        (
            7,
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554" + "9758bf75c05a994a6d034f65f8f0e6fd"
            "caeab1a34d4a6b4b636e070a38bce737",
        ),
    ],
)
def test_rfc_4231_and_2202_case_2(transform_id, expected):
    assert PRFS[transform_id](b"Jefe", b"what do ya want for nothing?") == bytes.fromhex(expected)


@pytest.mark.parametrize("prf", PRFS.values(), ids=lambda prf: prf.name)
def test_plus_reaches_255_blocks_and_no_further(prf: Prf):
    limit = 255 * prf.output_length
    assert len(prf.plus(b"key", b"seed", limit)) == limit
    with pytest.raises(ValueError, match="at most"):
        prf.plus(b"key", b"seed", limit + 1)
    with pytest.raises(ValueError, match="at most"):
        prf.plus(b"key", b"seed", -1)


@given(key=st.binary(max_size=80), seed=st.binary(max_size=80), length=st.integers(0, 300))
def test_plus_is_a_prefix_of_its_longer_self(key, seed, length):
    assert PRFS[5].plus(key, seed, length) == PRFS[5].plus(key, seed, 400)[:length]


def test_lengths_and_names_are_those_of_the_registry():
    assert {i: (prf.name, prf.output_length) for i, prf in PRFS.items()} == {
        2: ("PRF_HMAC_SHA1", 20),
        5: ("PRF_HMAC_SHA2_256", 32),
        6: ("PRF_HMAC_SHA2_384", 48),
        7: ("PRF_HMAC_SHA2_512", 64),
    }


def test_digest_is_fips_180():
    assert digest("sha1", b"abc").hex() == "a9993e364706816aba3e25717850c26c9cd0d89d"
    assert digest("sha256", b"abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
