"""What the core tells its owner, and the questions it asks.

Questions (marked so) are answered by the `supply_*` call of `Connection` that their docstring names; timers run meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from anyike.eap.question import Question
from anyike.errors import AnyikeError
from anyike.ikev2.child_sa import ChildSa
from anyike.ikev2.configuration import GatewayConfiguration

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Datagram:
    """What to put on the wire, non-ESP marker included, and where to."""

    data: bytes = field(repr=False)
    destination: Address


@dataclass(frozen=True, slots=True)
class IkeSaInitDone:
    """IKE_SA_INIT is over: keys exist, nobody is authenticated yet. `algorithms` for people."""

    algorithms: str
    nat_in_front_of_us: bool
    nat_in_front_of_gateway: bool
    vendor_ids: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class GatewayProof:
    """Question: is this gateway the one we want? Answer with `supply_verdict`.

    `chain`: DER certificates, the gateway's first; `identity`: ID type and data of IDr; `auth_method`, `auth_data`: its AUTH
    payload; `signed_octets`: what AUTH must sign; `prf_hash`: hash of the negotiated PRF.
    """

    chain: tuple[bytes, ...]
    identity: tuple[int, bytes]
    auth_method: int
    auth_data: bytes = field(repr=False)
    signed_octets: bytes = field(repr=False)
    prf_hash: str


@dataclass(frozen=True, slots=True)
class ChildSpiNeeded:
    """Question: an inbound SPI from the data path. Answer with `supply_child_spi`."""


@dataclass(frozen=True, slots=True)
class LoginQuestion:
    """Question: what the login asks of the user and this machine. Answer with `supply_answer`."""

    question: Question


@dataclass(frozen=True, slots=True)
class Notice:
    """A text of the gateway for the user (banner, message)."""

    text: str


@dataclass(frozen=True, slots=True)
class LoginAccepted:
    """EAP-Success came."""


@dataclass(frozen=True, slots=True)
class Established:
    """Both sides are authenticated and the first CHILD_SA exists.

    `auth_lifetime` in seconds, or None (RFC 4478). `mobike`: the tunnel can be moved to other addresses (`Connection.move`).
    """

    child: ChildSa
    configuration: GatewayConfiguration
    auth_lifetime: int | None
    mobike: bool = False


@dataclass(frozen=True, slots=True)
class ChildAdded:
    """Question: accept packets of this CHILD_SA beside the present one. Answer with `child_installed`."""

    child: ChildSa


@dataclass(frozen=True, slots=True)
class OutboundSwitched:
    """Send by this CHILD_SA from now on."""

    outbound_spi: int


@dataclass(frozen=True, slots=True)
class ChildRemoved:
    """Nothing comes by this CHILD_SA any more, or its SPI is not needed after all."""

    inbound_spi: int


@dataclass(frozen=True, slots=True)
class Moved:
    """The gateway sends to `local` from now on, and from `remote`; that it answered shows that this way works (RFC 4555).

    `udp_encapsulation`: ESP goes in UDP. `behind_nat`: something translates our address.
    """

    local: Address
    remote: Address
    udp_encapsulation: bool
    behind_nat: bool


@dataclass(frozen=True, slots=True)
class MoveRefused:
    """The tunnel cannot run between these addresses, or cannot move at all: others, or a new connection. `reason` for people."""

    local: Address
    remote: Address
    reason: str


@dataclass(frozen=True, slots=True)
class Reauthenticate:
    """The gateway wants a new login within so many seconds, or it ends the tunnel (AUTH_LIFETIME, RFC 4478)."""

    seconds: int


@dataclass(frozen=True, slots=True)
class Terminated:
    """The last event: `error` is None when our side ended it, else what the user reads."""

    error: AnyikeError | None


Event = (
    IkeSaInitDone
    | GatewayProof
    | ChildSpiNeeded
    | LoginQuestion
    | Notice
    | LoginAccepted
    | Established
    | ChildAdded
    | OutboundSwitched
    | ChildRemoved
    | Moved
    | MoveRefused
    | Reauthenticate
    | Terminated
)
