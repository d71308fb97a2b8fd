"""The pages of a gateway and of an identity provider, over TLS, for a browser that is told to find every host here."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

HOSTS = ("vpn.example.com", "www.example.com", "login.example.net")


@dataclass(frozen=True)
class Request:
    method: str
    host: str
    path: str
    query: str
    cookies: str
    body: str


@dataclass(frozen=True)
class Reply:
    """`delay` in seconds, before anything is sent."""

    body: str = ""
    location: str | None = None
    cookies: tuple[str, ...] = ()
    delay: float = 0.0


@dataclass
class LoginSite:
    """`pages` says what is at host and path; everything that was asked for is in `requests`."""

    certificate: Path
    pages: dict[str, Reply] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    port: int = 0

    @property
    def browser_arguments(self) -> tuple[str, ...]:
        """Every name leads here, and the certificate of the tests is accepted, by its key alone."""
        return (
            "--headless=new",
            f"--host-resolver-rules=MAP * 127.0.0.1:{self.port}",
            f"--ignore-certificate-errors-spki-list={self._spki_hash()}",
        )

    def asked(self, method: str, address: str) -> list[Request]:
        return [one for one in self.requests if (one.method, f"{one.host}{one.path}") == (method, address)]

    def _spki_hash(self) -> str:
        public = subprocess.run(
            ["openssl", "x509", "-in", self.certificate, "-noout", "-pubkey"], check=True, capture_output=True
        ).stdout
        der = subprocess.run(
            ["openssl", "pkey", "-pubin", "-outform", "DER"], input=public, check=True, capture_output=True
        ).stdout
        return base64.b64encode(hashlib.sha256(der).digest()).decode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, target, _ = head[0].split(" ")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            path, _, query = target.partition("?")
            request = Request(method, headers["host"], path, query, headers.get("cookie", ""), body.decode())
            self.requests.append(request)
            reply = self.pages.get(f"{request.host}{path}")
            if reply is not None:
                await asyncio.sleep(reply.delay)
            writer.write(_encode(reply))
            await writer.drain()
        writer.close()


def _encode(reply: Reply | None) -> bytes:
    if reply is None:
        return b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    lines = ["HTTP/1.1 302 Found" if reply.location else "HTTP/1.1 200 OK", "Connection: close"]
    lines += ["Content-Type: text/html; charset=utf-8", f"Content-Length: {len(reply.body.encode())}"]
    lines += [f"Location: {reply.location}"] if reply.location else []
    lines += [f"Set-Cookie: {cookie}" for cookie in reply.cookies]
    return "\r\n".join([*lines, "", reply.body]).encode()


def make_certificate(directory: Path) -> Path:
    file = directory / "site.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=login site", "-addext", "subjectAltName=" + ",".join(f"DNS:{host}" for host in HOSTS),
         "-keyout", file, "-out", directory / "certificate.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    file.write_text(file.read_text() + (directory / "certificate.pem").read_text())
    return file


@asynccontextmanager
async def serving(certificate: Path) -> AsyncIterator[LoginSite]:
    site = LoginSite(certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(site.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async with await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context) as server:
        site.port = server.sockets[0].getsockname()[1]
        try:
            yield site
        finally:
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
