"""Rekeyings that cannot be: as requests of the gateway and as its responses. One outcome each, and never silence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from anyike.errors import ProtocolError
from anyike.ikev2.states import State
from tests.fakes import wire
from tests.fakes.gateway import Step
from tests.fakes.link import LATENCY, Link
from tests.fakes.tunnel import (
    CHILD_SA_NOT_FOUND,
    INVALID_KE,
    NO_ADDITIONAL_SAS,
    NO_PROPOSAL,
    TEMPORARY_FAILURE,
    TS_UNACCEPTABLE,
    Tunnel,
)
from tests.fakes.wire import Payload
from tests.unit.ikev2.test_rekeying import rekey_child, rekey_ike, run_out, tunnel

INVALID_SYNTAX = 7
Change = Callable[[list[Payload]], list[Payload]]


def body(kind: int, change: Callable[[bytes], bytes]) -> Change:
    """Another content of the payloads of this type."""
    return lambda payloads: [replace(p, body=change(p.body)) if p.type == kind else p for p in payloads]


def without(*kinds: int) -> Change:
    return lambda payloads: [payload for payload in payloads if payload.type not in kinds]


def proposal(**values: object) -> Change:
    """Other values in the SA's only proposal."""
    return body(wire.SA, lambda data: replace(wire.read_proposals(data)[0], **values).encode())


def spi_of_zeros(data: bytes) -> bytes:
    """Of an SA with one proposal."""
    offered = wire.read_proposals(data)[0]
    return replace(offered, spi=bytes(len(offered.spi))).encode()


def selectors(kind: int, *networks: str) -> Change:
    return lambda payloads: [wire.selectors(kind, *networks) if p.type == kind else p for p in payloads]


def rekeyed(spi: bytes) -> Change:
    """Another SPI in N(REKEY_SA)."""
    return body(wire.NOTIFY, lambda data: data[:1] + bytes([len(spi)]) + data[2:4] + spi)


NONCE_OF_8 = body(wire.NONCE, lambda data: data[:8])
NONCE_OF_257 = body(wire.NONCE, lambda data: bytes(257))
NO_NONCE = without(wire.NONCE)
WRONG_TRANSFORMS = proposal(transforms=((wire.ENCR, 12, 128), (wire.INTEG, 2, 0), (wire.ESN, 0, 0)))
UNKNOWN_TRANSFORM = proposal(transforms=((wire.ENCR, 20, 256), (wire.ESN, 0, 0), (99, 7, 0)))
OTHER_KE = body(wire.KE, lambda data: b"\0\x13" + data[2:])
SHORT_KE = body(wire.KE, lambda data: data[:-1])
ZERO_KE = body(wire.KE, lambda data: data[:4] + bytes(len(data) - 4))
"""Of x25519 a public value that makes the shared secret zero (RFC 8031 2.3)."""

CHILD_REQUESTS: dict[str, tuple[Change, int]] = {
    "other selectors of ours": (selectors(wire.TSR, "10.8.0.0/24"), TS_UNACCEPTABLE),
    "other selectors of its": (selectors(wire.TSI, "192.0.2.0/24"), TS_UNACCEPTABLE),
    "selectors of another IP version": (selectors(wire.TSI, "2001:db8::/32"), TS_UNACCEPTABLE),
    "no algorithm of ours": (WRONG_TRANSFORMS, NO_PROPOSAL),
    "an unknown kind of transform": (UNKNOWN_TRANSFORM, NO_PROPOSAL),
    "SPI 0": (proposal(spi=bytes(4)), NO_PROPOSAL),
    "a reserved SPI": (proposal(spi=b"\0\0\0\xff"), NO_PROPOSAL),
    "an SPI of 8 bytes": (proposal(spi=bytes(range(8))), NO_PROPOSAL),
    "no SPI": (proposal(spi=b""), NO_PROPOSAL),
    "AH": (proposal(protocol=wire.PROTOCOL_AH), NO_PROPOSAL),
    "another CHILD_SA": (rekeyed(b"\1\2\3\4"), CHILD_SA_NOT_FOUND),
    "no CHILD_SA": (rekeyed(b""), CHILD_SA_NOT_FOUND),
    "a CHILD_SA of 8 bytes": (rekeyed(bytes(range(8))), CHILD_SA_NOT_FOUND),
    "an additional CHILD_SA": (without(wire.NOTIFY), NO_ADDITIONAL_SAS),
    "another group's KE": (OTHER_KE, INVALID_KE),
    "no KE": (without(wire.KE), INVALID_KE),
    "a nonce of 8 bytes": (NONCE_OF_8, INVALID_SYNTAX),
    "a nonce of 257 bytes": (NONCE_OF_257, INVALID_SYNTAX),
    "no nonce": (NO_NONCE, INVALID_SYNTAX),
    "no SA": (without(wire.SA), INVALID_SYNTAX),
    "no TSi": (without(wire.TSI), INVALID_SYNTAX),
    "no TSr": (without(wire.TSR), INVALID_SYNTAX),
    "a short public value": (SHORT_KE, INVALID_SYNTAX),
    "a public value of zeros": (ZERO_KE, INVALID_SYNTAX),
}
IKE_REQUESTS: dict[str, tuple[Change, int]] = {
    "no algorithm of ours": (WRONG_TRANSFORMS, NO_PROPOSAL),
    "no group": (
        proposal(transforms=((wire.ENCR, 20, 256), (wire.PRF, 5, 0))),
        NO_PROPOSAL,
    ),
    "an SPI of zeros": (proposal(spi=bytes(8)), INVALID_SYNTAX),
    "an SPI of 4 bytes": (proposal(spi=bytes(range(4))), INVALID_SYNTAX),
    "no SPI": (proposal(spi=b""), INVALID_SYNTAX),
    "another group's KE": (OTHER_KE, INVALID_KE),
    "no KE": (without(wire.KE), INVALID_KE),
    "a nonce of 8 bytes": (NONCE_OF_8, INVALID_SYNTAX),
    "no nonce": (NO_NONCE, INVALID_SYNTAX),
    "a short public value": (SHORT_KE, INVALID_SYNTAX),
    "a public value of zeros": (ZERO_KE, INVALID_SYNTAX),
}


def tampered(step: Step, change: Change) -> Link:
    link = tunnel("aes256gcm16-x25519")
    changed = []

    def once(what: Step, payloads: list[Payload]) -> list[Payload]:
        if what is not step or changed:
            return payloads
        changed.append(what)
        return change(payloads)

    link.gateway.tamper.payloads = once
    return link


def check_request(link: Link, expected: int) -> None:
    """What it is told; with INVALID_SYNTAX both sides give up (RFC 7296 2.21.3), with any other notify the tunnel stands."""
    _, answer = link.gateway.journal.responses[0]
    assert wire.first_error(answer) == expected
    if expected == INVALID_SYNTAX:
        assert isinstance(link.error, ProtocolError)
        assert link.client.get_timer() is None
        return
    link.gateway.journal.responses.clear()
    link.tunnel.refused.clear()
    run_out(link)
    for rekey in (Tunnel.rekey_child, Tunnel.rekey_ike):
        link.let_gateway(rekey).run(10).assert_one_tunnel()


@pytest.mark.parametrize("case", CHILD_REQUESTS)
def test_a_request_to_rekey_the_child_that_cannot_be(case):
    change, expected = CHILD_REQUESTS[case]
    link = tampered(Step.REQUEST, change)
    link.let_gateway(lambda t: t.rekey_child(group=31)).run(4 * LATENCY)
    check_request(link, expected)


@pytest.mark.parametrize("case", IKE_REQUESTS)
def test_a_request_to_rekey_the_ike_sa_that_cannot_be(case):
    change, expected = IKE_REQUESTS[case]
    link = tampered(Step.REQUEST, change)
    link.let_gateway(Tunnel.rekey_ike).run(4 * LATENCY)
    check_request(link, expected)


@pytest.mark.parametrize("networks", [("0.0.0.0/0",), ("10.9.0.0/16",), ("10.9.0.7/32", "192.0.2.0/24")])
def test_wider_selectors_than_before_are_narrowed_to_what_was(networks):
    link = tampered(Step.REQUEST, selectors(wire.TSR, *networks))
    link.let_gateway(Tunnel.rekey_child).run(10).assert_one_tunnel()
    assert link.data_path.used.local_selectors == link.established.child.local_selectors


WRONG_RESPONSES = {
    "a nonce of 8 bytes": NONCE_OF_8,
    "a nonce of 257 bytes": NONCE_OF_257,
    "no nonce": NO_NONCE,
    "no SA": without(wire.SA),
    "nothing": lambda _payloads: [],
    "no KE": without(wire.KE),
    "another group's KE": OTHER_KE,
    "a short public value": SHORT_KE,
    "a public value of zeros": ZERO_KE,
    "algorithms that were not offered": WRONG_TRANSFORMS,
    "another number of proposal": proposal(number=7),
    "another protocol": proposal(protocol=wire.PROTOCOL_AH),
    "an SPI of 5 bytes": proposal(spi=bytes(range(1, 6))),
    "no SPI": proposal(spi=b""),
    "an SPI of zeros": body(wire.SA, spi_of_zeros),
    "two SA payloads": lambda payloads: [*payloads, payloads[0]],
    "an unknown critical payload": lambda payloads: [*payloads, Payload(200, b"", critical=True)],
}
WRONG_CHILD_RESPONSES = {
    "no TSi": without(wire.TSI),
    "no TSr": without(wire.TSR),
    "wider selectors": selectors(wire.TSI, "10.9.0.0/16"),
    "other selectors": selectors(wire.TSR, "2001:db8::/32"),
    "a reserved SPI": proposal(spi=b"\0\0\0\xff"),
}


@pytest.mark.parametrize(
    ("rekey", "case"),
    [(rekey_child, case) for case in WRONG_RESPONSES | WRONG_CHILD_RESPONSES]
    + [(rekey_ike, c) for c in WRONG_RESPONSES],
)
def test_a_response_that_cannot_be_ends_the_tunnel_with_a_delete(rekey, case):
    """Whatever the gateway has made now, we do not have: only a new tunnel is sure to work."""
    link = tampered(Step.REKEY, (WRONG_RESPONSES | WRONG_CHILD_RESPONSES)[case])
    link.let_client(rekey).run(10)
    assert isinstance(link.error, ProtocolError)
    assert link.gateway.journal.deleted or rekey is rekey_ike
    assert link.client.get_timer() is None


@pytest.mark.parametrize("rekey", [rekey_child, rekey_ike])
@pytest.mark.parametrize("kind", [INVALID_SYNTAX, 1, TS_UNACCEPTABLE, 8000])
def test_any_error_notify_is_a_refusal(rekey, kind):
    link = tunnel()
    link.gateway.policy.refusals.append(wire.notify(kind, b"why"))
    link.let_client(rekey).run(10).assert_one_tunnel()
    assert link.client.state is State.ESTABLISHED


def test_a_gateway_gone_wild_is_stopped():
    """It rekeys what it just made, and never deletes anything."""
    link = tunnel()
    link.tunnel._delete_child = lambda _child: None
    for _ in range(100):
        link.let_gateway(Tunnel.rekey_child).run(4 * LATENCY)
    assert len(link.client._tunnel._children) < 20
    assert TEMPORARY_FAILURE in link.tunnel.refused
