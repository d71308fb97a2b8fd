"""What one auth-request of the gateway demands (AnyConnect-EAP notes, section 5)."""

from __future__ import annotations

from dataclasses import dataclass, field

from lxml import etree

from anyike.eap.form import Form
from anyike.eap.question import HostScan, SignOn
from anyike.eap_anyconnect.forms import read_form, shortened, sign_on_field
from anyike.eap_anyconnect.gateway_document import GatewayDocument, message_text, port, shown_text
from anyike.errors import LoginFailed
from anyike.text import printable_line
from anyike.wire import DecodeError

MAX_HASHES = 16
"""Implementation: three hashes are known."""

_TRUSTED_HASHES = ("sha512", "sha384", "sha256")
"""Known from the same dialect over TLS, the best first."""


@dataclass(frozen=True, slots=True)
class AuthRequest:
    """Everything that one auth-request asks for; most of it is absent in most of them.

    `second_certificate`: the hashes that a second certificate may sign with, the best first, () when none is wanted. What it
    signs is the whole document. `sign_on_field`: the name under which the token of the single sign-on goes back.
    """

    error: str
    banner: str
    form: Form | None
    certificate: bool
    second_certificate: tuple[str, ...]
    host_scan: HostScan | None
    sign_on: SignOn | None
    sign_on_field: str
    authentication_complete: bool
    document: bytes = field(repr=False)

    @property
    def demands_something(self) -> bool:
        """Whether there is anything that can be answered."""
        return bool(
            self.certificate
            or self.second_certificate
            or self.host_scan
            or self.sign_on
            or self.form
            or self.authentication_complete
        )


def read_auth_request(document: GatewayDocument) -> AuthRequest:
    """Take an auth-request apart.

    Raises:
        DecodeError: a part of it that cannot be read.
        LoginFailed: a part of it that nobody can answer.
    """
    auth = document.find("auth")
    error = read_error(document)
    sign_on = None if auth is None else _read_sign_on(auth)
    request = AuthRequest(
        error=error,
        banner=shown_text(document.find("auth/banner")),
        form=None if auth is None else read_form(auth, error),
        certificate=document.find("client-cert-request") is not None,
        second_certificate=_read_second_certificate(document.find("multiple-client-cert-request")),
        host_scan=_read_host_scan(document),
        sign_on=sign_on,
        sign_on_field="" if auth is None else sign_on_field(auth, wanted=sign_on is not None),
        authentication_complete=document.find("auth/authentication-complete") is not None,
        document=document.data,
    )
    _check_second_certificate_alone(request)
    return request


def read_error(document: GatewayDocument) -> str:
    """The gateway's error, in or beside `<auth>`; "" when there is none."""
    for path in ("auth/error", "error"):
        element = document.find(path)
        if element is not None:
            return message_text(element) or f"error {printable_line(element.get('id', '')) or 'without a text'}"
    return ""


def _read_second_certificate(element: etree._Element | None) -> tuple[str, ...]:
    if element is None:
        return ()
    offered = [(hash_name.text or "").strip().lower() for hash_name in element.iterfind("hash-algorithm")]
    if len(offered) > MAX_HASHES:
        raise DecodeError(f"XML: {len(offered)} hash algorithms for one signature")
    known = tuple(name for name in _TRUSTED_HASHES if name in offered)
    if not known:
        raise LoginFailed(
            "The gateway wants a second client certificate and names no hash that anyike signs with: "
            f"{shortened(', '.join(offered)) or 'none at all'}."
        )
    return known


def _check_second_certificate_alone(request: AuthRequest) -> None:
    """The reply with a second certificate has no place that is known for anything else."""
    others = {"a form": request.form, "a host scan": request.host_scan, "a single sign-on": request.sign_on}
    besides = [name for name, demand in others.items() if demand is not None]
    if request.second_certificate and besides:
        raise LoginFailed(
            f"The gateway wants a second client certificate and {' and '.join(besides)} in one answer, and how that would have "
            "to look is not known. Ask its administrator to have them asked for one after the other."
        )


def _read_host_scan(document: GatewayDocument) -> HostScan | None:
    path = next((path for path in ("host-scan", "auth/host-scan") if document.find(path) is not None), None)
    if path is None:
        return None
    missing = [name for name in ("ticket", "token") if not document.text(f"{path}/host-scan-{name}")]
    if missing:
        raise LoginFailed(
            f"The gateway demands a host scan without a {' and a '.join(missing)}, which nothing can run."
        )
    return HostScan(
        ticket=document.text(f"{path}/host-scan-ticket"),
        token=document.text(f"{path}/host-scan-token"),
        base_uri=document.text(f"{path}/host-scan-base-uri"),
        wait_uri=document.text(f"{path}/host-scan-wait-uri"),
        csport=port(document.text("csport")),
        group="",
    )


def _read_sign_on(auth: etree._Element) -> SignOn | None:
    if auth.find("sso-v2-login") is None:
        return None
    texts = {
        name: auth.findtext(f"sso-v2-{name}", "").strip()
        for name in ("login", "login-final", "token-cookie-name", "error-cookie-name", "browser-mode")
    }
    missing = [f"<sso-v2-{name}>" for name in ("login", "login-final", "token-cookie-name") if not texts[name]]
    if missing:
        raise LoginFailed(f"The gateway wants a single sign-on and does not say how: {', '.join(missing)} is missing.")
    return SignOn(
        login_url=texts["login"],
        final_url=texts["login-final"],
        token_cookie=texts["token-cookie-name"],
        error_cookie=texts["error-cookie-name"],
        browser_mode=texts["browser-mode"],
    )
