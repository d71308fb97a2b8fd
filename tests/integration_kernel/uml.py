"""Boots User-Mode Linux, a kernel with ESP that runs as a process, on this machine's files and the gateway's image."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
TREE = HERE.parent.parent
GATEWAY = TREE / "tests/strongswan-docker"
sys.path.append(str(GATEWAY))

from host import image  # noqa: E402
from host.engine import find_engine, install, run  # noqa: E402

RUNTIME = Path("/run/anyike-gateway")
ROOTS = Path("/var/cache/anyike-gateway/roots")
RUN_LIMIT = 180.0
"""Seconds from boot to power-off, on a busy machine; a minute is usual."""


class UmlError(Exception):
    """The kernel did not run to its end; the text holds its console."""


def boot(results: Path) -> None:
    """Boot, let `init` do its work, and power off; what it leaves is in `results`.

    Raises:
        UmlError, GatewayError: it did not start, or did not end in time.
    """
    # gencat comes with the C library's headers.
    install(("linux.uml", "modprobe", "gcc", "gencat"), ("user-mode-linux", "kmod", "gcc", "libc6-dev"))
    library = results / "xstate.so"
    run("gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(library), str(HERE / "xstate.c"))
    environment = {"TREE": TREE, "PYTHON": sys.executable, "GATEWAY_ROOT": gateway_root(), "RESULTS": results}
    command = ["linux.uml", "mem=512M", "rootfstype=hostfs", "rootflags=/", "ro", f"init={HERE / 'init'}"]
    command += [f"uml_dir={results}", "con=null", "con0=fd:0,fd:1", "quiet"]
    command += [f"{name}={value}" for name, value in environment.items()]
    with (results / "console.log").open("wb") as console:
        kernel = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            env={**os.environ, "LD_PRELOAD": str(library)},
            start_new_session=True,
        )
        try:
            kernel.wait(RUN_LIMIT)
        except subprocess.TimeoutExpired:
            raise UmlError(f"no power-off within {RUN_LIMIT:.0f} s\n{console_of(results)}") from None
        finally:
            if kernel.poll() is None:
                # Every process inside is one outside too, in this session.
                os.killpg(kernel.pid, signal.SIGKILL)
                kernel.wait()


def console_of(results: Path) -> str:
    """The end of what the kernel and `init` have printed."""
    return (results / "console.log").read_text(errors="replace")[-5000:]


def gateway_root() -> Path:
    """The files of the gateway's image in a directory; made once for each image."""
    run(str(GATEWAY / "gateway"), "build")
    root = ROOTS / image.name().rpartition(":")[2]
    ROOTS.mkdir(parents=True, exist_ok=True)
    with (ROOTS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.exists():
            for older in ROOTS.glob("*/"):
                shutil.rmtree(older)
            unpack(root)
    return root


def unpack(root: Path) -> None:
    """Write the image's files to a directory that exists only when it is complete."""
    engine = find_engine(RUNTIME)
    with tempfile.TemporaryDirectory(dir=ROOTS) as place:
        archive, files = Path(place, "root.tar"), Path(place, "root")
        container = engine("create", image.name()).split()[-1]
        try:
            engine("export", "--output", str(archive), container)
        finally:
            engine("rm", container)
        files.mkdir()
        run("tar", "--extract", "--file", str(archive), "--directory", str(files))
        files.rename(root)
