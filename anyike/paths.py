"""Where anyike keeps things on this machine."""

from __future__ import annotations

from pathlib import Path

from anyike.errors import HostSetupFailed, MissingPrivilege

SYSTEM_PROFILES = Path("/etc/anyike")
USER_PROFILES = Path(".config/anyike")
"""Below the invoking user's home."""
RUNTIME = Path("/run/anyike")
"""Locks and whatever else is meaningless after a reboot."""
STATE = Path("/var/lib/anyike")
"""What has to survive a reboot."""

PUBLIC = 0o755
PRIVATE = 0o700


def ensure_directory(directory: Path, mode: int) -> Path:
    """Create the directory with this mode unless it exists; its parent exists on any Linux system.

    Raises:
        MissingPrivilege, HostSetupFailed: it cannot be created.
    """
    try:
        directory.mkdir(mode=mode, exist_ok=True)
    except PermissionError:
        raise MissingPrivilege(
            f"cannot create {directory}: permission denied. Run anyike as root (sudo anyike ...)."
        ) from None
    except OSError as error:
        raise HostSetupFailed(f"cannot create {directory}: {error.strerror}") from None
    return directory
