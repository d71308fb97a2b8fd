"""A wheel, `make install` from it, and `make uninstall`."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from anyike import __version__

ROOT = Path(__file__).parents[2]
LIMIT = 240  # Seconds: packages are downloaded.


def make(target: str, *variables: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = ["make", "-C", ROOT, "--no-print-directory", target, f"PYTHON={sys.executable}", *variables]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=check)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", place, ROOT]
    subprocess.run(command, capture_output=True, timeout=LIMIT, check=True)
    (built,) = place.iterdir()
    return built


def test_the_wheel_holds_the_package_and_the_licence_alone(wheel):
    metadata = f"anyike-{__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {f"{metadata}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt")} <= names
    assert f"{metadata}/licenses/LICENSE" in names
    package = {name for name in names if not name.startswith(f"{metadata}/")}
    sources = {str(file.relative_to(ROOT)) for file in (ROOT / "anyike").rglob("*.py")}
    assert package == sources | {"anyike/py.typed"}


def test_install_and_uninstall(wheel, tmp_path):
    prefix, binaries = tmp_path / "opt/anyike", tmp_path / "bin"
    variables = f"PREFIX={prefix}", f"BIN={binaries}", f"PACKAGE={wheel}"
    for _ in range(2):  # the second time over the first one
        make("install", *variables)
        command = [binaries / "anyike", "--version"]
        said = subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=tmp_path, env={"PATH": os.defpath}
        )
        assert said.stdout == f"anyike {__version__}\n"
    (package,) = prefix.glob("lib/python*/site-packages/anyike")
    compiled = {file.name.split(".")[0] for file in package.rglob("*.pyc")}
    assert compiled == {file.stem for file in package.rglob("*.py")}
    make("uninstall", *variables)
    assert [path for path in tmp_path.rglob("*") if path not in (binaries, prefix.parent)] == []


@pytest.mark.parametrize("target", ["install", "uninstall"])
def test_a_place_of_somebody_else_is_left_alone(target, tmp_path):
    kept = tmp_path / "bin/precious"
    kept.parent.mkdir()
    kept.touch()
    done = make(target, f"PREFIX={tmp_path}", f"BIN={tmp_path}/bin", check=False)
    assert done.returncode != 0
    assert f"{tmp_path} is not an environment of anyike" in done.stderr
    assert kept.exists()


def test_a_command_of_somebody_else_is_left_alone(tmp_path):
    other = tmp_path / "anyike"
    other.touch()
    make("uninstall", f"PREFIX={tmp_path}/nowhere", f"BIN={tmp_path}")
    assert other.exists()
