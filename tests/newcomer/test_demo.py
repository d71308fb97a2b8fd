"""`make demo` works, after a killed one too, and leaves nothing when it fails or is interrupted."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.network_listing import Comparison

DEMO = Path(__file__).parents[1] / "demo.py"
GATEWAY = Path(__file__).parents[1] / "strongswan-docker/gateway"
LIMIT = 840  # Seconds: the first start on a machine makes the container's image.
NAME = f"test-demo-{os.getpid()}"

container = [pytest.mark.container, pytest.mark.timeout(900)]


@contextmanager
def running_demo(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, DEMO, "--name", NAME, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def demo(*arguments: str) -> tuple[str, int]:
    """What it said, and its exit status."""
    with running_demo(*arguments) as process:
        said = process.communicate(timeout=LIMIT)[0]
    return said, process.returncode


def demo_until(words: str, number: signal.Signals) -> tuple[str, int]:
    """The same for one that gets a signal once it says these words."""
    said = ""
    with running_demo() as process:
        for line in process.stdout:
            said += line
            if words in line:
                process.send_signal(number)
    return said, process.returncode


def nothing_is_left() -> bool:
    namespaces = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    in_container = [GATEWAY, "--name", NAME, "exec", "true"]
    no_container = subprocess.run(in_container, capture_output=True, check=False).returncode != 0
    return NAME not in namespaces and no_container and not Path("/run/anyike-gateway", NAME).exists()


class TestTheDemo:
    pytestmark = container

    def test_works_where_one_was_killed(self):
        said, status = demo_until("$ curl -T", signal.SIGKILL)
        assert status == -signal.SIGKILL, said
        assert not nothing_is_left()
        said, status = demo("--megabytes", "2")
        assert status == 0, said
        assert said.count("5 of 5 answered") == 4  # as it happens and in the summary, IPv4 and IPv6
        assert said.count("as expected") == 4
        assert "logged off: exit status 0" in said
        assert "DIFFERENT" not in said
        assert nothing_is_left()

    def test_leaves_nothing_when_interrupted(self):
        said, status = demo_until("$ curl -o", signal.SIGINT)
        assert status == 128 + signal.SIGINT, said
        assert nothing_is_left()

    def test_fails_and_leaves_nothing_when_something_does_not_work(self):
        said, status = demo("--megabytes", "2000")  # more than the web server gives
        assert status == 1
        assert "The demo FAILED:\n  curl: (22) The requested URL returned error: 404" in said
        assert nothing_is_left()


def test_without_root_it_says_so():
    program = f"import os, runpy; os.geteuid = lambda: 1000; runpy.run_path({str(DEMO)!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=DEMO.parent)
    assert done.returncode == 1
    assert "sudo make demo" in done.stderr


BEFORE = {"routes": Counter(["default via 192.0.2.1"]), "rules": Counter(["0: from all lookup local"])}
DURING = {
    "routes": Counter(["default via 192.0.2.1", "10.0.0.0/8 dev t0", "fe80::/64 dev t0"]),
    "rules": Counter(["0: from all lookup local"]),
}


class TestComparison:
    def test_all_as_before(self):
        comparison = Comparison("here", {"before": BEFORE, "connected": DURING, "after": BEFORE})
        assert comparison.same()
        assert comparison.added("connected") == ["10.0.0.0/8 dev t0"]
        assert comparison.verdict() == "as it was before"

    def test_what_is_left_and_lost_is_named(self):
        after = {"routes": Counter(["10.0.0.0/8 dev t0"]), "rules": BEFORE["rules"]}
        comparison = Comparison("here", {"before": BEFORE, "after": after})
        assert not comparison.same()
        assert comparison.verdict() == "not as it was before"
        table = comparison.table()
        assert "left: 10.0.0.0/8 dev t0" in table
        assert "lost: default via 192.0.2.1" in table
        assert table.count("DIFFERENT") == 1

    def test_a_line_that_is_there_twice_counts(self):
        after = {**BEFORE, "rules": Counter({"0: from all lookup local": 2})}
        assert Comparison("here", {"before": BEFORE, "after": after}).differences() == [
            "left: 0: from all lookup local"
        ]
