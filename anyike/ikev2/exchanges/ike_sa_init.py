"""IKE_SA_INIT (RFC 7296 1.2, 2.6, 2.7): algorithms, keys, NAT detection. Nothing here is authenticated yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from anyike.crypto.dh import InvalidKeyExchange, generate
from anyike.crypto.prf import PRFS
from anyike.errors import GatewayRefused, ProtocolError, Redirected
from anyike.ikev2 import natt
from anyike.ikev2.constants import VENDOR_FRAGMENTATION, NotifyType
from anyike.ikev2.exchanges import redirect
from anyike.ikev2.exchanges.outcome import Done, Failed, Goodbye, Noted, Outcome, Restart, Stale
from anyike.ikev2.exchanges.refusals import is_error, refusal
from anyike.ikev2.keymat import IkeKeys, derive_ike_keys
from anyike.ikev2.message import Message
from anyike.ikev2.payloads import KeyExchange, Nonce, Notify, Payload, SecurityAssociation, VendorId
from anyike.ikev2.proposals import ChosenIke, UnacceptableChoice, choose_ike, group_name, offer_ike
from anyike.ikev2.settings import IkeSettings
from anyike.wire import DecodeError

NONCE_LENGTH = 32
"""At least half the key size of every PRF offered (RFC 7296 2.10)."""

MAX_COOKIES = 3
"""A gateway changes its cookie secret now and then; one that asks for ever, or a forger, does not keep us busy."""

MAX_GROUP_CHANGES = 4
"""A gateway names the group it wants once; a forger may have led us away from it a time or two."""

SIGNATURE_HASHES = b"\x00\x02\x00\x03\x00\x04\x00\x05"
"""SHA2-256, SHA2-384, SHA2-512 and Identity (RFC 7427 4, RFC 8420)."""


@dataclass(frozen=True, slots=True)
class IkeSaInitResult:
    """What the exchange settled; `request` and `response` are the messages that AUTH covers."""

    chosen: ChosenIke
    keys: IkeKeys
    spi_r: bytes
    ni: bytes
    nr: bytes
    request: bytes
    response: bytes
    vendor_ids: tuple[bytes, ...]
    ietf_fragmentation: bool
    cisco_fragmentation: bool
    nat: natt.NatDetection


class IkeSaInit:
    """One IKE_SA_INIT, repeated with a cookie or another group when the gateway asks for it."""

    def __init__(
        self,
        settings: IkeSettings,
        spi_i: bytes,
        local: tuple[str, int],
        remote: tuple[str, int],
        random: Callable[[int], bytes],
    ) -> None:
        self._settings = settings
        self._spi_i = spi_i
        self._local = local
        self._remote = remote
        self._random = random
        self._ni = random(NONCE_LENGTH)
        self._source_hash = self._choose_source_hash()
        self._cookie = b""
        self._cookies = 0
        self._group_changes = 0
        self._key_exchange = generate(settings.ike_proposals[0].groups[0], random)
        self._key_exchanges = {self._key_exchange.group: self._key_exchange}
        self._request = b""
        self.result: IkeSaInitResult | None = None

    def build(self) -> tuple[Payload, ...]:
        """The request as it stands now."""
        payloads: list[Payload] = []
        if self._cookie:
            payloads.append(Notify(NotifyType.COOKIE, self._cookie))
        payloads += [
            offer_ike(self._settings.ike_proposals),
            KeyExchange(self._key_exchange.group, self._key_exchange.public),
            Nonce(self._ni),
            Notify(NotifyType.NAT_DETECTION_SOURCE_IP, self._source_hash),
            Notify(NotifyType.NAT_DETECTION_DESTINATION_IP, natt.detection_hash(self._spi_i, bytes(8), self._remote)),
            Notify(NotifyType.FRAGMENTATION_SUPPORTED),
        ]
        if self._settings.redirect:
            payloads.append(Notify(NotifyType.REDIRECT_SUPPORTED))
        if self._settings.redirected_from is not None:
            payloads.append(Notify(NotifyType.REDIRECTED_FROM, redirect.write_gateway(self._settings.redirected_from)))
        if self._settings.signature_hash_algorithms:
            payloads.append(Notify(NotifyType.SIGNATURE_HASH_ALGORITHMS, SIGNATURE_HASHES))
        payloads += [VendorId(vendor_id) for vendor_id in self._settings.vendor_ids]
        return tuple(payloads)

    def sent(self, datagram: bytes) -> None:
        """The bytes that went out: the last ones are what AUTH covers (AnyConnect-EAP notes, section 3)."""
        self._request = datagram

    def process(self, message: Message, datagram: bytes) -> Outcome:
        """Judge a response; `datagram` is the whole message from the SPI on."""
        retry = self._retry(message)
        if retry is not None:
            return retry
        errors = [notify for notify in message.all(Notify) if is_error(notify)]
        if errors:
            offered = ", ".join(spec.text for spec in self._settings.ike_proposals)
            return Noted(refusal(errors[0], "IKE_SA_INIT", offered))
        return self._conclude(message, datagram)

    def _retry(self, message: Message) -> Outcome | None:
        cookie = message.notify(NotifyType.COOKIE)
        if cookie is not None:
            return self._use_cookie(cookie.data)
        invalid_ke = message.notify(NotifyType.INVALID_KE_PAYLOAD)
        if invalid_ke is not None:
            return self._use_group(invalid_ke.data)
        redirection = redirect.redirect_of(message.payloads)
        return None if redirection is None else self._follow_redirect(redirection)

    def _follow_redirect(self, notify: Notify) -> Outcome:
        """Only who saw our request knows its nonce (RFC 5685 3); the certificate of wherever we get to decides the rest."""
        try:
            host, nonce = redirect.read_gateway(notify.data)
        except DecodeError as error:
            return Noted(ProtocolError(f"the gateway redirects to another one that cannot be used: {error}"))
        if nonce != self._ni:
            return Stale("a REDIRECT without the nonce of our request")
        if not self._settings.redirect:
            return Noted(redirect.not_followed(host))
        return Failed(Redirected(host), Goodbye.NONE)

    def _use_cookie(self, cookie: bytes) -> Outcome:
        if not 1 <= len(cookie) <= 64 or cookie == self._cookie:
            return Stale("a cookie that is empty, too long (RFC 7296 2.6) or the one we sent")
        if self._cookies >= MAX_COOKIES:
            return Noted(ProtocolError(f"the gateway asked for a new cookie more than {MAX_COOKIES} times"))
        self._cookies += 1
        self._cookie = cookie
        return Restart("COOKIE")

    def _use_group(self, data: bytes) -> Outcome:
        group = int.from_bytes(data, "big")
        offered = {g for spec in self._settings.ike_proposals for g in spec.groups}
        if len(data) != 2 or group not in offered:
            name = group_name(group) if len(data) == 2 else data.hex()
            return Noted(
                ProtocolError(
                    f"the gateway wants Diffie-Hellman group {name}, which ike.proposals does not offer: add it there"
                )
            )
        if group == self._key_exchange.group:
            return Stale("INVALID_KE_PAYLOAD for the group that we sent")
        if self._group_changes >= MAX_GROUP_CHANGES:
            return Noted(ProtocolError(f"the gateway asked for another group more than {MAX_GROUP_CHANGES} times"))
        self._group_changes += 1
        # Back to a former group means back to its key: the request is the same again, and so is whatever answers it.
        if group not in self._key_exchanges:
            self._key_exchanges[group] = generate(group, self._random)
        self._key_exchange = self._key_exchanges[group]
        return Restart(f"INVALID_KE_PAYLOAD: {group_name(group)}")

    def _conclude(self, message: Message, datagram: bytes) -> Outcome:
        sa, ke, nonce = message.get(SecurityAssociation), message.get(KeyExchange), message.get(Nonce)
        if sa is None or ke is None or nonce is None or message.header.spi_r == bytes(8):
            return Noted(ProtocolError("the gateway's IKE_SA_INIT response lacks SA, KE, Nonce or its SPI"))
        try:
            chosen = choose_ike(self._settings.ike_proposals, sa)
        except UnacceptableChoice as error:
            return Noted(ProtocolError(str(error)))
        if chosen.group != self._key_exchange.group or ke.group != chosen.group:
            return Stale("KE of another group than the one in our last request")
        try:
            secret = self._key_exchange.shared_secret(ke.data)
        except InvalidKeyExchange as error:
            return Noted(ProtocolError(f"the gateway's public value is not valid: {error}"))
        spi_r = message.header.spi_r
        nat = natt.detect(message.all(Notify), self._spi_i, spi_r, self._local, self._remote)
        if self._settings.force_encapsulation and not nat.supported and not self._settings.start_on_nat_port:
            return Noted(
                GatewayRefused(
                    "the gateway does not support NAT traversal, without which userspace ESP gets no packets: if it listens on "
                    f"port {self._settings.nat_port} all the same, set gateway.start_on_nat_port"
                )
            )
        vendor_ids = tuple(v.data for v in message.all(VendorId))
        self.result = IkeSaInitResult(
            chosen=chosen,
            keys=derive_ike_keys(chosen.prf, chosen.suite, secret, self._ni, nonce.data, self._spi_i, spi_r),
            spi_r=spi_r,
            ni=self._ni,
            nr=nonce.data,
            request=self._request,
            response=datagram,
            vendor_ids=vendor_ids,
            ietf_fragmentation=message.notify(NotifyType.FRAGMENTATION_SUPPORTED) is not None,
            cisco_fragmentation=VENDOR_FRAGMENTATION in vendor_ids,
            nat=nat,
        )
        return Done()

    def _choose_source_hash(self) -> bytes:
        """A hash that cannot match makes the gateway send ESP in UDP, as behind a NAT (RFC 7296 2.23).

        Chosen once: with a cookie all other payloads come back unchanged (RFC 7296 2.6).
        """
        if self._settings.force_encapsulation:
            return self._random(20)
        return natt.detection_hash(self._spi_i, bytes(8), self._local)


def describe_algorithms(chosen: ChosenIke) -> str:
    """For people: `AES_GCM_16_256, PRF_HMAC_SHA2_384, ecp384`."""
    return f"{chosen.suite.name}, {PRFS[chosen.prf].name}, {group_name(chosen.group)}"
