"""From datagrams to messages and back, for one IKE SA: header checks, fragments, protection. Judges no content."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import ip_address

from anyike.errors import AuthenticationFailed, LoginFailed
from anyike.ikev2 import natt
from anyike.ikev2.constants import FLAG_INITIATOR, FLAG_RESPONSE, ExchangeType, PayloadType, name_of
from anyike.ikev2.counters import Count, Counters
from anyike.ikev2.events import Address, Datagram
from anyike.ikev2.exchanges.ike_sa_init import IkeSaInitResult
from anyike.ikev2.fragments import CiscoReassembler, FragmentDrop, SkfReassembler, cut_cisco
from anyike.ikev2.keymat import IkeKeys
from anyike.ikev2.message import Header, Message, decode_header, decode_payloads
from anyike.ikev2.payloads import Notify, Payload, UnknownPayload
from anyike.ikev2.protection import Protection
from anyike.ikev2.settings import Fragmentation, IkeSettings
from anyike.ikev2.window import RequestWindow
from anyike.wire import DecodeError

log = logging.getLogger(__name__)

UDP_HEADER = 8
IP_HEADER = {4: 20, 6: 40}
MAX_DATAGRAM = 0xFFFF - IP_HEADER[4] - UDP_HEADER - len(natt.NON_ESP_MARKER)


class MessageTooLarge(LoginFailed):
    """A request cannot be sent. Only the answers of a login can grow that large."""


@dataclass(frozen=True, slots=True)
class Inbound:
    """A message that belongs to this IKE SA.

    `protected`: it passed its integrity check. `payloads`: what was encrypted (unprotected: everything); `clear`: what stood
    before SK. `error`: authentic or not, the content could not be read. `datagram`: the whole message;
    `first_datagram`: the datagram, or the fragment, by which a repeated request is known again.
    """

    header: Header
    protected: bool
    payloads: tuple[Payload, ...]
    clear: tuple[Payload, ...]
    error: DecodeError | None
    datagram: bytes
    first_datagram: bytes

    def __str__(self) -> str:
        """Exchange, number and the names of the payloads; never their content."""
        kind = f"{name_of(ExchangeType, self.header.exchange)} {'response' if self.header.is_response else 'request'}"
        clear = f", unencrypted {' '.join(map(_title, self.clear))}" if self.clear else ""
        proof = "" if self.protected else ", unprotected"
        return f"{kind} {self.header.message_id}: {' '.join(map(_title, self.payloads)) or 'nothing'}{clear}{proof}"

    @property
    def message(self) -> Message | None:
        """An unprotected message for IKE_SA_INIT."""
        return None if self.protected or self.error else Message(self.header, self.payloads)


def _title(payload: Payload) -> str:
    if isinstance(payload, Notify):
        return f"N({payload.name})"
    if isinstance(payload, UnknownPayload):
        return f"payload {payload.type}"
    return PayloadType(payload.TYPE).name


def make_spi(random: Callable[[int], bytes]) -> bytes:
    """An SPI of an IKE SA: eight bytes, never all zero (RFC 7296 3.1)."""
    return bytes([random(1)[0] | 1]) + random(7)


class Channel:
    """Where the messages of one IKE SA come from and go to."""

    def __init__(self, settings: IkeSettings, random: Callable[[int], bytes], counters: Counters) -> None:
        self._settings = settings
        self._random = random
        self._counters = counters
        self._initiator = True
        self._protection: Protection | None = None
        self._skf = SkfReassembler()
        self._cisco = CiscoReassembler()
        self._ietf_peer = False
        self._cisco_peer = False
        self._on_nat_port = False
        self._first_fragments: dict[bool, bytes] = {}
        self.spi_i = make_spi(random)
        self.spi_r = bytes(8)
        self.remote: Address = ("", 0)

    def open(self, remote: Address, *, on_nat_port: bool) -> None:
        """Where the gateway is."""
        self.remote = remote
        self._on_nat_port = on_nat_port

    def float_to(self, nat_port: int) -> None:
        """Go on at the NAT port, with the non-ESP marker (RFC 7296 2.23)."""
        self.remote = (self.remote[0], nat_port)
        self._on_nat_port = True

    def move_to(self, host: str) -> None:
        """Talk to another address of the gateway, at the same port (RFC 4555)."""
        self.remote = (host, self.remote[1])

    def secure(self, result: IkeSaInitResult) -> None:
        """Keys exist: everything from here on is protected."""
        self.spi_r = result.spi_r
        self._ietf_peer = result.ietf_fragmentation
        self._cisco_peer = result.cisco_fragmentation
        self._protection = Protection(result.keys.initiator_cipher(), result.keys.responder_cipher(), self._random)

    def successor(self, spi_i: bytes, spi_r: bytes, keys: IkeKeys, *, initiator: bool) -> Channel:
        """The channel of an IKE SA that replaces this one; `initiator`: whether we started the rekeying (RFC 7296 2.18)."""
        new = Channel(self._settings, self._random, self._counters)
        new._initiator = initiator
        new.spi_i, new.spi_r = spi_i, spi_r
        new.remote, new._on_nat_port = self.remote, self._on_nat_port
        new._ietf_peer, new._cisco_peer = self._ietf_peer, self._cisco_peer
        outbound, inbound = keys.initiator_cipher(), keys.responder_cipher()
        if not initiator:
            outbound, inbound = inbound, outbound
        new._protection = Protection(outbound, inbound, self._random)
        return new

    def owns(self, datagram: bytes) -> bool:
        """Whether a datagram has the SPIs of this IKE SA."""
        return datagram[:16] == self.spi_i + self.spi_r

    def wipe(self) -> None:
        """Let go of the keys."""
        self._protection = None

    # --- out -----------------------------------------------------------------------------------------------------------

    def datagram(self, data: bytes, destination: Address | None = None) -> Datagram:
        """An IKE message as it goes on the wire, to where the gateway is unless a request came from elsewhere."""
        return Datagram(natt.NON_ESP_MARKER + data if self._on_nat_port else data, destination or self.remote)

    def encode_plain(self, exchange: ExchangeType, message_id: int, payloads: Sequence[Payload]) -> bytes:
        """An unprotected request (IKE_SA_INIT)."""
        return Message(self._header(exchange, message_id, response=False), tuple(payloads)).encode()

    def encode(
        self, exchange: int, message_id: int, payloads: Sequence[Payload], *, response: bool = False
    ) -> tuple[bytes, ...]:
        """A protected message, in fragments where it is too large for the path.

        Raises:
            MessageTooLarge: a payload, or without RFC 7383 the whole message, is more than its length field can say.
        """
        if self._protection is None:
            return ()
        header = self._header(exchange, message_id, response=response)
        try:
            return self._cut(self._protection, header, payloads)
        except ValueError as error:
            raise MessageTooLarge(f"The answer to the gateway is too large for a message of IKE: {error}.") from None

    def _cut(self, protection: Protection, header: Header, payloads: Sequence[Payload]) -> tuple[bytes, ...]:
        limit = self._limit()
        with suppress(ValueError):  # fragments may carry what one encrypted payload cannot
            whole = protection.seal(header, payloads)
            if len(whole) <= limit:
                return (whole,)
        match self._format():
            case Fragmentation.IETF:
                return tuple(protection.seal_fragments(header, payloads, limit))
            case Fragmentation.CISCO:
                return tuple(cut_cisco(protection.seal(header, payloads), limit))
            case _:
                whole = protection.seal(header, payloads)
                if len(whole) > MAX_DATAGRAM:
                    raise ValueError(f"{len(whole)} bytes do not fit a UDP datagram")
                return (whole,)

    def _format(self) -> Fragmentation:
        """Both sides support RFC 7383: that; only the Vendor ID came: payload 132 (AnyConnect-EAP notes, section 2)."""
        if self._settings.fragmentation is not Fragmentation.AUTO:
            return self._settings.fragmentation
        if self._ietf_peer:
            return Fragmentation.IETF
        return Fragmentation.CISCO if self._cisco_peer else Fragmentation.OFF

    def _limit(self) -> int:
        marker = len(natt.NON_ESP_MARKER) if self._on_nat_port else 0
        return self._settings.fragment_size - IP_HEADER[ip_address(self.remote[0]).version] - UDP_HEADER - marker

    def _header(self, exchange: int, message_id: int, *, response: bool) -> Header:
        flags = (FLAG_INITIATOR if self._initiator else 0) | (FLAG_RESPONSE if response else 0)
        return Header(self.spi_i, self.spi_r, 0, exchange, flags, message_id)

    # --- in ------------------------------------------------------------------------------------------------------------

    def peek_request(self, datagram: bytes) -> int | None:
        """The message ID of a request for this IKE SA, before anything is decrypted; None for anything else."""
        try:
            header = decode_header(datagram)
        except DecodeError:
            return None
        ours = self.owns(datagram) and header.from_initiator != self._initiator
        return None if header.is_response or not ours else header.message_id

    def decode(
        self, datagram: bytes, source: Address, window: RequestWindow, expected_request: int, now: float
    ) -> Inbound | None:
        """The message that this datagram completes, or None: dropped and counted, or a fragment of more to come."""
        try:
            header = decode_header(datagram)
        except DecodeError as error:
            return self._drop(Count.DROPPED_MALFORMED, str(error))
        reason = self._misplaced(header, source, window, expected_request)
        if reason is not None:
            return self._drop(reason, f"message {header.message_id} of exchange {header.exchange}")
        match header.next_payload:
            case PayloadType.SKF:
                return self._collect_skf(header, datagram, now)
            case PayloadType.CISCO_FRAGMENT:
                return self._collect_cisco(header, datagram, now)
            case _:
                return self._decode_whole(header, datagram, datagram)

    def _misplaced(self, header: Header, source: Address, window: RequestWindow, expected_request: int) -> Count | None:
        if header.spi_i != self.spi_i or header.from_initiator == self._initiator:
            return Count.DROPPED_WRONG_SPI
        if self._protection is None:
            if ip_address(source[0].partition("%")[0]) != ip_address(self.remote[0].partition("%")[0]):
                return Count.DROPPED_WRONG_SOURCE
            if not header.is_response or header.exchange != ExchangeType.IKE_SA_INIT:
                return Count.DROPPED_WRONG_EXCHANGE
        elif header.spi_r != self.spi_r:
            return Count.DROPPED_WRONG_SPI
        if header.is_response:
            if not window.accepts(header.message_id):
                return Count.DROPPED_WRONG_MESSAGE_ID
            return None if header.exchange == window.exchange else Count.DROPPED_WRONG_EXCHANGE
        if header.message_id != expected_request:
            return Count.DROPPED_WRONG_MESSAGE_ID
        legal = header.exchange in (ExchangeType.INFORMATIONAL, ExchangeType.CREATE_CHILD_SA)
        return None if legal else Count.DROPPED_WRONG_EXCHANGE

    def _decode_whole(self, header: Header, datagram: bytes, first_datagram: bytes) -> Inbound | None:
        if self._protection is None:
            return self._decode_plain(header, datagram)
        try:
            opened = self._protection.open(datagram)
        except AuthenticationFailed as error:
            return self._drop(Count.DROPPED_NOT_AUTHENTICATED, str(error))
        except DecodeError as error:
            self._drop(Count.DROPPED_NOT_PROTECTED, str(error))
            # A response may be an error notify of a gateway that lost our keys: the connection hears of it, and of no more.
            return self._decode_plain(header, datagram) if header.is_response else None
        return Inbound(header, True, opened.payloads, opened.clear, opened.error, datagram, first_datagram)

    def _collect_skf(self, header: Header, datagram: bytes, now: float) -> Inbound | None:
        """RFC 7383: every fragment proves itself."""
        self._counters[Count.FRAGMENTS_IN] += 1
        if self._protection is None:
            return self._drop(Count.DROPPED_FRAGMENT, "before there are keys")
        try:
            fragment = self._protection.open_fragment(datagram)
        except AuthenticationFailed as error:
            return self._drop(Count.DROPPED_NOT_AUTHENTICATED, str(error))
        except DecodeError as error:
            return self._drop(Count.DROPPED_MALFORMED, str(error))
        key = (header.is_response, header.message_id)
        if fragment.number == 1:
            self._first_fragments[header.is_response] = datagram
        whole = self._skf.add(key, fragment, now)
        if isinstance(whole, FragmentDrop):
            return self._drop(Count.DROPPED_FRAGMENT, whole)
        if whole is None:
            return None
        first_datagram = self._first_fragments[header.is_response]
        try:
            payloads = decode_payloads(*whole)
        except DecodeError as error:
            return Inbound(header, True, (), (), error, datagram, first_datagram)
        return Inbound(header, True, payloads, (), None, datagram, first_datagram)

    def _collect_cisco(self, header: Header, datagram: bytes, now: float) -> Inbound | None:
        """Payload 132: what the pieces make up is believed only when it passes as a message of its own."""
        self._counters[Count.FRAGMENTS_IN] += 1
        if self._protection is None:
            return self._drop(Count.DROPPED_FRAGMENT, "before there are keys")
        key = (header.is_response, header.message_id)
        wholes = self._cisco.add(key, datagram, now)
        if isinstance(wholes, FragmentDrop):
            return self._drop(Count.DROPPED_FRAGMENT, wholes)
        for whole in wholes:
            inbound = self._open_reassembled(header, whole)
            if inbound is not None and inbound.protected:
                self._cisco.forget(key)
                # Of a repeated request this piece is the one that asks for the response again.
                return replace(inbound, first_datagram=datagram)
        return None

    def _open_reassembled(self, outer: Header, whole: bytes) -> Inbound | None:
        try:
            inner = decode_header(whole)
        except DecodeError as error:
            return self._drop(Count.DROPPED_MALFORMED, str(error))
        same = (outer.spi_i, outer.spi_r, outer.exchange, outer.flags, outer.message_id)
        if same != (inner.spi_i, inner.spi_r, inner.exchange, inner.flags, inner.message_id):
            return self._drop(Count.DROPPED_FRAGMENT, "the pieces make up another message than they say")
        return self._decode_whole(inner, whole, whole)

    def _decode_plain(self, header: Header, datagram: bytes) -> Inbound:
        try:
            payloads = decode_payloads(header.next_payload, datagram[28:])
        except DecodeError as error:
            return Inbound(header, False, (), (), error, datagram, datagram)
        return Inbound(header, False, payloads, (), None, datagram, datagram)

    def _drop(self, reason: Count, detail: str) -> Inbound | None:
        self._counters[reason] += 1
        log.debug("%s: %s", reason, detail)
        return None
