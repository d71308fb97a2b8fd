"""Runs under User-Mode Linux: the container's gateway, but with ESP in the kernel, and anyike in a namespace beside it.

What was seen goes to results.json; the test judges it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent / "integration"))

from client import Client
from container import scenario as settings
from container.scenario import Scenario
from host import namespace
from rig import COMMAND_LIMIT, Rig, RigError

from tests.integration_kernel.sequence_border import cross_borders

ROOT = Path("/run/gateway")
RESULTS = Path("/run/results")
READY_LIMIT = 20.0
SIZE = 2_000_000
ESP_PROPOSALS = ("aes256gcm16", "chacha20poly1305-noesn", "aes256-sha256-esn")
GATEWAY_ESP_PROPOSALS = "aes256gcm16-esn-noesn,chacha20poly1305-esn-noesn,aes256-sha256-esn-noesn"
WEB = {"IPv4": settings.WEB_IPV4, "IPv6": f"[{settings.WEB_IPV6}]"}
CURL = ("curl", "-sS", "--fail", "--max-time", "30")


@dataclass(frozen=True)
class Transfer:
    """A file fetched through the tunnel and sent back; the gateway's own SHA-256 of it, and each way's."""

    client_address: str
    size: int
    expected: str
    downloaded: str
    uploaded: str


@dataclass(frozen=True)
class Observation:
    """One connection, from login to log-off: anyike's output, and what charon and its kernel show."""

    shown: str
    sas: str
    xfrm_state: str
    xfrm_counters: str
    transfers: dict[str, Transfer]
    exit_status: int
    sas_after: str
    xfrm_state_after: str
    xfrm_policy_after: str


class KernelRig(Rig):
    """The gateway's image in a changed root, without the plugin that does ESP in user space and always claims NAT."""

    def __init__(self) -> None:
        super().__init__("uml")
        self.info = {
            "client_namespace": "client",
            "gateway": settings.GATEWAY_NAME,
            "gateway_ipv4": settings.GATEWAY_IPV4,
            "ca_file": str(RESULTS / "pki/x509ca/ca.pem"),
            "state": str(RESULTS),
        }

    def start(self) -> None:
        """This network namespace becomes the gateway's."""
        self._leave_out("kernel-libipsec { load = yes }")
        self._started = subprocess.Popen(["chroot", ROOT, "/opt/gateway/container/start"], env=self._environment)
        namespace.create(self.namespace, os.getpid())
        deadline = time.monotonic() + READY_LIMIT
        while not (RESULTS / "ready").exists():
            if time.monotonic() > deadline:
                raise RigError("the gateway did not become ready")
            time.sleep(0.05)
        # For routing, what the kernel has decrypted still comes from outside: the IPsec policies keep clear text out.
        for family in ("-4", "-6"):
            subprocess.run(["ip", family, "rule", "delete", "priority", "100"], check=True)
        self.configure(esp_proposals=GATEWAY_ESP_PROPOSALS)

    def configure(self, **changes: Any) -> Scenario:
        self.scenario = Scenario(**changes)
        (RESULTS / "scenario.json").write_text(self.scenario.to_json())
        self.run_in_gateway("python3", "-m", "container.configure")
        return self.scenario

    def run_in_gateway(self, *arguments: str) -> str:
        command = ["chroot", str(ROOT), *arguments]
        done = subprocess.run(
            command, env=self._environment, capture_output=True, text=True, timeout=COMMAND_LIMIT, check=False
        )
        if done.returncode:
            raise RigError(f"{' '.join(arguments)}: {done.stderr}{done.stdout}")
        return done.stdout

    def gateway_sas(self) -> str:
        """With charon's own key=value names, e.g. nat-remote=yes."""
        return self.run_in_gateway("swanctl", "--list-sas", "--raw")

    def xfrm(self, what: str, *options: str) -> str:
        """What the gateway's kernel shows of ESP."""
        return subprocess.run(["ip", *options, "xfrm", what], check=True, capture_output=True, text=True).stdout

    @staticmethod
    def _leave_out(plugin: str) -> None:
        template = ROOT / "opt/gateway/strongswan.d/gateway.conf"
        before = template.read_text()
        if plugin not in before:
            raise RigError(f"{template} has no {plugin!r} that could be left out")
        template.write_text(before.replace(plugin, ""))

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": "/opt/gateway", "PYTHONUNBUFFERED": "1"}


def transfer(client: Client, web: str) -> Transfer:
    """Both ways over HTTP; curl's errors end everything."""
    file = Path("/run/transfer")
    address = client.run(*CURL, f"http://{web}/address")
    expected = client.run(*CURL, f"http://{web}/sha256/{SIZE}")
    client.run(*CURL, "-o", file, f"http://{web}/bytes/{SIZE}")
    downloaded = client.run("sha256sum", file).split()[0]
    uploaded = client.run(*CURL, "-T", file, f"http://{web}/")
    return Transfer(address, file.stat().st_size, expected, downloaded, uploaded)


def observe(rig: KernelRig, client: Client, proposal: str) -> Observation:
    """Log in with one ESP proposal, use the tunnel, and log off as by Ctrl-C."""
    process = client.up(esp={"proposals": [proposal]})
    sas, state = rig.gateway_sas(), rig.xfrm("state")
    for address in (settings.WEB_IPV4, settings.WEB_IPV6):
        client.run("ping", "-c", "2", "-i", "0.2", "-W", "5", address)
    transfers = {version: transfer(client, web) for version, web in WEB.items()}
    counters = rig.xfrm("state", "-s")
    status = process.end(signal.SIGINT)
    return Observation(
        shown=process.output,
        sas=sas,
        xfrm_state=state,
        xfrm_counters=counters,
        transfers=transfers,
        exit_status=status,
        sas_after=rig.gateway_sas(),
        xfrm_state_after=rig.xfrm("state"),
        xfrm_policy_after=rig.xfrm("policy"),
    )


def main() -> None:
    """One connection for each proposal; and what no connection can last long enough for."""
    (RESULTS / "borders.json").write_text(json.dumps(cross_borders()))
    rig = KernelRig()
    rig.start()
    directory = Path("/run/client")
    directory.mkdir()
    client = Client(rig, directory)
    seen = {proposal: asdict(observe(rig, client, proposal)) for proposal in ESP_PROPOSALS}
    (RESULTS / "results.json").write_text(json.dumps(seen, indent=1))


if __name__ == "__main__":
    main()
