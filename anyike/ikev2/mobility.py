"""Where the two ends of a tunnel are, and how the gateway learns that we have moved: MOBIKE (RFC 4555).

Only we decide between which addresses the tunnel runs; the owner, who watches the network, says so by `move`. From then on
everything goes the new way, what is outstanding too, and a request with UPDATE_SA_ADDRESSES makes the gateway follow::

    HDR, SK {N(COOKIE2), N(UPDATE_SA_ADDRESSES), N(NAT_DETECTION_SOURCE_IP), N(NAT_DETECTION_DESTINATION_IP)}
    HDR, SK {N(COOKIE2), N(NAT_DETECTION_SOURCE_IP), N(NAT_DETECTION_DESTINATION_IP)}

Nothing is sent from here: the tunnel sends what these methods build, and tells them what comes back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address

from anyike.ikev2 import natt
from anyike.ikev2.channel import Channel
from anyike.ikev2.constants import NotifyType
from anyike.ikev2.events import Address, Moved, MoveRefused
from anyike.ikev2.exchanges.refusals import is_error
from anyike.ikev2.payloads import Notify, Payload
from anyike.ikev2.settings import IkeSettings
from anyike.wire import DecodeError

log = logging.getLogger(__name__)

COOKIE2_LENGTH = 16
"""8 to 64 bytes that nobody can guess (RFC 4555 4.2.5)."""
MAX_ADDRESSES = 16
"""More other addresses of a gateway than this are not remembered: trying them all would take longer than a new login."""
NO_MOBIKE = "the gateway, or ike.mobike = false, does not allow it (MOBIKE): a new connection is needed"

_ADDRESS_TYPES: dict[int, type[IPv4Address | IPv6Address]] = {
    NotifyType.ADDITIONAL_IP4_ADDRESS: IPv4Address,
    NotifyType.ADDITIONAL_IP6_ADDRESS: IPv6Address,
}


class Mobility:
    """The addresses of one tunnel's ends.

    `mobike`: both sides can move it. `nat`: what was detected last; the gateway's idea of our address is part of that.
    `moves`: how often we moved.
    """

    def __init__(
        self,
        settings: IkeSettings,
        local: Address,
        remote: Address,
        nat: natt.NatDetection,
        random: Callable[[int], bytes],
        *,
        mobike: bool = False,
        other_addresses: tuple[str, ...] = (),
    ) -> None:
        self.mobike = mobike
        self._settings = settings
        self._local = local
        self._remote = remote
        self._nat = nat
        self._random = random
        self._addresses = (remote[0], *other_addresses)
        self.moves = 0

    @property
    def behind_nat(self) -> bool:
        """Whether keepalives are needed."""
        return self._nat.in_front_of_us

    @property
    def udp_encapsulation(self) -> bool:
        """Whether ESP goes in UDP."""
        return self._settings.force_encapsulation or self._nat.in_front_of_us or self._nat.in_front_of_gateway

    @property
    def other_addresses(self) -> tuple[str, ...]:
        """Where else the gateway says it is."""
        return tuple(address for address in self._addresses if address != self._remote[0])

    # --- our own moves -------------------------------------------------------------------------------------------------

    def move(self, local: Address, remote: Address) -> None:
        """We are here now, and talk to the gateway there; an update under way says something else, and counts no more."""
        self._local, self._remote = local, remote
        self.moves += 1

    def accept(self, channel: Channel, payloads: tuple[Payload, ...]) -> Moved:
        """The gateway has followed."""
        nat = natt.detect(payloads, channel.spi_i, channel.spi_r, self._local, self._remote)
        if nat.supported:
            self._nat = nat
        return Moved(self._local, self._remote, self.udp_encapsulation, self.behind_nat)

    def refuse(self, why: str) -> MoveRefused:
        """It has not."""
        return MoveRefused(self._local, self._remote, f"the tunnel cannot move to {self._local[0]}: {why}")

    # --- changes that nobody told us of ------------------------------------------------------------------------------

    def liveness(self, channel: Channel) -> tuple[Payload, ...]:
        """What a liveness check asks beside: with MOBIKE a gateway does not follow a new mapping by itself (RFC 4555 3.8)."""
        return self.detection(channel) if self.mobike else ()

    def address_changed(self, channel: Channel, payloads: tuple[Payload, ...]) -> bool:
        """Whether the answer shows that the gateway sees us elsewhere now, which an update puts right.

        Behind a NAT a rekeyed IKE SA, whose SPIs are part of the hash, costs one update too many; it does no harm
        (RFC 4555 3.8).
        """
        seen = _find(payloads, NotifyType.NAT_DETECTION_DESTINATION_IP)
        if not self.mobike or seen is None:
            return False
        unchanged = natt.detection_hash(channel.spi_i, channel.spi_r, self._local)
        return seen.data != (self._nat.mapping if self.behind_nat else unchanged)

    # --- requests of the gateway ---------------------------------------------------------------------------------------

    def answer(self, channel: Channel, payloads: tuple[Payload, ...], source: Address) -> tuple[Payload, ...]:
        """What an INFORMATIONAL request from `source` wants to hear (RFC 4555 3.6 to 3.8); moves nothing."""
        if not self.mobike:
            return ()
        answer: list[Payload] = []
        addresses = read_addresses(payloads)
        if addresses is not None:
            self._addresses = (source[0], *addresses)
        if _find(payloads, NotifyType.UPDATE_SA_ADDRESSES) is not None:
            log.warning("the gateway wants to move the tunnel, which only the client may")
            answer.append(Notify(NotifyType.UNACCEPTABLE_ADDRESSES))
        cookie = _find(payloads, NotifyType.COOKIE2)
        if cookie is not None:
            answer.append(cookie)
        if _find(payloads, NotifyType.NAT_DETECTION_SOURCE_IP) is not None:
            answer += self.detection(channel, source)
        return tuple(answer)

    def detection(self, channel: Channel, remote: Address | None = None) -> tuple[Notify, Notify]:
        """Who we are and whom we talk to, as hashes.

        A source hash that cannot match makes the gateway send ESP in UDP, as in IKE_SA_INIT (RFC 7296 2.23).
        """
        spis = channel.spi_i, channel.spi_r
        source = self._random(20) if self._settings.force_encapsulation else natt.detection_hash(*spis, self._local)
        return (
            Notify(NotifyType.NAT_DETECTION_SOURCE_IP, source),
            Notify(NotifyType.NAT_DETECTION_DESTINATION_IP, natt.detection_hash(*spis, remote or self._remote)),
        )


class Update:
    """One UPDATE_SA_ADDRESSES and its response (RFC 4555 3.5), for the addresses of when it is built."""

    def __init__(self, mobility: Mobility, random: Callable[[int], bytes]) -> None:
        self._mobility = mobility
        self._cookie = random(COOKIE2_LENGTH)
        self._moves = 0

    def build(self, channel: Channel) -> tuple[Payload, ...]:
        """The request."""
        self._moves = self._mobility.moves
        return (
            Notify(NotifyType.COOKIE2, self._cookie),
            Notify(NotifyType.UPDATE_SA_ADDRESSES),
            *self._mobility.detection(channel),
        )

    def process(self, channel: Channel, payloads: tuple[Payload, ...]) -> Moved | MoveRefused | None:
        """Judge the response; None when we moved on in between: it does not tell which way works, the next one will.

        Raises:
            DecodeError: COOKIE2 is missing or another one, after which the IKE SA is to be closed (RFC 4555 3.7).
        """
        cookie = _find(payloads, NotifyType.COOKIE2)
        refusal = next((p for p in payloads if isinstance(p, Notify) and is_error(p)), None)
        if cookie is None and refusal is None:
            raise DecodeError("COOKIE2 did not come back")
        if cookie is not None and cookie.data != self._cookie:
            raise DecodeError("COOKIE2 came back as another one")
        if self._moves != self._mobility.moves:
            return None
        return self._mobility.accept(channel, payloads) if refusal is None else self._mobility.refuse(refusal.name)


def is_supported(payloads: Iterable[Payload]) -> bool:
    """Whether the gateway can be moved away from; it says so beside its SA payload (RFC 4555 3.3)."""
    return _find(payloads, NotifyType.MOBIKE_SUPPORTED) is not None


def read_addresses(payloads: Iterable[Payload]) -> tuple[str, ...] | None:
    """The other addresses of the gateway, each once, which replace former ones; None when nothing is said of them."""
    found: dict[str, None] = {}
    said = False
    for notify in (payload for payload in payloads if isinstance(payload, Notify)):
        said |= notify.type == NotifyType.NO_ADDITIONAL_ADDRESSES
        kind = _ADDRESS_TYPES.get(notify.type)
        if kind is None:
            continue
        said = True
        try:
            address = kind(notify.data)
        except ValueError:
            log.debug("%s of %d bytes is ignored", notify.name, len(notify.data))
            continue
        if not address.is_unspecified and not address.is_multicast and len(found) < MAX_ADDRESSES:
            found[str(address)] = None
    return tuple(found) if said else None


def _find(payloads: Iterable[Payload], kind: NotifyType) -> Notify | None:
    return next((p for p in payloads if isinstance(p, Notify) and p.type == kind), None)
