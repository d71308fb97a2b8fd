"""A small web server behind the gateway.

GET /bytes/N answers N bytes that are always the same, GET /sha256/N their SHA-256 in hex, PUT
or POST of anything its own SHA-256 in hex, GET /address the client's address as seen here.
"""

from __future__ import annotations

import hashlib
import http.server
import random
import socket
from collections.abc import Iterator
from functools import lru_cache

from container.scenario import STATE

PORT = 80
CHUNK = 1 << 20
LARGEST = 1 << 30
PATTERN = random.Random("anyike").randbytes(CHUNK)


def body(size: int) -> Iterator[bytes]:
    """The deterministic body of `size` bytes, in chunks; each chunk starts with its number."""
    for number, offset in enumerate(range(0, size, CHUNK)):
        yield (number.to_bytes(8, "big") + PATTERN[8:])[: size - offset]


@lru_cache
def sha256(size: int) -> str:
    """The SHA-256 of body(size), in hex."""
    digest = hashlib.sha256()
    for chunk in body(size):
        digest.update(chunk)
    return digest.hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """One request; see the module."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer /bytes/N, /sha256/N and /address."""
        what, _, number = self.path.strip("/").partition("/")
        if what == "address":
            self.answer_text(self.client_address[0].removeprefix("::ffff:"))
        elif what in ("bytes", "sha256") and number.isdigit() and int(number) <= LARGEST:
            if what == "sha256":
                self.answer_text(sha256(int(number)))
            else:
                self.answer_head(200, int(number))
                for chunk in body(int(number)):
                    self.wfile.write(chunk)
        else:
            self.answer_head(404, 0)

    def do_PUT(self) -> None:
        """Answer with the SHA-256 of what was uploaded."""
        digest, missing = hashlib.sha256(), int(self.headers.get("Content-Length", 0))
        while missing:
            chunk = self.rfile.read(min(missing, CHUNK))
            if not chunk:
                return
            digest.update(chunk)
            missing -= len(chunk)
        self.answer_text(digest.hexdigest())

    def do_POST(self) -> None:
        """As PUT."""
        self.do_PUT()

    def answer_head(self, status: int, length: int) -> None:
        """Status line and headers."""
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def answer_text(self, text: str) -> None:
        """A short text as the whole answer."""
        self.answer_head(200, len(text))
        self.wfile.write(text.encode())


class Server(http.server.ThreadingHTTPServer):
    """IPv4 and IPv6 on one socket."""

    address_family = socket.AF_INET6


if __name__ == "__main__":
    server = Server(("::", PORT), Handler)
    (STATE / "web.ready").touch()
    server.serve_forever()
