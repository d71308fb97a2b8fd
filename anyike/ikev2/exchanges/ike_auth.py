"""IKE_AUTH with EAP (RFC 7296 2.16): the gateway proves itself, the user logs in, the first CHILD_SA is made."""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import Enum, auto
from ipaddress import IPv4Address, IPv6Address
from typing import TypeVar

from anyike.eap.method import Ask, EapContext, Send, Step, Succeeded
from anyike.eap.method import Failed as LoginOver
from anyike.eap.peer import EapPeer
from anyike.eap.question import Answer
from anyike.errors import AnyikeError, GatewayNotTrusted, GatewayRefused, ProtocolError
from anyike.ikev2 import configuration, keymat, mobility, responder
from anyike.ikev2.child_sa import ChildSa, TrafficSelector
from anyike.ikev2.constants import AuthMethod, CertificateEncoding, ConfigurationType, NotifyType, name_of
from anyike.ikev2.events import Event, GatewayProof, LoginAccepted, LoginQuestion, Notice
from anyike.ikev2.exchanges import redirect
from anyike.ikev2.exchanges.ike_sa_init import IkeSaInitResult
from anyike.ikev2.exchanges.outcome import Again, Done, Failed, Goodbye, Outcome, Wait
from anyike.ikev2.exchanges.refusals import is_error, refusal
from anyike.ikev2.payloads import (
    Authentication,
    Certificate,
    CertificateRequest,
    Configuration,
    Eap,
    IdResponder,
    Notify,
    Payload,
    SecurityAssociation,
    TsInitiator,
    TsResponder,
    VendorId,
)
from anyike.ikev2.proposals import UnacceptableChoice, choose_esp, offer_esp
from anyike.ikev2.settings import IkeSettings
from anyike.wire import DecodeError

log = logging.getLogger(__name__)

_P = TypeVar("_P", bound=Payload)

EAP_FAILURE = b"\x04"
"""The code of an EAP packet with which the gateway itself ends the login (RFC 3748 4.2)."""

ANY_IPV4 = TrafficSelector(IPv4Address(0), IPv4Address(2**32 - 1))
ANY_IPV6 = TrafficSelector(IPv6Address(0), IPv6Address(2**128 - 1))


class _Phase(Enum):
    PROOF = auto()
    VERDICT = auto()
    LOGIN = auto()
    FINAL = auto()


class IkeAuth:
    """The whole series of IKE_AUTH requests and responses."""

    def __init__(
        self,
        settings: IkeSettings,
        init: IkeSaInitResult,
        peer: EapPeer,
        emit: Callable[[Event], None],
        random: Callable[[int], bytes],
        udp_encapsulation: bool,
    ) -> None:
        self._settings = settings
        self._init = init
        self._udp_encapsulation = udp_encapsulation
        self._peer = peer
        self._emit = emit
        self._random = random
        self._phase = _Phase.PROOF
        self._child_spi = 0
        self._idr_body = b""
        self._first_eap = b""
        self._redirection: AnyikeError | None = None
        self._login_key: bytes | None = None
        self.child: ChildSa | None = None
        self.configuration = configuration.GatewayConfiguration()
        self.auth_lifetime: int | None = None
        self.mobike = False
        self.other_addresses: tuple[str, ...] = ()

    def build(self, child_spi: int) -> tuple[Payload, ...]:
        """The first request: no AUTH payload, which asks for EAP."""
        self._child_spi = child_spi
        settings = self._settings
        selectors = (ANY_IPV4, ANY_IPV6) if settings.request_ipv6 else (ANY_IPV4,)
        payloads: list[Payload] = [settings.local_id]
        if settings.initial_contact:
            payloads.append(Notify(NotifyType.INITIAL_CONTACT))
        payloads.append(CertificateRequest(CertificateEncoding.X509_SIGNATURE, settings.certificate_authorities))
        if settings.remote_id is not None:
            payloads.append(settings.remote_id)
        payloads += [
            configuration.request(settings.application_version, ipv6=settings.request_ipv6),
            offer_esp(settings.esp_proposals, child_spi),
            TsInitiator(selectors),
            TsResponder(selectors),
        ]
        if settings.mobike:
            payloads.append(Notify(NotifyType.MOBIKE_SUPPORTED))  # beside SA, whatever rounds follow (RFC 4555 3.3)
        if settings.random_vendor_id:
            payloads.append(VendorId(self._random(20)))
        return tuple(payloads)

    def process(self, payloads: tuple[Payload, ...]) -> Outcome:
        """Judge a response that came under the IKE SA's protection."""
        match self._phase:
            case _Phase.PROOF:
                return self._ask_for_verdict(payloads)
            case _Phase.LOGIN:
                return self._continue_login(payloads)
            case _:
                return self._conclude(payloads)

    def supply_verdict(self, error: AnyikeError | None) -> Outcome:
        """The gateway is trusted (None) or not: only now may anything of the user's leave."""
        if error is not None:
            return Failed(error, Goodbye.NOTIFY)
        if self._redirection is not None:
            return Failed(self._redirection, Goodbye.DELETE)
        self._phase = _Phase.LOGIN
        return self._receive_eap(self._first_eap)

    def supply_answer(self, answer: Answer) -> Outcome:
        """The answer to the last LoginQuestion."""
        return self._step(self._peer.answer(answer))

    def _ask_for_verdict(self, payloads: tuple[Payload, ...]) -> Outcome:
        identity = _one(payloads, IdResponder)
        auth = _one(payloads, Authentication)
        eap = _one(payloads, Eap)
        if identity is None or auth is None:
            return self._refused(payloads) or Failed(
                GatewayNotTrusted("the gateway did not prove who it is (no IDr or AUTH payload), so no login was sent"),
                Goodbye.NOTIFY,
            )
        self._redirection = redirect.judge(payloads, self._settings)
        if eap is None and self._redirection is None:
            return self._refused(payloads) or Failed(
                GatewayRefused(
                    "the gateway does not start EAP: it expects another kind of login for this identity (ike.local_id)"
                ),
                Goodbye.NOTIFY,
            )
        encodings = {name_of(CertificateEncoding, c.encoding) for c in payloads if isinstance(c, Certificate)}
        chain = [c for c in payloads if isinstance(c, Certificate) and c.encoding == CertificateEncoding.X509_SIGNATURE]
        if len(chain) < len([c for c in payloads if isinstance(c, Certificate)]):
            log.info("certificate payloads of other encodings than X.509 are ignored: %s", ", ".join(sorted(encodings)))
        self._idr_body = identity.encode()
        self._first_eap = b"" if eap is None else eap.packet
        self._phase = _Phase.VERDICT
        self._emit(
            GatewayProof(
                chain=tuple(certificate.data for certificate in chain),
                identity=(identity.id_type, identity.data),
                auth_method=auth.method,
                auth_data=auth.data,
                signed_octets=self._responder_octets(),
                prf_hash=self._init.keys.prf.hash_name,
            )
        )
        return Wait()

    def _continue_login(self, payloads: tuple[Payload, ...]) -> Outcome:
        eap = _one(payloads, Eap)
        if eap is not None:
            return self._receive_eap(eap.packet)
        redirection = redirect.judge(payloads, self._settings)
        if redirection is not None:
            return Failed(redirection, Goodbye.DELETE)
        return self._refused(payloads) or Failed(
            ProtocolError("the gateway's IKE_AUTH response has no EAP payload in the middle of the login"),
            Goodbye.NOTIFY,
        )

    def _receive_eap(self, packet: bytes) -> Outcome:
        context = EapContext(self._initiator_octets(), self._init.keys.prf.hash_name)
        return self._step(self._peer.receive(packet, context), gateway_knows=packet[:1] == EAP_FAILURE)

    def _step(self, step: Step, *, gateway_knows: bool = False) -> Outcome:
        for text in self._peer.take_notices():
            self._emit(Notice(text))
        match step:
            case Send(packet):
                return Again((Eap(packet),))
            case Ask(question):
                self._emit(LoginQuestion(question))
                return Wait()
            case LoginOver(error):
                return Failed(error, Goodbye.NONE if gateway_knows else Goodbye.NOTIFY)
            case Succeeded(msk):
                self._emit(LoginAccepted())
                self._login_key = msk
                self._phase = _Phase.FINAL
                keys = self._init.keys
                mic = keymat.shared_key_mic(keys.prf, msk or keys.sk_pi, self._initiator_octets())
                return Again((Authentication(AuthMethod.SHARED_KEY_MIC, mic),))

    def _conclude(self, payloads: tuple[Payload, ...]) -> Outcome:
        auth = _one(payloads, Authentication)
        if auth is None:
            return self._refused(payloads) or Failed(
                GatewayNotTrusted("the gateway did not prove that it knows the keys (no AUTH after EAP-Success)"),
                Goodbye.NOTIFY,
            )
        keys = self._init.keys
        expected = keymat.shared_key_mic(keys.prf, self._login_key or keys.sk_pr, self._responder_octets())
        if auth.method != AuthMethod.SHARED_KEY_MIC or not keymat.same_mic(auth.data, expected):
            return Failed(
                GatewayNotTrusted(
                    "the gateway's AUTH after the login is wrong: somebody may be in the middle, or its EAP made a key"
                ),
                Goodbye.NOTIFY,
            )
        redirection = redirect.judge(payloads, self._settings)
        if redirection is not None:
            return Failed(redirection, Goodbye.DELETE)
        try:
            return self._make_child(payloads)
        except (UnacceptableChoice, DecodeError) as error:
            return Failed(
                ProtocolError(f"the gateway's last IKE_AUTH response cannot be used: {error}"), Goodbye.DELETE
            )

    def _make_child(self, payloads: tuple[Payload, ...]) -> Outcome:
        sa = _one(payloads, SecurityAssociation)
        ts_i, ts_r = _one(payloads, TsInitiator), _one(payloads, TsResponder)
        if sa is None or ts_i is None or ts_r is None:
            refused = self._refused(payloads)
            error = refused.error if refused else ProtocolError("the gateway made no CHILD_SA and gave no reason")
            return Failed(error, Goodbye.DELETE)
        chosen = choose_esp(self._settings.esp_proposals, self._child_spi, sa)
        local, remote = _narrowed(ts_i, self._offered()), _narrowed(ts_r, self._offered())
        reply = _one(payloads, Configuration)
        if reply is not None and reply.type == ConfigurationType.CFG_REPLY:
            self.configuration = configuration.read_reply(reply)
        if not self.configuration.addresses:
            return Failed(
                GatewayRefused(
                    "the gateway assigned no address to us, without which no packet can go through the tunnel"
                ),
                Goodbye.DELETE,
            )
        self.auth_lifetime = responder.auth_lifetime(payloads)
        self.mobike = self._settings.mobike and mobility.is_supported(payloads)
        self.other_addresses = mobility.read_addresses(payloads) or ()
        outbound, inbound = keymat.derive_child_keys(self._init.keys, chosen.suite, self._init.ni, self._init.nr)
        self.child = ChildSa(
            inbound_spi=self._child_spi,
            outbound_spi=chosen.spi,
            suite=chosen.suite,
            inbound_keys=inbound,
            outbound_keys=outbound,
            local_selectors=local,
            remote_selectors=remote,
            udp_encapsulation=self._udp_encapsulation,
            esn=chosen.esn,
        )
        return Done()

    def _refused(self, payloads: tuple[Payload, ...]) -> Failed | None:
        errors = [payload for payload in payloads if isinstance(payload, Notify) and is_error(payload)]
        if not errors:
            return None
        if errors[0].type == NotifyType.AUTHENTICATION_FAILED and self._phase is not _Phase.PROOF:
            return Failed(self._peer.fail(), Goodbye.NONE)
        offered = ", ".join(spec.text for spec in self._settings.esp_proposals)
        return Failed(refusal(errors[0], "IKE_AUTH", offered), Goodbye.NONE)

    def _offered(self) -> tuple[TrafficSelector, ...]:
        return (ANY_IPV4, ANY_IPV6) if self._settings.request_ipv6 else (ANY_IPV4,)

    def _initiator_octets(self) -> bytes:
        keys = self._init.keys
        return keymat.signed_octets(
            self._init.request, self._init.nr, keys.prf, keys.sk_pi, self._settings.local_id.encode()
        )

    def _responder_octets(self) -> bytes:
        keys = self._init.keys
        return keymat.signed_octets(self._init.response, self._init.ni, keys.prf, keys.sk_pr, self._idr_body)


def _one(payloads: tuple[Payload, ...], kind: type[_P]) -> _P | None:
    return next((payload for payload in payloads if isinstance(payload, kind)), None)


def _narrowed(answer: TsInitiator | TsResponder, offered: tuple[TrafficSelector, ...]) -> tuple[TrafficSelector, ...]:
    """The gateway may take less than was offered, never more (RFC 7296 2.9)."""
    selectors = [selector for selector in answer.selectors if isinstance(selector, TrafficSelector)]
    if not selectors:
        raise DecodeError("no traffic selector that can be understood")
    for selector in selectors:
        if not any(wide.contains(selector) for wide in offered):
            raise DecodeError(f"the traffic selector {selector.start}-{selector.end} is wider than what was asked for")
    return tuple(selectors)
