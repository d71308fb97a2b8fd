"""CREATE_CHILD_SA as a rekeying of either kind of SA, from either side (RFC 7296 1.3.2, 1.3.3, 2.17, 2.18).

Here is what the payloads mean; who may rekey when, and what collides with what, is the business of `tunnel.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

from anyike.crypto.dh import InvalidKeyExchange, generate
from anyike.crypto.dh import KeyExchange as Exchange
from anyike.ikev2 import keymat
from anyike.ikev2.channel import make_spi
from anyike.ikev2.child_sa import ChildSa, TrafficSelector
from anyike.ikev2.constants import NotifyType, ProtocolId
from anyike.ikev2.exchanges.ike_sa_init import NONCE_LENGTH
from anyike.ikev2.exchanges.refusals import is_error
from anyike.ikev2.keymat import IkeKeys
from anyike.ikev2.payloads import (
    KeyExchange,
    Nonce,
    Notify,
    Payload,
    SecurityAssociation,
    TsInitiator,
    TsResponder,
)
from anyike.ikev2.proposals import (
    UnacceptableChoice,
    choose_esp,
    choose_ike,
    offer_esp,
    offer_ike,
    select_esp,
    select_ike,
)
from anyike.ikev2.settings import IkeSettings
from anyike.wire import DecodeError

_P = TypeVar("_P", bound=Payload)

MIN_NONCE, MAX_NONCE = 16, 256
"""Specification: RFC 7296 2.10 and 3.9."""


class Refused(Exception):
    """The other side, or we ourselves as responder, say no: `notify` is how."""

    def __init__(self, notify: Notify, reason: str = "") -> None:
        super().__init__(reason or notify.name)
        self.notify = notify


@dataclass(frozen=True, slots=True)
class NewIkeSa:
    """An IKE SA that was made by rekeying; `initiator`: whether we started it."""

    spi_i: bytes
    spi_r: bytes
    keys: IkeKeys
    initiator: bool


class ChildRekeying:
    """A rekeying of a CHILD_SA that we start. `nonces` are both sides', once it was answered."""

    def __init__(self, settings: IkeSettings, old: ChildSa, spi: int, random: Callable[[int], bytes]) -> None:
        self.old = old
        self.spi = spi
        self.nonces: tuple[bytes, ...] = ()
        self._settings = settings
        self._random = random
        self._nonce = random(NONCE_LENGTH)
        self._told = False
        groups = [group for spec in settings.esp_proposals for group in spec.groups]
        self._exchange: Exchange | None = generate(groups[0], random) if groups else None

    def build(self) -> tuple[Payload, ...]:
        """The request: N(REKEY_SA) names the SPI that we expect in inbound packets (RFC 7296 1.3.3)."""
        own = self._exchange is not None
        payloads: list[Payload] = [
            Notify(NotifyType.REKEY_SA, protocol=ProtocolId.ESP, spi=self.old.inbound_spi.to_bytes(4, "big")),
            offer_esp(self._settings.esp_proposals, self.spi, own_exchange=own),
            Nonce(self._nonce),
        ]
        if self._exchange is not None:
            payloads.append(KeyExchange(self._exchange.group, self._exchange.public))
        return (*payloads, TsInitiator(self.old.local_selectors), TsResponder(self.old.remote_selectors))

    def take_group(self, notify: Notify) -> bool:
        """INVALID_KE_PAYLOAD: whether `build` now has the group that the gateway wants; once only."""
        group = _wanted_group(notify, self._exchange, [g for spec in self._settings.esp_proposals for g in spec.groups])
        if group is None or self._told:
            return False
        self._told = True
        self._exchange = generate(group, self._random)
        return True

    def process(self, payloads: tuple[Payload, ...], keys: IkeKeys) -> ChildSa:
        """The new CHILD_SA.

        Raises:
            Refused: the gateway answered with an error notify.
            DecodeError, UnacceptableChoice, InvalidKeyExchange: it answered what cannot be.
        """
        _raise_refusal(payloads)
        sa, nonce = _needed(payloads, SecurityAssociation), _nonce(payloads)
        local, remote = _needed(payloads, TsInitiator), _needed(payloads, TsResponder)
        own = self._exchange is not None
        chosen = choose_esp(self._settings.esp_proposals, self.spi, sa, own_exchange=own)
        secret = _shared_secret(self._exchange, payloads, chosen.group)
        outbound, inbound = keymat.derive_child_keys(keys, chosen.suite, self._nonce, nonce, secret)
        self.nonces = (self._nonce, nonce)
        return replace(
            self.old,
            inbound_spi=self.spi,
            outbound_spi=chosen.spi,
            suite=chosen.suite,
            inbound_keys=inbound,
            outbound_keys=outbound,
            local_selectors=_within(local.selectors, self.old.local_selectors),
            remote_selectors=_within(remote.selectors, self.old.remote_selectors),
            esn=chosen.esn,
        )


@dataclass(frozen=True, slots=True)
class AnsweredChild:
    """Our side of a rekeying of a CHILD_SA that the gateway started: the response, the new CHILD_SA, both nonces."""

    response: tuple[Payload, ...]
    child: ChildSa
    nonces: tuple[bytes, ...]


def answer_child_rekeying(
    settings: IkeSettings,
    old: ChildSa,
    spi: int,
    payloads: tuple[Payload, ...],
    keys: IkeKeys,
    random: Callable[[int], bytes],
) -> AnsweredChild:
    """Answer the gateway's request to rekey `old`; `spi` is our new inbound one.

    Raises:
        Refused: with what it is to be told.
        DecodeError: it cannot be understood.
    """
    sa, nonce = _needed(payloads, SecurityAssociation), _nonce(payloads)
    remote, local = _needed(payloads, TsInitiator), _needed(payloads, TsResponder)
    try:
        proposal, chosen = select_esp(settings.esp_proposals, sa)
    except UnacceptableChoice as error:
        raise Refused(Notify(NotifyType.NO_PROPOSAL_CHOSEN), str(error)) from None
    selectors = (_common(remote.selectors, old.remote_selectors), _common(local.selectors, old.local_selectors))
    if not all(selectors):
        raise Refused(Notify(NotifyType.TS_UNACCEPTABLE))
    exchange, secret = _answer_key_exchange(payloads, chosen.group, random)
    ours = random(NONCE_LENGTH)
    inbound, outbound = keymat.derive_child_keys(keys, chosen.suite, nonce, ours, secret)
    child = replace(
        old,
        inbound_spi=spi,
        outbound_spi=chosen.spi,
        suite=chosen.suite,
        inbound_keys=inbound,
        outbound_keys=outbound,
        local_selectors=selectors[1],
        remote_selectors=selectors[0],
        esn=chosen.esn,
    )
    response: list[Payload] = [SecurityAssociation((replace(proposal, spi=spi.to_bytes(4, "big")),)), Nonce(ours)]
    if exchange is not None:
        response.append(KeyExchange(exchange.group, exchange.public))
    response += [TsInitiator(selectors[0]), TsResponder(selectors[1])]
    return AnsweredChild(tuple(response), child, (nonce, ours))


class IkeRekeying:
    """A rekeying of the IKE SA that we start. `nonces` are both sides', once it was answered."""

    def __init__(self, settings: IkeSettings, keys: IkeKeys, random: Callable[[int], bytes]) -> None:
        self.nonces: tuple[bytes, ...] = ()
        self._settings = settings
        self._keys = keys
        self._random = random
        self._spi = make_spi(random)
        self._nonce = random(NONCE_LENGTH)
        self._told = False
        self._exchange = generate(settings.ike_proposals[0].groups[0], random)

    def build(self) -> tuple[Payload, ...]:
        """The request."""
        return (
            offer_ike(self._settings.ike_proposals, self._spi),
            Nonce(self._nonce),
            KeyExchange(self._exchange.group, self._exchange.public),
        )

    def take_group(self, notify: Notify) -> bool:
        """INVALID_KE_PAYLOAD: whether `build` now has the group that the gateway wants; once only."""
        offered = [group for spec in self._settings.ike_proposals for group in spec.groups]
        group = _wanted_group(notify, self._exchange, offered)
        if group is None or self._told:
            return False
        self._told = True
        self._exchange = generate(group, self._random)
        return True

    def process(self, payloads: tuple[Payload, ...]) -> NewIkeSa:
        """The new IKE SA; raises as `ChildRekeying.process` does."""
        _raise_refusal(payloads)
        sa, nonce = _needed(payloads, SecurityAssociation), _nonce(payloads)
        chosen = choose_ike(self._settings.ike_proposals, sa)
        spi_r = _ike_spi(sa)
        secret = _shared_secret(self._exchange, payloads, chosen.group)
        keys = keymat.derive_rekeyed_ike_keys(
            self._keys, chosen.prf, chosen.suite, secret, self._nonce, nonce, self._spi, spi_r
        )
        self.nonces = (self._nonce, nonce)
        return NewIkeSa(self._spi, spi_r, keys, initiator=True)


@dataclass(frozen=True, slots=True)
class AnsweredIke:
    """Our side of a rekeying of the IKE SA that the gateway started."""

    response: tuple[Payload, ...]
    new: NewIkeSa
    nonces: tuple[bytes, ...]


def answer_ike_rekeying(
    settings: IkeSettings, payloads: tuple[Payload, ...], old: IkeKeys, random: Callable[[int], bytes]
) -> AnsweredIke:
    """Answer the gateway's request to rekey the IKE SA; raises as `answer_child_rekeying` does."""
    sa, nonce = _needed(payloads, SecurityAssociation), _nonce(payloads)
    try:
        proposal, chosen = select_ike(settings.ike_proposals, sa)
    except UnacceptableChoice as error:
        raise Refused(Notify(NotifyType.NO_PROPOSAL_CHOSEN), str(error)) from None
    exchange, secret = _answer_key_exchange(payloads, chosen.group, random)
    assert exchange is not None  # select_ike insists on a group
    spi_i, spi_r, ours = _ike_spi(SecurityAssociation((proposal,))), make_spi(random), random(NONCE_LENGTH)
    keys = keymat.derive_rekeyed_ike_keys(old, chosen.prf, chosen.suite, secret, nonce, ours, spi_i, spi_r)
    response = (
        SecurityAssociation((replace(proposal, spi=spi_r),)),
        Nonce(ours),
        KeyExchange(exchange.group, exchange.public),
    )
    return AnsweredIke(response, NewIkeSa(spi_i, spi_r, keys, initiator=False), (nonce, ours))


def rekeyed_spi(payloads: tuple[Payload, ...]) -> bytes | None:
    """The SPI of N(REKEY_SA), of any length: the gateway's inbound one, our outbound; None where a CHILD_SA is to be added."""
    for payload in payloads:
        if isinstance(payload, Notify) and payload.type == NotifyType.REKEY_SA:
            return payload.spi
    return None


def is_about_ike(payloads: tuple[Payload, ...]) -> bool:
    """Whether a CREATE_CHILD_SA request rekeys the IKE SA."""
    sa = _one(payloads, SecurityAssociation)
    return sa is not None and any(proposal.protocol == ProtocolId.IKE for proposal in sa.proposals)


def _raise_refusal(payloads: tuple[Payload, ...]) -> None:
    for payload in payloads:
        if isinstance(payload, Notify) and is_error(payload):
            raise Refused(payload)


def _wanted_group(notify: Notify, tried: Exchange | None, offered: Iterable[int]) -> int | None:
    group = int.from_bytes(notify.data, "big")
    known = len(notify.data) == 2 and group in set(offered)
    return group if known and (tried is None or group != tried.group) else None


def _shared_secret(exchange: Exchange | None, payloads: tuple[Payload, ...], group: int) -> bytes:
    if exchange is None or not group:
        return b""
    theirs = _needed(payloads, KeyExchange)
    if theirs.group != group or exchange.group != group:
        raise DecodeError(f"KE of group {theirs.group} where {group} was agreed on")
    return exchange.shared_secret(theirs.data)


def _answer_key_exchange(
    payloads: tuple[Payload, ...], group: int, random: Callable[[int], bytes]
) -> tuple[Exchange | None, bytes]:
    if not group:
        return None, b""
    theirs = _one(payloads, KeyExchange)
    if theirs is None or theirs.group != group:
        raise Refused(Notify(NotifyType.INVALID_KE_PAYLOAD, group.to_bytes(2, "big")))
    exchange = generate(group, random)
    try:
        return exchange, exchange.shared_secret(theirs.data)
    except InvalidKeyExchange as error:
        raise DecodeError(str(error)) from None


def _ike_spi(sa: SecurityAssociation) -> bytes:
    spi = sa.proposals[0].spi
    if len(spi) != 8 or spi == bytes(8):
        raise DecodeError(f"the new IKE SA's SPI {spi.hex() or '(empty)'} is none")
    return spi


def _nonce(payloads: tuple[Payload, ...]) -> bytes:
    nonce = _needed(payloads, Nonce).data
    if not MIN_NONCE <= len(nonce) <= MAX_NONCE:
        raise DecodeError(f"a nonce of {len(nonce)} bytes")
    return nonce


def _common(asked: Iterable[object], ours: tuple[TrafficSelector, ...]) -> tuple[TrafficSelector, ...]:
    """Those of ours that the gateway's new selectors still cover."""
    wide = [selector for selector in asked if isinstance(selector, TrafficSelector)]
    return tuple(selector for selector in ours if any(one.contains(selector) for one in wide))


def _within(answer: Iterable[object], asked: tuple[TrafficSelector, ...]) -> tuple[TrafficSelector, ...]:
    selectors = tuple(selector for selector in answer if isinstance(selector, TrafficSelector))
    if not selectors or not all(any(wide.contains(one) for wide in asked) for one in selectors):
        raise DecodeError("the rekeyed CHILD_SA has other traffic selectors than the old one")
    return selectors


def _one(payloads: tuple[Payload, ...], kind: type[_P]) -> _P | None:
    return next((payload for payload in payloads if isinstance(payload, kind)), None)


def _needed(payloads: tuple[Payload, ...], kind: type[_P]) -> _P:
    found = _one(payloads, kind)
    if found is None:
        raise DecodeError(f"{kind.__name__} is missing")
    return found
