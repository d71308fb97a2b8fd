from __future__ import annotations

import errno
import fcntl
import os
import socket

import pytest

from anyike.errors import HostSetupFailed, MissingPrivilege
from anyike.esp.drops import DropReason
from anyike.tun import device
from anyike.tun.device import TunDevice, open_tun


def socket_device() -> tuple[TunDevice, socket.socket]:
    """A device whose host side is the other end of a pair that keeps packet boundaries, as a TUN interface does."""
    ours, host = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    host.setblocking(False)
    return TunDevice(ours.detach(), "fake0"), host


def test_packets_pass_one_by_one() -> None:
    tun, host = socket_device()
    with host:
        assert tun.read() is None
        host.send(b"first")
        host.send(b"second")
        assert (tun.read(), tun.read(), tun.read()) == (b"first", b"second", None)
        assert tun.write(b"third") is None
        assert host.recv(100) == b"third"
        tun.close()


def test_a_full_interface_refuses_without_blocking() -> None:
    tun, host = socket_device()
    with host:
        results = {tun.write(bytes(1000)) for _ in range(2000)}
        assert results == {None, DropReason.INTERFACE_FULL}
        tun.close()


def test_an_interface_that_is_gone() -> None:
    tun, host = socket_device()
    with host:
        tun.close()
        tun.close()
        assert tun.write(b"packet") is DropReason.INTERFACE_REFUSED
        with pytest.raises(OSError, match="Bad file descriptor"):
            tun.read()


@pytest.mark.parametrize("name", ["", "sixteen-bytes-xx", "ä" * 8])
def test_names_that_do_not_fit(name: str) -> None:
    with pytest.raises(HostSetupFailed, match="`interface`"):
        open_tun(name)


@pytest.mark.parametrize(
    ("code", "expected", "advice"),
    [
        (errno.ENOENT, HostSetupFailed, "modprobe tun"),
        (errno.ENODEV, HostSetupFailed, "modprobe tun"),
        (errno.EACCES, MissingPrivilege, "root"),
        (errno.EPERM, MissingPrivilege, "--device"),
    ],
)
def test_no_tun_driver(monkeypatch, code: int, expected: type[Exception], advice: str) -> None:
    def refuse(*arguments: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(device.os, "open", refuse)
    with pytest.raises(expected, match=advice) as caught:
        open_tun("anyike0")
    assert os.strerror(code) in str(caught.value)


@pytest.mark.parametrize(
    ("code", "expected", "advice"),
    [
        (errno.EPERM, MissingPrivilege, "CAP_NET_ADMIN"),
        (errno.EBUSY, HostSetupFailed, "exists already"),
        (errno.EINVAL, HostSetupFailed, "not a valid name"),
        (errno.ENOMEM, HostSetupFailed, "Cannot allocate memory"),
    ],
)
def test_a_kernel_that_refuses_the_interface(monkeypatch, tmp_path, code: int, expected, advice: str) -> None:
    (tmp_path / "tun").touch()
    monkeypatch.setattr(device, "CLONE_DEVICE", str(tmp_path / "tun"))
    before = set(os.listdir("/proc/self/fd"))

    def refuse(*arguments: object) -> bytes:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "ioctl", refuse)
    with pytest.raises(expected, match=advice) as caught:
        open_tun("anyike7")
    assert "anyike7" in str(caught.value)
    assert set(os.listdir("/proc/self/fd")) == before, "the descriptor is closed"
