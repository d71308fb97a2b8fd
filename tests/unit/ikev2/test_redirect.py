"""A gateway that sends us to another one (RFC 5685), or wants another login (RFC 4478)."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyike.errors import ExitCode, GatewayNotTrusted, GatewayRefused, ProtocolError, Redirected, TunnelEnded
from anyike.ikev2.connection import State
from anyike.ikev2.events import Established, GatewayProof, LoginQuestion, Reauthenticate
from anyike.ikev2.exchanges.redirect import read_gateway, write_gateway
from anyike.wire import DecodeError
from tests.fakes import wire
from tests.fakes.gateway import Step
from tests.fakes.link import LATENCY, Link, User, ike_settings
from tests.fakes.mobility import (
    AUTH_LIFETIME,
    REDIRECT,
    REDIRECT_SUPPORTED,
    REDIRECTED_FROM,
    redirection,
)
from tests.fakes.wire import Payload
from tests.unit.ikev2.outcomes import assert_over

HOSTS = ["198.51.100.9", "2001:db8::9", "vpn2.example.com"]
QUIET = {"liveness_interval": 0.0, "keepalive_interval": 0.0}


def refusing(link: Link, payloads) -> Link:
    """The gateway answers IKE_SA_INIT with this, made from the nonce of the request."""

    def told() -> list[Payload]:
        request = link.gateway.journal.last_payloads
        return [payloads(wire.one(request, wire.NONCE).body)]

    link.gateway.tamper.refusal = told
    return link


def saying(link: Link, step: Step, *payloads: Payload, without: tuple[int, ...] = ()) -> Link:
    """The gateway says this too in one message of its own, and leaves some of it out."""

    def say(current: Step, genuine: list[Payload]) -> list[Payload]:
        if current is not step:
            return genuine
        return [payload for payload in genuine if payload.type not in without] + list(payloads)

    link.gateway.tamper.payloads = say
    return link


def asked(link: Link, *payloads: Payload) -> Link:
    link.sent.clear()
    return link.transmit(link.gateway.request(wire.INFORMATIONAL, payloads)).run(4 * LATENCY)


# --- what we say --------------------------------------------------------------------------------------------


def init_request(**settings) -> dict[int, bytes]:
    link = Link(settings=ike_settings(**settings))
    seen = []
    link.gateway.tamper.payloads = lambda step, payloads: (
        seen.append(link.gateway.journal.last_payloads) or payloads if step is Step.INIT else payloads
    )
    link.establish()
    return wire.notifies(seen[0])


def test_support_is_announced_unless_it_is_off():
    assert init_request()[REDIRECT_SUPPORTED] == b""
    assert REDIRECT_SUPPORTED not in init_request(redirect=False)
    assert REDIRECTED_FROM not in init_request()


@pytest.mark.parametrize("host", HOSTS)
def test_the_next_gateway_hears_where_we_come_from(host):
    said = init_request(redirected_from=host)
    assert said[REDIRECTED_FROM] == wire.notifies([redirection(host, kind=REDIRECTED_FROM)])[REDIRECTED_FROM]
    assert REDIRECT_SUPPORTED in said


# --- IKE_SA_INIT --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", HOSTS)
def test_in_ike_sa_init(host):
    link = refusing(Link(), lambda nonce: redirection(host, nonce)).until_over()
    assert_over(link, Redirected, host)
    assert link.error.host == host
    assert link.error.exit_code is ExitCode.REFUSED
    assert len(link.sent) == 1
    assert link.now < 1001, "no grace period: nobody else knows the nonce"


@pytest.mark.parametrize(
    "forge",
    [
        lambda nonce: b"",
        lambda nonce: nonce[:-1],
        lambda nonce: nonce + b"\0",
        lambda nonce: bytes(len(nonce)),
        lambda nonce: nonce[::-1],
    ],
)
def test_who_does_not_know_the_nonce_redirects_nobody(forge):
    link = Link()
    link.connect()
    request = link.sent[0][1]
    nonce = wire.one(wire.unchain(request[16], request[28:]), wire.NONCE).body
    forged = wire.read_header(request).reply(bytes(8))
    link.deliver(forged.message(*wire.chain([redirection("evil.example", forge(nonce))])))
    assert link.run(60).established
    assert link.dropped == {"dropped_stale": 1}


UNUSABLE = [
    b"",
    b"\x03",
    b"\x03\x05abc",
    b"\x00\x04abcd",
    b"\x04\x04abcd",
    b"\xff\x00",
    b"\x01\x03\x0a\0\0",
    b"\x01\x05\x0a\0\0\1\1",
    b"\x01\x10" + bytes(15) + b"\1",
    b"\x02\x04\x0a\0\0\1",
    b"\x01\x04\0\0\0\0",
    b"\x01\x04\xe0\0\0\1",
    b"\x01\x04\xff\xff\xff\xff",
    b"\x02\x10" + bytes(16),
    b"\x02\x10\xff\x02" + bytes(13) + b"\1",
    b"\x03\x00",
    b"\x03\x01.",
    b"\x03\x0810.0.0.1",
    b"\x03\x0b-x.example.",
    b"\x03\x09a..b.test",
    b"\x03\x10vpn example.test",
    b"\x03\x13vpn.example\0.test.a",
    b"\x03\x0ehttps://a.test",
    b"\x03\x0bvpn.test:99",
    b"\x03\x0avpn.test/x",
    b"\x03\x0auser@vpn.a",
    b"\x03\x0bvpn.t\x1b[2Jst",
    b"\x03\x0av\xc3\xa4.test\r\n",
    b"\x03\x42" + b"a" * 64 + b".b",
    b"\x03\xff" + b".".join([b"a" * 63] * 4),
]


@pytest.mark.parametrize("data", UNUSABLE)
def test_what_is_no_gateway(data):
    with pytest.raises(DecodeError):
        read_gateway(data)


@pytest.mark.parametrize("data", UNUSABLE[::5])
def test_an_unusable_gateway_in_ike_sa_init_is_noted_like_any_error(data):
    link = refusing(Link(), lambda nonce: wire.notify(REDIRECT, data)).until_over()
    assert_over(link, ProtocolError, "cannot be used")
    assert link.now >= 1002, "somebody may have forged it: the genuine answer gets its time"


def test_where_it_is_not_wanted_it_is_a_refusal():
    link = Link(settings=ike_settings(redirect=False))
    assert_over(
        refusing(link, lambda nonce: redirection("a.test", nonce)).until_over(), GatewayRefused, "gateway.redirect"
    )
    assert link.now >= 1002


def test_after_a_cookie_the_nonce_is_still_the_same():
    link = Link()

    def answer(nonce: bytes) -> Payload:
        return wire.notify(16390, b"cookie") if len(link.sent) == 1 else redirection("a.test", nonce)

    refusing(link, answer).until_over()
    assert_over(link, Redirected, "a.test")


@given(st.sampled_from(HOSTS), st.binary(max_size=64))
def test_what_we_write_we_read(host, nonce):
    assert read_gateway(write_gateway(host) + nonce) == (host, nonce)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_host_or_an_error(data):
    try:
        host, rest = read_gateway(data)
    except DecodeError:
        return
    assert len(host) <= 253
    assert data.endswith(rest)
    assert host.isprintable()
    assert not set(host) & set(" /@[]%\\")
    if ":" in host:
        assert ip_address(host).version == 6


def test_a_name_is_taken_as_dns_has_it():
    assert read_gateway(b"\x03\x0eVPN2.Example.X" + b"nonce") == ("vpn2.example.x", b"nonce")
    assert read_gateway(b"\x03\x06a.b_c.") == ("a.b_c", b"")


# --- IKE_AUTH -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("without", [(wire.EAP,), ()])
def test_in_the_first_ike_auth_response_after_the_gateway_has_proved_itself(host, without):
    link = saying(Link(), Step.PROOF, redirection(host), without=without).until_over()
    assert_over(link, Redirected, host)
    assert [type(event) for event in link.events].count(GatewayProof) == 1
    assert not any(isinstance(event, LoginQuestion) for event in link.events)
    assert link.gateway.journal.deleted


def test_a_gateway_that_is_not_trusted_redirects_nobody():
    user = User(verdict=lambda _proof: GatewayNotTrusted("another one"))
    link = saying(Link(user=user), Step.PROOF, redirection("evil.example"), without=(wire.EAP,)).until_over()
    assert_over(link, GatewayNotTrusted, "another one")


def test_without_a_proof_there_is_no_redirect():
    link = saying(Link(), Step.PROOF, redirection("a.test"), without=(wire.AUTH, wire.EAP)).until_over()
    assert_over(link, GatewayNotTrusted)


@pytest.mark.parametrize("without", [(wire.SA, wire.TSI, wire.TSR, wire.CP), ()])
def test_in_the_last_ike_auth_response(without):
    link = saying(Link(), Step.FINAL, redirection("vpn2.example.com"), without=without).until_over()
    assert_over(link, Redirected, "vpn2.example.com")
    assert link.gateway.journal.deleted
    assert not any(isinstance(event, Established) for event in link.events)


def test_in_the_last_one_the_gateways_auth_counts_too():
    link = saying(Link(), Step.FINAL, redirection("a.test"), without=(wire.AUTH,)).until_over()
    assert_over(link, GatewayNotTrusted)


@pytest.mark.parametrize("step", [Step.LOGIN, Step.SUCCESS])
def test_in_the_middle_of_the_login(step):
    link = saying(Link(), step, redirection("vpn2.example.com"), without=(wire.EAP,)).until_over()
    assert_over(link, Redirected, "vpn2.example.com")
    assert link.gateway.journal.deleted


@pytest.mark.parametrize("step", [Step.PROOF, Step.FINAL])
def test_in_ike_auth_an_unusable_gateway_is_an_error(step):
    link = saying(Link(), step, wire.notify(REDIRECT, b"\x03\x09a..b.test")).until_over()
    assert_over(link, ProtocolError, "cannot be used")
    assert link.gateway.journal.deleted


@pytest.mark.parametrize("step", [Step.PROOF, Step.FINAL])
def test_in_ike_auth_where_it_is_not_wanted(step):
    link = Link(settings=ike_settings(redirect=False))
    assert_over(saying(link, step, redirection("a.test")).until_over(), GatewayRefused, "gateway.redirect")


# --- INFORMATIONAL ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", HOSTS)
def test_while_the_tunnel_is_up_it_is_answered_and_the_tunnel_left_by_a_delete(host):
    link = asked(Link(settings=ike_settings(**QUIET)).establish(), redirection(host))
    link.run(10)
    assert isinstance(link.error, Redirected)
    assert link.error.host == host
    assert link.gateway.journal.responses == [(0, [])]
    assert link.gateway.journal.deleted
    assert len(link.sent) == 2


def test_a_gateway_that_redirects_and_is_gone_does_not_hold_us_up():
    link = Link(settings=ike_settings(**QUIET)).establish()
    link.to_gateway = lambda _message: []
    start = asked(link, redirection("a.test")).now
    link.run(60, until=lambda: link.client.state is State.CLOSED)
    assert isinstance(link.error, Redirected)
    assert link.now - start < 15


@pytest.mark.parametrize("settings", [{}, {"redirect": False}])
def test_what_may_not_be_followed_leaves_the_tunnel_up(settings):
    link = Link(settings=ike_settings(**QUIET, **settings)).establish()
    asked(link, wire.notify(REDIRECT, b"\x03\x09a..b.test") if not settings else redirection("a.test"))
    assert link.client.state is State.ESTABLISHED
    assert link.gateway.journal.responses == [(0, [])]


def test_beside_a_delete_the_gateways_delete_counts():
    link = asked(
        Link(settings=ike_settings(**QUIET)).establish(), redirection("a.test"), Payload(wire.DELETE, b"\1\0\0\0")
    )
    assert isinstance(link.error, Redirected | TunnelEnded)
    assert link.client.state is State.CLOSED


def test_an_unprotected_redirect_moves_nobody_out_of_a_tunnel():
    link = Link(settings=ike_settings(**QUIET)).establish()
    header = wire.Header(link.gateway.spi_i, link.gateway.spi_r, 0, wire.INFORMATIONAL, 0, 0)
    link.deliver(header.message(*wire.chain([redirection("evil.example")]))).run(60)
    assert link.client.state is State.ESTABLISHED
    assert link.dropped == {"dropped_not_protected": 1}


# --- AUTH_LIFETIME ------------------------------------------------------------------------------------------


def test_a_lifetime_of_the_login_while_the_tunnel_is_up():
    link = Link(settings=ike_settings(**QUIET)).establish()
    assert link.established.auth_lifetime is None
    asked(link, wire.notify(AUTH_LIFETIME, (3600).to_bytes(4, "big")))
    asked(link, wire.notify(AUTH_LIFETIME, (60).to_bytes(4, "big")))
    assert [event for event in link.events if isinstance(event, Reauthenticate)] == [
        Reauthenticate(3600),
        Reauthenticate(60),
    ]
    assert link.client.state is State.ESTABLISHED


@pytest.mark.parametrize("data", [b"", bytes(3), bytes(5)])
def test_a_lifetime_of_another_size_is_none(data):
    link = asked(Link(settings=ike_settings(**QUIET)).establish(), wire.notify(AUTH_LIFETIME, data))
    assert not any(isinstance(event, Reauthenticate) for event in link.events)
    assert link.client.state is State.ESTABLISHED


def test_in_ike_auth_it_comes_with_established():
    link = saying(Link(), Step.FINAL, wire.notify(AUTH_LIFETIME, (7200).to_bytes(4, "big"))).establish()
    assert link.established.auth_lifetime == 7200
