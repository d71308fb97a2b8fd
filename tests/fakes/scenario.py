"""The words in which a login is written down as a dialogue: what the gateway says, and what it expects the client to say.

A `Scenario` is data. It says nothing about white space, versions or the words of standard errors, which are a `Dialect`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class OneTime:
    """A one-time code of this mode ("totp" or "hotp"), in place of a value that is known beforehand."""

    mode: str


Value = str | OneTime

# --- fields of a form ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Input:
    """`<input>`. `label` None leaves the attribute out."""

    type: str
    name: str
    label: str | None = None
    value: str | None = None
    second_factor: bool = False


@dataclass(frozen=True)
class Select:
    """`<select>`; options as (value or None, text)."""

    name: str
    label: str
    options: tuple[tuple[str | None, str], ...]
    selected: str


USERNAME = Input("text", "username", "Username:")
PASSWORD = Input("password", "password", "Password:")


def groups(*names: str, selected: str, label: str = "GROUP:") -> Select:
    """The choice of a group."""
    return Select("group_list", label, tuple((None, name) for name in names), selected)


# --- what the gateway says -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hello:
    """The first document."""


@dataclass(frozen=True)
class Error:
    """`<error>`; without a text it is the dialect's word for a failed login, with the user's name as param1."""

    text: str = ""
    param1: str = ""
    param2: str = ""
    beside: bool = False


@dataclass(frozen=True)
class HostScan:
    """`<host-scan>`."""

    ticket: str = "73CDA0F380B1369A4D7F0D32"
    token: str = "F880653271FE8E12485BD83F"
    base_uri: str = "/CACHE"
    wait_uri: str = "/+CSCOE+/sdesktop/wait.html"


@dataclass(frozen=True)
class SignOn:
    """`<sso-v2-...>`; the URLs are those of the page that the gateway serves."""

    mode: str = ""
    token_cookie: str = "acSamlv2Token"
    error_cookie: str = "acSamlv2Error"


@dataclass(frozen=True)
class AuthRequest:
    """An auth-request with all that it may demand. `group` is the one in `<opaque>`, None leaves `<opaque>` out.

    `filler` is a number of bytes to add to the message.
    """

    form: tuple[Input | Select, ...] | None = None
    id: str = "main"
    title: str = ""
    message: str = ""
    parameters: tuple[str, str] = ("", "")
    error: Error | None = None
    banner: bool = False
    group: str | None = "Staff"
    certificate: bool = False
    second_certificate: tuple[str, ...] = ()
    host_scan: HostScan | None = None
    sign_on: SignOn | None = None
    authentication_complete: bool = False
    filler: int = 0


@dataclass(frozen=True)
class Complete:
    """The client is logged in."""

    banner: bool = False
    filler: int = 0


@dataclass(frozen=True)
class Failure:
    """EAP-Failure."""


# --- what the client says ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Init:
    """The start, or a start over: with another group, with a certificate (TLV 3 and 1), or because there is none."""

    group_select: str | None = None
    certificate: bool = False
    certificate_fails: bool = False


@dataclass(frozen=True)
class AuthReply:
    """An auth-reply; `auth` are all the elements of `<auth>`, in whatever order."""

    auth: Mapping[str, Value] = field(default_factory=dict)
    group_select: str | None = None
    host_scan_token: str | None = None


@dataclass(frozen=True)
class SecondCertificate:
    """An auth-reply with a second certificate and its signature over the gateway's document."""


@dataclass(frozen=True)
class SignedOn:
    """An auth-reply with the token of a single sign-on in the element of this name."""

    element: str = "sso-token"


@dataclass(frozen=True)
class Ack:
    """The answer to `complete`; EAP-Success follows."""


Said = Hello | AuthRequest | Complete | Failure
Expected = Init | AuthReply | SecondCertificate | SignedOn | Ack
Turn = Said | Expected

# --- the whole -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scenario:
    """One login.

    `user` is what the user answers in turn, as (label of the field, value). `ends` are words of the error by which the client
    ends, "" when the tunnel comes up. `shows` are words of the gateway that the user gets to see. `needs` names what the
    client has to be given: "certificate", "user certificate", "host scan", "sign-on", "totp", "hotp".
    `guessed` says what nobody has seen on the wire.
    """

    name: str
    title: str
    dialogue: tuple[Turn, ...]
    user: tuple[tuple[str, Value], ...] = ()
    ends: str = ""
    shows: tuple[str, ...] = ()
    needs: frozenset[str] = frozenset()
    guessed: str = ""
