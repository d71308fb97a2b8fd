"""Notices that this machine's network changed: links, addresses, routes and policy rules, as rtnetlink(7) reports them.

Only the fixed part of each message is looked at. What the change means is not worked out from messages, which may be
lost: the owner asks the kernel (`path.current_path`) when all is quiet.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import struct
from collections.abc import Callable, Iterator

from anyike.errors import HostSetupFailed
from anyike.net.plan import PROTOCOL

log = logging.getLogger(__name__)

QUIET = 0.3
"""Seconds without a further change before the owner is told: a link that comes up brings a dozen changes."""

LATEST = 2.0
"""Seconds after the first change at which the owner is told in any case."""

READ_BATCH = 64
"""Messages read in one go before timers and packets get their turn."""

_READ_SIZE = 4096
"""Bytes; a link's description may be longer, and only its first bytes count."""

# Numbers of linux/rtnetlink.h and linux/fib_rules.h.
_GROUPS = (1, 5, 7, 8, 9, 11, 19)  # RTNLGRP_LINK, then of IPv4: IFADDR, ROUTE, RULE, and of IPv6
_LINKS, _ADDRESSES, _ROUTES, _RULES = (16, 17), (20, 21), (24, 25), (32, 33)  # RTM_NEW..., RTM_DEL...
_RTPROT_KERNEL = 2
_RTM_F_CLONED = 0x200

# The fixed parts of messages.
_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence number, port
_LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, device type, index, flags, change mask
_ADDRESS = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, index
_ROUTE = struct.Struct("=BBBBBBBBI")  # rtmsg: family, two prefix lengths, TOS, table, protocol, scope, type, flags


class NetworkMonitor:
    """Calls `on_change`, from the event loop, when the network changed and is quiet again, or keeps changing.

    At most one call per `QUIET` seconds; that nothing of interest to the owner changed is possible.
    """

    def __init__(self, sock: socket.socket, own_index: int, on_change: Callable[[], None]) -> None:
        self._socket = sock
        self._own_index = own_index
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._first = self._last = 0.0  # when the changes came that the owner has not been told of
        self._loop.add_reader(sock.fileno(), self._read)

    @classmethod
    def open(cls, own_interface: str, on_change: Callable[[], None]) -> NetworkMonitor:
        """Start watching; what happens to `own_interface`, the tunnel's, is no change. HostSetupFailed."""
        try:
            own_index = socket.if_nametoindex(own_interface)
        except OSError:
            own_index = 0  # which no interface has
        return cls(_open_socket(), own_index, on_change)

    def close(self) -> None:
        """Watch no more. Safe to call twice."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _read(self) -> None:
        for _ in range(READ_BATCH):
            try:
                data = self._socket.recv(_READ_SIZE)
            except BlockingIOError:
                return
            except OSError as error:
                self._note_change()
                self._read_failed(error)
                return
            if is_change(data, self._own_index):
                self._note_change()

    def _read_failed(self, error: OSError) -> None:
        if error.errno != errno.ENOBUFS:  # which means that messages were lost
            log.warning("changes of this machine's network go unnoticed from now on: %s", error.strerror)
            self._loop.remove_reader(self._socket.fileno())

    def _note_change(self) -> None:
        self._last = self._loop.time()
        if self._timer is None:
            self._first = self._last
            self._timer = self._loop.call_at(self._due(), self._tell_when_due)

    def _due(self) -> float:
        return min(self._last + QUIET, self._first + LATEST)

    def _tell_when_due(self) -> None:
        due = self._due()
        if due > self._loop.time():
            self._timer = self._loop.call_at(due, self._tell_when_due)
            return
        self._timer = None
        self._on_change()


def is_change(data: bytes, own_index: int) -> bool:
    """Whether a datagram of the kernel reports something that may move our packets elsewhere.

    Not so are events of our own interface, and routes that the kernel makes for an address (the address is reported as
    well), clones for one destination, or routes of this program's tunnels. All tables count: an administrator's rule may
    send our mark to any.
    """
    return any(_matters(number, payload, own_index) for number, payload in _messages(data))


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and payload of the messages in one datagram; the last may be cut off."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, number, _, _, _ = _HEADER.unpack_from(data, offset)
        yield number, data[offset + _HEADER.size : offset + length]
        offset += max((length + 3) & ~3, _HEADER.size)


def _matters(number: int, payload: bytes, own_index: int) -> bool:
    if number in _LINKS and len(payload) >= _LINK.size:
        family, _, index, _, _ = _LINK.unpack_from(payload)
        return bool(family == socket.AF_UNSPEC and index != own_index)  # another family: a bridge about its port
    if number in _ADDRESSES and len(payload) >= _ADDRESS.size:
        *_, index = _ADDRESS.unpack_from(payload)
        return bool(index != own_index)
    if number in _ROUTES and len(payload) >= _ROUTE.size:
        _, _, _, _, _, protocol, _, _, flags = _ROUTE.unpack_from(payload)
        return protocol not in (_RTPROT_KERNEL, PROTOCOL) and not flags & _RTM_F_CLONED
    return number in _RULES


def _open_socket() -> socket.socket:
    with contextlib.ExitStack() as failed:
        try:
            sock = failed.enter_context(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE))
            sock.setblocking(False)
            sock.bind((0, sum(1 << (group - 1) for group in _GROUPS)))
        except OSError as error:
            raise HostSetupFailed(
                f"changes of this machine's network cannot be watched: {error.strerror}. "
                "Does a sandbox forbid AF_NETLINK?"
            ) from error
        failed.pop_all()
    return sock
