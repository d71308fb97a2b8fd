"""One login of the client's own code in one process: the core, the method, the verdict and the respondent, no socket.

The gateway is the tests' one. Time stands still, since nothing is lost on this way.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))  # for the tests' gateway

from anyike import assembly, gateway_trust  # noqa: E402
from anyike.config import Settings  # noqa: E402
from anyike.crypto.x509 import TrustPolicy  # noqa: E402
from anyike.eap.question import Answer, Question  # noqa: E402
from anyike.eap_anyconnect.method import AnyConnectEap  # noqa: E402
from anyike.ikev2 import natt  # noqa: E402
from anyike.ikev2.connection import Connection  # noqa: E402
from anyike.ikev2.events import (  # noqa: E402
    ChildSpiNeeded,
    Established,
    Event,
    GatewayProof,
    LoginQuestion,
    Terminated,
)
from anyike.login.secret_lines import SecretLines  # noqa: E402
from anyike.login_assembly import respondent  # noqa: E402
from tests.fakes.gateway import Gateway  # noqa: E402
from tests.fakes.pki import HOST, NOW  # noqa: E402
from tests.fakes.session import Authenticator  # noqa: E402

CLIENT = ("192.0.2.1", 500)
GATEWAY = "198.51.100.1"
CHILD_SPI = 0xABCD0001
PASSWORD = b"secret\n"  # of the tests' user ada
TIME = 0.0

SETTINGS = Settings.model_validate(
    {
        "gateway": {"host": HOST},
        "ike": {"proposals": ["aes256gcm16-prfsha384-ecp384"]},
        "esp": {"proposals": ["aes256gcm16"]},
        "login": {"user": "ada", "group": "Staff"},
        "device": {"unique_id": "00" * 32, "computer_name": "bench"},  # looks nothing up
    }
)

Exchange = Callable[[bytes, int], list[bytes]]
"""An IKE message to a port of the gateway (no non-ESP marker), and what it answers."""


def to_gateway(login: Authenticator) -> Exchange:
    """A new gateway in this process."""
    gateway = Gateway(login)
    return lambda message, port: gateway.receive(message, CLIENT, (GATEWAY, port))


class Login:
    """One connection attempt, from IKE_SA_INIT to Established; its methods are all that the client does.

    Args:
        root: the CA that the gateway's certificate is verified against (DER).
        loop: where the respondent's coroutines run.
    """

    def __init__(self, root: bytes, loop: asyncio.AbstractEventLoop) -> None:
        self._policy = TrustPolicy(roots=(root,), names=(HOST,))
        self._loop = loop
        read_from, self._write_to = os.pipe()
        self._read_from = read_from
        os.write(self._write_to, PASSWORD)
        self._respondent = respondent(
            SETTINGS, console=None, entries=(), secret_lines=SecretLines(read_from), tell=lambda _text: None
        )
        ike = assembly.ike_settings(SETTINGS, (root,), force_encapsulation=True)
        self._connection = Connection(ike, AnyConnectEap(assembly.login_settings(SETTINGS, HOST)), os.urandom)

    def run(self, exchange: Exchange) -> None:
        """The whole login. RuntimeError when it does not succeed."""
        try:
            self.start()
            while not self.handle_events():
                answers = [answer for message, port in self.take_messages() for answer in exchange(message, port)]
                if not answers:
                    raise RuntimeError("the gateway does not answer")
                for answer in answers:
                    self.receive(answer)
        finally:
            os.close(self._read_from)
            os.close(self._write_to)

    def start(self) -> None:
        self._connection.connect(CLIENT, (GATEWAY, 500), TIME)

    def take_messages(self) -> list[tuple[bytes, int]]:
        datagrams = self._connection.datagrams_to_send()
        return [(item.data.removeprefix(natt.NON_ESP_MARKER), item.destination[1]) for item in datagrams]

    def receive(self, message: bytes) -> None:
        self._connection.receive_datagram(message, self._connection.remote, TIME)

    def handle_events(self) -> bool:
        """Answer what is asked; whether the tunnel could stand now."""
        while (event := self._connection.next_event()) is not None:
            if self._handle(event):
                return True
        return False

    def judge(self, proof: GatewayProof) -> None:
        gateway_trust.judge(proof, self._policy, allow_sha1=False, strict_id=True, clock=lambda: NOW)

    def answer(self, question: Question) -> Answer:
        return self._loop.run_until_complete(self._respondent.answer(question))

    def _handle(self, event: Event) -> bool:
        match event:
            case ChildSpiNeeded():
                self._connection.supply_child_spi(CHILD_SPI, TIME)
            case GatewayProof():
                self.judge(event)
                self._connection.supply_verdict(None, TIME)
            case LoginQuestion(question):
                self._connection.supply_answer(self.answer(question), TIME)
            case Established():
                return True
            case Terminated(error):
                raise RuntimeError(f"the login failed: {error}")
        return False
