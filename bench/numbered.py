"""Numbered packets and rekeyings between the peers: the tests' own tools, for benches."""

from __future__ import annotations

import sys
from pathlib import Path

from peers import PROJECT, SOCKET, TestGateway

for place in ("tests/strongswan-docker", "tests/integration"):
    sys.path.insert(0, str(PROJECT / place))

from numbered_traffic import Direction, NumberedTraffic, Traffic  # noqa: E402
from rekeyings import watched  # noqa: E402
from vici_control import ViciControl  # noqa: E402

__all__ = ["Direction", "Traffic", "client_control", "gateway_control", "numbered_traffic", "watched"]

CLIENT_ADDRESS = "192.0.2.2"
INSIDE_ADDRESS = "10.77.0.2"


def numbered_traffic(gateway: TestGateway, directory: Path) -> NumberedTraffic:
    """Numbered packets between the client's namespace and the host behind the gateway."""
    client = Path("/run/netns", gateway.info["client_namespace"])
    return NumberedTraffic(client, container_file(gateway, "/run/netns/inside"), INSIDE_ADDRESS, directory)


def gateway_control(gateway: TestGateway) -> ViciControl:
    """The control socket of the gateway's charon."""
    return ViciControl(container_file(gateway, "/run/charon.vici"))


def client_control(gateway: TestGateway) -> ViciControl:
    """That of charon as the client."""
    return ViciControl(container_file(gateway, SOCKET))


def container_file(gateway: TestGateway, path: str) -> Path:
    """A file of the gateway's container."""
    return Path(f"/proc/{gateway.process}/root{path}")
