"""Encoding of requests and decoding of the kernel's answers, without the kernel."""

import errno
import struct
import subprocess
import sys
from ipaddress import ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyike.errors import HostSetupFailed
from anyike.net import netlink, requests
from anyike.net.netlink import Netlink
from anyike.net.plan import Route, Rule


def encoded(request):
    with Netlink() as connection:
        return connection._encode(request, netlink.ACK)


def words(request):
    """Type, flags and payload of an encoded request."""
    data = encoded(request)
    length, number, flags, sequence, _ = struct.unpack_from("=IHHII", data)
    assert (length, sequence) == (len(data), 1)
    return number, flags, data[16:].hex()


def test_a_route_into_the_tunnel():
    # rtmsg: family 2, dst_len 16, table 252, protocol 97, scope link, type unicast; RTA_DST, RTA_TABLE 24900, RTA_OIF 7
    assert words(requests.add_route(7, 24900, Route(ip_network("10.1.0.0/16")))) == (
        24,
        0x605,
        "02100000fc61fd0100000000080001000a01000008000f00446100000800040007000000",
    )


def test_a_throw_route_has_no_interface():
    assert words(requests.add_route(7, 24900, Route(ip_network("fd00::/8"), throw=True))) == (
        24,
        0x605,
        "0a080000fc6100090000000014000100fd00000000000000000000000000000008000f0044610000",
    )


def test_a_rule_for_all_but_our_mark():
    # fib_rule_hdr: family 2, action 1 (lookup), flags 2 (invert)
    assert words(requests.add_rule(Rule(4, 20303, 24900, unless_mark=0x616B))) == (
        32,
        0x605,
        "020000000000000102000000080006004f4f000008000f0044610000050015006100000008000a006b610000",
    )


def test_a_rule_for_the_gateway():
    rule = Rule(4, 20003, 254, source=ip_address("192.0.2.1"), destination=ip_address("198.51.100.1"))
    _, _, payload = words(requests.add_rule(rule))
    assert payload.startswith("022020000000000100000000")
    assert "08000200c0000201" in payload
    assert "08000100c6336401" in payload


def test_an_ipv6_address_skips_duplicate_detection():
    _, flags, payload = words(requests.add_address(7, ip_interface("2001:db8::2/128")))
    assert flags == 0x605
    assert payload.startswith("0a80000007000000")
    assert payload.endswith("0800080002020000")


def test_the_whole_package_stays_unloaded():
    program = (
        "import sys\n"
        "from anyike.net import netlink\n"
        "assert not any(name.startswith('pyroute2') for name in sys.modules)\n"
        "for name in ('rtmsg.rtmsg', 'fibmsg.fibmsg', 'ifaddrmsg.ifaddrmsg', 'ifinfmsg.ifinfmsg'):\n"
        "    netlink.message_class(name)\n"
        "assert 'pyroute2' not in sys.modules and 'pyroute2.ndb' not in sys.modules\n"
        "import pyroute2\n"
        "from pyroute2.netlink.rtnl.rtmsg import rtmsg\n"
        "assert pyroute2.AsyncIPRoute and netlink.message_class('rtmsg.rtmsg') is rtmsg\n"
    )
    finished = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr


def test_the_kernels_own_words():
    text = b"Invalid MTU\0"
    attribute = struct.pack("=HH", 4 + len(text), 1) + text
    payload = struct.pack("=i", -22) + bytes(16) + attribute
    refusal = netlink._refusal(payload, 0x200)
    assert (refusal.errno, str(refusal)) == (22, "Invalid MTU")
    assert str(netlink._refusal(payload[:20], 0)) == "Invalid argument"
    assert netlink._refusal(struct.pack("=i", 0) + bytes(16), 0) is None


@given(st.binary(max_size=80), st.integers(0, 0xFFFF))
def test_any_answer_is_a_refusal_or_none(payload, flags):
    refusal = netlink._refusal(payload, flags)
    assert refusal is None or str(refusal)


class Broken:
    """A socket that fails at one of its calls."""

    def __init__(self, failing, number):
        self.failing, self.number = failing, number

    def send(self, data):
        self._fail("send")

    def recv(self, size):
        self._fail("recv")

    def close(self):
        pass

    def _fail(self, call):
        if call == self.failing:
            raise OSError(self.number, "No buffer space available")


@pytest.mark.parametrize("call", ["send", "recv"])
@pytest.mark.parametrize(
    "use",
    [
        lambda connection: connection.execute([requests.list_rules(4)]),
        lambda connection: connection.get(requests.list_rules(4)),
        lambda connection: connection.dump(requests.list_rules(4)),
    ],
    ids=["execute", "get", "dump"],
)
def test_a_failing_socket_is_a_fault_of_this_machine(call, use):
    with Netlink() as connection:
        connection._socket.close()
        connection._socket = Broken(call, errno.ENOBUFS)
        with pytest.raises(HostSetupFailed, match="No buffer space available"):
            use(connection)


def test_a_silent_kernel_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(netlink, "_ANSWER_TIMEOUT", 0.01)
    with Netlink() as connection, pytest.raises(HostSetupFailed, match=r"did not answer .* within 0\.01 s"):
        list(connection._receive())


def test_a_kernel_without_our_socket_options_is_a_clear_error(monkeypatch):
    monkeypatch.setattr(netlink, "_GET_STRICT_CHECK", 9999)
    with pytest.raises(HostSetupFailed, match="no netlink socket: Protocol not available"):
        Netlink()
