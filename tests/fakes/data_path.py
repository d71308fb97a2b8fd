"""A data path that encrypts nothing: which ESP SAs the client accepts and sends by, held against what the gateway does."""

from __future__ import annotations

from anyike.ikev2.child_sa import ChildSa, EspKeys
from anyike.ikev2.events import ChildRemoved, Established, OutboundSwitched
from tests.fakes.keys import iv_length, pad, protect, unpad, unprotect
from tests.fakes.tunnel import CLOSING, Child, Tunnel

PROBE = b"a packet of the tunnel"


class DataPath:
    """`installed` by our inbound SPI; `used` is the SA that is sent by."""

    def __init__(self, first_spi: int) -> None:
        self.installed: dict[int, ChildSa] = {}
        self.used: ChildSa | None = None
        self.given: list[int] = []
        self._next_spi = first_spi

    def allocate(self) -> int:
        """An inbound SPI that was never used before."""
        spi = self._next_spi
        self._next_spi += 1
        self.given.append(spi)
        return spi

    def install(self, child: ChildSa) -> None:
        assert child.inbound_spi in self.given, "an SPI that was not allocated"
        assert child.inbound_spi not in self.installed, "installed twice"
        self.installed[child.inbound_spi] = child

    def start(self, event: Established) -> None:
        """The first CHILD_SA is sent by at once."""
        self.install(event.child)
        self.used = event.child

    def switch(self, event: OutboundSwitched) -> None:
        found = [child for child in self.installed.values() if child.outbound_spi == event.outbound_spi]
        assert len(found) == 1, "switched to an SA that is not installed"
        self.used = found[0]

    def remove(self, event: ChildRemoved, gateway: Tunnel, now: float, under_way: float) -> None:
        """Nobody sends by it any more, and what was sent has had time to arrive; or it was never installed."""
        spi = event.inbound_spi
        assert spi in self.given, "removed twice, or never allocated"
        self.given.remove(spi)
        removed = self.installed.pop(spi, None)
        if removed is not None and not gateway.over:
            if removed is self.used:
                known = [child.inbound for child in gateway.children if child.state != CLOSING]
                assert removed.outbound_spi not in known, "removed while we send by it, and the gateway has it"
                self.used = None
            assert gateway.outbound is None or gateway.outbound.outbound != spi, "removed while the gateway sends by it"
            assert now - gateway.stopped.get(spi, 0.0) > under_way, "removed while packets are under way"

    def check(self, gateway: Tunnel) -> None:
        """Both directions have an SA that both sides have."""
        if gateway.outbound is None:
            return  # it deleted, or forgot, the last one
        assert gateway.outbound.outbound in self.installed, "the gateway sends by what is not installed here"
        assert self.used is not None, "we have nothing to send by"
        known = {child.inbound for child in gateway.children}
        assert self.used.outbound_spi in known, "we send by what the gateway does not have"


def assert_same_keys(ours: ChildSa, theirs: Child) -> None:
    """A probe that one side seals opens with the other's keys, both ways."""
    assert (ours.inbound_spi, ours.outbound_spi) == (theirs.outbound, theirs.inbound)
    assert (_opened_by_gateway(ours, theirs), _opened_by_client(ours, theirs)) == (PROBE, PROBE)


def _opened_by_gateway(ours: ChildSa, theirs: Child) -> bytes:
    header, iv = theirs.inbound.to_bytes(4, "big"), bytes(iv_length(theirs.algorithms))
    sealed = _cipher(ours, ours.outbound_keys).seal(iv, pad(theirs.algorithms, PROBE), header)
    return unpad(unprotect(theirs.algorithms, *theirs.to_gateway, iv + sealed, header))


def _opened_by_client(ours: ChildSa, theirs: Child) -> bytes:
    header, iv = theirs.outbound.to_bytes(4, "big"), bytes(iv_length(theirs.algorithms))
    sealed = protect(theirs.algorithms, *theirs.to_client, iv, pad(theirs.algorithms, PROBE), header)
    cipher = _cipher(ours, ours.inbound_keys)
    return unpad(cipher.open(iv, sealed[len(iv) :], header))


def _cipher(child: ChildSa, keys: EspKeys):
    return child.suite.bind(keys.encryption, keys.integrity)
