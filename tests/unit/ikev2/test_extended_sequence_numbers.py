"""What was agreed on about sequence numbers reaches the data path: from the login, and from rekeyings by either side."""

from __future__ import annotations

from dataclasses import replace

import pytest

from anyike.ikev2.connection import Connection
from anyike.ikev2.tunnel import LINGER
from tests.fakes import wire
from tests.fakes.link import Link, ike_settings
from tests.fakes.tunnel import Tunnel

EXTENDED, NONE = (wire.ESN, 1, 0), (wire.ESN, 0, 0)


def rekey(client: Connection, now: float) -> None:
    client.child_expiring(client._tunnel._outbound.sa.inbound_spi, now)


@pytest.mark.parametrize(
    ("words", "esn"), [("", True), ("-esn", True), ("-noesn", False), ("-noesn-esn", False), ("-esn-noesn", True)]
)
def test_the_kind_that_a_gateway_without_preferences_takes(words: str, esn: bool) -> None:
    link = Link(settings=ike_settings(esp="aes256gcm16" + words)).establish()
    assert link.data_path.used.esn is esn
    link.let_client(rekey).run(LINGER + 1).assert_one_tunnel()
    assert link.data_path.used.esn is esn
    link.let_gateway(Tunnel.rekey_child).run(LINGER + 1).assert_one_tunnel()
    assert link.data_path.used.esn is esn


@pytest.mark.parametrize("esn", [True, False])
def test_a_rekeying_may_change_it(esn: bool) -> None:
    link = Link(settings=ike_settings(esp="aes256gcm16-noesn-esn" if esn else "aes256gcm16")).establish()
    assert link.data_path.used.esn is not esn

    def offer_the_other(tunnel: Tunnel) -> None:
        kept = tuple(each for each in tunnel._esp.transforms if each[0] != wire.ESN)
        tunnel._esp = replace(tunnel._esp, transforms=(*kept, EXTENDED if esn else NONE))
        tunnel.rekey_child()

    link.let_gateway(offer_the_other).run(LINGER + 1).assert_one_tunnel()
    assert link.data_path.used.esn is esn
