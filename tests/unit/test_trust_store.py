"""Reading of CA files: what is read, and errors that name the setting and the file."""

from pathlib import Path

import pytest

from anyike import trust_store
from anyike.errors import ConfigurationError
from anyike.trust_store import SYSTEM_BUNDLES, load_roots, load_system_roots

CA_PEM = Path(__file__).parents[1] / "vectors/anyconnect/anyconnect-cert-login.ca.pem"


def test_a_pem_bundle(tmp_path):
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(CA_PEM.read_bytes() * 2)
    (certificate,) = load_roots(CA_PEM)
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
    with pytest.raises(ConfigurationError, match=r"^ca_file: cannot read .*: Is a directory"):
        load_roots(tmp_path)


def test_a_file_that_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(trust_store, "MAX_FILE_BYTES", 100)
    with pytest.raises(ConfigurationError, match="more than 100 bytes"):
        load_roots(CA_PEM)


def test_the_first_system_bundle_that_exists_counts(tmp_path):
    assert load_system_roots((tmp_path / "none", CA_PEM)) == load_roots(CA_PEM)
    with pytest.raises(ConfigurationError, match="install ca-certificates, or set ca_file"):
        load_system_roots((tmp_path / "none",))
    mixed = tmp_path / "mixed"
    mixed.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + CA_PEM.read_bytes())
    assert load_system_roots((mixed,)) == load_roots(CA_PEM)
    with pytest.raises(ConfigurationError, match="no readable certificate"):
        load_roots(mixed)
    assert Path("/etc/ssl/certs/ca-certificates.crt") in SYSTEM_BUNDLES
