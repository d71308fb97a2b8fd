"""One UDP socket to the gateway: IKE and ESP in UDP leave and arrive by it. The only importer of `asyncio_dgram`.

The stream of asyncio-dgram wakes the reader; what else waits in the kernel then is read from the socket itself, and
sending bypasses the stream: it costs 14 microseconds a datagram, the socket 3. So its unbounded queue stays short. Its
second trap, that a socket error wakes no pending `recv()`, is avoided by a watch on the socket's error queue (ip(7),
IP_RECVERR).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import socket
import struct
from collections.abc import Callable
from typing import Any

import asyncio_dgram

from anyike.errors import AnyikeError, HostSetupFailed, MissingPrivilege, Unreachable

Address = tuple[str, int]

RECEIVE_BUFFER = 4 * 1024 * 1024
"""Bytes; some 30 ms at 1 Gbit/s. The kernel's default of 208 KiB overflows in a burst of ESP."""

LARGEST_DATAGRAM = 65535
READ_BATCH = 64
"""Datagrams read in one go before timers and the tunnel interface get their turn."""

# Linux numbers (linux/in.h, linux/in6.h, asm-generic/socket.h) that Python's socket module does not name.
_SO_RCVBUFFORCE = 33
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PMTUDISC_DONT = 10, 23, 0
_IP_RECVERR, _IPV6_RECVERR = 11, 25
_RECVERR_CONTROL = {(socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR)}

_KERNEL_BUFFER_FULL = (errno.EAGAIN, errno.ENOBUFS)
_NO_SUCH_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


class UdpChannel:
    """An unconnected UDP socket of one family, marked so that it bypasses every tunnel of ours.

    `reader` is the task that delivers datagrams: it ends by `close`, or with the exception that `on_datagram` raised.
    `dropped` counts datagrams that the kernel's send buffer had no room for, `failed` those that it refused otherwise.
    """

    def __init__(
        self,
        sock: socket.socket,
        stream: asyncio_dgram.aio.DatagramStream,
        mark: int,
        on_datagram: Callable[[bytes, Address], None],
        on_error: Callable[[OSError, Address | None], None],
    ) -> None:
        self._socket = sock
        self._stream = stream
        self._mark = mark
        self._on_datagram = on_datagram
        self._on_error = on_error
        self._closed = False
        self.dropped = 0
        self.failed = 0
        self._loop = asyncio.get_running_loop()
        self._error_watch = select.epoll()
        self._error_watch.register(sock.fileno(), 0)  # no event asked for: EPOLLERR alone is reported
        self._loop.add_reader(self._error_watch.fileno(), self._report_queued_errors)
        self.reader = asyncio.create_task(self._read(), name="udp reader")

    @classmethod
    async def open(
        cls,
        family: socket.AddressFamily,
        local_port: int,
        mark: int,
        on_datagram: Callable[[bytes, Address], None],
        on_error: Callable[[OSError, Address | None], None],
    ) -> UdpChannel:
        """Bind `local_port` (0: an ephemeral one) on all addresses of `family`; `mark` 0 sets no mark.

        `on_error` gets what the kernel reports about a datagram sent earlier or now, with its destination where known:
        never fatal here, and not authenticated (anybody may forge an ICMP message). HostSetupFailed, MissingPrivilege;
        Unreachable when this machine does not do `family`.
        """
        sock = _bound_socket(family, local_port, mark)
        try:
            stream = await asyncio_dgram.from_socket(sock)
        except BaseException:
            sock.close()
            raise
        return cls(sock, stream, mark, on_datagram, on_error)

    @property
    def local_port(self) -> int:
        """The port that the socket is bound to."""
        port: int = self._socket.getsockname()[1]
        return port

    def local_address_for(self, remote: Address) -> Address:
        """The source address that the kernel chooses towards `remote`, and our port. Unreachable without a route."""
        with socket.socket(self._socket.family, socket.SOCK_DGRAM) as probe:
            _set_mark(probe, self._mark)
            try:
                probe.connect(remote)
            except OSError as error:
                raise Unreachable(f"no route to {remote[0]}: {error.strerror}. Is this machine connected?") from error
            return probe.getsockname()[0], self.local_port

    def send(self, data: bytes | bytearray | memoryview, address: Address) -> bool:
        """Hand one datagram to the kernel at once; False when it was not taken: `dropped`, or `failed` and reported."""
        if self._closed:
            return False
        try:
            self._socket.sendto(data, address)
        except OSError as error:
            return self._send_again(data, address, error)
        return True

    def close(self) -> None:
        """Stop delivering and close the socket. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._error_watch.fileno())
        self._error_watch.close()
        self.reader.cancel()
        self._stream.close()

    def _send_again(self, data: bytes | bytearray | memoryview, address: Address, error: OSError) -> bool:
        """A send also fails, and sends nothing, with the pending error of an earlier datagram: once more after that."""
        if error.errno not in _KERNEL_BUFFER_FULL and self._report_queued_errors():
            try:
                self._socket.sendto(data, address)
            except OSError as second:
                error = second
            else:
                return True
        if error.errno in _KERNEL_BUFFER_FULL:
            self.dropped += 1
        else:
            self.failed += 1
            self._on_error(error, address)
        return False

    async def _read(self) -> None:
        sender: Any
        while True:
            try:
                data, sender = await self._stream.recv()
            except OSError:  # the same error is in the error queue, where it has an address
                self._report_queued_errors()
                continue
            except asyncio_dgram.TransportClosed:
                return
            self._on_datagram(data, sender[:2])
            self._read_waiting()

    def _read_waiting(self) -> None:
        receive, deliver = self._socket.recvfrom, self._on_datagram
        for _ in range(READ_BATCH):
            if self._closed:
                return
            try:
                data, sender = receive(LARGEST_DATAGRAM)
            except BlockingIOError:
                return
            except OSError:
                self._report_queued_errors()
                return
            deliver(data, sender[:2])

    def _report_queued_errors(self) -> bool:
        """Empty the error queue (a filled one keeps the event loop spinning); whether there was anything in it."""
        self._forget_stream_errors()
        reported = False
        while not self._closed:
            try:
                _, control, _, destination = self._socket.recvmsg(0, 256, socket.MSG_ERRQUEUE)
            except BlockingIOError:
                break
            for level, kind, payload in control:
                if (level, kind) in _RECVERR_CONTROL:
                    (number,) = struct.unpack_from("=I", payload)  # sock_extended_err.ee_errno
                    reported = True
                    self._on_error(OSError(number, os.strerror(number)), destination[:2] if destination else None)
        return reported

    def _forget_stream_errors(self) -> None:
        """The stream queues errors without bound until somebody asks; all of them are in the error queue as well."""
        while True:
            try:
                _ = self._stream.exception
            except OSError:
                continue
            return


def _bound_socket(family: socket.AddressFamily, local_port: int, mark: int) -> socket.socket:
    with contextlib.ExitStack() as failed:
        try:
            sock = failed.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            _configure(sock, family, mark)
            sock.bind(("", local_port))
        except OSError as error:
            raise _explained(error, family, local_port) from error
        failed.pop_all()
    return sock


def _configure(sock: socket.socket, family: socket.AddressFamily, mark: int) -> None:
    sock.setblocking(False)
    _set_mark(sock, mark)
    _raise_receive_buffer(sock)
    # Path MTU discovery off: routers may fragment what is too large, and nothing vanishes where ICMP is filtered.
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_DONT)
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_DONT)
        sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)


def _explained(error: OSError, family: socket.AddressFamily, local_port: int) -> AnyikeError:
    """What it means to the user that the socket was not made or bound."""
    if error.errno in _NO_SUCH_FAMILY:  # the gateway may have addresses of the other family
        version = "IPv6" if family == socket.AF_INET6 else "IPv4"
        return Unreachable(f"an {version} socket cannot be opened: {error.strerror}. Does this machine do {version}?")
    if isinstance(error, PermissionError):
        return MissingPrivilege(
            f"local UDP port {local_port} may not be bound: {error.strerror}. "
            "Run as root or with CAP_NET_BIND_SERVICE, or let the local port be chosen"
        )
    return HostSetupFailed(
        f"a UDP socket on local port {local_port} cannot be opened: {error.strerror}. "
        "Is another IPsec program running? Another local port helps"
    )


def _set_mark(sock: socket.socket, mark: int) -> None:
    if not mark:
        return
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    except PermissionError as error:
        raise MissingPrivilege(
            "the kernel does not let us mark the socket that goes around the tunnel (SO_MARK). "
            "Run as root or with CAP_NET_ADMIN"
        ) from error


def _raise_receive_buffer(sock: socket.socket) -> None:
    """Without CAP_NET_ADMIN the kernel grants what net.core.rmem_max allows."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    with contextlib.suppress(PermissionError):
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
