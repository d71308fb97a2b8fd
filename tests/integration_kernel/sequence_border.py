"""Runs under User-Mode Linux: the kernel's ESP against ours while extended sequence numbers pass a multiple of 2^32.

Nothing is negotiated: both ends are given the same keys and a little below 2^32 packets already sent. Each ping goes to the
kernel by our outbound half, and its reply comes back by the kernel's.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
from ipaddress import ip_address
from pathlib import Path

from scapy.layers.inet import ICMP, IP
from scapy.packet import Raw

from anyike.crypto.cipher import CipherSuite
from anyike.esp.table import SaTable
from anyike.ikev2.child_sa import ChildSa, EspKeys, TrafficSelector

GATEWAY, CLIENT = "192.0.2.1", "192.0.2.2"
INNER_GATEWAY, INNER_CLIENT = "10.9.0.1", "10.0.0.1"
PORT = 4500
PINGS = 100
BEFORE = 40
"""Packets to go until the low half begins again."""
HIGH_HALVES = (1, 7, 0xFFFFFFFF)
"""Of the numbers after the border."""
REPLY_LIMIT = 5.0

CLONE_NEWNET = 0x40000000
UDP_ENCAP, UDP_ENCAP_ESPINUDP = 100, 2

SUITES = {
    CipherSuite(20, 256): ("aead", "rfc4106(gcm(aes))", "{encryption}", "128"),
    CipherSuite(28): ("aead", "rfc7539esp(chacha20,poly1305)", "{encryption}", "128"),
    CipherSuite(12, 256, 12): ("enc", "cbc(aes)", "{encryption}", "auth-trunc", "hmac(sha256)", "{integrity}", "128"),
}


def cross_borders() -> dict[str, list[int]]:
    """By algorithms and high half: the pings, by number, that came back as they went."""
    for command in (
        "netns add border",
        "netns add far",
        "-n border link add gateway type veth peer name client netns far",
        f"-n border address add {GATEWAY}/24 dev gateway",
        f"-n far address add {CLIENT}/24 dev client",
        "-n border link set gateway up",
        "-n far link set client up",
        "-n border link set lo up",
        f"-n border address add {INNER_GATEWAY}/32 dev lo",
        f"-n border route add {INNER_CLIENT} via {CLIENT}",
    ):
        ip(*command.split())
    with udp_socket("border", GATEWAY) as decapsulating, udp_socket("far", CLIENT) as ours:
        decapsulating.setsockopt(socket.IPPROTO_UDP, UDP_ENCAP, UDP_ENCAP_ESPINUDP)
        ours.settimeout(REPLY_LIMIT)
        return {f"{suite.name} {high}": pings(suite, high, ours) for suite in SUITES for high in HIGH_HALVES}


def pings(suite: CipherSuite, high: int, ours: socket.socket) -> list[int]:
    """Those that came back, by one CHILD_SA."""
    sent = (high << 32) - BEFORE
    to_kernel, to_us = (
        EspKeys(os.urandom(suite.encryption_key_length), os.urandom(suite.integrity_key_length)) for _ in range(2)
    )
    install_in_kernel(suite, to_kernel, to_us, sent)
    selectors = tuple((TrafficSelector(ip_address(each), ip_address(each)),) for each in (INNER_CLIENT, INNER_GATEWAY))
    table = SaTable(os.urandom)
    table.install(ChildSa(0x1001, 0x2001, suite, to_us, to_kernel, *selectors, esn=True))
    table.switch_outbound(0x2001)
    table._current.sequence = sent
    table._inbound[0x1001]._window.mark(sent)
    returned = []
    for number in range(PINGS):
        request = IP(src=INNER_CLIENT, dst=INNER_GATEWAY) / ICMP(id=high & 0xFFFF, seq=number) / Raw(os.urandom(200))
        ours.sendto(table.protect(bytes(request)), (GATEWAY, PORT))
        try:
            inner = table.unprotect(ours.recv(65535))
        except TimeoutError:
            break
        reply = IP(inner) if isinstance(inner, bytes) else None
        if reply and reply[ICMP].type == 0 and reply[ICMP].seq == number and reply[Raw].load == request[Raw].load:
            returned.append(number)
    return returned


def install_in_kernel(suite: CipherSuite, inbound: EspKeys, outbound: EspKeys, sent: int) -> None:
    """The gateway's half, with as many packets behind it in each direction."""
    ip("-n", "border", "xfrm", "state", "flush")
    ip("-n", "border", "xfrm", "policy", "flush")
    high, low = divmod(sent, 1 << 32)
    halves = (
        ("in", CLIENT, GATEWAY, INNER_CLIENT, INNER_GATEWAY, "0x2001", inbound, "replay-seq"),
        ("out", GATEWAY, CLIENT, INNER_GATEWAY, INNER_CLIENT, "0x1001", outbound, "replay-oseq"),
    )
    for direction, source, destination, inner_source, inner_destination, spi, keys, counter in halves:
        hexadecimal = {"encryption": f"0x{keys.encryption.hex()}", "integrity": f"0x{keys.integrity.hex()}"}
        algorithms = [word.format(**hexadecimal) for word in SUITES[suite]]
        ends = ("src", source, "dst", destination, "proto", "esp")
        state = ("xfrm", "state", "add", *ends, "spi", spi, "mode", "tunnel", "flag", "esn", "replay-window", "64")
        counters = (counter, hex(low), f"{counter}-hi", hex(high))
        encapsulation = ("encap", "espinudp", str(PORT), str(PORT), "0.0.0.0")
        ip("-n", "border", *state, *counters, *algorithms, *encapsulation)
        policy = ("xfrm", "policy", "add", "src", inner_source, "dst", inner_destination, "dir", direction)
        ip("-n", "border", *policy, "tmpl", *ends, "mode", "tunnel")


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def udp_socket(namespace: str, address: str) -> socket.socket:
    """Bound there; the caller's own namespace stays what it is."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/self/ns/net").open() as here, Path("/run/netns", namespace).open() as there:
        if libc.setns(there.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
        try:
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.bind((address, PORT))
        finally:
            libc.setns(here.fileno(), CLONE_NEWNET)
    return made
