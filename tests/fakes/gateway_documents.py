"""A gateway's auth-request and complete, from a scenario's words to a dialect's bytes."""

from __future__ import annotations

from tests.fakes.dialect import Dialect, Node
from tests.fakes.scenario import AuthRequest, Complete, Error, HostScan, Input, Select, SignOn

FILLER = "Read the rules. "


def auth_request(dialect: Dialect, said: AuthRequest, username: str, sign_on_url: str) -> bytes:
    """One auth-request; `username` is what the client gave so far, for the error of a failed login."""
    children = []
    if said.group is not None:
        children.append(Node("opaque", raw=dialect.opaque_of(said.group)))
    if dialect.csport is not None:
        children.append(Node("csport", text=str(dialect.csport)))
    if said.certificate:
        children.append(Node("client-cert-request"))
    if said.second_certificate:
        hashes = tuple(Node("hash-algorithm", text=name) for name in said.second_certificate)
        children.append(Node("multiple-client-cert-request", children=hashes))
        children.append(Node("cert-authenticated"))
    error = _error(dialect, said.error, username)
    if error and said.error.beside:
        children += error
        error = []
    auth = [*_words(dialect, said), *error, *_sign_on(said.sign_on, sign_on_url), *_form(said)]
    if said.authentication_complete:
        auth.append(Node("authentication-complete"))
    if auth:
        children.append(Node("auth", {"id": said.id}, children=tuple(auth)))
    if said.host_scan is not None:
        children.append(_host_scan(said.host_scan))
    return dialect.document("auth-request", *children)


def complete(dialect: Dialect, said: Complete) -> bytes:
    """The document that ends a login well. Its session token is known to tests as a secret."""
    words = [Node("banner", text=dialect.banner)] if said.banner else []
    message = Node("message", {"id": "0", "param1": "", "param2": ""})
    children = [
        Node("session-id", text="2356658127"),
        Node("session-token", text="E2DA0A@2356658127@E754@AF950966D7CCBB9F7272860E19AE67FFE85F0B39"),
        Node("auth", {"id": "success"}, children=(*words, message)),
    ]
    if dialect.capabilities:
        children.append(Node("capabilities", children=(Node("crypto-supported", text=dialect.capabilities),)))
    config = [Node("csport", text=str(dialect.csport))] if dialect.csport is not None else []
    if said.filler:
        opaque = Node("opaque", {"is-for": "vpn-client"}, children=(Node("filler", text=_filler(said.filler)),))
        config.append(opaque)
    children.append(Node("config", {"vpn": "private"}, children=tuple(config)))
    return dialect.document("complete", *children)


def _words(dialect: Dialect, said: AuthRequest) -> list[Node]:
    nodes = [Node("title", text=said.title)] if said.title else []
    if said.banner:
        nodes.append(Node("banner", text=dialect.banner))
    if said.message:
        param1, param2 = said.parameters
        text = said.message + _filler(said.filler)
        nodes.append(Node("message", {"id": "1", "param1": param1, "param2": param2}, text))
    return nodes


def _filler(size: int) -> str:
    return (FILLER * (size // len(FILLER) + 1))[:size]


def _error(dialect: Dialect, error: Error | None, username: str) -> list[Node]:
    if error is None:
        return []
    if error.text:
        return [Node("error", {"id": "9", "param1": error.param1, "param2": error.param2}, error.text)]
    number, text = dialect.login_failed
    return [Node("error", {"id": number, "param1": username, "param2": ""}, text)]


def _sign_on(sign_on: SignOn | None, url: str) -> list[Node]:
    if sign_on is None:
        return []
    texts = {
        "login": url,
        "login-final": f"{url}_ac_login.html",
        "token-cookie-name": sign_on.token_cookie,
        "error-cookie-name": sign_on.error_cookie,
        "browser-mode": sign_on.mode,
    }
    return [Node(f"sso-v2-{name}", text=text) for name, text in texts.items() if text]


def _form(said: AuthRequest) -> list[Node]:
    if said.form is None:
        return []
    return [Node("form", children=tuple(_field(field) for field in said.form))]


def _field(field: Input | Select) -> Node:
    if isinstance(field, Select):
        options = tuple(_option(value, text, selected=text == field.selected) for value, text in field.options)
        return Node("select", {"name": field.name, "label": field.label}, children=options)
    attributes = {"type": field.type, "name": field.name}
    if field.label is not None:
        attributes["label"] = field.label
    if field.value is not None:
        attributes["value"] = field.value
    if field.second_factor:
        attributes["second-auth"] = "1"
    return Node("input", attributes)


def _option(value: str | None, text: str, *, selected: bool) -> Node:
    attributes = {} if value is None else {"value": value}
    if selected:
        attributes["selected"] = "true"
    return Node("option", attributes, text)


def _host_scan(scan: HostScan) -> Node:
    texts = {"ticket": scan.ticket, "token": scan.token, "base-uri": scan.base_uri, "wait-uri": scan.wait_uri}
    return Node("host-scan", children=tuple(Node(f"host-scan-{name}", text=text) for name, text in texts.items()))
