"""Packets that the kernel dropped because a queue was full: their reader had no turn for too long, the machine was busy."""

from __future__ import annotations

from pathlib import Path

from rig import Rig

SENT_DROPPED = 11
"""Column of /proc/net/dev. What is sent to a TUN interface waits for whoever reads that."""


def count(snmp: str, dev: str) -> int:
    """Those of all UDP sockets and interfaces of a namespace, so far: from its /proc/net/snmp and /proc/net/dev."""
    names, values = (line.split() for line in snmp.splitlines() if line.startswith("Udp:"))
    interfaces = [line.partition(":")[2].split() for line in dev.splitlines()[2:]]
    return int(values[names.index("RcvbufErrors")]) + sum(int(columns[SENT_DROPPED]) for columns in interfaces)


def at_client_and_gateway(rig: Rig, gateway_process: int) -> tuple[int, int]:
    """Both sides' so far."""
    client = (rig.run_in_client_namespace(["cat", f"/proc/net/{name}"]).stdout for name in ("snmp", "dev"))
    gateway = (Path(f"/proc/{gateway_process}/net/{name}").read_text() for name in ("snmp", "dev"))
    return count(*client), count(*gateway)
