"""How a connection attempt ends, and a user who checks the gateway."""

from __future__ import annotations

from anyike.crypto.x509 import TrustPolicy
from anyike.errors import AnyikeError, GatewayNotTrusted
from anyike.gateway_trust import judge
from anyike.ikev2.events import Established, GatewayProof
from anyike.ikev2.states import State
from tests.fakes.link import Link, User
from tests.fakes.pki import HOST, NOW, authority


def trusting(allow_sha1: bool = False, ca: str = "Test CA", strict_id: bool = False, host: str = HOST) -> User:
    """A user behind the real check of certificate, signature and name."""

    def verdict(proof: GatewayProof) -> AnyikeError | None:
        policy = TrustPolicy(roots=(authority(ca).certificate,), names=(host,))
        try:
            judge(proof, policy, allow_sha1=allow_sha1, strict_id=strict_id, clock=lambda: NOW)
        except GatewayNotTrusted as error:
            return error
        return None

    return User(verdict=verdict)


def assert_over(link: Link, kind: type[AnyikeError], words: str = "") -> None:
    """One error of this class and words, the last event; nothing runs on, no key stays."""
    error = link.error
    assert type(error) is kind, (error, link.gateway.journal)
    assert words in str(error)
    assert "\n" not in str(error)
    assert not any(isinstance(event, Established) for event in link.events)
    assert link.client.state is State.CLOSED
    assert link.client.get_timer() is None
    assert link.client.datagrams_to_send() == []
    assert link.client._channel._protection is None


def ends(link: Link, kind: type[AnyikeError], words: str = "") -> Link:
    assert_over(link.until_over(), kind, words)
    return link
