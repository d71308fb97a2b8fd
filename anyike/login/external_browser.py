"""Single sign-on in the user's own browser: what is known of it, which is not all.

Known from AnyConnect over TLS, by openconnect's source (`hpke.c`): the client listens on the loopback port 29786; the login
ends with a page that sends the browser to `http://localhost:29786/api/sso/BLOB?return=URL`; BLOB is base64 of the version
0x0001 and then type, length (16 bits each, big endian) and value of: 1 the gateway's public key (P-256,
SubjectPublicKeyInfo), 2 the authentication tag (12 bytes), 3 the ciphertext, 4 the initialisation vector (12 bytes). The token
is decrypted by ECDH, HKDF and AES-256-GCM with a key of the client's, whose public half the client had sent in an HTTP header
(`X-AnyConnect-STRAP-DH-Pubkey`).

Unknown: over IKEv2 there is no HTTP header, and nobody has published how the key would be agreed. So what comes back is
described in the log, without its values, and the login ends there. A token in the clear would be no help: any page that the
user has open could send one of its own choice to the port, and only the encryption shows whose it is.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import errno
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import unquote, urlsplit

from anyike.eap.question import SignOn, SignOnToken
from anyike.errors import LoginFailed
from anyike.invoking_user import InvokingUser, run
from anyike.login.user_programs import find_program

PORT = 29786
"""Where AnyConnect and openconnect listen; the gateway's page knows no other."""
HOSTS = ("127.0.0.1", "::1")
MAX_REQUEST_BYTES = 16 * 1024
REQUEST_SECONDS = 10.0
MAX_PARTS = 16
"""Implementation limit: four are known."""
MAX_CONNECTIONS = 16
"""Implementation limit: a browser opens a few, any page may make it open more."""
_PATH = "/api/sso/"
_VERSION = 1
_TAGS = {1: "public key", 2: "authentication tag", 3: "ciphertext", 4: "initialisation vector"}
_ROOT = 0
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_TAKEN_TEXT = b"anyike cannot use this sign-on; it says why where it was started.\n"
_TAKEN = (
    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: "
    + str(len(_TAKEN_TEXT)).encode()
    + b"\r\n\r\n"
    + _TAKEN_TEXT
)

# The user's browser is theirs: it outlives this login, so it must not stay our child nor hold our pipes.
_DETACH = """\
import os, sys
if os.fork() == 0:
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.execv(sys.argv[1], sys.argv[1:])
"""
_OPEN_SECONDS = 10.0

log = logging.getLogger(__name__)


async def sign_on_externally(question: SignOn, user: InvokingUser, tell: Callable[[str], None]) -> SignOnToken:
    """Open the user's browser, take what it brings back, and say why that is no token yet. It has no time limit of its own.

    Raises:
        LoginFailed: always, for now; it says what came.
    """
    async with _listening() as answers:
        tell(
            "The gateway wants the single sign-on in your own browser, which is not known to work over IKEv2: the token is "
            "expected to come back encrypted for a key that only AnyConnect over TLS agrees.\n"
            f"Please log in at\n\n{question.login_url}\n"
        )
        await _open(question.login_url, user)
        blob = await answers.get()
    log.warning("single sign-on: the browser brought %s", describe(blob))
    raise LoginFailed(
        "The single sign-on in your own browser ended with a token that anyike cannot read: how its key is agreed over IKEv2 is "
        "not known (the log says what came). Ask the administrator for the embedded browser (on an ASA: no external-browser in the "
        'tunnel group), or try sign_on.browser = "chromium".'
    )


def describe(blob: bytes) -> str:
    """What came back, in words for a log: the parts of a token in the known envelope and their sizes, no values."""
    unknown = f"{len(blob)} bytes, not in the known envelope of an encrypted token"
    if int.from_bytes(blob[:2], "big") != _VERSION:
        return unknown
    parts: list[str] = []
    position = 2
    while position < len(blob):
        tag, length = (int.from_bytes(blob[start : start + 2], "big") for start in (position, position + 2))
        position += 4 + length
        if position > len(blob) or len(parts) >= MAX_PARTS:
            return unknown
        parts.append(f"{_TAGS.get(tag, f'unknown type {tag}')} of {length} bytes")
    return f"an encrypted token: {', '.join(parts) or 'empty'}"


@asynccontextmanager
async def _listening() -> AsyncIterator[asyncio.Queue[bytes]]:
    """Take requests on the loopback addresses of this machine: those that are the end of a sign-on come out of the queue."""
    answers: asyncio.Queue[bytes] = asyncio.Queue(maxsize=1)
    connections: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(connections) >= MAX_CONNECTIONS:
            writer.close()
            return
        connection = asyncio.create_task(_serve(reader, writer, answers))
        connections.add(connection)
        connection.add_done_callback(connections.discard)
        connection.add_done_callback(lambda _: writer.close())

    servers: list[asyncio.Server] = []
    try:
        for host in HOSTS:
            try:
                servers.append(await asyncio.start_server(accept, host, PORT, limit=MAX_REQUEST_BYTES, backlog=8))
            except OSError as error:
                if host != HOSTS[0] and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    continue  # a machine without IPv6
                raise LoginFailed(
                    f"The single sign-on in your own browser needs port {PORT} on {host}, which cannot be had: "
                    f"{os.strerror(error.errno or 0)}. Is another VPN client logging in?"
                ) from None
        yield answers
    finally:
        for server in servers:
            server.close()
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: asyncio.Queue[bytes]) -> None:
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            blob = read_request(await reader.readuntil(b"\r\n\r\n"))
            writer.write(_NOT_FOUND if blob is None else _TAKEN)
            await writer.drain()
        if blob is not None and not answers.full():
            answers.put_nowait(blob)
    except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass  # whoever it was, they did not bring a token


def read_request(head: bytes) -> bytes | None:
    """The blob of an HTTP request that ends a sign-on; None for anything else, such as a page that guesses."""
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    hosts = [line[5:].strip().lower() for line in lines[1:] if line.lower().startswith("host:")]
    # Against DNS rebinding: a page whose own name was pointed at this machine asks for that name.
    if hosts not in ([f"localhost:{PORT}"], [f"127.0.0.1:{PORT}"], [f"[::1]:{PORT}"]):
        return None
    if len(words) != 3 or words[0] != "GET" or not words[1].startswith(_PATH):
        return None
    text = unquote(urlsplit(words[1]).path.removeprefix(_PATH))
    try:
        blob = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return blob or None


async def _open(url: str, user: InvokingUser) -> None:
    """Where that fails the user has the address all the same."""
    opener = find_program(user, ("xdg-open",))
    python = find_program(user, (os.path.realpath(sys.executable), "python3"))  # noqa: ASYNC240  one look at a link
    if opener is None or python is None or user.uid == _ROOT:
        log.info("single sign-on: no browser is opened for %s: there is no xdg-open for them, or it is root", user.name)
        return
    try:
        await run(user, (str(python), "-I", "-S", "-c", _DETACH, str(opener), url), timeout=_OPEN_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        log.info("single sign-on: xdg-open did not start: %s", error)
