"""Reading of CA files: what is read, and errors that name the setting and the file."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from anyike import paths, trust_store
from anyike.errors import ConfigurationError
from anyike.trust_store import SYSTEM_BUNDLES, load_roots, load_system_roots

CA_PEM = Path(__file__).parents[1] / "vectors/anyconnect/anyconnect-cert-login.ca.pem"


@pytest.fixture(autouse=True)
def nobody_called_sudo(monkeypatch):
    for variable in ("SUDO_UID", "PKEXEC_UID", "DOAS_USER"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def own_ca(tmp_path) -> Path:
    """A CA file of the user who runs the tests, wherever the vectors come from."""
    path = tmp_path / "own.pem"
    path.write_bytes(CA_PEM.read_bytes())
    path.chmod(0o644)
    return path


def test_a_pem_bundle(tmp_path, own_ca):
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(CA_PEM.read_bytes() * 2)
    (certificate,) = load_roots(own_ca)
    assert load_roots(bundle) == (certificate, certificate)
    der = tmp_path / "ca.cer"
    der.write_bytes(certificate)
    assert load_roots(der) == (certificate,)


@pytest.mark.parametrize(
    "content", [b"", b"no certificate", b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"]
)
def test_a_file_without_certificates(tmp_path, content):
    file = tmp_path / "ca.pem"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"^ca_file: .*ca\.pem holds no readable certificate"):
        load_roots(file)


def test_a_missing_file_and_a_directory(tmp_path):
    with pytest.raises(ConfigurationError, match=r"^ca_file: cannot read .*none\.pem: No such file"):
        load_roots(tmp_path / "none.pem")
    with pytest.raises(ConfigurationError, match=r"^ca_file: .* is not a regular file"):
        load_roots(tmp_path)


def test_a_pipe_does_not_hold_us_up(tmp_path):
    os.mkfifo(tmp_path / "ca.pem")
    with pytest.raises(ConfigurationError, match=r"^ca_file: .* is not a regular file"):
        load_roots(tmp_path / "ca.pem")


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_others_may_not_say_whom_to_trust(own_ca, mode):
    own_ca.chmod(mode)
    with pytest.raises(ConfigurationError, match=r"^ca_file: .*: others may write to it; run: chmod go-w "):
        load_roots(own_ca)


def test_it_belongs_to_root_or_the_user(own_ca, monkeypatch):
    real = os.fstat
    monkeypatch.setattr(os, "fstat", lambda number: os.stat_result([*real(number)[:4], 4711, *real(number)[5:]]))
    with pytest.raises(ConfigurationError, match=r"^ca_file: .*: belongs to somebody else \(user 4711\)"):
        load_roots(own_ca)


def test_a_link_is_followed(own_ca, tmp_path):
    (tmp_path / "link.pem").symlink_to(own_ca)
    assert load_roots(tmp_path / "link.pem") == load_roots(own_ca)


def test_a_file_that_is_too_large(own_ca, monkeypatch):
    monkeypatch.setattr(trust_store, "MAX_FILE_BYTES", 100)
    with pytest.raises(ConfigurationError, match="more than 100 bytes"):
        load_roots(own_ca)


def test_the_first_system_bundle_that_exists_counts(tmp_path, own_ca):
    assert load_system_roots((tmp_path / "none", own_ca)) == load_roots(own_ca)
    with pytest.raises(ConfigurationError, match="install ca-certificates, or set ca_file"):
        load_system_roots((tmp_path / "none",))
    mixed = tmp_path / "mixed"
    mixed.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + CA_PEM.read_bytes())
    assert load_system_roots((mixed,)) == load_roots(own_ca)
    with pytest.raises(ConfigurationError, match="no readable certificate"):
        load_roots(mixed)
    for bad in (b"A", "\u20ac".encode(), b"="):
        mixed.write_bytes(
            CA_PEM.read_bytes() + b"-----BEGIN CERTIFICATE-----\n" + bad + b"\n-----END CERTIFICATE-----\n"
        )
        assert load_system_roots((mixed,)) == load_roots(own_ca)
        with pytest.raises(ConfigurationError, match="no readable certificate"):
            load_roots(mixed)
    assert Path("/etc/ssl/certs/ca-certificates.crt") in SYSTEM_BUNDLES


@pytest.mark.namespace
class TestThroughSudo:
    """Needs root: who may call anyike through sudo reads no file by it that they could not read before."""

    @pytest.fixture
    def directory(self, monkeypatch):
        monkeypatch.setenv("SUDO_UID", "65534")
        directory = Path(tempfile.mkdtemp())
        directory.chmod(0o755)
        yield directory
        shutil.rmtree(directory)

    @staticmethod
    def write(path: Path, mode: int) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CA_PEM.read_bytes())
        path.chmod(mode)
        return path

    def test_what_only_root_may_read(self, directory):
        secret = self.write(directory / "root's", 0o600)
        (directory / "link.pem").symlink_to(secret)
        for path in (secret, directory / "link.pem"):
            with pytest.raises(
                ConfigurationError, match=r"^ca_file: .*: Permission denied, with the rights of nobody$"
            ):
                load_roots(path)
        assert os.geteuid() == 0

    def test_what_anybody_may_read(self, directory):
        assert load_roots(self.write(directory / "ca.pem", 0o644))

    def test_beside_the_system_s_profiles_it_is_the_system_s(self, directory, monkeypatch):
        monkeypatch.setattr(paths, "SYSTEM_PROFILES", directory / "etc")
        assert load_roots(self.write(directory / "etc/ca.pem", 0o600))
        assert load_roots(self.write(directory / "etc/work/ca.pem", 0o600))
        self.write(directory / "secret.pem", 0o600)
        for path in (directory / "etc/../secret.pem", directory / "etc/work/../../secret.pem"):
            with pytest.raises(ConfigurationError, match="Permission denied"):
                load_roots(path)

    def test_the_system_s_store(self, directory):
        assert load_system_roots((self.write(directory / "bundle.pem", 0o600),))
