"""`anyike import` as its users call it: what it writes where, what it says, and how it fails."""

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest

from anyike.errors import ExitCode

SAMPLES = Path(__file__).parents[1] / "vectors/anyconnect_profile"
NOBODY = 65534
WAIT = 20

# `anyike` for a user whose home is a directory of the test's, as the system's list of users would say.
COMMAND = """\
import os, pwd, sys
home, real = os.environ["HOME"], pwd.getpwuid
pwd.getpwuid = lambda uid: pwd.struct_passwd([*real(uid)[:5], home, *real(uid)[6:]])
from anyike.cli import main
sys.exit(main())
"""


def run(home: Path, *arguments: object, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SUDO_")}
    return subprocess.run(
        [sys.executable, "-c", COMMAND, "import", *map(str, arguments)],
        env={**kept, "HOME": str(home), "PYTHONIOENCODING": "utf-8", **variables},
        cwd=cwd or home,
        stdin=subprocess.DEVNULL,
        check=False,
        capture_output=True,
        text=True,
        timeout=WAIT,
    )


def profile(directory: Path, hosts: str, name: str = "vpn.xml") -> Path:
    path = directory / name
    path.write_text(f"<AnyConnectProfile><ServerList>{hosts}</ServerList></AnyConnectProfile>", encoding="utf-8")
    return path


def host(name: str, address: str) -> str:
    protocol = "<PrimaryProtocol>IPsec</PrimaryProtocol>"
    return f"<HostEntry><HostName>{name}</HostName><HostAddress>{address}</HostAddress>{protocol}</HostEntry>"


def files_below(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


@pytest.fixture
def home(tmp_path) -> Path:
    path = tmp_path / "home"
    path.mkdir()
    return path


class TestWhatItWrites:
    def test_profiles_that_connect_finds(self, home):
        done = run(home, SAMPLES / "minimal.xml")
        assert (done.returncode, done.stderr) == (ExitCode.OK, "")
        written = home / ".config/anyike/vpn.example.com.toml"
        assert done.stdout == f"{written}: vpn.example.com (anyike connect vpn.example.com)\n"
        assert tomllib.loads(written.read_text()) == {"gateway": {"host": "vpn.example.com"}}
        assert (written.stat().st_mode & 0o777, written.parent.stat().st_mode & 0o777) == (0o600, 0o700)

    @pytest.mark.parametrize("option", ["-o", "--output"])
    def test_another_directory(self, home, option):
        shutil.copy(SAMPLES / "minimal.xml", home / "vpn.xml")
        done = run(home, "vpn.xml", option, "new/profiles")
        assert done.returncode == ExitCode.OK
        assert files_below(home) == {"vpn.xml", "new/profiles/vpn.example.com.toml"}
        assert done.stdout.startswith(f"{home}/new/profiles/vpn.example.com.toml: ")

    def test_pins_and_all_that_is_lost(self, home):
        done = run(home, SAMPLES / "asa.xml", "-o", home)
        assert done.returncode == ExitCode.OK
        assert files_below(home) == {"Head_office___staff.toml", "Laboratory.toml", "Web_only.toml"}
        (pin,) = tomllib.loads((home / "Laboratory.toml").read_text())["gateway"]["chain_pins"]
        assert pin.startswith("pin-sha512:1CTrrVAM")
        lines = done.stdout.splitlines()
        assert sum(line.startswith(f"{home}/") for line in lines) == 3
        common = "not taken over, for all hosts: ClientInitialization/"
        assert any(line.startswith(f"{common}AutomaticVPNPolicy/AlwaysOn: traffic is not blocked") for line in lines)
        assert any(line.startswith(f"{common}CertificatePinning/CertificatePinList/Pin[2]: is no") for line in lines)
        place = lines.index(next(line for line in lines if "/Web_only.toml: " in line))
        assert lines[place + 1].startswith("  not taken over: ServerList/HostEntry[3] (Web only)/PrimaryProtocol: asks")

    def test_hosts_that_cannot_be_used_are_named_beside_those_that_can(self, home):
        done = run(home, SAMPLES / "ios_xe.xml", "-o", home)
        assert done.returncode == ExitCode.OK
        refused = [line for line in done.stdout.splitlines() if line.startswith("no profile: ")]
        assert len(refused) == 2
        assert "takes only EAP-MD5; anyike logs in by EAP-AnyConnect" in refused[0]
        assert len(files_below(home)) == 3


class TestWhatItRefuses:
    def fails(self, home: Path, *arguments: object, status: ExitCode, **variables: str) -> str:
        before = files_below(home)
        done = run(home, *arguments, **variables)
        assert (done.returncode, done.stdout) == (status, "")
        assert files_below(home) == before
        assert "Traceback" not in done.stderr
        return done.stderr

    def test_no_file(self, home):
        said = self.fails(home, "missing.xml", status=ExitCode.CONFIGURATION)
        assert said == "anyike: missing.xml: cannot be read: No such file or directory\n"

    @pytest.mark.parametrize("arguments", [[], ["a.xml", "b.xml"], ["a.xml", "--output"]])
    def test_wrong_usage(self, home, arguments):
        assert self.fails(home, *arguments, status=ExitCode.USAGE).startswith("usage: anyike ")

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "cannot be read as an AnyConnect profile"),
            (b"[gateway]\nhost = 'vpn.example.com'\n", "cannot be read as an AnyConnect profile"),
            (b'<!DOCTYPE a [<!ENTITY e SYSTEM "/etc/passwd">]><AnyConnectProfile>&e;</AnyConnectProfile>', "DTD"),
            (b"<config-auth/>", "its root is <config-auth>"),
            (b"<AnyConnectProfile/>", "has no host that can be connected to"),
            (b" " * 1_048_577, "has more than 1048576 bytes"),
        ],
    )
    def test_what_is_no_profile(self, home, content, reason):
        (home / "vpn.xml").write_bytes(content)
        said = self.fails(home, "vpn.xml", status=ExitCode.CONFIGURATION)
        assert said.startswith("anyike: vpn.xml: ")
        assert reason in said

    def test_what_is_no_file(self, home):
        os.mkfifo(home / "pipe")
        assert "pipe: is not a regular file" in self.fails(home, "pipe", status=ExitCode.CONFIGURATION)
        assert "is not a regular file" in self.fails(home, home, status=ExitCode.CONFIGURATION)

    def test_a_file_that_is_there_stays_and_none_is_added(self, home):
        source = profile(home, host("a", "a.example.com") + host("b", "b.example.com"))
        (home / "out").mkdir()
        (home / "out/b.toml").write_text("mine")
        said = self.fails(home, source, "-o", "out", status=ExitCode.CONFIGURATION)
        assert f"{home}/out/b.toml: exists already and is not overwritten; nothing was imported" in said
        assert "--output" in said
        assert (home / "out/b.toml").read_text() == "mine"

    def test_a_link_leads_nowhere(self, home):
        source = profile(home, host("a", "a.example.com"))
        (home / "out").mkdir()
        (home / "out/a.toml").symlink_to(home / "elsewhere")
        assert "exists already" in self.fails(home, source, "-o", "out", status=ExitCode.CONFIGURATION)
        assert not (home / "elsewhere").exists()

    def test_a_second_time(self, home):
        source = profile(home, host("a", "a.example.com"))
        assert run(home, source).returncode == ExitCode.OK
        self.fails(home, source, status=ExitCode.CONFIGURATION)

    def test_a_directory_that_is_none(self, home):
        source = profile(home, host("a", "a.example.com"))
        (home / "out").write_text("")
        said = self.fails(home, source, "-o", "out", status=ExitCode.HOST_SETUP)
        assert f"cannot create the directory {home}/out" in said


class TestHostileProfiles:
    def test_escape_sequences_cannot_drive_the_terminal(self, home):
        evil = "a\N{CONTROL SEQUENCE INTRODUCER}2J\N{RIGHT-TO-LEFT OVERRIDE}&#x9b;1m&#10;x"
        unknown = f"<Note{chr(0x61C)}>1</Note{chr(0x61C)}>"
        source = profile(home, host(evil, "a.example.com") + host("b" + evil, "not a " + evil) + host("c", "c/" + evil))
        done = run(home, source, "-o", home / "out\x1b[2J")
        assert done.returncode == ExitCode.OK
        assert len(done.stdout.splitlines()) > 3
        assert all(line.isprintable() for line in (done.stdout + done.stderr).splitlines())
        (home / "bad.xml").write_text(f"<AnyConnectProfile>{unknown}", encoding="utf-8")
        failed = run(home, "bad.xml", cwd=home)
        assert failed.returncode == ExitCode.CONFIGURATION
        assert all(line.isprintable() for line in failed.stderr.splitlines())

    @pytest.mark.parametrize("name", ["../../escaped", "/etc/anyike/escaped", "..", ".hidden", "-option"])
    def test_names_stay_in_the_directory(self, home, name):
        done = run(home, profile(home, host(name, "a.example.com")), "-o", "out/deep")
        assert done.returncode == ExitCode.OK
        (written,) = files_below(home) - {"vpn.xml"}
        assert Path(written).parent == Path("out/deep")
        assert Path(written).name[0] not in ".-"

    def test_a_locale_that_cannot_show_the_name(self, home):
        source = profile(home, host("Z\N{LATIN SMALL LETTER U WITH DIAERESIS}rich", "a.example.com"))
        done = run(home, source, PYTHONIOENCODING="ascii", LC_ALL="C")
        assert done.returncode == ExitCode.OK
        assert (home / ".config/anyike/Z_rich.toml").exists()
        assert "(anyike connect Z_rich)" in done.stdout


@pytest.mark.namespace  # needs root
class TestByRootForSomebodyElse:
    @pytest.fixture
    def open_directory(self):
        """One that everybody may look into, which pytest's own are not."""
        directory = Path(tempfile.mkdtemp())
        directory.chmod(0o755)
        yield directory
        shutil.rmtree(directory)

    @pytest.fixture
    def home_of_nobody(self, open_directory) -> Path:
        home = open_directory / "home"
        home.mkdir()
        os.chown(home, NOBODY, NOBODY)
        return home

    def test_files_belong_to_the_user_who_called(self, home_of_nobody):
        home = home_of_nobody
        done = run(home, profile(home, host("a", "a.example.com")), SUDO_UID=str(NOBODY))
        assert (done.returncode, done.stderr) == (ExitCode.OK, "")
        for path in (home / ".config", home / ".config/anyike", home / ".config/anyike/a.toml"):
            assert (path.stat().st_uid, path.stat().st_gid) == (NOBODY, NOBODY)
        assert (home / ".config/anyike/a.toml").stat().st_mode & 0o777 == 0o600

    def test_nothing_is_read_that_the_user_may_not_read(self, open_directory, home_of_nobody):
        secret = profile(open_directory, host("a", "a.example.com"))
        secret.chmod(0o600)
        (home_of_nobody / "vpn.xml").symlink_to(secret)
        for source in (secret, "vpn.xml"):
            done = run(home_of_nobody, source, SUDO_UID=str(NOBODY))
            assert (done.returncode, done.stdout) == (ExitCode.CONFIGURATION, "")
            assert done.stderr == f"anyike: {source}: cannot be read: Permission denied\n"

    def test_nothing_is_written_where_the_user_may_not_write(self, open_directory, home_of_nobody):
        source = profile(home_of_nobody, host("a", "a.example.com"))
        (home_of_nobody / ".config").symlink_to(open_directory)
        (open_directory / "anyike").mkdir(mode=0o755)
        done = run(home_of_nobody, source, SUDO_UID=str(NOBODY))
        assert (done.returncode, done.stdout) == (ExitCode.HOST_SETUP, "")
        assert "a.toml: cannot be written: Permission denied. Nothing was imported" in done.stderr
        assert list((open_directory / "anyike").iterdir()) == []
