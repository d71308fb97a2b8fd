"""Run anyike as its command does, and write its keys to a file for Wireshark: `anyike_with_keys.py FILE connect ...`.

One JSON object a line: {"ike": ...} with the seven keys, {"esp": ...} for each direction; binary values in hex.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from anyike import cli
from anyike.ikev2 import keymat
from anyike.ikev2.child_sa import ChildSa, EspKeys
from anyike.tun.userspace import UserspaceDataPath

KEYS = Path(sys.argv[1])
expand_ike_keys = keymat.expand_ike_keys
install = UserspaceDataPath.install


def record(kind: str, **values: Any) -> None:
    shown = {name: value.hex() if isinstance(value, bytes) else value for name, value in values.items()}
    with KEYS.open("a", encoding="ascii") as file:
        file.write(json.dumps({kind: shown}) + "\n")


def expand_and_record(*arguments: Any) -> keymat.IkeKeys:
    keys = expand_ike_keys(*arguments)
    *_, spi_i, spi_r = arguments
    names = ("sk_d", "sk_ai", "sk_ar", "sk_ei", "sk_er", "sk_pi", "sk_pr")
    record("ike", spi_i=spi_i, spi_r=spi_r, suite=keys.suite.name, **{name: getattr(keys, name) for name in names})
    return keys


async def install_and_record(data_path: UserspaceDataPath, child: ChildSa, local: Any, remote: Any) -> None:
    def record_direction(spi: int, keys: EspKeys) -> None:
        record("esp", spi=f"{spi:08x}", suite=child.suite.name, encryption=keys.encryption, integrity=keys.integrity)

    record_direction(child.outbound_spi, child.outbound_keys)
    record_direction(child.inbound_spi, child.inbound_keys)
    await install(data_path, child, local, remote)


keymat.expand_ike_keys = expand_and_record
UserspaceDataPath.install = install_and_record

if __name__ == "__main__":
    sys.exit(cli.main(sys.argv[2:]))
