"""New keys while traffic flows: charon is the judge of every rekeying, started by it or by us."""

from __future__ import annotations

import re
import time

import pytest
from client import Client
from rig import Rig

QUICK = {"esp": {"rekey_time": 4.0, "life_time": 60.0}, "ike": {"rekey_time": 7.0, "life_time": 90.0}}
INSIDE = "10.77.0.2"


def spis(rig: Rig) -> tuple[str, str]:
    """The SPIs of the gateway's IKE SA, and its inbound ESP SPI."""
    listed = rig.gateway_sas()
    ike = re.search(r"IKEv2, (\w+)_i\*? (\w+)_r", listed)
    # One that was replaced is listed for some seconds more, as DELETED.
    esp = re.search(r"INSTALLED.*?\n(?:.*\n)*?\s+in\s+(\w+)", listed)
    assert ike, listed
    assert esp, listed
    return f"{ike[1]} {ike[2]}", esp[1]


def sas(rig: Rig) -> tuple[int, int]:
    """How many IKE SAs and CHILD_SAs stand at the gateway."""
    listed = rig.gateway_sas()
    return len(re.findall(r"ESTABLISHED", listed)), len(re.findall(r"INSTALLED", listed))


def ping(client: Client, count: int = 20) -> None:
    """No packet may be lost over a rekeying."""
    said = client.run("ping", "-i", "0.05", "-c", str(count), "-W", "2", INSIDE)
    assert f"{count} received" in said, said


@pytest.mark.parametrize("what", ["child", "ike"])
def test_the_gateway_rekeys(rig: Rig, client: Client, what: str) -> None:
    rig.configure()
    process = client.up()
    before = spis(rig)
    for _ in range(3):
        rig.rekey(what)
        ping(client)
    after = spis(rig)
    assert (before[0] != after[0], before[1] != after[1]) == ((False, True) if what == "child" else (True, False))
    assert sas(rig) == (1, 1)
    assert process.stays_up(1)


def test_we_rekey(rig: Rig, client: Client) -> None:
    rig.configure()
    process = client.up(**QUICK)
    before = spis(rig)
    end = time.monotonic() + 12
    while time.monotonic() < end:
        ping(client)
    after = spis(rig)
    assert before[0] != after[0]
    assert before[1] != after[1]
    assert process.stays_up(1)


@pytest.mark.parametrize("limit", [{"rekey_packets": 100}, {"rekey_bytes": 8_400}], ids=["packets", "bytes"])
def test_we_rekey_what_has_carried_enough(rig: Rig, client: Client, limit: dict[str, int]) -> None:
    """A ping and its reply have 84 bytes each; the limit may be a tenth lower."""
    rig.configure()
    process = client.up(esp=limit)
    before = spis(rig)
    ping(client)
    assert spis(rig) == before
    ping(client, 60)
    after = spis(rig)
    assert after[0] == before[0]
    assert after[1] != before[1]
    assert sas(rig) == (1, 1)
    assert process.stays_up(1)
