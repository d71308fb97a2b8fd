"""charon told to rekey over its control socket (strongSwan's vici README): ten times faster than a swanctl each time."""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from types import TracebackType
from typing import Self

from container import vici  # beside the test gateway; `rig` puts it on the path

ANSWER_LIMIT = 10.0
LARGEST_ANSWER = 65536


class ViciControl:
    """A connection to the control socket at this path, which may be in a container (/proc/PID/root/...)."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(ANSWER_LIMIT)
        self._socket.connect(str(self._path))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def rekey(self, what: str, name: str) -> bool:
        """Begin to rekey the "child" or "ike" SAs of that name; False if there is none."""
        body = vici.named(vici.REQUEST, "rekey") + vici.encode({what: name.encode()})
        self._socket.sendall(struct.pack(">L", len(body)) + body)
        (length,) = struct.unpack(">L", self._read(4))
        return vici.encode({"success": b"yes"}) in self._read(min(length, LARGEST_ANSWER))

    def _read(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            part = self._socket.recv(length - len(data))
            if not part:
                raise RuntimeError("charon closed its control socket")
            data += part
        return data
