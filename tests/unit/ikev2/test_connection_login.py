"""A whole login against the test gateway, whose keys are derived by its own code."""

from __future__ import annotations

import ast
from itertools import product
from pathlib import Path

import pytest

from anyike.errors import GatewayNotTrusted, LoginFailed
from anyike.ikev2.configuration import GatewayConfiguration
from anyike.ikev2.events import IkeSaInitDone, LoginAccepted, LoginQuestion
from anyike.ikev2.settings import Fragmentation
from tests.fakes import fragments, gateway, keys, pki, script, wire
from tests.fakes.gateway import ESP_SPI, Profile
from tests.fakes.link import CHILD_SPI, Link, User, ike_settings, login_method
from tests.fakes.pki import gateway_credential
from tests.fakes.script import COMPLETE, HELLO, LONG_FORM, ScriptedLogin, login_form, password_login, say
from tests.unit.ikev2.outcomes import trusting

AEAD = ("aes128gcm16", "aes192gcm16", "aes256gcm16", "chacha20poly1305")
MACS = ("sha256", "sha384", "sha512", "sha1")
CBC = tuple(f"{cipher}-{mac}" for cipher, mac in product(("aes128", "aes192", "aes256", "3des"), MACS))
PRFS = ("prfsha256", "prfsha384", "prfsha512", "prfsha1")
GROUPS = ("modp1024", "modp1536", "modp2048", "modp3072", "modp4096", "ecp256", "ecp384", "ecp521", "x25519")


def assert_tunnel(link: Link) -> None:
    """Both sides are authentic and have the same ESP keys."""
    child = link.established.child
    ours = [child.outbound_keys.encryption, child.outbound_keys.integrity]
    ours += [child.inbound_keys.encryption, child.inbound_keys.integrity]
    assert ours == link.gateway.child_keys
    assert (child.inbound_spi, child.outbound_spi) == (CHILD_SPI, ESP_SPI)
    assert link.gateway.client_spi == CHILD_SPI
    assert link.gateway.journal.client_authentic
    assert link.gateway.journal.ignored == 0


@pytest.mark.parametrize("suite", AEAD + CBC)
@pytest.mark.parametrize("prf", PRFS)
@pytest.mark.parametrize("group", ["modp2048", "ecp256", "x25519"])
def test_every_suite_with_every_prf_and_group_family(suite, prf, group):
    assert_tunnel(Link(settings=ike_settings(f"{suite}-{prf}-{group}")).establish())


@pytest.mark.parametrize("group", GROUPS)
def test_every_group(group):
    assert_tunnel(Link(settings=ike_settings(f"aes128gcm16-prfsha384-{group}")).establish())


@pytest.mark.parametrize("suite", AEAD + CBC)
def test_every_esp_suite_gets_the_gateways_keys(suite):
    assert_tunnel(Link(settings=ike_settings(esp=suite)).establish())


def test_the_events_of_a_login_come_in_order():
    link = Link().establish()
    assert [type(event).__name__ for event in link.events] == [
        "IkeSaInitDone",
        "ChildSpiNeeded",
        "GatewayProof",
        "LoginQuestion",
        "LoginAccepted",
        "Established",
    ]
    assert link.login.documents == ["init", "auth-reply", "ack"]
    assert link.login.identity == b"\xc9\0\0\0*$AnyConnectClient$*"
    assert link.event(IkeSaInitDone).algorithms == "AES_GCM_16_256, PRF_HMAC_SHA2_256, x25519"


def test_the_configuration_arrives():
    attributes = ((1, bytes([10, 9, 0, 7])), (3, bytes([10, 9, 0, 1])), (28672, b"Hello"), (28674, b"example.com"))
    configuration = Link(profile=Profile(attributes=attributes)).establish().established.configuration
    assert isinstance(configuration, GatewayConfiguration)
    assert [str(address) for address in configuration.addresses] == ["10.9.0.7/32"]
    assert [str(server) for server in configuration.dns] == ["10.9.0.1"]
    assert (configuration.banner, configuration.default_domain) == ("Hello", "example.com")


def test_ipv6_inside():
    profile = Profile(
        attributes=((1, bytes([10, 9, 0, 7])), (8, bytes.fromhex("20010db8") + bytes(11) + b"\x07" + b"\x80")),
        ts_i=("10.9.0.7/32", "2001:db8::7/128"),
        ts_r=("0.0.0.0/0", "::/0"),
    )
    established = Link(profile=profile, settings=ike_settings(request_ipv6=True)).establish().established
    assert [str(address) for address in established.configuration.addresses] == ["10.9.0.7/32", "2001:db8::7/128"]
    assert [str(ts.start) for ts in established.child.remote_selectors] == ["0.0.0.0", "::"]


@pytest.mark.parametrize("auth", ["prf", "rfc7427", "ecdsa"])
@pytest.mark.parametrize("prf", PRFS[:3])
def test_every_kind_of_gateway_signature_is_believed(auth, prf):
    settings = ike_settings(f"aes256gcm16-{prf}-x25519")
    assert_tunnel(Link(profile=Profile(auth=auth), settings=settings, user=trusting()).establish())


def test_a_sha1_signature_needs_the_setting():
    profile = Profile(auth="sha1")
    assert_tunnel(Link(profile=profile, user=trusting(allow_sha1=True)).establish())
    link = Link(profile=profile, user=trusting()).until_over()
    assert isinstance(link.error, GatewayNotTrusted)
    assert "allow_sha1_signature" in str(link.error)
    assert link.login.replies == []


@pytest.mark.parametrize(
    ("profile", "user"),
    [
        (Profile(credential=gateway_credential(ca="Other CA")), trusting()),
        (Profile(credential=gateway_credential(host="other.example.com")), trusting()),
        (Profile(identity=b"\x02\0\0\0other.example.com"), trusting(strict_id=True)),
    ],
    ids=["unknown CA", "other host", "IDr differs"],
)
def test_no_credential_leaves_for_a_gateway_that_is_not_trusted(profile, user):
    link = Link(profile=profile, user=user).until_over()
    assert isinstance(link.error, GatewayNotTrusted)
    assert link.login.replies == []
    assert not any(isinstance(event, LoginQuestion) for event in link.events)


@pytest.mark.parametrize("thinks", [0.0, 300.0])
def test_no_eap_response_leaves_after_a_refusal_or_before_the_verdict(thinks):
    refusal = GatewayNotTrusted("no")
    link = Link(user=User(verdict=lambda _proof: refusal, thinks=thinks)).connect().run(1000)
    assert link.error is refusal
    assert link.login.replies == []
    assert [exchange for exchange, _ in link.gateway.journal.requests] == [34, 35, 37]


def test_a_user_who_thinks_for_long_is_waited_for():
    assert_tunnel(Link(user=User(thinks=600.0)).connect().run(3600))


def test_a_wrong_password_is_asked_for_again():
    user = User()
    user.answers = {"username": "ada", "password": "wrong"}
    link = Link(user=user).connect()
    link.run(until=lambda: len(user.forms) == 2)
    assert user.forms[1].error == "Login failed."
    link.user.answers = {"username": "ada", "password": "secret"}
    link.run(until=lambda: any(isinstance(event, LoginAccepted) for event in link.events))
    assert link.login.result is True


def test_three_wrong_passwords_end_the_login():
    link = Link(user=User(answers={"username": "ada", "password": "wrong"})).until_over()
    assert isinstance(link.error, LoginFailed)
    assert "Login failed." in str(link.error)
    assert len(link.user.forms) == 3


@pytest.mark.parametrize("kind", ["ietf", "cisco"])
@pytest.mark.parametrize("suite", ["aes256gcm16", "aes256-sha256", "chacha20poly1305"])
def test_large_messages_go_in_fragments_both_ways(kind, suite):
    """The long user name makes our request large, the form's text the gateway's."""
    user = User(answers={"username": "a" * 4000, "password": "secret"})
    login = password_login("a" * 4000, filler=LONG_FORM)
    settings = ike_settings(f"{suite}-prfsha256-x25519", fragment_size=576)
    link = Link(login, profile=Profile(fragmentation=kind, fragment_size=548), settings=settings, user=user).establish()
    assert_tunnel(link)
    assert max(len(data) + 28 for _, data, _ in link.sent) <= 576
    assert link.client.counters["fragments_in"] > 10
    assert link.user.forms[0].message.endswith("Read the rules.")


def test_nothing_is_cut_when_the_gateway_announces_nothing():
    user = User(answers={"username": "a" * 4000, "password": "secret"})
    link = Link(password_login("a" * 4000), profile=Profile(fragmentation="off"), user=user).establish()
    assert max(len(data) for _, data, _ in link.sent) > 4000


@pytest.mark.parametrize("kind", [Fragmentation.IETF, Fragmentation.CISCO])
def test_the_setting_forces_a_format(kind):
    user = User(answers={"username": "a" * 4000, "password": "secret"})
    settings = ike_settings(fragmentation=kind)
    link = Link(password_login("a" * 4000), profile=Profile(fragmentation="off"), settings=settings, user=user)
    assert max(len(data) for _, data, _ in link.establish().sent) <= 1252


@pytest.mark.parametrize("nat", ["none", "gateway", "client"])
def test_forced_encapsulation_floats_to_4500_whatever_the_gateway_sees(nat):
    link = Link(profile=Profile(nat=nat)).establish()
    assert link.established.child.udp_encapsulation is True
    assert [port for _, _, port in link.sent] == [500] + [4500] * 5
    done = link.event(IkeSaInitDone)
    assert (done.nat_in_front_of_gateway, done.nat_in_front_of_us) == (nat == "gateway", nat == "client")


def test_ipv6_outside():
    """Its header is 20 bytes longer, so fragments are that much shorter; the gateway's NAT hashes match."""
    user = User(answers={"username": "a" * 4000, "password": "secret"})
    addresses = (("2001:db8::1", 40500), "2001:db8:1::1")
    link = Link(password_login("a" * 4000), user=user, settings=ike_settings(fragment_size=1280), addresses=addresses)
    assert_tunnel(link.establish())
    assert max(len(data) for _, data, _ in link.sent) == 1280 - 40 - 8
    done = link.event(IkeSaInitDone)
    assert (done.nat_in_front_of_gateway, done.nat_in_front_of_us) == (False, False)


def test_without_force_the_gateways_word_counts():
    settings = ike_settings(force_encapsulation=False, mobike=False)
    link = Link(settings=settings).establish()
    assert link.established.child.udp_encapsulation is False
    assert {port for _, _, port in link.sent} == {500}
    link = Link(settings=settings, profile=Profile(nat="client")).establish()
    assert link.established.child.udp_encapsulation is True


def test_start_on_the_nat_port():
    link = Link(settings=ike_settings(start_on_nat_port=True), profile=Profile(nat="silent")).establish()
    assert {port for _, _, port in link.sent} == {4500}
    assert link.established.child.udp_encapsulation is True


def test_an_extra_eap_identity_and_notification_are_answered():
    login = ScriptedLogin([say(b"", b"\x01"), say(b"Welcome", b"\x02"), HELLO, login_form(), COMPLETE])
    link = Link(login, method=login_method(username="ada")).establish()
    assert login.replies[0].packet[4:] == b"\x01ada"
    assert login.replies[1].packet[4:] == b"\x02"
    assert [event.text for event in link.events if hasattr(event, "text")] == ["Welcome"]


def test_the_gateway_shares_no_code_with_the_client():
    """Two ends with one mistake would agree; the table of primes is checked against its formula elsewhere."""
    shared = set()
    for module in (fragments, gateway, keys, pki, script, wire):
        for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            shared |= {name for name in names if name.split(".")[0] == "anyike"}
    assert shared == {"anyike.crypto.modp"}
