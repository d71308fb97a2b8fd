"""An established tunnel in a person's words."""

from __future__ import annotations

from anyike.ikev2.events import Address, Established
from anyike.net.plan import Plan
from anyike.ui import TunnelSummary


def summarize(name: str, remote: Address, ike_algorithms: str, established: Established, plan: Plan) -> TunnelSummary:
    """Everything worth knowing once packets flow."""
    configuration, child = established.configuration, established.child
    lifetime = established.auth_lifetime
    return TunnelSummary(
        interface=plan.interface,
        gateway=f"{name} ({remote[0]}, UDP {remote[1]})",
        addresses=tuple(str(address.ip) for address in plan.addresses),
        mtu=plan.mtu,
        ike_algorithms=ike_algorithms,
        esp_algorithms=f"{child.suite.name}{', in UDP' if child.udp_encapsulation else ''}",
        dns=tuple(str(server) for server in configuration.dns),
        domains=tuple(dict.fromkeys(filter(None, (configuration.default_domain, *configuration.split_dns)))),
        routes=tuple(str(route.network) for route in plan.routes if not route.throw),
        excluded=tuple(str(route.network) for route in plan.routes if route.throw)
        + tuple(f"{dropped.network} ({dropped.reason})" for dropped in plan.dropped),
        lifetimes=("none announced" if lifetime is None else f"login again within {lifetime} s",),
    )
