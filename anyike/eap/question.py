"""What an EAP method may have to ask while a login goes on, and the answers: plain data for any front end.

A `Form` (with its `Answers`) is the usual question. The others are what a gateway can demand besides: a proof by
certificate, a host scan, a single sign-on in a browser.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from anyike.eap.form import Answers, Form


class CertificateUse(StrEnum):
    """Whose certificate a gateway asks for, where it asks for two."""

    CLIENT = "client"
    USER = "user"


@dataclass(frozen=True, slots=True)
class ProofRequest:
    """Sign `octets` with the private key of a client certificate.

    `hash_names` are the hashes that the gateway takes, the best first: "sha256" and so on.
    """

    octets: bytes = field(repr=False)
    hash_names: tuple[str, ...]
    use: CertificateUse = CertificateUse.CLIENT


@dataclass(frozen=True, slots=True)
class CertificateProof:
    """The answer: certificates in DER, the client's own first and its CAs after it, and the bare signature."""

    chain: tuple[bytes, ...]
    signature: bytes
    hash_name: str


@dataclass(frozen=True, slots=True)
class NoCertificate:
    """The other answer: there is none to prove anything with. `reason` is for the user."""

    reason: str


@dataclass(frozen=True, slots=True)
class HostScan:
    """The gateway wants this machine inspected before the login goes on (AnyConnect-EAP notes, section 5).

    `base_uri` and `wait_uri` are paths at the gateway's HTTPS port `csport` (None: not said); `group` is the group that is
    logged in to, "" when there is none.
    """

    ticket: str = field(repr=False)
    token: str = field(repr=False)
    base_uri: str
    wait_uri: str
    csport: int | None
    group: str


@dataclass(frozen=True, slots=True)
class HostScanDone:
    """The answer: the scan has run and was reported to the gateway."""


@dataclass(frozen=True, slots=True)
class SignOn:
    """A single sign-on: the user logs in to `login_url` in a browser, which ends at `final_url` with a cookie.

    The cookie `token_cookie` holds the token, `error_cookie` a reason why there is none. `browser_mode` is the gateway's
    word: "" or "embedded" for a browser of the client's own, "external" for the user's.
    """

    login_url: str
    final_url: str
    token_cookie: str
    error_cookie: str
    browser_mode: str


@dataclass(frozen=True, slots=True)
class SignOnToken:
    """The answer: what the browser was given."""

    token: str = field(repr=False)


Question = Form | ProofRequest | HostScan | SignOn
Answer = Answers | CertificateProof | NoCertificate | HostScanDone | SignOnToken
