"""What the gateway itself says wrongly, under its own protection: one clear error, and no state left."""

from __future__ import annotations

import pytest

from anyike.errors import GatewayNotTrusted, GatewayRefused, LoginFailed, NoCommonProposal, ProtocolError
from anyike.ikev2.events import LoginAccepted, LoginQuestion
from tests.fakes import wire
from tests.fakes.gateway import Profile, Step, Tamper
from tests.fakes.link import Link, ike_settings
from tests.fakes.wire import Payload
from tests.unit.ikev2.outcomes import ends, trusting

PROTECTED = [Step.PROOF, Step.LOGIN, Step.SUCCESS, Step.FINAL]
CRITICAL = Payload(200, b"", critical=True)


def at(step: Step, change) -> Tamper:
    """Change the payloads of one step."""
    return Tamper(payloads=lambda here, genuine: change(genuine) if here is step else genuine)


def without(kind: int):
    return lambda genuine: [payload for payload in genuine if payload.type != kind]


def replaced(kind: int, body):
    """Another body for a payload: bytes, or a function of the genuine one."""

    def change(genuine: list[Payload]) -> list[Payload]:
        return [
            Payload(kind, body(payload.body) if callable(body) else body) if payload.type == kind else payload
            for payload in genuine
        ]

    return change


def only(*payloads: Payload):
    return lambda _genuine: list(payloads)


def flipped(body: bytes) -> bytes:
    return body[:-1] + bytes([body[-1] ^ 1])


# --- the messages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", PROTECTED)
def test_an_unknown_critical_payload(step):
    ends(Link(tamper=at(step, lambda genuine: [*genuine, CRITICAL])), ProtocolError, "critical payload")


@pytest.mark.parametrize("step", PROTECTED)
def test_an_unknown_payload_that_is_not_critical_is_skipped(step):
    extra = [Payload(200, b"?"), wire.notify(40963, b"odd"), Payload(wire.VENDOR, bytes(20))]
    assert Link(tamper=at(step, lambda genuine: [*extra, *genuine])).establish().established


@pytest.mark.parametrize("step", PROTECTED)
def test_a_payload_that_has_no_place_here(step):
    link = Link(tamper=at(step, lambda genuine: [*genuine, Payload(wire.NONCE, bytes(32))]))
    ends(link, ProtocolError, "no place")


@pytest.mark.parametrize(("step", "kind"), [(Step.PROOF, wire.IDR), (Step.PROOF, wire.AUTH), (Step.LOGIN, wire.EAP)])
def test_a_payload_that_stands_twice(step, kind):
    link = Link(tamper=at(step, lambda genuine: [*genuine, wire.one(genuine, kind)]))
    ends(link, ProtocolError, "2 times")


@pytest.mark.parametrize("step", [Step.LOGIN, Step.FINAL])
def test_payloads_truncated_at_every_byte(step):
    lengths = []

    def measure(here: Step, first: int, data: bytes) -> tuple[int, bytes]:
        if here is step:
            lengths.append(len(data))
        return first, data

    Link(tamper=Tamper(chain=measure)).establish()
    for end in range(lengths[0]):
        cut = Tamper(chain=lambda here, first, data, end=end: (first, data[:end] if here is step else data))
        ends(Link(tamper=cut), ProtocolError)


@pytest.mark.parametrize("step", PROTECTED)
def test_something_left_over_behind_the_payloads(step):
    tamper = Tamper(chain=lambda here, first, data: (first, data + b"\0" if here is step else data))
    ends(Link(tamper=tamper), ProtocolError, "left over")


@pytest.mark.parametrize("step", PROTECTED)
def test_an_empty_message(step):
    errors = {Step.PROOF: GatewayNotTrusted, Step.FINAL: GatewayNotTrusted}
    ends(Link(tamper=at(step, only())), errors.get(step, ProtocolError))


def test_more_payloads_than_anybody_sends():
    many = at(Step.LOGIN, lambda genuine: [*genuine, *[wire.notify(40960)] * 200])
    ends(Link(tamper=many), ProtocolError, "more than")


@pytest.mark.parametrize(
    ("step", "missing", "kind", "words"),
    [
        (Step.PROOF, wire.IDR, GatewayNotTrusted, "did not prove"),
        (Step.PROOF, wire.AUTH, GatewayNotTrusted, "did not prove"),
        (Step.PROOF, wire.CERT, GatewayNotTrusted, ""),
        (Step.PROOF, wire.EAP, GatewayRefused, "ike.local_id"),
        (Step.LOGIN, wire.EAP, ProtocolError, "no EAP"),
        (Step.SUCCESS, wire.EAP, ProtocolError, "no EAP"),
        (Step.FINAL, wire.AUTH, GatewayNotTrusted, "no AUTH"),
        (Step.FINAL, wire.SA, ProtocolError, "CHILD_SA"),
        (Step.FINAL, wire.TSI, ProtocolError, "CHILD_SA"),
        (Step.FINAL, wire.TSR, ProtocolError, "CHILD_SA"),
    ],
)
def test_a_payload_that_is_missing(step, missing, kind, words):
    link = Link(tamper=at(step, without(missing)), user=trusting()).until_over()
    error = link.error
    assert isinstance(error, kind)
    assert words in str(error)
    if step is Step.PROOF:
        assert link.login.replies == []


@pytest.mark.parametrize(
    "change", [without(wire.CP), replaced(wire.CP, wire.configuration((3, bytes([10, 0, 0, 1]))).body)]
)
def test_a_gateway_that_assigns_no_address_is_left_with_a_delete(change):
    link = ends(Link(tamper=at(Step.FINAL, change)), GatewayRefused, "no address")
    assert link.gateway.journal.deleted


@pytest.mark.parametrize("step", PROTECTED)
def test_a_gateway_that_refuses_at_any_step(step):
    link = Link(tamper=at(step, only(wire.notify(24))))
    ends(link, LoginFailed if step is not Step.PROOF else GatewayRefused)
    assert all(exchange != wire.INFORMATIONAL for exchange, _ in link.gateway.journal.requests)


# --- the gateway's proof --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        replaced(wire.AUTH, flipped),
        replaced(wire.AUTH, lambda body: body[:4]),
        replaced(wire.AUTH, lambda body: b"\x02" + body[1:]),
        replaced(wire.AUTH, lambda body: b"\x0e" + body[1:]),
        replaced(wire.AUTH, lambda body: b"\x09" + body[1:]),
        replaced(wire.IDR, b"\x02\0\0\0vpn.example.org"),
        replaced(wire.CERT, b"\x04garbage"),
        replaced(wire.CERT, b"\x04"),
        replaced(wire.CERT, lambda body: b"\x0b" + body[1:]),
    ],
    ids=["flipped", "empty", "MIC", "RFC 7427", "ECDSA", "IDr", "no certificate", "empty certificate", "encoding"],
)
def test_a_proof_that_is_altered(change):
    link = ends_untrusted(Link(tamper=at(Step.PROOF, change), user=trusting()))
    assert link.login.replies == []
    assert not any(isinstance(event, LoginQuestion) for event in link.events)


def ends_untrusted(link: Link) -> Link:
    assert isinstance(link.until_over().error, GatewayNotTrusted)
    return link


@pytest.mark.parametrize(
    "change",
    [
        replaced(wire.AUTH, flipped),
        replaced(wire.AUTH, lambda body: body[:4]),
        replaced(wire.AUTH, lambda body: b"\x01" + body[1:]),
        replaced(wire.AUTH, lambda body: body + b"\0"),
    ],
    ids=["flipped", "empty", "other method", "longer"],
)
def test_a_final_auth_that_is_altered(change):
    link = ends(Link(tamper=at(Step.FINAL, change)), GatewayNotTrusted, "AUTH after the login is wrong").run(1)
    assert wire.notifies(link.gateway.journal.last_payloads) == {24: b""}


def test_an_altered_init_response_is_found_by_the_gateways_signature():
    """A forger takes FRAGMENTATION_SUPPORTED away: the keys agree, what was signed does not."""

    def messages(step: Step, genuine: list[bytes]) -> list[bytes]:
        if step is not Step.INIT:
            return genuine
        header = wire.read_header(genuine[0])
        payloads = wire.unchain(header.next_payload, genuine[0][wire.HEADER :])
        return [header.message(*wire.chain(payloads[:-1]))]

    link = ends_untrusted(Link(tamper=Tamper(messages=messages), user=trusting()))
    assert link.login.replies == []


# --- the CHILD_SA and the configuration -----------------------------------------------------------------------------------


def proposal(**changes) -> bytes:
    values = {"number": 1, "protocol": 3, "spi": b"\xc0\xff\xee\x01", "transforms": ((1, 20, 256), (5, 0, 0))} | changes
    return wire.Proposal(**values).encode()


@pytest.mark.parametrize(
    "change",
    [
        replaced(wire.SA, proposal(transforms=((1, 20, 128), (5, 0, 0)))),
        replaced(wire.SA, proposal(transforms=((1, 12, 256), (3, 12, 0), (5, 0, 0)))),
        replaced(wire.SA, proposal(transforms=((1, 20, 256), (5, 2, 0)))),
        replaced(wire.SA, proposal(transforms=((1, 20, 256),))),
        replaced(wire.SA, proposal(transforms=((1, 20, 256), (1, 20, 256), (5, 0, 0)))),
        replaced(wire.SA, proposal(transforms=())),
        replaced(wire.SA, proposal(number=2)),
        replaced(wire.SA, proposal(protocol=2)),
        replaced(wire.SA, proposal(spi=bytes(4))),
        replaced(wire.SA, proposal(spi=b"\0\0\0\xff")),
        replaced(wire.SA, proposal(spi=b"")),
        replaced(wire.SA, proposal(spi=bytes(8))),
        replaced(wire.SA, b""),
        replaced(wire.TSI, wire.selectors(wire.TSI, "::/0").body),
        replaced(wire.TSR, wire.selectors(wire.TSR, "0.0.0.0/0", "::/0").body),
        replaced(wire.TSI, bytes(4)),
        replaced(wire.TSI, b"\1\0\0\0\x09\0\0\x08\0\0\xff\xff"),
        replaced(wire.CP, wire.configuration((1, bytes(3))).body),
        replaced(wire.CP, wire.configuration((8, bytes(16) + b"\xff")).body),
        replaced(wire.CP, wire.configuration((28676, bytes(7))).body),
        replaced(wire.CP, wire.configuration((28676, bytes(4) + b"\xff\0\xff\0")).body),
    ],
)
def test_a_child_sa_or_configuration_that_was_not_asked_for_or_cannot_be(change):
    link = ends(Link(tamper=at(Step.FINAL, change)), ProtocolError)
    assert isinstance(link.event(LoginAccepted), LoginAccepted)


@pytest.mark.parametrize(
    ("notify", "kind", "words"),
    [
        (14, NoCommonProposal, "esp.proposals"),
        (36, GatewayRefused, "no address"),
        (37, GatewayRefused, "FAILED_CP_REQUIRED"),
        (38, GatewayRefused, "TS_UNACCEPTABLE"),
        (35, GatewayRefused, "NO_ADDITIONAL_SAS"),
    ],
)
def test_a_child_sa_that_the_gateway_refuses(notify, kind, words):
    """The IKE SA stands then: it is deleted."""
    refused = at(Step.FINAL, lambda genuine: [genuine[0], wire.notify(notify)])
    link = ends(Link(tamper=refused), kind, words)
    assert link.gateway.journal.deleted


def test_narrowed_selectors_are_taken_as_they_are():
    profile = Profile(ts_r=("10.0.0.0/8", "192.168.7.0/24"))
    child = Link(profile=profile, settings=ike_settings()).establish().established.child
    assert [str(ts.start) for ts in child.remote_selectors] == ["10.0.0.0", "192.168.7.0"]
    assert [str(ts.end) for ts in child.local_selectors] == ["10.9.0.7"]
