"""Settings as the rooms want them: the number that stands for this machine at gateways, and what a gateway must prove."""

import os
import re

import pytest

from anyike import assembly, paths
from anyike.config import Device, Esp, Gateway, Settings
from anyike.errors import HostSetupFailed
from anyike.esp.sa import LAST_SEQUENCE
from anyike.esp.wear import KeyLimits


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Where it is kept."""
    monkeypatch.setattr(paths, "STATE", tmp_path)
    return tmp_path / "device-id"


def unique_id() -> str:
    return assembly.login_settings(Settings(gateway=Gateway(host="a"), device=Device()), "a").device.unique_id


def test_is_made_once_and_reaches_the_disk(kept, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.fstat(number).st_size) or real(number))
    first = unique_id()
    assert re.fullmatch("[0-9A-F]{64}", first)
    assert synced == [65]
    assert unique_id() == first
    assert kept.read_text() == f"{first}\n"
    assert [path.name for path in kept.parent.iterdir()] == ["device-id"]


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"AB" * 31, b"AB" * 33, b"XY" * 32])
def test_what_is_none_is_made_anew(kept, content):
    kept.write_bytes(content)
    made = unique_id()
    assert re.fullmatch("[0-9A-F]{64}", made)
    assert unique_id() == made


def test_one_that_somebody_wrote_stays(kept):
    kept.write_text("ab" * 32)
    assert unique_id() == "ab" * 32


def test_a_place_that_cannot_be_read(kept):
    kept.mkdir()
    with pytest.raises(HostSetupFailed, match=r"device-id cannot be kept: .*Set device\.unique_id"):
        unique_id()


def test_pins_reach_the_policy_each_as_its_kind():
    key, chain = f"pin-sha256:{'A' * 43}=", f"pin-sha512:{'A' * 86}=="
    pinned = Settings(gateway=Gateway(host="a", servercert=[key], chain_pins=[chain]))
    policy = assembly.trust_policy(pinned, "a")
    assert (policy.pins, policy.chain_pins, policy.roots) == ((key,), (chain,), ())
    in_chain = assembly.trust_policy(Settings(gateway=Gateway(host="a", chain_pins=[chain])), "a")
    assert (in_chain.pins, in_chain.chain_pins) == ((), (chain,))
    assert in_chain.roots


def test_the_limits_of_keys_by_use():
    settings = Settings(gateway=Gateway(host="a"), esp=Esp(rekey_packets=3, rekey_bytes=5))
    assert assembly.key_limits(settings) == KeyLimits(packets=3, octets=5)
    default = assembly.key_limits(Settings(gateway=Gateway(host="a")))
    assert 0 < default.packets < LAST_SEQUENCE
