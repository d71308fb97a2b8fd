"""Host scan: the user's own program inspects this machine and reports to the gateway, by a contract of existing scripts.

What the scripts that people have (openconnect's `csd-wrapper.sh`, `csd-post.sh` and their kin) expect of their caller::

    argv         PROGRAM "" -ticket "TICKET" -stub "0" -group "GROUP" -certhash "SERVER:CLIENT" -url "URL" -langselen
    environment  CSD_SHA256, CSD_TOKEN, CSD_HOSTNAME
    exit status  0: the scan was reported

The first argument is empty (once the name of a downloaded program), and the quotation marks are part of the values. SERVER
and CLIENT are the MD5 hashes of the certificates, 32 upper case hexadecimal digits each, CLIENT empty without a certificate.
CSD_SHA256 is the base64 of the SHA-256 hash of the server's SubjectPublicKeyInfo: what curl takes after `sha256//`. Over TLS
that is the certificate of the HTTPS server; here it is the one of IKE, and the scan needs a gateway that uses it for both.

This is the one place where a secret is in the arguments of a program: other users of this machine can read the ticket while
the program runs. It opens nothing but this one report, and no script takes it in any other way.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from dataclasses import dataclass
from pathlib import Path

from anyike.crypto.x509 import PIN_PREFIX, pin_sha256
from anyike.eap.question import HostScan
from anyike.errors import LoginFailed
from anyike.invoking_user import InvokingUser, end, start
from anyike.login.gateway_facts import GatewayFacts
from anyike.text import printable_line

MAX_LOGGED_LINES = 1000
"""Implementation limit: what a wrapper says after that is read and forgotten."""
MAX_LINE_CHARACTERS = 500
_HTTPS_PORT = 443
_POLL_SECONDS = 0.05
_DRAIN_SECONDS = 1.0
"""How long the last words of a program may take to arrive after its end, should it have left something running."""

# Scripts put all of this into shell words, URLs and HTTP headers without quoting it, and a leading "-" would be an option.
_SAFE_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+/=-]{0,1023}")
"""A ticket or a token; Cisco's are hexadecimal."""
_SAFE_PATH = re.compile(r"(/[A-Za-z0-9_+][A-Za-z0-9._+-]{0,255}){0,16}/?")
"""A path on the gateway, such as /CACHE or /+CSCOE+/sdesktop."""
_SAFE_GROUP = re.compile(r"(\w[\w .@+-]{0,255})?")
"""Letters and digits of any language."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wrapper:
    """The program to run: the absolute `path` of an executable, as which user, and for how long at most (seconds)."""

    path: Path
    timeout: float
    user: InvokingUser


async def run_host_scan(question: HostScan, wrapper: Wrapper | None, gateway: GatewayFacts) -> None:
    """Let the wrapper report to the gateway; whatever it leaves running ends with it.

    Raises:
        LoginFailed: there is no wrapper, it failed, or the gateway asks for something that no script may be given.
    """
    if wrapper is None:
        raise LoginFailed(
            "The gateway wants this machine inspected (host scan) before it lets anybody in, and no program for that is set. "
            "Give one by host_scan.wrapper or --csd-wrapper PATH; openconnect's csd-wrapper.sh and csd-post.sh will do."
        )
    argv, environment = _call(question, wrapper, gateway)
    log.info("host scan: running %s as %s for at most %g s", wrapper.path, wrapper.user.name, wrapper.timeout)
    output = _Output((question.ticket, question.token))
    status = await _run(wrapper, argv, environment, output)
    if status != 0:
        said = f" Its last words: {output.last_line}" if output.last_line else ""
        ended = f"ended with status {status}" if status > 0 else f"was ended by signal {-status}"
        raise LoginFailed(
            f"The host scan failed: {wrapper.path} (host_scan.wrapper) {ended}.{said} Its output is in the log (-v)."
        )
    log.info("host scan: %s has reported", wrapper.path)


def _call(question: HostScan, wrapper: Wrapper, gateway: GatewayFacts) -> tuple[list[str], dict[str, str]]:
    for name, value in (("ticket", question.ticket), ("token", question.token)):
        if not _SAFE_WORD.fullmatch(value):
            raise LoginFailed(
                f"The gateway's host scan {name} is {'empty' if not value else 'not a plain word'}; "
                "the host scan wrapper was not run with it."
            )
    if not _SAFE_PATH.fullmatch(question.base_uri):
        raise LoginFailed(
            f"The gateway wants the host scan at {printable_line(question.base_uri)[:MAX_LINE_CHARACTERS]!r}, which is not a "
            "plain path on the gateway itself; the host scan wrapper was not run."
        )
    if not _SAFE_GROUP.fullmatch(question.group):
        raise LoginFailed(
            f"The group {printable_line(question.group)[:MAX_LINE_CHARACTERS]!r} cannot be given to a host scan wrapper: it may "
            "hold letters, digits, spaces and . _ @ + - alone, and begins with a letter or digit."
        )
    host = _authority(gateway.host, question.csport)
    certificate_hashes = f"{_md5(gateway.certificate)}:{_md5(gateway.client_certificate)}"
    argv = [
        str(wrapper.path), "",
        "-ticket", f'"{question.ticket}"',
        "-stub", '"0"',
        "-group", f'"{question.group}"',
        "-certhash", f'"{certificate_hashes}"',
        "-url", f'"https://{host}{question.base_uri}"',
        "-langselen",
    ]  # fmt: skip
    environment = {
        "CSD_SHA256": pin_sha256(gateway.certificate).removeprefix(PIN_PREFIX),
        "CSD_TOKEN": question.token,
        "CSD_HOSTNAME": host,
    }
    return argv, environment


def _authority(host: str, port: int | None) -> str:
    """The host as a URL has it (RFC 3986 3.2), with the port unless it is that of HTTPS."""
    host = f"[{host}]" if ":" in host else host
    return host if port in (None, _HTTPS_PORT) else f"{host}:{port}"


def _md5(certificate: bytes | None) -> str:
    if certificate is None:
        return ""
    return hashlib.md5(certificate, usedforsecurity=False).hexdigest().upper()


class _Output:
    """What the program writes: logged by the line, harmless, bounded, without the secrets it was given."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self._secrets = secrets
        self._lines = 0
        self.last_line = ""

    async def follow(self, stream: asyncio.StreamReader | None) -> None:
        """Take everything, so that the program never waits for us; a line without an end is cut."""
        assert stream is not None
        line = b""
        while chunk := await stream.read(4096):
            *finished, line = (line + chunk).split(b"\n")
            for one in finished:
                self._show(one)
            line = line[: 8 * MAX_LINE_CHARACTERS]
        self._show(line)

    def _show(self, line: bytes) -> None:
        text = line.decode(errors="replace")
        for secret in self._secrets:
            text = text.replace(secret, "***")
        text = printable_line(text)[:MAX_LINE_CHARACTERS]
        if not text:
            return
        self.last_line = text
        self._lines += 1
        if self._lines <= MAX_LOGGED_LINES:
            log.info("host scan: %s", text)
        elif self._lines == MAX_LOGGED_LINES + 1:
            log.info("host scan: more than %d lines; the rest is not shown", MAX_LOGGED_LINES)


async def _run(wrapper: Wrapper, argv: list[str], environment: dict[str, str], output: _Output) -> int:
    if not wrapper.path.is_absolute():
        raise LoginFailed(f"host_scan.wrapper must be an absolute path, and {wrapper.path} is none.")
    try:
        process = await start(wrapper.user, argv, environment=environment)
    except OSError as error:
        raise LoginFailed(
            f"The host scan cannot start: {wrapper.path} (host_scan.wrapper): {error.strerror} "
            f"(as the user {wrapper.user.name}). It must be a program, or a script with a #! line, that this user may execute."
        ) from None
    assert process.stdin is not None
    process.stdin.close()
    readers = [asyncio.create_task(output.follow(stream)) for stream in (process.stdout, process.stderr)]
    try:
        async with asyncio.timeout(wrapper.timeout):
            # wait() would also wait for what the program leaves running with its output open, as csd-wrapper.sh may.
            while process.returncode is None:  # noqa: ASYNC110
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise LoginFailed(
            f"The host scan did not end within {wrapper.timeout:g} s: {wrapper.path} was stopped "
            "(host_scan.wrapper; host_scan.timeout gives it more time)."
        ) from None
    finally:
        await end(process)
        await asyncio.wait(readers, timeout=_DRAIN_SECONDS)
        for reader in readers:
            reader.cancel()
    return process.returncode
