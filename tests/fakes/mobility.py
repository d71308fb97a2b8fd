"""MOBIKE and redirection for the test gateway (RFC 4555, RFC 5685): what it says beside everything else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address

from tests.fakes import wire
from tests.fakes.gateway import Step
from tests.fakes.link import Link
from tests.fakes.wire import Payload

NAT_SOURCE, NAT_DESTINATION = 16388, 16389
MOBIKE_SUPPORTED, ADDITIONAL_IP4, ADDITIONAL_IP6, NO_ADDITIONAL, UPDATE, COOKIE2 = range(16396, 16402)
AUTH_LIFETIME, REDIRECT_SUPPORTED, REDIRECT, REDIRECTED_FROM = 16403, 16406, 16407, 16408
UNACCEPTABLE_ADDRESSES = 40

Address = tuple[str, int]


def nat_hash(spis: bytes, address: Address) -> bytes:
    return hashlib.sha1(spis + wire.address_bytes(address[0]) + address[1].to_bytes(2, "big")).digest()


def address_notify(address: str) -> Payload:
    packed = ip_address(address).packed
    return wire.notify(ADDITIONAL_IP4 if len(packed) == 4 else ADDITIONAL_IP6, packed)


def redirection(host: str, nonce: bytes = b"", kind: int = REDIRECT) -> Payload:
    try:
        number, identity = {4: 1, 6: 2}[ip_address(host).version], ip_address(host).packed
    except ValueError:
        number, identity = 3, host.encode()
    return wire.notify(kind, bytes([number, len(identity)]) + identity + nonce)


@dataclass
class MobileGateway:
    """Follows the client of a `Link`, whose `local` and `remote` are where the two really are.

    `translate` is what a NAT makes of the client's address. `refusal` is said to an update, `cookie` makes the one that comes
    back, `detects` switches NAT detection. `follows` is where the client is believed to be, `updates` what was asked for.
    """

    link: Link
    additional: tuple[str, ...] = ()
    translate: Callable[[Address], Address] = lambda address: address
    refusal: int = 0
    cookie: Callable[[bytes], list[Payload]] = lambda data: [wire.notify(COOKIE2, data)]
    detects: bool = True
    follows: Address = ("", 0)
    updates: list[dict[int, bytes]] = field(default_factory=list)
    asked: list[dict[int, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.link.gateway.tamper.payloads = self._say

    def _say(self, step: Step, payloads: list[Payload]) -> list[Payload]:
        if step is Step.FINAL:
            return [*payloads, wire.notify(MOBIKE_SUPPORTED), *map(address_notify, self.additional)]
        return [*payloads, *self._answer()] if step is Step.ANSWER else payloads

    def _answer(self) -> list[Payload]:
        asked = wire.notifies(self.link.gateway.journal.last_payloads)
        self.asked.append(asked)
        answer = self.cookie(asked[COOKIE2]) if COOKIE2 in asked else []
        source = self.translate(self.link.local)
        if UPDATE in asked:
            self.updates.append(asked)
            if self.refusal:
                return [*answer, wire.notify(self.refusal)]
            self.follows = source
        if self.detects and NAT_SOURCE in asked:
            spis = self.link.gateway.spi_i + self.link.gateway.spi_r
            answer.append(wire.notify(NAT_SOURCE, nat_hash(spis, (self.link.remote, 4500))))
            answer.append(wire.notify(NAT_DESTINATION, nat_hash(spis, source)))
        return answer
