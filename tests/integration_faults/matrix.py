"""The cases as data: which faults, during what, and which of them must leave no trace."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from anyike.errors import ExitCode
from tests.fault_relay.faults import NONE, Faults
from tests.fault_relay.forgery import Forgery
from tests.fault_relay.wire import Direction

ENVIRONMENT = "ANYIKE_FAULTS"
"""`full` runs every case; otherwise SHORT."""
FULL = os.environ.get(ENVIRONMENT) == "full"
SEEDS_ENVIRONMENT = "ANYIKE_FAULTS_SEEDS"
"""Seeds of the dice, separated by commas; each case runs with each. Without it every case of `full` has a fresh one."""


class Operation(StrEnum):
    """What is going on when the faults begin."""

    HANDSHAKE = "handshake"
    CLIENT_LIVENESS = "liveness check by the client"
    GATEWAY_LIVENESS = "liveness check by the gateway"
    CLIENT_DELETE = "log-off"
    GATEWAY_DELETE = "delete by the gateway"
    CLIENT_CHILD_REKEY = "CHILD_SA rekeyed by the client"
    CLIENT_IKE_REKEY = "IKE SA rekeyed by the client"
    GATEWAY_CHILD_REKEY = "CHILD_SA rekeyed by the gateway"
    GATEWAY_IKE_REKEY = "IKE SA rekeyed by the gateway"


DPD_DELAY = {Operation.GATEWAY_LIVENESS: 1}
OTHER_DPD_DELAY = 5
"""Seconds. In every case the gateway has to notice at last that a client is gone."""

LIVENESS_INTERVAL = {Operation.GATEWAY_LIVENESS: 8.0}
OTHER_LIVENESS_INTERVAL = 1.0

TERMINATION_LIMIT = 15.0
"""Seconds from SIGTERM to the end, whatever the network does."""

WEB = "10.77.0.2"
"""Behind the gateway, for pings."""

REKEY_TIME = 3.0
"""Seconds after which the client rekeys, again and again."""

RETRANSMISSION = {"retransmit_timeout": 0.5, "retransmit_base": 1.3, "retransmit_tries": 12}
"""13 datagrams for a request in 49 s; the gateway's charon sends 4 in 16 s."""
BUDGET = 49.0

LOGIN = {"user": "ada", "group": "Staff", "password_command": ["/bin/echo", "secret"]}
RECONNECT = {"first_delay": 0.5, "longest_delay": 2.0}


@dataclass(frozen=True, slots=True)
class Fault:
    """Faults under the name they have in the table.

    `survived`: operations during which they cost time and nothing else. During others a tunnel may be lost, and then comes back.
    `failures`: with which exit status anyike may end by itself during all operations but `survived`, besides UNREACHABLE in
    the handshake, when its repetitions are used up.
    """

    name: str
    faults: Faults
    survived: frozenset[Operation] = frozenset(Operation)
    failures: frozenset[ExitCode] = frozenset()

    def allowed(self, operation: Operation) -> frozenset[ExitCode]:
        """With which exit status anyike may end by itself."""
        if operation in self.survived:
            return frozenset()
        return self.failures | {ExitCode.UNREACHABLE} if operation is Operation.HANDSHAKE else self.failures


CLIENT_DRIVEN = frozenset(
    {
        Operation.HANDSHAKE,
        Operation.CLIENT_LIVENESS,
        Operation.CLIENT_DELETE,
        Operation.CLIENT_CHILD_REKEY,
        Operation.CLIENT_IKE_REKEY,
    }
)
LOG_OFF = frozenset({Operation.CLIENT_DELETE})
PROTECTED = frozenset(Operation) - {Operation.HANDSHAKE}
UNTRUE = frozenset({ExitCode.NOT_TRUSTED, ExitCode.REFUSED, ExitCode.NO_PROPOSAL})
"""What a changed IKE_SA_INIT may lead to: the gateway's signature covers it, but the gateway answers before."""

FAULTS = (
    Fault("nothing", NONE),
    Fault("10 % lost", Faults(loss=0.1), CLIENT_DRIVEN),
    Fault("30 % lost", Faults(loss=0.3), LOG_OFF),
    Fault("50 % lost", Faults(loss=0.5), LOG_OFF),
    Fault("30 % duplicated", Faults(duplication=0.3)),
    Fault("30 % late by up to 0.6 s", Faults(reordering=0.3)),
    Fault("1 % corrupted", Faults(corruption=0.01), PROTECTED, UNTRUE),
    Fault("silence of 20 s", Faults(silence=20.0), LOG_OFF | {Operation.HANDSHAKE}),
    Fault("forged errors", Faults(forgeries=(Forgery.ERROR,))),
    Fault("forged INVALID_IKE_SPI", Faults(forgeries=(Forgery.INVALID_IKE_SPI,))),
    Fault("forged deletes", Faults(forgeries=(Forgery.DELETE,))),
    Fault("garbage to the client", Faults(forgeries=(Forgery.GARBAGE,), forged_towards=(Direction.TO_CLIENT,))),
    # charon 5.9.8 ends any IKE SA when an Encrypted payload is too long for its message, and may say so (INVALID_SYNTAX) under
    # its protection, which is then true.
    Fault("garbage to both", Faults(forgeries=(Forgery.GARBAGE,)), LOG_OFF, frozenset({ExitCode.REFUSED})),
    Fault("replays", Faults(forgeries=(Forgery.REPLAY,))),
    Fault(
        "10 % lost, all forged to the client",
        Faults(loss=0.1, forgeries=tuple(Forgery), forged_towards=(Direction.TO_CLIENT,)),
        CLIENT_DRIVEN,
    ),
)

SHORT = (
    ("10 % lost", Operation.HANDSHAKE),
    ("10 % lost, all forged to the client", Operation.HANDSHAKE),
    ("10 % lost, all forged to the client", Operation.CLIENT_LIVENESS),
    ("forged deletes", Operation.GATEWAY_LIVENESS),
    ("50 % lost", Operation.CLIENT_DELETE),
    ("30 % duplicated", Operation.GATEWAY_DELETE),
    ("10 % lost, all forged to the client", Operation.CLIENT_CHILD_REKEY),
    ("30 % late by up to 0.6 s", Operation.CLIENT_IKE_REKEY),
    ("30 % duplicated", Operation.GATEWAY_CHILD_REKEY),
    ("forged errors", Operation.GATEWAY_IKE_REKEY),
)
"""What runs every time ..."""
SHORT_SEED = 1
"""... and always with the same dice: how long it takes, and what comes of it, should not depend on luck."""


def takes_long(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that only ANYIKE_FAULTS=full selects; conftest.py deselects it otherwise."""
    test.takes_long = True
    return test


def cases() -> Iterator[tuple[Fault, Operation, int | None]]:
    """The chosen cases, each with a seed or None for a fresh one."""
    chosen = os.environ.get(SEEDS_ENVIRONMENT)
    seeds = [int(seed) for seed in chosen.split(",")] if chosen else [None if FULL else SHORT_SEED]
    for fault in FAULTS:
        for operation in Operation:
            if FULL or (fault.name, operation) in SHORT:
                yield from ((fault, operation, seed) for seed in seeds)
