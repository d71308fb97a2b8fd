"""The container engine: Docker where one answers, else podman, installed if it is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

PODMAN_PACKAGES = ("podman", "buildah", "runc", "conmon", "fuse-overlayfs", "containernetworking-plugins", "iptables")
# Debian 12's own podman-compose (1.0.3) adds a network to `network_mode: none`.
COMPOSE_REQUIREMENT = "podman-compose>=1.2,<2"
COMPOSE_ENVIRONMENT = Path("/var/cache/anyike-gateway/podman-compose")
# Wherever cgroups are v1 or hybrid, crun refuses to start; runc always works.
PODMAN_CONFIGURATION = """[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


class GatewayError(Exception):
    """Something the gateway needs failed; the text says what."""


def run(
    *command: str,
    environment: dict[str, str] | None = None,
    timeout: float | None = None,
    cwd: Path | None = None,
) -> str:
    """Run a command and return all its output; GatewayError with its words if it fails."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=timeout,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
        )
    except subprocess.TimeoutExpired:
        raise GatewayError(f"{' '.join(command)}: no result within {timeout:.0f} s") from None
    if done.returncode:
        words = done.stdout.strip()[-3000:]
        raise GatewayError(f"{' '.join(command)}: exit status {done.returncode}\n{words}")
    return done.stdout


def succeeds(*command: str, environment: dict[str, str] | None = None) -> bool:
    """Does a command end with status 0 within some seconds?"""
    try:
        run(*command, environment=environment, timeout=20)
    except (GatewayError, OSError):
        return False
    return True


def install(commands: Sequence[str], packages: Sequence[str]) -> None:
    """Install Debian packages, if one of the commands they bring is missing."""
    if not all(shutil.which(command) for command in commands):
        apt_install(packages)


def apt_install(packages: Sequence[str]) -> None:
    """Install Debian packages."""
    noninteractive = {"DEBIAN_FRONTEND": "noninteractive"}
    print("installing", *packages, flush=True)
    run("apt-get", "update", environment=noninteractive)
    run("apt-get", "install", "-y", "--no-install-recommends", *packages, environment=noninteractive)


@dataclass
class Engine:
    """The commands of an engine and what they need in their environment."""

    program: str
    compose: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: str, timeout: float | None = None) -> str:
        """Run the engine's own command."""
        return run(self.program, *arguments, environment=self.environment, timeout=timeout)

    def has_image(self, image: str) -> bool:
        """Is an image there already?"""
        return succeeds(self.program, "image", "inspect", image, environment=self.environment)

    def running_process(self, container: str) -> int:
        """As process_id, but GatewayError if the container does not run."""
        process = self.process_id(container)
        if not process:
            raise GatewayError(f"the container {container} does not run")
        return process

    def process_id(self, container: str) -> int:
        """The container's first process, as the host sees it; 0 if it does not run."""
        try:
            return int(self("inspect", "--format", "{{.State.Pid}}", container).strip())
        except GatewayError:
            return 0


def podman_compose() -> str:
    """The path of podman-compose, in an environment of its own."""
    program = COMPOSE_ENVIRONMENT / "bin/podman-compose"
    if not program.exists():
        print("installing", COMPOSE_REQUIREMENT, flush=True)
        if not succeeds("/usr/bin/python3", "-c", "import ensurepip"):
            apt_install(("python3-venv",))
        run("/usr/bin/python3", "-m", "venv", "--clear", str(COMPOSE_ENVIRONMENT))
        run(str(COMPOSE_ENVIRONMENT / "bin/pip"), "install", COMPOSE_REQUIREMENT)
    return str(program)


def find_engine(runtime_directory: Path) -> Engine:
    """Docker with compose if an engine answers, else podman with podman-compose."""
    if succeeds("docker", "info") and succeeds("docker", "compose", "version"):
        return Engine("docker", ("docker", "compose"))
    install(("podman", "buildah", "runc"), PODMAN_PACKAGES)
    configuration = runtime_directory / "containers.conf"
    configuration.write_text(PODMAN_CONFIGURATION)
    environment = {"CONTAINERS_CONF": str(configuration), "BUILDAH_ISOLATION": "chroot"}
    return Engine("podman", (podman_compose(),), environment)
