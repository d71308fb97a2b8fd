"""Reading of trusted CA certificates: the user's `ca_file` or the system's store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from anyike.crypto.x509 import parse_certificates
from anyike.errors import ConfigurationError
from anyike.invoking_user import invoking_uid
from anyike.trusted_file import read_trusted

SYSTEM_BUNDLES = (
    Path("/etc/ssl/certs/ca-certificates.crt"),
    Path("/etc/pki/tls/certs/ca-bundle.crt"),
    Path("/etc/ssl/ca-bundle.pem"),
    Path("/etc/ssl/cert.pem"),
)
"""Where Debian, Fedora, SUSE and Alpine keep the bundle of trusted CAs."""
MAX_FILE_BYTES = 16 * 1024 * 1024
"""Implementation limit: the public CAs of today are about 220 KiB."""


def load_roots(path: Path) -> tuple[bytes, ...]:
    """The DER certificates of the user's PEM bundle (or of one DER certificate).

    Raises:
        ConfigurationError: naming the setting, when the file or a certificate in it cannot be read, or when somebody
            else could have written the file, and so decide who gets the password.
    """
    return _load(path, "ca_file", skip_unreadable=False)


def load_system_roots(bundles: Sequence[Path] = SYSTEM_BUNDLES) -> tuple[bytes, ...]:
    """The DER certificates of the system's store: the first of `bundles` that exists.

    Raises:
        ConfigurationError: there is none, or it cannot be read.
    """
    for path in bundles:
        if path.exists():
            return _load(path, "system CA store", skip_unreadable=True)
    raise ConfigurationError("this system has no bundle of trusted CAs: install ca-certificates, or set ca_file")


def _load(path: Path, setting: str, *, skip_unreadable: bool) -> tuple[bytes, ...]:
    try:
        data = read_trusted(path, invoking_uid(), MAX_FILE_BYTES)
    except ConfigurationError as error:
        raise ConfigurationError(f"{setting}: {error}") from None
    except OSError as error:
        raise ConfigurationError(f"{setting}: cannot read {path}: {error.strerror or error}") from None
    if len(data) > MAX_FILE_BYTES:
        raise ConfigurationError(f"{setting}: {path} has more than {MAX_FILE_BYTES} bytes: not a bundle of CAs")
    try:
        return parse_certificates(data, skip_unreadable=skip_unreadable)
    except ValueError as error:
        raise ConfigurationError(
            f"{setting}: {path} holds no readable certificate (PEM, or a single one in DER): {error}"
        ) from None
