"""New keys for the CHILD_SA and the IKE SA, by either side; when, how, and what a refusal leads to."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace

import pytest

from anyike.crypto.cipher import CipherSuite
from anyike.crypto.prf import PRFS
from anyike.errors import TunnelEnded
from anyike.ikev2 import keymat
from anyike.ikev2.connection import Connection
from anyike.ikev2.events import ChildAdded, ChildRemoved, OutboundSwitched
from anyike.ikev2.settings import Lifetime
from anyike.ikev2.tunnel import LATER, LINGER, PATIENCE, RETRY
from tests.fakes import wire
from tests.fakes.keys import Algorithms, IkeKeys
from tests.fakes.link import CHILD_SPI, LATENCY, Link, ike_settings
from tests.fakes.tunnel import (
    CHILD_SA_NOT_FOUND,
    INVALID_KE,
    NO_ADDITIONAL_SAS,
    NO_PROPOSAL,
    TEMPORARY_FAILURE,
    Tunnel,
)
from tests.unit.ikev2.golden import VECTORS

NEVER = Lifetime(soft=0.0, hard=0.0)
KDF_CASES = [c for c in json.loads((VECTORS.parent / "crypto" / "ikev2_kdf.json").read_text()) if "skeyseed_rekey" in c]
SUITES = ["aes256gcm16", "chacha20poly1305", "aes256-sha256", "aes128-sha1"]
PFS_SUITES = ["aes256gcm16-x25519", "aes256gcm16-ecp256", "aes256-sha256-modp2048"]


def tunnel(
    esp: str = "aes256gcm16",
    ike: str = "aes256gcm16-prfsha256-x25519",
    random: Callable[[int], bytes] = os.urandom,
    **changes: object,
) -> Link:
    values = {"liveness_interval": 0.0, "keepalive_interval": 0.0, "ike_lifetime": NEVER, "child_lifetime": NEVER}
    link = Link(settings=ike_settings(ike, esp, **(values | changes)), random=random).establish()
    link.sent.clear()
    return link


def rekey_child(client: Connection, now: float) -> None:
    assert client._tunnel is not None
    client.child_expiring(client._tunnel._outbound.sa.inbound_spi, now)


def rekey_ike(client: Connection, now: float) -> None:
    assert client._tunnel is not None
    client._tunnel._begin_ike_rekeying(now)
    client._tunnel._go_on(now)


def installed(link: Link) -> list[int]:
    return [event.child.inbound_spi for event in link.events if isinstance(event, ChildAdded)]


def requests(link: Link) -> list[int]:
    """The exchanges that the gateway was asked for since the login."""
    return [exchange for exchange, _ in link.gateway.journal.requests if exchange not in (34, 35)]


def fixed_random(byte: int):
    return lambda count: bytes([byte]) * count


# --- keys -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", KDF_CASES, ids=lambda case: case["name"])
def test_published_vectors(case):
    """NIST's for SKEYSEED of a rekeying and for KEYMAT with a key exchange of its own; for both ends' derivations."""
    value = {name: bytes.fromhex(text) for name, text in case.items() if name not in ("name", "prf")}
    prf_id, nonces, spis = int(case["prf"]), value["ni"] + value["nr"], value["spi_i"] + value["spi_r"]
    suite = CipherSuite(20, 256)
    old = keymat.derive_ike_keys(prf_id, suite, value["g_ir"], value["ni"], value["nr"], value["spi_i"], value["spi_r"])
    assert old.prf(old.sk_d, value["g_ir_new"] + nonces) == value["skeyseed_rekey"]
    new = keymat.derive_rekeyed_ike_keys(
        old, prf_id, suite, value["g_ir_new"], value["ni"], value["nr"], value["spi_i"], value["spi_r"]
    )
    assert new.sk_d == PRFS[prf_id].plus(value["skeyseed_rekey"], nonces + spis, len(new.sk_d))
    fake = IkeKeys.derive(Algorithms(20, 256, 0, prf_id, 0), value["g_ir"], nonces, spis)
    rekeyed = fake.rekeyed(fake.algorithms, value["g_ir_new"], nonces, spis)
    names = ("sk_d", "sk_ai", "sk_ar", "sk_ei", "sk_er", "sk_pi", "sk_pr")
    assert [getattr(new, name) for name in names] == [getattr(rekeyed, name) for name in names]
    outbound, inbound = keymat.derive_child_keys(old, suite, value["ni"], value["nr"], value["g_ir_new"])
    keys = outbound.encryption + outbound.integrity + inbound.encryption + inbound.integrity
    if "child_dh_dkm" in value:
        assert keys == value["child_dh_dkm"][: len(keys)]
    assert keys == b"".join(fake.child(fake.algorithms, nonces, value["g_ir_new"]))


def test_a_rekeyed_ike_sa_may_have_another_prf():
    """SKEYSEED by the old one, the keys by the new one (RFC 7296 2.18)."""
    old = keymat.derive_ike_keys(5, CipherSuite(20, 256), b"secret", b"i" * 32, b"r" * 32, b"I" * 8, b"R" * 8)
    new = keymat.derive_rekeyed_ike_keys(old, 7, CipherSuite(28), b"other", b"j" * 32, b"s" * 32, b"J" * 8, b"S" * 8)
    fake = IkeKeys.derive(Algorithms(20, 256, 0, 5, 0), b"secret", b"i" * 32 + b"r" * 32, b"I" * 8 + b"R" * 8)
    expected = fake.rekeyed(Algorithms(28, 0, 0, 7, 0), b"other", b"j" * 32 + b"s" * 32, b"J" * 8 + b"S" * 8)
    assert (new.sk_d, new.sk_ei, new.sk_pr) == (expected.sk_d, expected.sk_ei, expected.sk_pr)
    assert len(new.sk_d) == 64


# --- by either side -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("esp", SUITES + PFS_SUITES)
def test_the_client_rekeys_the_child_sa(esp):
    link = tunnel(esp)
    for count in range(1, 4):
        link.let_client(rekey_child).run(LINGER + 1).assert_one_tunnel()
        assert requests(link) == [wire.CREATE_CHILD_SA, wire.INFORMATIONAL] * count
        assert installed(link)[-1] == CHILD_SPI + count


@pytest.mark.parametrize(
    ("esp", "group"), [(esp, 0) for esp in SUITES] + [("aes256gcm16", 31), ("aes256-sha256-ecp256", 19)]
)
def test_the_gateway_rekeys_the_child_sa(esp, group):
    """A group is taken if the gateway wants one, whether or not ours name any."""
    link = tunnel(esp)
    for count in range(1, 4):
        link.let_gateway(lambda tunnel: tunnel.rekey_child(group=group)).run(LINGER + 1).assert_one_tunnel()
        assert installed(link)[-1] == CHILD_SPI + count
    assert requests(link) == []
    run_out(link)


@pytest.mark.parametrize("ike", ["aes256gcm16-prfsha256-x25519", "aes128-sha1-modp1024", "aes256-sha512-ecp384"])
@pytest.mark.parametrize("sides", ["client", "gateway", "client gateway", "gateway client gateway"])
def test_the_ike_sa_is_rekeyed(ike, sides):
    """Whoever starts it is the new IKE SA's original initiator: the flags and the order of the SPIs follow."""
    link = tunnel(ike=ike)
    seen = {link.gateway.spi_i}
    for side in sides.split():
        if side == "client":
            link.let_client(rekey_ike)
        else:
            link.let_gateway(Tunnel.rekey_ike)
        link.run(10).assert_one_tunnel()
        assert link.tunnel.sa.initiator == (side == "gateway")
        assert link.gateway.spi_i not in seen
        seen.add(link.gateway.spi_i)
        link.let_client(rekey_child).run(LINGER + 1).assert_one_tunnel()
        link.let_gateway(Tunnel.rekey_child).run(LINGER + 1).assert_one_tunnel()
        link.let_client(lambda client, now: client.check_liveness(now)).let_gateway(Tunnel.check_liveness).run(1)
    run_out(link)
    link.close().run(10)
    assert link.error is None
    assert link.gateway.journal.deleted


def test_everything_is_rekeyed_at_once_when_somebody_wants_it():
    link = tunnel()
    link.let_client(lambda client, now: client.rekey(now)).run(20).assert_one_tunnel()
    assert requests(link).count(wire.CREATE_CHILD_SA) == 2
    assert installed(link) == [CHILD_SPI + 1]


@pytest.mark.parametrize("side", ["client", "gateway"])
def test_make_before_break(side):
    """Installed, then sent by, then the old one is gone, and only after its last packets have had time to arrive."""
    link = tunnel()
    link.installing = 0.5
    link.events.clear()
    start = link.now
    if side == "client":
        link.let_client(rekey_child)
    else:
        link.let_gateway(Tunnel.rekey_child)
    link.run(20).assert_one_tunnel()
    kinds = [type(event) for event in link.events]
    assert kinds[-3:] == [ChildAdded, OutboundSwitched, ChildRemoved]
    assert link.tunnel.stopped[CHILD_SPI] > start + link.installing
    assert link.now - start < PATIENCE


def run_out(link: Link) -> None:
    """What is still scheduled comes to its end, and changes nothing."""
    link._steps = 0
    link.run(20 * PATIENCE).assert_one_tunnel()
    assert link.client.get_timer() is None
    assert link.gateway.get_timer() is None


# --- when -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("byte", "share"), [(0, 1.0), (255, 0.9)])
def test_the_soft_limit_with_the_bounds_of_its_jitter(byte, share):
    link = tunnel(child_lifetime=Lifetime(soft=1000.0, hard=1200.0), ike_lifetime=Lifetime(soft=5000.0, hard=6000.0))
    settings = link.client._settings
    assert settings.child_lifetime.jittered(fixed_random(byte)) == pytest.approx(1000.0 * share)
    appointments = link.client._tunnel._agenda._appointments
    soft, hard = appointments["soft", CHILD_SPI][0], appointments["hard", CHILD_SPI][0]
    assert 900.0 <= soft - (hard - 1200.0) <= 1000.0
    assert 4500.0 <= appointments["soft IKE"][0] - (appointments["hard IKE"][0] - 6000.0) <= 5000.0
    assert link.client.get_timer() == soft
    link.run(soft - link.now + LINGER + 1).assert_one_tunnel()
    assert installed(link) == [CHILD_SPI + 1]
    assert ("soft", CHILD_SPI) not in appointments
    assert ("hard", CHILD_SPI) not in appointments
    assert 900.0 <= appointments["soft", CHILD_SPI + 1][0] - soft <= 1001.0


def test_rekeying_by_time_goes_on_for_days():
    link = tunnel(child_lifetime=Lifetime(soft=3600.0, hard=4000.0), ike_lifetime=Lifetime(soft=7000.0, hard=9000.0))
    link.run(5 * 86400)
    link.run(60).assert_one_tunnel()
    assert len(installed(link)) >= 5 * 24
    assert len(link.client._tunnel._agenda._appointments) == 4
    assert not link.dropped


def test_a_child_that_has_carried_enough_is_rekeyed_before_its_time_once():
    link = tunnel(child_lifetime=Lifetime(soft=1000.0, hard=1200.0))
    link.let_client(rekey_child).let_client(rekey_child).run(20).assert_one_tunnel()
    assert installed(link) == [CHILD_SPI + 1]
    link.let_client(lambda client, now: client.child_expiring(CHILD_SPI, now)).run(20).assert_one_tunnel()
    assert installed(link) == [CHILD_SPI + 1]


@pytest.mark.parametrize("kind", [NO_ADDITIONAL_SAS, NO_PROPOSAL, TEMPORARY_FAILURE])
@pytest.mark.parametrize(("limits", "option"), [("child_lifetime", "esp.life_time"), ("ike_lifetime", "ike.life_time")])
def test_a_gateway_that_never_agrees_ends_the_tunnel_at_the_hard_limit(kind, limits, option):
    link = tunnel(**{limits: Lifetime(soft=1000.0, hard=3000.0)})
    start = link.now
    link.gateway.policy.refusals.extend([wire.notify(kind)] * 10_000)
    link.run(2900)
    asked = len(requests(link))
    assert asked == pytest.approx(2000 / (RETRY if kind == TEMPORARY_FAILURE else LATER), rel=0.6)
    link.run(200)
    assert isinstance(link.error, TunnelEnded)
    assert option in str(link.error)
    assert link.now - start == pytest.approx(3100)
    assert link.gateway.journal.deleted
    assert link.client.get_timer() is None


@pytest.mark.parametrize("rekey", [rekey_child, rekey_ike])
@pytest.mark.parametrize(
    ("kind", "delay"), [(TEMPORARY_FAILURE, RETRY), (NO_ADDITIONAL_SAS, LATER), (NO_PROPOSAL, LATER)]
)
def test_what_was_refused_is_tried_again_later(rekey, kind, delay):
    link = tunnel()
    link.gateway.policy.refusals.append(wire.notify(kind))
    link.let_client(rekey).run(4 * LATENCY)
    assert delay * 0.5 <= link.client.get_timer() - link.now + 4 * LATENCY <= delay * 1.5 + 1
    assert requests(link) == [wire.CREATE_CHILD_SA]
    link.run(delay * 0.5 - 1)
    assert requests(link) == [wire.CREATE_CHILD_SA]
    link.run(delay + 2 + LINGER).assert_one_tunnel()
    assert requests(link) == [wire.CREATE_CHILD_SA] * 2 + [wire.INFORMATIONAL]


def test_a_child_that_the_gateway_does_not_know_any_more_ends_the_tunnel():
    link = tunnel()
    link.let_gateway(lambda tunnel: tunnel._remove(tunnel.children[0]))
    link.let_client(rekey_child).run(10)
    assert link.tunnel.refused == [CHILD_SA_NOT_FOUND]
    assert isinstance(link.error, TunnelEnded)


# --- groups ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["client", "gateway"])
def test_the_group_of_the_child_sa_is_agreed_on(side):
    link = tunnel("aes256gcm16-ecp256-x25519")
    if side == "client":
        link.gateway.policy.child_group = 31
        link.let_client(rekey_child)
    else:
        link.let_gateway(lambda tunnel: tunnel.rekey_child(group=19))
    link.run(10).assert_one_tunnel()
    assert link.tunnel.refused == ([INVALID_KE] if side == "client" else [])


def test_the_group_of_the_ike_sa_is_agreed_on():
    link = tunnel(ike="aes256gcm16-prfsha256-x25519-ecp256")
    link.gateway.policy.ike_group = 19
    link.let_client(rekey_ike).run(10).assert_one_tunnel()
    assert link.tunnel.refused == [INVALID_KE]
    assert link.gateway.keys.algorithms.group == 19


@pytest.mark.parametrize("about", ["child", "ike"])
def test_the_gateway_is_told_the_group_that_we_want(about):
    """It offers both and sends a KE of one that is not the first."""
    link = tunnel("aes256gcm16-x25519")

    def both_groups(_step, payloads):
        changed = []
        for payload in payloads:
            proposals = wire.read_proposals(payload.body) if payload.type == wire.SA else []
            if proposals and not any(payload.type == wire.KE and payload.body[1] == 31 for payload in payloads):
                more = replace(proposals[0], transforms=((wire.DH, 31, 0), *proposals[0].transforms))
                changed.append(replace(payload, body=more.encode()))
            else:
                changed.append(payload)
        return changed

    link.gateway.tamper.payloads = both_groups
    link.let_gateway(lambda t: t.rekey_child(group=19) if about == "child" else t.rekey_ike(group=19))
    link.run(10).assert_one_tunnel()
    assert link.tunnel.refused == [INVALID_KE]


@pytest.mark.parametrize("rekey", [rekey_child, rekey_ike])
def test_a_gateway_that_always_wants_another_group_is_not_followed_for_ever(rekey):
    link = tunnel("aes256gcm16-ecp256-x25519", "aes256gcm16-prfsha256-ecp256-x25519")
    groups = [wire.notify(INVALID_KE, group.to_bytes(2, "big")) for group in (31, 19)] * 50
    link.gateway.policy.refusals.extend(groups)
    link.let_client(rekey).run(10)
    assert requests(link) == [wire.CREATE_CHILD_SA] * 2


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\x05", b"\xff\xff", b"\0\x1f", b"\0\0\0\x13"])
@pytest.mark.parametrize("rekey", [rekey_child, rekey_ike])
def test_a_group_that_cannot_be_is_a_refusal(rekey, data):
    link = tunnel("aes256gcm16-x25519")
    link.gateway.policy.refusals.append(wire.notify(INVALID_KE, data))
    link.let_client(rekey).run(10).assert_one_tunnel()
    assert requests(link) == [wire.CREATE_CHILD_SA]


# --- lost messages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["to_gateway", "to_client"])
@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("start", ["client child", "client ike", "gateway child", "gateway ike"])
def test_any_message_of_a_rekeying_may_be_lost(direction, which, start):
    link = tunnel()
    passed = iter(range(100))
    setattr(link, direction, lambda message: [] if next(passed) == which else [(LATENCY, message)])
    begin(link, start)
    link.run(300).assert_one_tunnel()
    run_out(link)


@pytest.mark.parametrize("start", ["client child", "client ike", "gateway child", "gateway ike"])
def test_every_message_of_a_rekeying_comes_twice_and_late(start):
    link = tunnel()
    link.to_client = link.to_gateway = lambda message: [(LATENCY, message), (LATENCY, message), (1.0, message)]
    begin(link, start)
    link.run(300).assert_one_tunnel()
    run_out(link)


def begin(link: Link, what: str) -> None:
    """Who rekeys what."""
    match what:
        case "client child":
            link.let_client(rekey_child)
        case "client ike":
            link.let_client(rekey_ike)
        case "gateway child":
            link.let_gateway(Tunnel.rekey_child)
        case "gateway ike":
            link.let_gateway(Tunnel.rekey_ike)


@pytest.mark.parametrize("what", ["client child", "client ike"])
def test_a_gateway_that_falls_silent_in_a_rekeying_ends_the_tunnel(what):
    link = tunnel()
    link.to_client = lambda _message: []
    begin(link, what)
    link.run(200)
    assert isinstance(link.error, TunnelEnded)
    assert link.client.get_timer() is None
