"""Put the scenario in force: write charon's configuration, restart it, load it."""

from __future__ import annotations

import ipaddress
import os
import signal
import subprocess
import time
from pathlib import Path
from string import Template

from container import scenario as settings
from container import vici
from container.half_open import leave_half_open
from container.scenario import Scenario

TEMPLATES = Path("/opt/gateway")
DAEMON_CONFIGURATION = Path("/etc/strongswan.conf")
CONNECTIONS = Path("/etc/swanctl/swanctl.conf")
START_LIMIT = 10.0

# Attribute numbers of the configuration payload (Cisco Unity, AnyConnect-EAP notes, section 7).
BANNER, DEFAULT_DOMAIN, SPLIT_DNS, SPLIT_INCLUDE, SPLIT_EXCLUDE = 28672, 28674, 28675, 28676, 28678


def daemon_configuration(scenario: Scenario) -> str:
    """strongswan.conf; charon reads it only when it starts."""
    template = Template((TEMPLATES / "strongswan.d/gateway.conf").read_text())
    return template.substitute(
        fragment_size=scenario.fragment_size,
        cookie_threshold=int(scenario.cookie),
        half_open_timeout=3600 if scenario.cookie else 30,
    )


def connections(scenario: Scenario) -> str:
    """swanctl.conf: the connections."""
    template = Template((TEMPLATES / "swanctl/gateway.conf").read_text())
    return template.substitute(vars(scenario), pools="inside4, inside6" if scenario.ipv6 else "inside4")


def unity_networks(networks: tuple[str, ...]) -> bytes:
    """Networks as the 14-byte records of a split include: address, mask, six bytes of padding."""
    parsed = [ipaddress.IPv4Network(network) for network in networks]
    return b"".join(n.network_address.packed + n.netmask.packed + bytes(6) for n in parsed)


def pools(scenario: Scenario) -> dict[str, vici.Message]:
    """The address pools with their attributes, for vici's load-pool."""
    attributes: dict[str, bytes | list[bytes]] = {"addrs": settings.POOL_IPV4.encode()}
    attributes["dns"] = [address.encode() for address in scenario.dns]
    for number, value in (
        (BANNER, scenario.banner.encode()),
        (DEFAULT_DOMAIN, scenario.default_domain.encode()),
        (SPLIT_DNS, ",".join(scenario.split_dns).encode()),
        (SPLIT_INCLUDE, unity_networks(scenario.split_include)),
        (SPLIT_EXCLUDE, unity_networks(scenario.split_exclude)),
    ):
        if value:
            attributes[str(number)] = [value]
    return {"inside4": attributes, "inside6": {"addrs": settings.POOL_IPV6.encode()}}


def charon_pid() -> int | None:
    """The process ID of the running charon."""
    found = subprocess.run(["pidof", "charon-systemd"], capture_output=True, text=True, check=False)
    return int(found.stdout.split()[0]) if found.stdout.split() else None


def end_charon() -> None:
    """End charon and wait until it is gone; container/start starts it again."""
    pid = charon_pid()
    if pid is None:
        return
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + START_LIMIT
    while charon_pid() == pid:
        if time.monotonic() > deadline:
            raise TimeoutError("charon did not end")
        time.sleep(0.02)


def load(scenario: Scenario) -> None:
    """Load credentials, connections and pools into the running charon."""
    with vici.connect(START_LIMIT) as control:
        for name, pool in pools(scenario).items():
            vici.request(control, "load-pool", {name: pool})
    for part in ("--load-creds", "--load-conns"):
        done = subprocess.run(["swanctl", part], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"swanctl {part}: {done.stdout}{done.stderr}")


def main() -> None:
    """Put /state/scenario.json in force: charon starts anew, without any SA."""
    scenario = settings.load()
    CONNECTIONS.write_text(connections(scenario))
    written = DAEMON_CONFIGURATION.with_suffix(".new")
    written.write_text(daemon_configuration(scenario))
    written.replace(DAEMON_CONFIGURATION)
    end_charon()
    load(scenario)
    if scenario.cookie:
        leave_half_open(settings.GATEWAY_IPV4)


if __name__ == "__main__":
    main()
