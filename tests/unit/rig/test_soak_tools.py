"""What the soak and the benches of rekeying conclude from what they saw."""

from __future__ import annotations

import math
import os
import socket
import sys
from array import array
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "integration"))

from numbered_traffic import NEVER, Direction, Packets
from process_growth import Growth
from queue_overflows import count
from rekeyings import REQUEST, Counts

LOG = """\
10:56:21 01[ENC] generating CREATE_CHILD_SA request 0 [ N(REKEY_SA) SA No TSi TSr ]
10:56:21 11[ENC] parsed CREATE_CHILD_SA response 0 [ SA No TSi TSr ]
10:56:22 13[ENC] parsed CREATE_CHILD_SA request 5 [ N(REKEY_SA) SA No KE TSi TSr ]
10:56:22 13[ENC] generating CREATE_CHILD_SA response 5 [ SA No KE TSi TSr ]
10:56:23 15[ENC] parsed CREATE_CHILD_SA response 2 [ SA No KE ]
10:56:24 14[ENC] generating CREATE_CHILD_SA response 0 [ SA No KE ]
10:56:25 14[ENC] generating CREATE_CHILD_SA response 1 [ N(TEMP_FAIL) ]
10:56:26 14[ENC] generating INFORMATIONAL response 2 [ ]
"""
SEEN = """\
1795258581.135361 IP 192.0.2.1.4500 > 192.0.2.2.33035: NONESP-encap: isakmp: parent_sa child_sa
1795258582.136018 IP 192.0.2.2.33035 > 192.0.2.1.4500: NONESP-encap: isakmp: child_sa  child_sa[I]
"""


def direction(sent: list[float], received: list[float]) -> Direction:
    return Direction(array("d", sent), array("d", received))


def test_a_packet_that_never_arrived_is_missing_by_when_it_was_sent() -> None:
    assert direction([1.0, 2.0, 3.0], [1.5, NEVER, 3.5]).missing() == [2.0]


@pytest.mark.parametrize(
    ("begin", "end", "gap"),
    [
        (10.0, 10.5, 1.0),
        (11.0, 14.0, 4.0),
        (10.5, 11.5, 4.0),
        (5.0, 8.0, 5.0),
        (14.0, 15.0, 4.0),
        (15.5, 17.0, math.inf),
    ],
)
def test_the_longest_gap_is_that_of_arrivals_in_whatever_order(begin: float, end: float, gap: float) -> None:
    way = direction([9.0, 9.1, 9.2, 9.3], [11.0, 10.0, 16.0, 15.0])
    assert way.longest_gap(begin, end) == gap


def test_what_waited_in_a_queue_is_no_recovery() -> None:
    way = direction([1.0, 2.0, 3.0], [2.6, NEVER, 3.1])
    assert way.first_arrival_of_packet_sent_after(2.5) == 3.1
    assert way.first_arrival_of_packet_sent_after(3.5) == math.inf


def test_rekeyings_are_told_apart_in_the_gateways_log() -> None:
    counts = Counts.of(LOG)
    assert counts == Counts(child_by_gateway=1, child_by_client=1, ike_by_gateway=1, ike_by_client=1, refused=1)
    assert counts.reach(1, 1)
    assert not counts.reach(1, 2)


def test_requests_are_read_from_what_tcpdump_prints() -> None:
    assert [(float(found[1]), found[2]) for found in REQUEST.finditer(SEEN)] == [
        (1795258581.135361, "192.0.2.1"),
        (1795258582.136018, "192.0.2.2"),
    ]


def test_growth_is_the_slope_after_the_warm_up() -> None:
    done = list(range(9))
    growth = Growth(
        os.getpid(), done, [100.0, 200.0, 300.0, *(400.0 + 2 * each for each in done[3:])], [9, 8, 7, *[5] * 6]
    )
    assert growth.slope() == pytest.approx(2.0)
    assert growth.settled_descriptors() == {5}


def test_a_reading_is_of_the_process_itself() -> None:
    growth = Growth(os.getpid())
    growth.read(1)
    with Path(__file__).open():
        growth.read(2)
    assert growth.resident[0] > 1024
    assert growth.descriptors[1] == growth.descriptors[0] + 1


def test_a_packet_that_the_kernel_refuses_counts_as_sent() -> None:
    class Refusing:
        def sendto(self, data: bytes, address: tuple[str, int]) -> None:
            raise OSError

    packets = Packets()
    packets.send(Refusing(), ("192.0.2.1", 1))
    assert len(packets.sent) == 1
    assert packets.received[0] == NEVER


def test_nobody_lost_anything_to_a_full_socket_without_counting() -> None:
    before = overflows()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as full,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        full.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        full.bind(("127.0.0.1", 0))
        for _ in range(100):
            sender.sendto(bytes(1000), full.getsockname())
    assert overflows() > before


def overflows() -> int:
    return count(*(Path(f"/proc/net/{name}").read_text() for name in ("snmp", "dev")))
