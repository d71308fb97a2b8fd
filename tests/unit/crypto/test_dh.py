"""Key exchange against RFC 5903, RFC 7748 and the RFCs' own formula for the MODP primes; RFC 6989 checks."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyike.crypto.dh import ECP_CURVES, EXPONENT_BYTES, InvalidKeyExchange, generate
from anyike.crypto.modp import MODP_PRIMES
from anyike.errors import ProtocolError, UnsupportedAlgorithm

ECP_CASES = json.loads((Path(__file__).parents[2] / "vectors/crypto/ecp.json").read_text())
PUBLIC_LENGTHS = {2: 128, 5: 192, 14: 256, 15: 384, 16: 512, 19: 64, 20: 96, 21: 132, 31: 32}
SECRET_LENGTHS = PUBLIC_LENGTHS | {19: 32, 20: 48, 21: 66}


def exactly(value: int):
    """A byte source from which an ECP private value comes out as `value` (it is reduced and made non-zero)."""
    return lambda count: (value - 1).to_bytes(count, "big")


def seeded(seed: int):
    return random.Random(seed).randbytes


@pytest.mark.parametrize("group", sorted(ECP_CURVES))
def test_rfc_5903(group):
    case = {name: bytes.fromhex(value) for name, value in ECP_CASES[str(group)].items()}
    initiator = generate(group, exactly(int.from_bytes(case["i"], "big")))
    responder = generate(group, exactly(int.from_bytes(case["r"], "big")))
    assert initiator.public == case["gi"]
    assert responder.public == case["gr"]
    assert initiator.shared_secret(case["gr"]) == case["girx"]
    assert responder.shared_secret(case["gi"]) == case["girx"]


def test_rfc_7748_section_6_1():
    alice_private = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
    bob_public = bytes.fromhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
    alice = generate(31, lambda count: alice_private[:count])
    assert alice.public.hex() == "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    assert alice.shared_secret(bob_public).hex() == "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"


def pi_times_two_to_the(bits: int) -> int:
    """floor(2^bits * pi) by Machin's formula."""
    guard = 64
    one = 1 << (bits + guard)

    def arctan_of_inverse(x: int) -> int:
        term = total = one // x
        divisor, sign = 3, -1
        while term:
            term //= x * x
            total += sign * (term // divisor)
            divisor, sign = divisor + 2, -sign
        return total

    return 4 * (4 * arctan_of_inverse(5) - arctan_of_inverse(239)) >> guard


@pytest.mark.parametrize(
    ("group", "bits", "constant"),
    [(2, 1024, 129093), (5, 1536, 741804), (14, 2048, 124476), (15, 3072, 1690314), (16, 4096, 240904)],
)
def test_modp_primes_are_those_of_the_rfcs_formula(group, bits, constant):
    expected = 2**bits - 2 ** (bits - 64) - 1 + 2**64 * (pi_times_two_to_the(bits - 130) + constant)
    assert MODP_PRIMES[group] == expected


@pytest.mark.parametrize("group", sorted(MODP_PRIMES))
def test_modp_is_plain_exponentiation_with_the_callers_bytes(group):
    prime, size = MODP_PRIMES[group], EXPONENT_BYTES[group]
    private = bytes(range(size))
    exponent = int.from_bytes(private, "big") | 1 << (8 * size - 1)
    ours = generate(group, lambda count: private[:count])
    length = PUBLIC_LENGTHS[group]
    assert ours.public == pow(2, exponent, prime).to_bytes(length, "big")
    peer = 3 << 100
    assert ours.shared_secret(peer.to_bytes(length, "big")) == pow(peer, exponent, prime).to_bytes(length, "big")


def test_modp_secret_is_left_padded_to_the_length_of_the_prime():
    """A peer value found so that the secret starts with a zero byte (RFC 7296 section 2.14)."""
    ours = generate(14, seeded(1))
    secrets = (ours.shared_secret(peer.to_bytes(256, "big")) for peer in range(2, 3000))
    padded = next(secret for secret in secrets if secret[0] == 0)
    assert len(padded) == 256


@pytest.mark.parametrize("group", PUBLIC_LENGTHS)
def test_both_ends_agree_and_lengths_are_fixed(group):
    ours, theirs = generate(group, seeded(1)), generate(group, seeded(2))
    secret = ours.shared_secret(theirs.public)
    assert secret == theirs.shared_secret(ours.public)
    assert (ours.group, len(ours.public), len(secret)) == (group, PUBLIC_LENGTHS[group], SECRET_LENGTHS[group])
    assert generate(group, seeded(1)).public == ours.public


@pytest.mark.parametrize("group", PUBLIC_LENGTHS)
@pytest.mark.parametrize("fill", [b"\x00", b"\xff"], ids=["zeros", "ones"])
def test_any_random_bytes_make_a_usable_private_value(group, fill):
    ours, theirs = generate(group, lambda count: fill * count), generate(group, seeded(3))
    assert ours.shared_secret(theirs.public) == theirs.shared_secret(ours.public)


@pytest.mark.parametrize("group", PUBLIC_LENGTHS)
def test_wrong_length_is_refused(group):
    ours, theirs = generate(group, seeded(1)), generate(group, seeded(2))
    for public in (b"", theirs.public[1:], theirs.public + b"\x00", b"\x04" + theirs.public):
        with pytest.raises(InvalidKeyExchange, match="bytes, not"):
            ours.shared_secret(public)


@pytest.mark.parametrize("group", sorted(MODP_PRIMES))
def test_modp_values_out_of_range_are_refused(group):
    ours, prime = generate(group, seeded(1)), MODP_PRIMES[group]
    for value in (0, 1, prime - 1, prime, prime + 1):
        with pytest.raises(InvalidKeyExchange, match="between 1 and p-1"):
            ours.shared_secret(value.to_bytes(PUBLIC_LENGTHS[group], "big"))
    for value in (2, prime - 2):
        assert len(ours.shared_secret(value.to_bytes(PUBLIC_LENGTHS[group], "big"))) == PUBLIC_LENGTHS[group]


@pytest.mark.parametrize("group", sorted(ECP_CURVES))
def test_points_off_the_curve_are_refused(group):
    ours, theirs = generate(group, seeded(1)), bytearray(generate(group, seeded(2)).public)
    theirs[-1] ^= 1
    for public in (bytes(theirs), bytes(len(theirs)), b"\xff" * len(theirs)):
        with pytest.raises(InvalidKeyExchange, match="not a point"):
            ours.shared_secret(public)


@pytest.mark.parametrize("low_order", ["00" * 32, "01" + "00" * 31, "ecff" + "ff" * 29 + "7f"])
def test_curve25519_points_of_low_order_are_refused(low_order):
    with pytest.raises(InvalidKeyExchange, match="all-zero"):
        generate(31, seeded(1)).shared_secret(bytes.fromhex(low_order))


@settings(max_examples=50, deadline=None)
@given(group=st.sampled_from([14, 19, 20, 21, 31]), data=st.data())
def test_arbitrary_public_values_give_a_secret_or_the_declared_error(group, data):
    public = data.draw(st.binary(min_size=PUBLIC_LENGTHS[group], max_size=PUBLIC_LENGTHS[group]))
    try:
        secret = generate(group, seeded(1)).shared_secret(public)
    except InvalidKeyExchange:
        return
    assert len(secret) == SECRET_LENGTHS[group]


def test_unknown_groups():
    for group in (0, 1, 17, 22, 30, 32, 35):
        with pytest.raises(UnsupportedAlgorithm, match=str(group)):
            generate(group, seeded(1))


def test_error_is_a_protocol_error_and_the_repr_tells_nothing():
    assert issubclass(InvalidKeyExchange, ProtocolError)
    assert " object at 0x" in repr(generate(14, seeded(1)))
