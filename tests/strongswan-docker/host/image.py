"""The gateway's image: built when one of its inputs changed, from a pulled or home-made base."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import tempfile
from pathlib import Path

from host.engine import Engine, GatewayError, install, run

SOURCE = Path(__file__).resolve().parent.parent
INPUTS = ("Dockerfile", ".dockerignore", "radius", "container", "swanctl", "strongswan.d")
REPOSITORY = "localhost/anyike-gateway"
BASE = "docker.io/library/debian:bookworm-slim"
RELEASE = "bookworm"
PULL_LIMIT = 60.0
DEFAULT_MIRROR = "http://deb.debian.org/debian"


def name() -> str:
    """The image's name; its tag is the hash of everything that goes into it."""
    digest = hashlib.sha256()
    for part in INPUTS:
        place = SOURCE / part
        for file in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(SOURCE)}\0{file.stat().st_mode:o}\0".encode())
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    return f"{REPOSITORY}:{digest.hexdigest()[:12]}"


def mirror() -> str:
    """The Debian mirror that the host's own apt uses for the release."""
    sources = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)"],
        capture_output=True,
        text=True,
        check=False,
    )
    for line in sources.stdout.splitlines():
        address, _, release = line.strip().partition(" ")
        if release == RELEASE and "debian" in address:
            return address
    return DEFAULT_MIRROR


def make_base(engine: Engine) -> None:
    """The base image by debootstrap, under the name the Dockerfile asks for."""
    install(("debootstrap",), ("debootstrap",))
    with tempfile.TemporaryDirectory(prefix="anyike-base-") as place:
        root = Path(place) / "root"
        run("debootstrap", "--variant=minbase", RELEASE, str(root), mirror())
        archive = Path(place) / "base.tar"
        run("tar", "--create", "--file", str(archive), "--directory", str(root), ".")
        engine("import", str(archive), BASE)


def ensure_base(engine: Engine) -> None:
    """Have the base image: there, pulled, or made."""
    if engine.has_image(BASE):
        return
    print("pulling", BASE, flush=True)
    try:
        engine("pull", BASE, timeout=PULL_LIMIT)
    except GatewayError:
        print("no registry answers: making the base image with debootstrap", flush=True)
        make_base(engine)


def ensure(engine: Engine, environment: dict[str, str]) -> None:
    """Have the image that compose.yaml names."""
    if engine.has_image(name()):
        return
    ensure_base(engine)
    print("building", name(), flush=True)
    command = (*engine.compose, "-f", str(SOURCE / "compose.yaml"), "build")
    output = run(*command, environment={**engine.environment, **environment}, cwd=SOURCE)
    # podman-compose ends with status 0 whatever happened.
    if not engine.has_image(name()):
        raise GatewayError(f"the image was not built:\n{output[-3000:]}")
    remove_older(engine)


def remove_older(engine: Engine) -> None:
    """Remove the images of earlier inputs, except those still in use."""
    listed = engine("images", "--format", "{{.Repository}}:{{.Tag}}", REPOSITORY).split()
    for image in set(listed) - {name()}:
        with contextlib.suppress(GatewayError):
            engine("rmi", image)
