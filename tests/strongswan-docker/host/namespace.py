"""The client's network namespace and the veth pair that joins it to the gateway."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from pathlib import Path

from container.scenario import (
    CLIENT_IPV4,
    CLIENT_IPV6,
    GATEWAY_IPV4,
    GATEWAY_IPV6,
    GATEWAY_NAME,
)

from host.engine import GatewayError, run

NAMESPACES = Path("/run/netns")
# `ip netns exec` shows the files of /etc/netns/NAME in place of those of /etc.
FILES = Path("/etc/netns")
END_LIMIT = 2.0


def interface(namespace: str) -> str:
    """The name of the gateway's veth end while it is still on the host: at most 15 bytes."""
    return "gw" + hashlib.sha256(namespace.encode()).hexdigest()[:10]


def create(namespace: str, gateway_process: int) -> None:
    """Make the namespace and join it to the network namespace of the gateway's process."""
    run("ip", "netns", "add", namespace)
    files = FILES / namespace
    files.mkdir(parents=True, exist_ok=True)
    names = f"127.0.0.1 localhost\n{GATEWAY_IPV4} {GATEWAY_NAME}\n{GATEWAY_IPV6} {GATEWAY_NAME}\n"
    (files / "hosts").write_text(names)
    (files / "resolv.conf").write_text("# no name server outside the tunnel\n")
    end = interface(namespace)
    run("ip", "link", "add", end, "type", "veth", "peer", "name", "uplink", "netns", namespace)
    for command in (
        "link set lo up",
        f"address add {CLIENT_IPV4}/24 dev uplink",
        f"-6 address add {CLIENT_IPV6}/64 dev uplink nodad",
        "link set uplink up",
        f"route add default via {GATEWAY_IPV4} dev uplink",
        f"-6 route add default via {GATEWAY_IPV6} dev uplink",
    ):
        run("ip", "-n", namespace, *command.split())
    run("ip", "link", "set", end, "netns", str(gateway_process), "name", "outside")


def processes(namespace: str) -> list[int]:
    """The processes that run in the namespace."""
    return [int(pid) for pid in run("ip", "netns", "pids", namespace).split()]


def end_processes(namespace: str) -> None:
    """End what still runs in the namespace: it would keep the namespace alive."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in processes(namespace):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + END_LIMIT
        while processes(namespace) and time.monotonic() < deadline:
            time.sleep(0.02)
    if processes(namespace):
        raise GatewayError(f"processes in {namespace} do not end: {processes(namespace)}")


def remove(namespace: str) -> None:
    """Remove the namespace, its files, and a veth end that never left the host."""
    if (NAMESPACES / namespace).exists():
        end_processes(namespace)
        run("ip", "netns", "delete", namespace)
    if Path("/sys/class/net", interface(namespace)).exists():
        run("ip", "link", "delete", interface(namespace))
    files = FILES / namespace
    if files.is_dir():
        for file in files.iterdir():
            file.unlink()
        files.rmdir()
    if FILES.is_dir() and not any(FILES.iterdir()):
        FILES.rmdir()
