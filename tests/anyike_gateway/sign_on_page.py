"""The page of a single sign-on: a button that leads to the final address, with the token in a cookie. Over TLS on loopback."""

from __future__ import annotations

import socket
import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from tests.fakes.scenario import SignOn
from tests.fakes.scenario_login import SIGN_ON_TOKEN

LOGIN = "/+CSCOE+/saml/sp/login"
CONFIRM = "/+CSCOE+/saml/sp/confirm"
FINAL = f"{LOGIN}_ac_login.html"

_PAGE = "<!doctype html><title>Test sign-on</title><h1>Test sign-on</h1>{}"
_FORM = f'<form method="post" action="{CONFIRM}"><button>Log in</button></form>'
_SENDS_ITSELF = "<script>document.forms[0].submit()</script>"


class SignOnPage:
    """Served by a thread until `close`. `by_itself`: the page presses its own button, for a browser that nobody looks at."""

    def __init__(self, host: str, certificate: Path, *, by_itself: bool) -> None:
        login = _FORM + _SENDS_ITSELF * by_itself

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                pages = {LOGIN: login, FINAL: "You are logged in."}
                self._answer(200 if self.path in pages else 404, _PAGE.format(pages.get(self.path, "Nothing is here.")))

            def do_POST(self) -> None:
                cookie = f"{SignOn().token_cookie}={SIGN_ON_TOKEN}; Path=/; Secure; HttpOnly"
                self._answer(303, "", {"Location": FINAL, "Set-Cookie": cookie})

            def _answer(self, status: int, body: str, headers: dict[str, str] | None = None) -> None:
                self.send_response(status)
                for name, value in {"Content-Type": "text/html; charset=utf-8", **(headers or {})}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: object) -> None:
                """Say nothing: the dialogue is on the screen."""

        self._server = _server_class(host)((host, 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where the browser is to begin."""
        host, port = self._server.server_address[:2]
        return f"https://{f'[{host}]' if ':' in host else host}:{port}{LOGIN}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _ServerOverIpv6(ThreadingHTTPServer):
    address_family = socket.AF_INET6


def _server_class(host: str) -> type[ThreadingHTTPServer]:
    return _ServerOverIpv6 if ":" in host else ThreadingHTTPServer
