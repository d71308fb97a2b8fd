"""What the core has to be told before it starts: plain values, no files, no defaults of the machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from anyike.ikev2.payloads import IdInitiator, IdResponder
from anyike.ikev2.proposals import ProposalSpec


class Fragmentation(StrEnum):
    """How large requests are cut (AnyConnect-EAP notes, section 2)."""

    AUTO = "auto"
    IETF = "ietf"
    CISCO = "cisco"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Retransmission:
    """A request is repeated after `timeout`, then each time `base` times later, `tries` times; seconds."""

    timeout: float = 2.0
    base: float = 1.8
    tries: int = 5


@dataclass(frozen=True, slots=True)
class Lifetime:
    """An SA is rekeyed after `soft` seconds, up to a tenth earlier, and not used after `hard` seconds; 0 is never."""

    soft: float
    hard: float

    def jittered(self, random: Callable[[int], bytes]) -> float:
        """The time until the rekeying, spread so that the two sides, and many clients, do not start at once."""
        return self.soft * (1 - 0.1 * int.from_bytes(random(2), "big") / 0xFFFF)


@dataclass(frozen=True, slots=True)
class IkeSettings:
    """One connection attempt's settings; times in seconds, sizes in bytes.

    `certificate_authorities`: SHA-1 hashes of trusted CA keys for CERTREQ (RFC 7296 3.7), may be empty.
    `init_tries`: how often IKE_SA_INIT is repeated, where that differs from `retransmission`.
    `fragment_size`: the largest IP packet an IKE message may make before it is cut.
    `force_encapsulation`: make the gateway believe in a NAT, so that ESP comes in UDP (RFC 7296 2.23).
    `error_grace`: how long an unauthenticated error is noted before it ends the attempt (RFC 7296 2.21.1).
    `mobike`: offer to move the tunnel when an address changes (RFC 4555).
    `redirect`: follow a gateway that sends us to another one (RFC 5685); `redirected_from`: the host that sent us to this one.
    `liveness_interval`: silence after which the gateway is asked whether it is alive; 0 never asks.
    """

    ike_proposals: tuple[ProposalSpec, ...]
    esp_proposals: tuple[ProposalSpec, ...]
    local_id: IdInitiator
    remote_id: IdResponder | None
    vendor_ids: tuple[bytes, ...]
    application_version: str
    certificate_authorities: bytes = b""
    initial_contact: bool = False
    random_vendor_id: bool = False
    signature_hash_algorithms: bool = False
    request_ipv6: bool = True
    fragmentation: Fragmentation = Fragmentation.AUTO
    fragment_size: int = 1280
    retransmission: Retransmission = Retransmission()
    init_tries: int | None = None
    port: int = 500
    nat_port: int = 4500
    start_on_nat_port: bool = False
    force_encapsulation: bool = True
    mobike: bool = True
    redirect: bool = True
    redirected_from: str | None = None
    error_grace: float = 2.0
    ike_lifetime: Lifetime = Lifetime(soft=20 * 3600.0, hard=24 * 3600.0)
    child_lifetime: Lifetime = Lifetime(soft=4 * 3600.0, hard=5 * 3600.0)
    liveness_interval: float = 30.0
    keepalive_interval: float = 20.0
