"""The test gateway behind the fault relay.

    namespace anyike-far-NAME          namespace anyike-client-NAME              container anyike-gateway-NAME
    anyike, 198.51.100.2     <-veth->  198.51.100.1, the relay, 192.0.2.2  <-->  192.0.2.1, charon

The gateway's own client namespace becomes the relay's. Anyike runs one hop further away and knows the relay's address only.
"""

from __future__ import annotations

import json
import re
import secrets
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rig import COMMAND_LIMIT, PLACE, Rig, RigError

sys.path.append(str(PLACE))

from host import namespace

from tests.fault_relay.faults import NONE, Faults

PROJECT = PLACE.parent.parent
RELAY_ADDRESS, FAR_ADDRESS = "198.51.100.1", "198.51.100.2"
POLL = 0.2
IKE_SA = re.compile(r"^anyconnect: #\d+, ESTABLISHED", re.MULTILINE)
CHILD_SA = re.compile(r"^  tunnel: #\d+, reqid \d+, INSTALLED", re.MULTILINE)
IKE_SPIS = re.compile(r"^anyconnect: #\d+, ESTABLISHED, IKEv2, (\w+_i\*? \w+_r\*?)", re.MULTILINE)
# charon goes on listing a CHILD_SA that was replaced for some seconds, as DELETED.
CHILD_SPI = re.compile(CHILD_SA.pattern + r".*\n(?:    .*\n)*?    in  (\w+),", re.MULTILINE)


class FaultRelay:
    """The running relay: `python -m tests.fault_relay` in the namespace between."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(
            command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.seed = self._answer()["seed"]

    def set(self, faults: Faults) -> None:
        """Put faults in force; NONE ends them."""
        self._ask(f'{{"set": {faults.to_json()}}}')

    def rebind(self) -> None:
        """Give the client another address and ports in the gateway's eyes."""
        self._ask('{"rebind": true}')

    def counters(self) -> dict[str, int]:
        """What happened to datagrams so far."""
        return self._ask('{"counters": true}')["counters"]

    def stop(self) -> None:
        """End it."""
        self._process.stdin.close()
        self._process.wait(COMMAND_LIMIT)
        self._process.stdout.close()

    def _ask(self, line: str) -> dict[str, Any]:
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        ready, _, _ = select.select([self._process.stdout], [], [], COMMAND_LIMIT)
        line = self._process.stdout.readline() if ready else "no answer"
        try:
            answer = json.loads(line)
        except ValueError:
            raise RigError(f"the fault relay does not work: {line}") from None
        if "error" in answer:
            raise RigError(f"the fault relay refuses: {answer['error']}")
        return answer


class FaultRig(Rig):
    """A gateway whose client is behind the relay; otherwise as every other rig."""

    def start(self) -> None:
        """Start the gateway and make the far namespace."""
        super().start()
        namespace.remove(self.namespace)
        self.info["gateway_ipv4"] = RELAY_ADDRESS
        for command in (
            f"netns add {self.namespace}",
            f"-n {self._between} link add far type veth peer name uplink netns {self.namespace}",
            f"-n {self._between} address add {RELAY_ADDRESS}/24 dev far",
            f"-n {self._between} link set far up",
            f"-n {self.namespace} link set lo up",
            f"-n {self.namespace} address add {FAR_ADDRESS}/24 dev uplink",
            f"-n {self.namespace} link set uplink up",
            f"-n {self.namespace} route add default via {RELAY_ADDRESS}",
        ):
            subprocess.run(["ip", *command.split()], check=True, capture_output=True, text=True)

    def stop(self) -> None:
        """Remove everything."""
        namespace.remove(self.namespace)
        super().stop()

    @property
    def namespace(self) -> str:
        """Where anyike runs."""
        return f"anyike-far-{self.name}"

    @property
    def _between(self) -> str:
        return self.info["client_namespace"]

    @contextmanager
    def relay(self, seed: int | None = None) -> Iterator[FaultRelay]:
        """The relay, without faults at first, while the block runs. The seed is printed."""
        seed = secrets.randbits(32) if seed is None else seed
        print(f"seed of the faults: {seed}")
        program = [sys.executable, "-m", "tests.fault_relay", RELAY_ADDRESS, "192.0.2.1", "--seed", str(seed)]
        relay = FaultRelay(["ip", "netns", "exec", self._between, *program])
        try:
            yield relay
        finally:
            print(f"datagrams: {relay.counters()}")
            relay.set(NONE)
            relay.stop()

    def standing(self) -> tuple[int, int]:
        """How many established IKE SAs and installed CHILD_SAs the gateway has."""
        listed = self.gateway_sas()
        return len(IKE_SA.findall(listed)), len(CHILD_SA.findall(listed))

    def spis(self, *, child: bool) -> set[str]:
        """The gateway's inbound SPIs of what it has of CHILD_SAs, or both SPIs of its IKE SAs."""
        return set((CHILD_SPI if child else IKE_SPIS).findall(self.gateway_sas()))

    def settles(self, wanted: tuple[int, int], limit: float) -> bool:
        """Whether the gateway comes to have so many SAs within some seconds."""
        deadline = time.monotonic() + limit
        while self.standing() != wanted:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL)
        return True

    def kill_charon(self) -> None:
        """End charon without a word to anybody; it is started again without any connection loaded."""
        self.run_in_gateway("sh", "-c", "kill -KILL $(pidof charon-systemd)")

    def start_in_gateway(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command in the container that may take long, or fail."""
        command = [str(PLACE / "gateway"), "--name", self.name, "exec", *arguments]
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )


def tunnels(links: list[dict[str, Any]]) -> list[str]:
    """Names of the tunnel interfaces among `ip -j link show`."""
    return [link["ifname"] for link in links if link["ifname"].startswith("anyike")]
