"""charon's control protocol, as far as loading needs it (strongSwan's vici README).

Our own, because Debian has no Python binding and swanctl.conf cannot hold raw bytes.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Union

SOCKET = Path("/run/charon.vici")
REQUEST, RESPONSE = 0, 1
SECTION_START, SECTION_END, KEY_VALUE, LIST_START, LIST_ITEM, LIST_END = range(1, 7)
POLL_INTERVAL = 0.02

Message = Mapping[str, Union[bytes, Sequence[bytes], "Message"]]


def named(kind: int, name: str) -> bytes:
    """The start of an element that has a name."""
    return bytes([kind, len(name)]) + name.encode()


def valued(value: bytes) -> bytes:
    """A value with its length."""
    return struct.pack(">H", len(value)) + value


def encode(message: Message) -> bytes:
    """A message: bytes are values, sequences lists, mappings sections."""
    encoded = b""
    for name, value in message.items():
        if isinstance(value, bytes):
            encoded += named(KEY_VALUE, name) + valued(value)
        elif isinstance(value, Mapping):
            encoded += named(SECTION_START, name) + encode(value) + bytes([SECTION_END])
        else:
            items = b"".join(bytes([LIST_ITEM]) + valued(item) for item in value)
            encoded += named(LIST_START, name) + items + bytes([LIST_END])
    return encoded


def connect(limit: float) -> socket.socket:
    """A connection to charon as soon as it listens; TimeoutError after `limit` seconds."""
    deadline = time.monotonic() + limit
    while True:
        control = socket.socket(socket.AF_UNIX)
        try:
            control.connect(str(SOCKET))
        except OSError:
            control.close()
            if time.monotonic() > deadline:
                raise TimeoutError("charon does not listen; see its log") from None
            time.sleep(POLL_INTERVAL)
        else:
            return control


def request(control: socket.socket, command: str, message: Message) -> None:
    """Send one command; RuntimeError with charon's answer if it is not a success."""
    body = named(REQUEST, command) + encode(message)
    control.sendall(struct.pack(">L", len(body)) + body)
    with control.makefile("rb") as stream:
        (length,) = struct.unpack(">L", stream.read(4))
        answer = stream.read(length)
    if answer != bytes([RESPONSE]) + encode({"success": b"yes"}):
        raise RuntimeError(f"charon answers {command} with {answer!r}")
