"""The one exception tree.

Every error that can reach a user is an `AnyikeError` and carries the exit code of the command::

    AnyikeError                     1  a fault of anyike itself
    ├── UsageError                  2  the command line is wrong
    ├── ConfigurationError          3  a profile or a setting is wrong
    ├── GatewayNotTrusted           4  certificate, signature or identity of the gateway
    ├── GatewayRefused              5  the gateway said no, other than to the login
    ├── LoginFailed                 6  the gateway rejected the user
    ├── Unreachable                 7  no answer, no address, no network
    ├── NoCommonProposal            8  the gateway accepts none of our algorithms
    ├── HostSetupFailed             9  interface, addresses, routes, files of this machine
    ├── MissingPrivilege           10  the kernel wants a capability that we do not have
    ├── ProtocolError              11  the gateway broke a protocol rule
    ├── TunnelEnded                12  an established tunnel was ended by the gateway or by silence
    └── AlreadyRunning             13  another anyike holds the profile's lock

130 is the status of a command that was interrupted before its tunnel was up, as shells know it (128 + SIGINT).

A message says what happened, why, and what to do; it quotes the gateway's own words and names the setting.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the command's exit status means; documented in the README."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    CONFIGURATION = 3
    NOT_TRUSTED = 4
    REFUSED = 5
    LOGIN_FAILED = 6
    UNREACHABLE = 7
    NO_PROPOSAL = 8
    HOST_SETUP = 9
    PRIVILEGE = 10
    PROTOCOL = 11
    ENDED = 12
    ALREADY_RUNNING = 13
    INTERRUPTED = 130


class AnyikeError(Exception):
    """Base of everything that anyike raises on purpose."""

    exit_code = ExitCode.INTERNAL


class UsageError(AnyikeError):
    """The command line cannot be understood."""

    exit_code = ExitCode.USAGE


class ConfigurationError(AnyikeError):
    """A profile cannot be read, or a setting has a value that is not allowed."""

    exit_code = ExitCode.CONFIGURATION


class GatewayNotTrusted(AnyikeError):
    """The gateway did not prove that it is the one that was asked for."""

    exit_code = ExitCode.NOT_TRUSTED


class GatewayRefused(AnyikeError):
    """The gateway answered with an error that is not about the user's login."""

    exit_code = ExitCode.REFUSED


class Redirected(AnyikeError):
    """The gateway sends us to another one, `host` (RFC 5685); whoever connects may follow."""

    exit_code = ExitCode.REFUSED

    def __init__(self, host: str) -> None:
        super().__init__(f"the gateway wants us to go to {host} instead (REDIRECT)")
        self.host = host


class LoginFailed(AnyikeError):
    """The gateway rejected the user, or a question it asked could not be answered."""

    exit_code = ExitCode.LOGIN_FAILED


class Unreachable(AnyikeError):
    """No address of the gateway answered."""

    exit_code = ExitCode.UNREACHABLE


class NoCommonProposal(AnyikeError):
    """The gateway accepts none of the offered algorithms (NO_PROPOSAL_CHOSEN)."""

    exit_code = ExitCode.NO_PROPOSAL


class HostSetupFailed(AnyikeError):
    """This machine refused an interface, an address, a route or a file."""

    exit_code = ExitCode.HOST_SETUP


class MissingPrivilege(AnyikeError):
    """An operation needs root or a capability."""

    exit_code = ExitCode.PRIVILEGE


class ProtocolError(AnyikeError):
    """The gateway sent something that its protocol does not allow, under its own authentication."""

    exit_code = ExitCode.PROTOCOL


class TunnelEnded(AnyikeError):
    """An established tunnel is over, and the user did not ask for it."""

    exit_code = ExitCode.ENDED


class TunnelLost(TunnelEnded):
    """It was not the gateway who ended the tunnel: another login may bring it back."""


class AlreadyRunning(AnyikeError):
    """The profile is in use by another process."""

    exit_code = ExitCode.ALREADY_RUNNING


class UnsupportedAlgorithm(AnyikeError):
    """A transform identifier that no code here implements."""


class AuthenticationFailed(AnyikeError):
    """An integrity check value did not match: the packet is dropped and counted, never acted on."""
