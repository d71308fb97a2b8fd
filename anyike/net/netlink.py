"""Requests to the kernel's rtnetlink(7). The only importer of `pyroute2`, and only of its message classes.

The kernel answers a request before `send` returns, so nothing here waits and nothing can be cancelled half way: what
undoes a tunnel runs to its end. `import pyroute2` costs 120 ms and 13 MiB, since the package loads all that it has; the
message classes alone cost 14 ms and 1 MiB (loaded with the package's own `__init__` left out).
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import socket
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Any, Self

from anyike.errors import HostSetupFailed

REQUEST, ACK, DUMP, EXCLUSIVE, CREATE = 0x1, 0x4, 0x300, 0x200, 0x400
"""Flags of a request (linux/netlink.h)."""

_NETLINK_ROUTE, _SOL_NETLINK = 0, 270
_CAP_ACK, _EXT_ACK, _GET_STRICT_CHECK = 10, 11, 12
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_DUMP_INTR, _NLM_F_ACK_TLVS = 0x10, 0x200
_NLMSGERR_ATTR_MSG = 1
_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence number, port

_BATCH = 100
"""Requests in one send: their answers fit the socket's receive buffer."""

_DUMP_ATTEMPTS = 10
"""A dump is repeated when the kernel's table changed meanwhile."""

_ANSWER_TIMEOUT = 10.0
"""Seconds; only a broken kernel lets us wait at all."""


@dataclass(frozen=True, slots=True)
class Request:
    """One message: type number, fields of its fixed part, attributes by name, flags beside REQUEST and ACK."""

    message: str
    number: int
    fields: Mapping[str, int]
    attributes: Sequence[tuple[str, Any]] = ()
    flags: int = 0


class KernelRefused(Exception):
    """The kernel answered with an error: `errno` is its number, the text the kernel's own where it gave one."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)
        self.errno = number


class Netlink:
    """A socket for requests; used as a context manager. All methods: HostSetupFailed when the socket itself fails."""

    def __init__(self) -> None:
        try:
            self._socket = _open_socket()
        except OSError as error:
            raise HostSetupFailed(f"no netlink socket: {error.strerror}. Does a sandbox forbid AF_NETLINK?") from error
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def execute(self, requests: Sequence[Request]) -> list[KernelRefused | None]:
        """Carry out requests in their order, each whether or not the one before was refused; one answer for each."""
        answers: list[KernelRefused | None] = []
        for start in range(0, len(requests), _BATCH):
            batch = requests[start : start + _BATCH]
            first = self._sequence + 1
            self._send(b"".join(self._encode(request, ACK) for request in batch))
            by_sequence: dict[int, KernelRefused | None] = {}
            while len(by_sequence) < len(batch):
                for number, flags, sequence, payload in self._receive():
                    if number == _NLMSG_ERROR and first <= sequence <= self._sequence:
                        by_sequence[sequence] = _refusal(payload, flags)
            answers += [by_sequence[sequence] for sequence in sorted(by_sequence)]
        return answers

    def get(self, request: Request) -> Any:
        """The one message that answers a request, decoded. KernelRefused."""
        self._send(self._encode(request, 0))
        for number, flags, sequence, payload in self._receive():
            if sequence == self._sequence:
                if number == _NLMSG_ERROR:
                    raise _refusal(payload, flags) or KernelRefused(0, "no answer")
                return _decode(request.message, number, payload)
        raise KernelRefused(0, "no answer")

    def dump(self, request: Request) -> list[Any]:
        """All messages that answer a request, decoded. KernelRefused."""
        for _ in range(_DUMP_ATTEMPTS):
            self._send(self._encode(request, DUMP))
            messages = list(self._dumped(request.message))
            if None not in messages:
                return messages
        raise KernelRefused(0, "the table keeps changing")

    def _dumped(self, message: str) -> Iterator[Any]:
        """The messages of a dump up to its end; None when it is inconsistent."""
        while True:
            for number, flags, sequence, payload in self._receive():
                if sequence != self._sequence:
                    continue
                if flags & _NLM_F_DUMP_INTR:
                    yield None
                if number in (_NLMSG_DONE, _NLMSG_ERROR):
                    if refusal := _refusal(payload, flags):
                        raise refusal
                    return
                yield _decode(message, number, payload)

    def _encode(self, request: Request, flags: int) -> bytes:
        self._sequence += 1
        message = message_class(request.message)()
        for name, value in request.fields.items():
            message[name] = value
        message["attrs"] = list(request.attributes)
        message["header"]["type"] = request.number
        message["header"]["flags"] = REQUEST | flags | request.flags
        message["header"]["sequence_number"] = self._sequence
        message.encode()
        return bytes(message.data)

    def _send(self, data: bytes) -> None:
        try:
            self._socket.send(data)
        except OSError as error:
            raise HostSetupFailed(f"the kernel did not take a netlink request: {error.strerror or error}") from error

    def _receive(self) -> Iterator[tuple[int, int, int, bytes]]:
        """Type, flags, sequence number and payload of the messages in one datagram."""
        try:
            data = self._socket.recv(1 << 20)
        except TimeoutError:
            raise HostSetupFailed(f"the kernel did not answer a netlink request within {_ANSWER_TIMEOUT:g} s") from None
        except OSError as error:
            raise HostSetupFailed(f"no answer to a netlink request: {error.strerror}") from error
        offset = 0
        while offset + _HEADER.size <= len(data):
            length, number, flags, sequence, _ = _HEADER.unpack_from(data, offset)
            yield number, flags, sequence, data[offset + _HEADER.size : offset + length]
            offset += (length + 3) & ~3


def _open_socket() -> socket.socket:
    with contextlib.ExitStack() as failed:
        sock = failed.enter_context(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_ROUTE))
        for option in (_CAP_ACK, _EXT_ACK, _GET_STRICT_CHECK):
            sock.setsockopt(_SOL_NETLINK, option, 1)
        sock.settimeout(_ANSWER_TIMEOUT)
        sock.bind((0, 0))
        failed.pop_all()
    return sock


@cache
def message_class(name: str) -> Any:
    """A message class of pyroute2 by module and class, e.g. `rtmsg.rtmsg` of `pyroute2.netlink.rtnl`."""
    module_name, _, class_name = name.rpartition(".")
    if "pyroute2" in sys.modules:
        return getattr(importlib.import_module(f"pyroute2.netlink.rtnl.{module_name}"), class_name)
    specification = importlib.util.find_spec("pyroute2")
    if specification is None:
        raise HostSetupFailed("the Python package pyroute2 is not installed")
    # The package without its __init__: it only knows where its modules are. Taken away again, so that it can be
    # imported whole.
    sys.modules["pyroute2"] = importlib.util.module_from_spec(specification)
    try:
        return getattr(importlib.import_module(f"pyroute2.netlink.rtnl.{module_name}"), class_name)
    finally:
        del sys.modules["pyroute2"]


def _decode(name: str, number: int, payload: bytes) -> Any:
    message = message_class(name)(_HEADER.pack(_HEADER.size + len(payload), number, 0, 0, 0) + payload)
    message.decode()
    return message


def _refusal(payload: bytes, flags: int) -> KernelRefused | None:
    """The error that an NLMSG_ERROR or NLMSG_DONE carries (a negative errno); None for success."""
    if len(payload) < 4:
        return None
    (number,) = struct.unpack_from("=i", payload)
    if number == 0:
        return None
    return KernelRefused(-number, _kernel_words(payload, flags) or os.strerror(-number))


def _kernel_words(payload: bytes, flags: int) -> str:
    """The extended acknowledgement's message, behind the error number and the request's header."""
    offset = 4 + _HEADER.size
    while flags & _NLM_F_ACK_TLVS and offset + 4 <= len(payload):
        length, kind = struct.unpack_from("=HH", payload, offset)
        if length < 4:
            break
        if kind == _NLMSGERR_ATTR_MSG:
            return payload[offset + 4 : offset + length].rstrip(b"\0").decode(errors="replace")
        offset += (length + 3) & ~3
    return ""
