"""Reading of trusted CA certificates: the user's `ca_file` or the system's store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from anyike import paths
from anyike.crypto.x509 import parse_certificates
from anyike.errors import ConfigurationError
from anyike.invoking_user import invoking_user, rights_of
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

    It is read with the rights of the user who called; one beside the system's profiles is the system's, as they are.

    Raises:
        ConfigurationError: naming the setting, when the file or a certificate in it cannot be read, or when somebody
            else could have written the file, and so decide who gets the password.
    """
    return _load(path, "ca_file", is_systems=_is_systems(path), skip_unreadable=False)


def load_system_roots(bundles: Sequence[Path] = SYSTEM_BUNDLES) -> tuple[bytes, ...]:
    """The DER certificates of the system's store: the first of `bundles` that exists.

    Raises:
        ConfigurationError: there is none, or it cannot be read.
    """
    for path in bundles:
        if path.exists():
            return _load(path, "system CA store", is_systems=True, skip_unreadable=True)
    raise ConfigurationError("this system has no bundle of trusted CAs: install ca-certificates, or set ca_file")


def _is_systems(path: Path) -> bool:
    """Whether nobody but root decides what lies there."""
    return path.is_relative_to(paths.SYSTEM_PROFILES) and ".." not in path.parts


def _load(path: Path, setting: str, *, is_systems: bool, skip_unreadable: bool) -> tuple[bytes, ...]:
    user = invoking_user()
    try:
        with rights_of(None if is_systems else user):
            data = read_trusted(path, user.uid, MAX_FILE_BYTES)
    except ConfigurationError as error:
        raise ConfigurationError(f"{setting}: {error}") from None
    except OSError as error:
        whose = "" if is_systems else f", with the rights of {user.name}"
        raise ConfigurationError(f"{setting}: cannot read {path}: {error.strerror or error}{whose}") from None
    if len(data) > MAX_FILE_BYTES:
        raise ConfigurationError(f"{setting}: {path} has more than {MAX_FILE_BYTES} bytes: not a bundle of CAs")
    try:
        return parse_certificates(data, skip_unreadable=skip_unreadable)
    except ValueError as error:
        raise ConfigurationError(
            f"{setting}: {path} holds no readable certificate (PEM, or a single one in DER): {error}"
        ) from None
