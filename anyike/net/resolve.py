"""The gateway's name -> the addresses to try, in order."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from itertools import chain, zip_longest
from typing import NamedTuple

from anyike.errors import Unreachable

MAX_CANDIDATES = 16
"""Each candidate may cost a full series of retransmissions; no gateway needs more."""

AddressInfo = tuple[int, int, int, str, tuple[str | int | bytes, ...]]
"""One answer of getaddrinfo(3): family, type, protocol, canonical name, socket address."""


class Candidate(NamedTuple):
    """One address of the gateway, as text that needs no further lookup."""

    family: socket.AddressFamily
    host: str


async def resolve(
    host: str, time_limit: float = 15.0, lookup: Callable[..., Sequence[AddressInfo]] = socket.getaddrinfo
) -> list[Candidate]:
    """Addresses of `host` (a name or a literal), at least one, IPv6 and IPv4 in turn as RFC 8305 section 4 has it.

    Inside a family, and for which family comes first, the system's order (RFC 6724) is kept. Unreachable, with the
    resolver's words, also after `time_limit` seconds.
    """
    try:
        async with asyncio.timeout(time_limit):
            answers = await _in_daemon_thread(lambda: lookup(host, None, type=socket.SOCK_DGRAM))
    except TimeoutError:
        raise Unreachable(
            f"the name {host} was not resolved within {time_limit:g} s. Does this machine have DNS?"
        ) from None
    except socket.gaierror as error:
        raise Unreachable(
            f"the name {host} cannot be resolved: {error.strerror}. Check its spelling and this machine's DNS"
        ) from error
    except UnicodeError as error:
        raise Unreachable(f"{host!r} is not a host name: {error}") from error
    candidates = interleave(answers)
    if not candidates:
        raise Unreachable(f"the name {host} has neither an IPv4 nor an IPv6 address")
    return candidates[:MAX_CANDIDATES]


def interleave(answers: Sequence[AddressInfo]) -> list[Candidate]:
    """Alternate the families, starting with that of the first answer; duplicates and other families fall out."""
    by_family: dict[int, dict[Candidate, None]] = {}
    for family, _, _, _, address in answers:
        if family in (socket.AF_INET, socket.AF_INET6):
            candidate = Candidate(socket.AddressFamily(family), str(address[0]))
            by_family.setdefault(family, {})[candidate] = None
    turns = zip_longest(*by_family.values())
    return [candidate for candidate in chain.from_iterable(turns) if candidate is not None]


async def _in_daemon_thread(call: Callable[[], Sequence[AddressInfo]]) -> Sequence[AddressInfo]:
    """A lookup cannot be cancelled, and a loop waits for its own threads: a dead resolver would hold up Ctrl-C."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Sequence[AddressInfo]] = loop.create_future()

    def settle(result: Sequence[AddressInfo] | None, error: Exception | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result or [])

    def work() -> None:
        try:
            outcome: tuple[Sequence[AddressInfo] | None, Exception | None] = (call(), None)
        except Exception as error:  # noqa: BLE001 - handed to the waiting side, whatever it is
            outcome = (None, error)
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=work, name="resolver", daemon=True).start()
    return await future
