"""`python -m tests.fault_relay`: run the relay until its standard input ends.

Each line of standard input is a command, answered by one line of JSON: `{"set": {"loss": 0.3}}` puts faults in force
(`{"set": {}}` ends them), `{"rebind": true}` forgets the NAT mappings, `{"counters": true}` asks what happened so far.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
from dataclasses import replace
from typing import Any

from tests.fault_relay.faults import Faults
from tests.fault_relay.relay import LANES, Relay


def obey(relay: Relay, line: str) -> dict[str, Any]:
    """Carry out one command; the answer."""
    try:
        command = json.loads(line)
        if "set" in command:
            relay.set(Faults.from_values(dict(command["set"])))
        if "rebind" in command:
            relay.rebind()
    except (TypeError, ValueError) as error:
        return {"error": str(error)}
    return {"counters": relay.counters}


async def run(arguments: argparse.Namespace) -> None:
    """Relay and obey until standard input ends."""
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    lanes = [replace(lane, listen_port=port) for lane, port in zip(LANES, arguments.ports, strict=True)]
    relay = Relay(arguments.listen, arguments.gateway, arguments.seed, lanes)
    relay.open()
    try:
        print(json.dumps({"seed": arguments.seed}), flush=True)
        while line := await commands.readline():
            print(json.dumps(obey(relay, line.decode())), flush=True)
    finally:
        relay.close()


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="fault_relay", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("listen", help="IPv4 address that clients use as the gateway's")
    parser.add_argument("gateway", help="IPv4 address of the gateway")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32), help="of the dice; printed at the start")
    parser.add_argument(
        "--ports", type=int, nargs=2, default=[500, 4500], metavar=("IKE", "NAT"), help="to listen on (500 and 4500)"
    )
    try:
        asyncio.run(run(parser.parse_args()))
    except OSError as error:
        print(f"fault_relay: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
