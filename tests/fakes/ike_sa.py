"""One IKE SA as the test gateway has it: its keys, its message IDs, and what they protect."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.fakes import wire
from tests.fakes.fragments import Collected
from tests.fakes.keys import IkeKeys, icv_length, iv_length, pad, protect, unpad, unprotect
from tests.fakes.wire import Header, Payload


@dataclass
class Asked:
    """A request of the gateway: `subject` is what it is about. `build` gives None when it is not wanted any more."""

    subject: str
    exchange: int
    build: Callable[[], list[Payload] | None]
    process: Callable[[IkeSa, list[Payload]], None]
    messages: list[bytes] = field(default_factory=list)
    due: float = 0.0
    tries: int = 0


@dataclass(eq=False)
class IkeSa:
    """`initiator`: whether the gateway started it. `expected`: the client's next message ID; `own_id`: the gateway's.

    `theirs`: the IKE SA that the client made of this one while the gateway was rekeying it too, and both nonces. `replaced`:
    a newer one took its place; `gone`: only repeated requests get their old responses.
    """

    random: Callable[[int], bytes]
    spi_i: bytes = bytes(8)
    spi_r: bytes = bytes(8)
    keys: IkeKeys | None = None
    initiator: bool = False
    expected: int = 0
    own_id: int = 0
    cache: dict[int, tuple[bytes, list[bytes]]] = field(default_factory=dict)
    collected: Collected = field(default_factory=Collected)
    first_inner: int = 0
    outstanding: Asked | None = None
    waiting: deque[Asked] = field(default_factory=deque)
    theirs: tuple[IkeSa, tuple[bytes, bytes]] | None = None
    replaced: bool = False
    gone: bool = False
    _counter: int = 0

    def header(self, exchange: int, message_id: int, *, response: bool) -> Header:
        flags = (wire.INITIATOR if self.initiator else 0) | (wire.RESPONSE if response else 0)
        return Header(self.spi_i, self.spi_r, 0, exchange, flags, message_id)

    def owns(self, header: Header) -> bool:
        """Whether the client could have sent that in this IKE SA."""
        from_initiator = bool(header.flags & wire.INITIATOR)
        return (header.spi_i, header.spi_r) == (self.spi_i, self.spi_r) and from_initiator != self.initiator

    def busy_with(self, subject: str) -> bool:
        return self.outstanding is not None and self.outstanding.subject == subject

    def seal(
        self, header: Header, kind: int, first: int, numbers: bytes, content: bytes, clear: Sequence[Payload] = ()
    ) -> bytes:
        """SK or SKF (`kind`, with its `numbers`) behind `clear` payloads; `first` is the type of what is in it."""
        keys = self._keys
        algorithms = keys.algorithms
        plain = pad(algorithms, content)
        self._counter += 1
        iv = self._counter.to_bytes(8, "big") if algorithms.aead else self.random(iv_length(algorithms))
        rest = len(iv) + len(plain) + icv_length(algorithms)
        outer_first, outer = wire.chain([*clear, Payload(kind, numbers + bytes(rest))])
        whole = bytearray(header.message(outer_first, outer))
        whole[len(whole) - rest - len(numbers) - 4] = first
        aad = bytes(whole[: len(whole) - rest])
        key, mac_key = (keys.sk_ei, keys.sk_ai) if self.initiator else (keys.sk_er, keys.sk_ar)
        return aad + protect(algorithms, key, mac_key, iv, plain, aad)

    def open(self, message: bytes, start: int) -> bytes:
        keys = self._keys
        key, mac_key = (keys.sk_er, keys.sk_ar) if self.initiator else (keys.sk_ei, keys.sk_ai)
        return unpad(unprotect(keys.algorithms, key, mac_key, message[start:], message[:start]))

    @property
    def _keys(self) -> IkeKeys:
        assert self.keys is not None
        return self.keys
