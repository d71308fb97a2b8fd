from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyike.crypto.cipher import CipherSuite
from anyike.esp.overhead import MINIMUM_MTU, inner_mtu
from anyike.esp.packet import encapsulate
from tests.unit.esp.samples import cipher_for, suites


def outer_length(suite, inner: int, version: int, udp: bool) -> int:
    """By making the packet."""
    cipher = cipher_for(suite)
    esp = encapsulate(cipher, 1, 1, bytes(inner), iv=bytes(cipher.iv_length), next_header=4)
    return len(esp) + (8 if udp else 0) + {4: 20, 6: 40}[version]


@given(suites, st.integers(300, 9000), st.sampled_from([4, 6]), st.booleans())
def test_the_largest_that_fits(suite, outer_mtu: int, version: int, udp: bool) -> None:
    mtu = inner_mtu(outer_mtu, suite, version, udp=udp)
    assert outer_length(suite, mtu, version, udp) <= outer_mtu < outer_length(suite, mtu + 1, version, udp)


@pytest.mark.parametrize(
    ("suite", "version", "expected"),
    # 1500 - 20 - 8 - 8 - 8 - 16 = 1440; 1420 in IPv6; CBC: 1500 - 20 - 8 - 8 - 16 - 16 = 1432, whole blocks 1424.
    [(CipherSuite(20, 128), 4, 1438), (CipherSuite(20, 128), 6, 1418), (CipherSuite(12, 256, 12), 4, 1422)],
)
def test_on_ethernet(suite, version: int, expected: int) -> None:
    assert inner_mtu(1500, suite, version, udp=True) == expected


def test_never_below_what_an_interface_takes() -> None:
    assert inner_mtu(100, CipherSuite(28), 6, udp=True) == MINIMUM_MTU
