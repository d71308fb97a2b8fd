"""A Linux TUN interface: one read is one IP packet out of the host, one write one packet into it."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from contextlib import suppress

from anyike.errors import AnyikeError, HostSetupFailed, MissingPrivilege
from anyike.esp.drops import DropReason

CLONE_DEVICE = "/dev/net/tun"
TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000
IFF_TUN_EXCL = 0x8000
"""Refuse a persistent interface of that name that somebody else prepared, instead of attaching to it."""

IFREQ = struct.Struct("16sH22x")
NAME_LIMIT = 15
"""Bytes of an interface name (IFNAMSIZ less the NUL)."""
PACKET_LIMIT = 65535
"""Largest read: what an IPv4 length field can say, and more than any MTU of a TUN interface."""


class TunDevice:
    """An open TUN interface; closing it removes the interface from the host."""

    def __init__(self, descriptor: int, name: str) -> None:
        """Take over a non-blocking `descriptor`."""
        self._descriptor = descriptor
        self.name = name

    def fileno(self) -> int:
        """The descriptor, for an event loop."""
        return self._descriptor

    def read(self) -> bytes | None:
        """The next packet, None when there is none; OSError when the interface was taken away."""
        try:
            return os.read(self._descriptor, PACKET_LIMIT)
        except BlockingIOError:
            return None

    def write(self, packet: bytes) -> DropReason | None:
        """Hand a packet to the host; the reason when it was not taken (INTERFACE_REFUSED: it is down, or gone)."""
        try:
            os.write(self._descriptor, packet)
        except BlockingIOError:
            return DropReason.INTERFACE_FULL
        except OSError:
            return DropReason.INTERFACE_REFUSED
        return None

    def close(self) -> None:
        """Remove the interface. Safe to call twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            # EBADF and the like would only say that it is gone already.
            with suppress(OSError):
                os.close(descriptor)


def open_tun(name: str) -> TunDevice:
    """Create a TUN interface, down and without addresses.

    Args:
        name: at most 15 bytes; `%d` in it lets the kernel choose the number.

    Raises:
        MissingPrivilege: no CAP_NET_ADMIN, or no access to /dev/net/tun.
        HostSetupFailed: no TUN driver, or the name cannot be used.
    """
    encoded = os.fsencode(name)
    if not 0 < len(encoded) <= NAME_LIMIT:
        raise HostSetupFailed(
            f"The interface name {name!r} has {len(encoded)} bytes, Linux allows 1 to {NAME_LIMIT}. "
            "Choose another one with `interface`."
        )
    try:
        descriptor = os.open(CLONE_DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _no_driver(error) from error
    try:
        answer = fcntl.ioctl(descriptor, TUNSETIFF, IFREQ.pack(encoded, IFF_TUN | IFF_NO_PI | IFF_TUN_EXCL))
    except OSError as error:
        os.close(descriptor)
        raise _no_interface(name, error) from error
    return TunDevice(descriptor, os.fsdecode(IFREQ.unpack(answer)[0].rstrip(b"\0")))


def _no_driver(error: OSError) -> AnyikeError:
    if error.errno in (errno.EPERM, errno.EACCES):
        return MissingPrivilege(
            f"{CLONE_DEVICE} cannot be opened ({error.strerror}). Run as root; "
            f"in a container, start it with `--device {CLONE_DEVICE}`."
        )
    return HostSetupFailed(
        f"{CLONE_DEVICE} cannot be opened ({error.strerror}), so there is no TUN driver here. "
        f"Load it with `modprobe tun`; in a container, start it with `--device {CLONE_DEVICE}`."
    )


def _no_interface(name: str, error: OSError) -> AnyikeError:
    if error.errno in (errno.EPERM, errno.EACCES):
        return MissingPrivilege(
            f"The kernel did not let us create the tunnel interface {name!r} ({error.strerror}): "
            "it wants CAP_NET_ADMIN. Run as root (sudo)."
        )
    if error.errno == errno.EBUSY:
        return HostSetupFailed(
            f"An interface {name!r} exists already and belongs to somebody else. "
            "Remove it, or choose another name with `interface`."
        )
    if error.errno == errno.EINVAL:
        return HostSetupFailed(
            f"The kernel does not accept the interface name {name!r} ({error.strerror}): "
            "it is not a valid name. Choose another one with `interface`."
        )
    return HostSetupFailed(f"The tunnel interface {name!r} could not be created: {error.strerror}.")
