"""The settings of the test gateway that a test may choose, and the addresses it has.

Nothing here needs a package beyond the standard library: the tests import it too.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

STATE = Path("/state")
SCENARIO_FILE = STATE / "scenario.json"
RADIUS_LOG = STATE / "radius.jsonl"

GATEWAY_NAME = "vpn.example.com"
GATEWAY_IPV4 = "192.0.2.1"
GATEWAY_IPV6 = "2001:db8:1::1"
CLIENT_IPV4 = "192.0.2.2"
CLIENT_IPV6 = "2001:db8:1::2"
INSIDE_IPV4 = "10.77.0.0/24"
INSIDE_IPV6 = "fd77::/64"
WEB_IPV4 = "10.77.0.2"
WEB_IPV6 = "fd77::2"
POOL_IPV4 = "10.78.0.0/24"
POOL_IPV6 = "fd78::/120"

CERTIFICATES = ("valid", "ecdsa", "expired", "wrong-name", "other-ca")

# An AnyConnect EAP message must fit one RADIUS packet (4,096 bytes), form included: what is left for the text that
# precedes the login and the list of groups, or for the terms.
TEXT_LIMIT = 2500
GROUP_COST = len("<option></option>")


@dataclass(frozen=True)
class Scenario:
    """How the gateway behaves; the defaults are a well-kept gateway with split tunnelling."""

    certificate: str = "valid"
    """One of CERTIFICATES: which certificate the gateway shows."""
    ike_proposals: str = (
        "aes256gcm16-prfsha384-ecp384,aes128gcm16-prfsha256-ecp256,"
        "chacha20poly1305-prfsha256-curve25519,aes256-sha256-ecp256,aes128-sha256-modp2048"
    )
    """Offering only a group the client does not try first gives INVALID_KE_PAYLOAD; only an
    algorithm it lacks gives NO_PROPOSAL_CHOSEN."""
    esp_proposals: str = "aes256gcm16,aes128gcm16,chacha20poly1305,aes256-sha256,aes256-sha512,aes128-sha256"
    cookie: bool = False
    """Demand a COOKIE from every initiator."""
    fragmentation: str = "yes"
    """charon's own words: yes, accept, force (unasked) or no. RFC 7383 only."""
    fragment_size: int = 1280
    """Largest IP packet of a fragmented IKE message, in bytes."""
    ipv6: bool = True
    """Assign an IPv6 address too, when the client asks for one."""
    dpd_delay: int = 0
    """Seconds of silence before charon sends an empty INFORMATIONAL; 0 is never."""
    local_ts: str = "0.0.0.0/0,::/0"
    """What charon narrows TSr to."""
    ike_rekey_time: int = 0
    child_rekey_time: int = 0
    """Seconds until charon starts a rekeying; 0 is never."""
    split_include: tuple[str, ...] = (INSIDE_IPV4,)
    """IPv4 networks of the Unity split include attribute; empty is a full tunnel."""
    split_exclude: tuple[str, ...] = ()
    split_dns: tuple[str, ...] = ("inside.example.com",)
    dns: tuple[str, ...] = ("10.77.0.53", "fd77::53")
    banner: str = "This network is for tests only"
    """Of the configuration payload; `login_banner` is that of the login."""
    login_banner: str = "Welcome to the anyike test gateway"
    default_domain: str = "example.com"
    login_text: int = 2000
    """Bytes of the login form's message; over some 900 the form needs several fragments."""
    groups: tuple[str, ...] = ("Staff", "Lab")
    """The groups that the login form offers. Those of radius/groups.py have forms of their own, and can be entered without
    being offered; any other name is one more group like Staff."""
    terms: str = ""
    """A banner that has to be accepted after the login."""
    attempts: int = 3
    """Wrong answers until the error is final."""
    certificate_request: bool = False
    """Ask for a client certificate first; a client that has none is then shown the form."""

    def __post_init__(self) -> None:
        if self.certificate not in CERTIFICATES:
            raise ValueError(f"certificate is {self.certificate!r}, not one of {CERTIFICATES}")
        listed = sum(len(group.encode()) + GROUP_COST for group in self.groups)
        if self.login_text < 0 or self.login_text + listed > TEXT_LIMIT:
            raise ValueError(f"login_text is {self.login_text}, not 0 to {TEXT_LIMIT - listed} beside these groups")
        if len(self.terms.encode()) > TEXT_LIMIT:
            raise ValueError(f"terms are {len(self.terms.encode())} bytes, not 0 to {TEXT_LIMIT}")

    def to_json(self) -> str:
        """The scenario as one JSON object, every setting named."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Scenario:
        """Parse what to_json wrote, or part of it; TypeError names an unknown setting."""
        values = json.loads(text)
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def load() -> Scenario:
    """The scenario in force inside the container."""
    return Scenario.from_json(SCENARIO_FILE.read_text())


def since() -> int:
    """When the scenario was put in force, in nanoseconds."""
    return SCENARIO_FILE.stat().st_mtime_ns
