"""Where the client's processor time of one login goes: key exchange, certificate, XML and the rest.

The parts are measured by probes around their functions, on the clock of the thread's CPU time; what a part calls that has a
probe of its own counts there. Logins with the outermost probes alone take turns, and tell what the others cost.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import wraps
from statistics import median
from typing import Any
from unittest.mock import patch

from figures import spread
from in_process import Login, to_gateway

from anyike.crypto.cipher import AeadCipher
from anyike.crypto.dh import generate
from anyike.crypto.prf import Prf
from anyike.eap.peer import EapPeer
from anyike.eap_anyconnect import client_documents, method
from anyike.eap_anyconnect.gateway_document import GatewayDocument
from anyike.ikev2.exchanges import ike_sa_init
from tests.fakes.pki import authority
from tests.fakes.script import COMPLETE, FIELDS, HELLO, ScriptedLogin, login_form, password_login

WARM_UP = 10
LARGE = 65_000
"""Bytes of a document that fills an EAP packet, but for its headers."""
OPTIONS = 2_600
GROUP_20 = 20


class Part(StrEnum):
    """What a login's time is spent on."""

    KEY_EXCHANGE = "Diffie-Hellman"
    CERTIFICATE = "the gateway's certificate and signature"
    PROTECTION = "PRF and cipher"
    XML_READ = "XML read"
    XML_WRITTEN = "XML written"
    DIALOGUE = "EAP and the rest of the login method"
    ANSWERS = "answers (form filler)"
    REST = "IKE messages and the rest"


@dataclass
class Meter:
    """Nanoseconds of CPU time by part, and wall time of all; a part that is entered inside another stops the other's clock."""

    spent: Counter[Part] = field(default_factory=Counter)
    wall: int = 0
    _inside: list[Part] = field(default_factory=list)
    _since: int = 0
    _entered: int = 0

    def enter(self, part: Part) -> None:
        if not self._inside:
            self._entered = time.perf_counter_ns()
        self._charge()
        self._inside.append(part)

    def leave(self) -> None:
        self._charge()
        self._inside.pop()
        if not self._inside:
            self.wall += time.perf_counter_ns() - self._entered

    def _charge(self) -> None:
        now = time.thread_time_ns()
        if self._inside:
            self.spent[self._inside[-1]] += now - self._since
        self._since = now

    def probe(self, part: Part, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, measured as this part."""

        @wraps(function)
        def measured(*arguments: Any, **named: Any) -> Any:
            self.enter(part)
            try:
                return function(*arguments, **named)
            finally:
                self.leave()

        return measured


OUTERMOST = ((Part.REST, Login, ("start", "take_messages", "receive", "handle_events")),)
INNER = (
    (Part.KEY_EXCHANGE, ike_sa_init, ("generate",)),
    (Part.KEY_EXCHANGE, type(generate(GROUP_20, os.urandom)), ("shared_secret",)),
    (Part.CERTIFICATE, Login, ("judge",)),
    (Part.PROTECTION, Prf, ("__call__", "plus")),
    (Part.PROTECTION, AeadCipher, ("seal", "open")),
    (Part.XML_READ, method, ("read_document", "read_auth_request", "read_session")),
    (Part.XML_READ, GatewayDocument, ("child_names",)),
    (Part.XML_WRITTEN, client_documents, ("init", "auth_reply", "ack")),
    (Part.DIALOGUE, EapPeer, ("receive", "answer")),
    (Part.ANSWERS, Login, ("answer",)),
)
XML = (Part.XML_READ, Part.XML_WRITTEN)
DOCUMENTS = 3
"""Each way: hello, auth-request, complete; init, auth-reply, ack."""


@contextmanager
def probes(meter: Meter, *, inner: bool) -> Iterator[None]:
    """As long as this lasts, what the client does is measured; without `inner` only as a whole."""
    with ExitStack() as stack:
        for part, owner, names in (*OUTERMOST, *(INNER if inner else ())):
            for name in names:
                stack.enter_context(patch.object(owner, name, meter.probe(part, getattr(owner, name))))
        yield


def usual_login() -> ScriptedLogin:
    return password_login()


def long_form() -> ScriptedLogin:
    return password_login(filler=b"x" * (LARGE - len(login_form())))


def many_options() -> ScriptedLogin:
    options = b"".join(b"<option>G%04d</option>" % number for number in range(OPTIONS - 1))
    groups = b'<select name="group_list" label="GROUP:"><option>Staff</option>' + options + b"</select>"
    return ScriptedLogin([HELLO, login_form(groups + FIELDS), COMPLETE])


LOGINS: dict[str, Callable[[], ScriptedLogin]] = {
    "usual login": usual_login,
    "form of 65,000 bytes": long_form,
    f"form with {OPTIONS:,} options": many_options,
}


@dataclass
class Measured:
    """One entry for each login: with all probes, and with the outermost alone."""

    meters: list[Meter] = field(default_factory=list)
    plain: list[Meter] = field(default_factory=list)

    def of(self, *parts: Part) -> list[float]:
        """Milliseconds that these parts took together."""
        return [sum(meter.spent[part] for part in parts) / 1e6 for meter in self.meters]

    @property
    def totals(self) -> list[float]:
        """Milliseconds that a login took, without the probes inside."""
        return [meter.spent.total() / 1e6 for meter in self.plain]

    @property
    def walls(self) -> list[float]:
        """The same by the clock on the wall."""
        return [meter.wall / 1e6 for meter in self.plain]


def measure(rounds: int) -> dict[str, Measured]:
    """The logins in turn, with and without the inner probes."""
    loop = asyncio.new_event_loop()
    measured = {name: Measured() for name in LOGINS}
    for number in range(-WARM_UP, rounds):
        for name, script in LOGINS.items():
            for inner, meters in ((True, measured[name].meters), (False, measured[name].plain)):
                meter = Meter()
                login = Login(authority().certificate, loop)
                exchange = to_gateway(script())
                with probes(meter, inner=inner):
                    login.run(exchange)
                if number >= 0:
                    meters.append(meter)
    loop.close()
    return measured


def table(measured: dict[str, Measured]) -> str:
    """The figures, in Markdown."""
    columns = measured.values()
    lines = [row("client's CPU, ms (share)", measured), "|---" * (len(measured) + 1) + "|"]
    lines += [row(part, (share(one, part) for one in columns)) for part in Part]
    lines.append(row("both XML parts", (share(one, *XML) for one in columns)))
    lines.append(row("whole login, CPU, ms", (spread(one.totals, ".2f") for one in columns)))
    lines.append(row("whole login, wall time, ms", (spread(one.walls, ".2f") for one in columns)))
    lines.append(row("the probes add", (f"{overhead(one):.1%}" for one in columns)))
    usual = next(iter(columns))
    for part in XML:
        per_document = spread([spent * 1000 / DOCUMENTS for spent in usual.of(part)], ".0f")
        lines.append(row(f"{part}, us for each of {DOCUMENTS} documents", [per_document, *[""] * (len(measured) - 1)]))
    return "\n".join(lines)


def share(measured: Measured, *parts: Part) -> str:
    """The median, and its share of the median of the whole."""
    spent = median(measured.of(*parts))
    return f"{spent:.3f} ({spent / median(measured.of(*Part)):.1%})"


def overhead(measured: Measured) -> float:
    return median(measured.of(*Part)) / median(measured.totals) - 1


def row(label: str, cells: Iterable[str]) -> str:
    return f"| {label} | {' | '.join(cells)} |"
