"""The command `anyike`: arguments to actions, errors to one clear line and an exit code.

Rooms are imported where they are needed: `anyike --version` and a wrong option load next to nothing.
"""

from __future__ import annotations

import argparse
import gc
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from anyike import __version__
from anyike.errors import AnyikeError, ConfigurationError, ExitCode, UsageError

if TYPE_CHECKING:
    from anyike.config import Settings
    from anyike.config_file import Override
    from anyike.login.form_entries import FormEntry
    from anyike.login.respondent import Respondent

_STANDARD_INPUT = 0

_EPILOG = """\
Secrets are never taken from the command line: they are asked for, read by --passwd-on-stdin (one a line, in the order in which
they are needed), or come from where a profile says (login.password_command and others).
A profile is /etc/anyike/NAME.toml, then ~/.config/anyike/NAME.toml; it wins over a host of that name.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit status is an `ExitCode`."""
    _open_standard_files()
    arguments = _parser().parse_args(argv)
    action: Callable[[argparse.Namespace], int] = arguments.action
    try:
        return action(arguments)
    except AnyikeError as error:
        _complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001  the last line of defence: no traceback meets a user unasked
        _complain(_unexpected(error, verbose=getattr(arguments, "verbose", 0) > 0))
        return ExitCode.INTERNAL


def _show_what_the_locale_can() -> None:
    """A banner or a name may hold more: that is replaced, and no fault."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _open_standard_files() -> None:
    """Have something at the descriptors 0 to 2, or the next file that is opened gets what is written for the user."""
    for standard in range(3):
        try:
            os.fstat(standard)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="anyike", description="An IKEv2 VPN client that speaks Cisco AnyConnect EAP.")
    parser.add_argument("--version", action="version", version=f"anyike {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_connect(commands)
    _add_import(commands)
    _add_cleanup(commands)
    return parser


def _add_connect(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "connect",
        help="log in and carry traffic until interrupted",
        description="Log in to a gateway and carry traffic until interrupted (^C logs off and undoes everything).",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(action=_connect)
    add = parser.add_argument
    add("target", nargs="?", metavar="HOST|PROFILE", help="the gateway's name or address, or a profile's name")
    add("-c", "--config", type=Path, metavar="FILE", help="use this profile; a HOST beside it replaces the profile's")
    add("-u", "--user", metavar="NAME", help="log in as this user")
    add("--passwd-on-stdin", action="store_true", help="read secrets from standard input, one a line")
    add("--authgroup", metavar="GROUP", help="log in to this group")
    add(
        "-F",
        "--form-entry",
        action="append",
        default=[],
        metavar="FORM:FIELD=VALUE",
        help="answer a field that is no secret; may be repeated",
    )
    add("--token-mode", choices=("totp", "hotp"), help="answer requests for one-time codes by a software token")
    add("--token-secret", metavar="@FILE", help="the token's secret, from a file")
    add("--certificate", metavar="FILE", help="the client's certificate: PEM, DER, PKCS#12, or a pkcs11: URI")
    add("--sslkey", metavar="FILE", help="its private key, where that is not in the same place")
    add("--csd-wrapper", metavar="PATH", help="program that runs a host scan (posture check)")
    add("--cafile", metavar="FILE", help="trust these CAs (PEM) and not the system's")
    add("--servercert", action="append", metavar="PIN", help="accept exactly this key: pin-sha256:...; may be repeated")
    add("-i", "--interface", metavar="NAME", help="name of the tunnel interface")
    add("-m", "--mtu", type=int, metavar="BYTES", help="MTU of the tunnel interface")
    add("-b", "--background", action="store_true", help="go into the background once the tunnel is up")
    add("--pid-file", type=Path, metavar="FILE", help="write the process number there while running")
    add("--non-inter", action="store_true", help="never ask; say what was missing")
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument("-q", "--quiet", action="store_true", help="show only questions and errors")
    loudness.add_argument("-v", "--verbose", action="count", default=0, help="show more; twice for everything")


def _add_import(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "import",
        help="make profiles of an AnyConnect XML profile",
        description="Write a profile (TOML) for each host of an AnyConnect XML profile, and say what cannot be taken over.",
    )
    parser.set_defaults(action=_import)
    parser.add_argument("file", type=Path, metavar="PROFILE.xml", help="the AnyConnect profile")
    parser.add_argument("-o", "--output", type=Path, metavar="DIRECTORY", help="where to (default: ~/.config/anyike)")


def _add_cleanup(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "cleanup",
        help="remove what a killed anyike left on this machine",
        description="Remove routes and rules that a killed anyike left on this machine. A live tunnel is not touched.",
    )
    parser.set_defaults(action=_cleanup)
    parser.add_argument("target", nargs="?", metavar="HOST|PROFILE", help="only of this one (default: of all)")


def _connect(arguments: argparse.Namespace) -> int:
    with _loading():
        from anyike import logs, process
        from anyike.config_file import load_settings
        from anyike.profiles import find_profile

    profile = find_profile(arguments.target, arguments.config)
    # After the profile: reading it as another user makes the kernel forget this.
    process.harden()
    logs.configure(_verbosity(arguments))
    settings = load_settings(profile.text, profile.source, profile.directory, _overrides(arguments, profile.host))
    entries = _form_entries(arguments.form_entry)
    if not arguments.background:
        return _run(arguments, profile.name, settings, entries)
    return process.run_in_background(lambda detach: _run_detachable(arguments, profile.name, settings, entries, detach))


def _run(
    arguments: argparse.Namespace,
    name: str,
    settings: Settings,
    entries: Sequence[FormEntry],
    leave_terminal: Callable[[], None] | None = None,
) -> int:
    """Connect; `leave_terminal` is called once the tunnel is up, when nothing is asked any more."""
    with _loading():
        import asyncio

        from anyike.client import connect
        from anyike.interruption import InterruptibleLoop, interruptible
        from anyike.invoking_user import invoking_user
        from anyike.lock import profile_lock
        from anyike.login.secret_lines import SecretLines
        from anyike.login_assembly import respondent
        from anyike.process import pid_file
        from anyike.prompt import open_console
        from anyike.terminal import Terminal

    _show_what_the_locale_can()
    console = None if arguments.non_inter else open_console()

    def on_established() -> None:
        nonlocal console, leave_terminal
        if leave_terminal is None:
            return
        if console is not None:
            console.close()
            console = None
        leave_terminal()
        leave_terminal = None  # once: the tunnel may come up again

    ui = Terminal(_verbosity(arguments), on_established)
    secret_lines = SecretLines(_STANDARD_INPUT) if arguments.passwd_on_stdin else None

    kept: dict[str, str] = {}

    def make_respondent() -> Respondent:
        return respondent(
            settings, console=console, entries=entries, secret_lines=secret_lines, tell=ui.tell, kept=kept
        )

    own_pid_file = pid_file(arguments.pid_file and arguments.pid_file.absolute(), invoking_user())
    with interruptible(), profile_lock(name), own_pid_file, asyncio.Runner(loop_factory=InterruptibleLoop) as runner:
        return runner.run(connect(settings, name, ui, make_respondent))


def _run_detachable(
    arguments: argparse.Namespace,
    name: str,
    settings: Settings,
    entries: Sequence[FormEntry],
    detach: Callable[[], None],
) -> int:
    """Run; once detached, errors go to the system's log, since nobody sees standard error any more."""
    import logging

    from anyike import logs

    detached = False

    def leave_terminal() -> None:
        nonlocal detached
        logs.move_to_syslog()
        detach()
        detached = True

    try:
        return _run(arguments, name, settings, entries, leave_terminal)
    except Exception as error:
        if not detached:
            raise
        expected = isinstance(error, AnyikeError)
        logging.getLogger(__name__).error("%s: %s", name, error, exc_info=not expected)  # noqa: TRY400  no trace of those
        return error.exit_code if isinstance(error, AnyikeError) else ExitCode.INTERNAL


def _import(arguments: argparse.Namespace) -> int:
    from anyike import paths
    from anyike.invoking_user import invoking_user, read_file, rights_of
    from anyike.profile_import.files import write_profiles
    from anyike.profile_import.profile import MAX_SIZE, import_profile
    from anyike.text import printable

    _show_what_the_locale_can()
    user = invoking_user()
    try:
        data = read_file(user, arguments.file, MAX_SIZE)
    except OSError as error:
        raise ConfigurationError(f"{arguments.file}: cannot be read: {error.strerror}") from None
    imported = import_profile(data, str(arguments.file))
    with rights_of(user):
        directory = (arguments.output or user.home / paths.USER_PROFILES).absolute()
        written = write_profiles(imported.hosts, directory)
    for host, path in zip(imported.hosts, written, strict=True):
        print(printable(f"{path}: {host.name} (anyike connect {host.profile_name})"))
        for note in host.left_out:
            print(printable(f"  not taken over: {note}"))
    for note in imported.left_out:
        print(printable(f"not taken over, for all hosts: {note}"))
    for note in imported.refused:
        print(printable(f"no profile: {note}"))
    return ExitCode.OK


def _cleanup(arguments: argparse.Namespace) -> int:
    from anyike import paths
    from anyike.net.undo import undo
    from anyike.profiles import file_name

    if arguments.target is not None:
        journals = [paths.RUNTIME / f"{file_name(arguments.target)}.undo"]
    else:
        journals = sorted(paths.RUNTIME.glob("*.undo"))
    if not journals:
        print("nothing was left behind")
    failures: list[AnyikeError] = []
    for journal in journals:
        try:
            print(f"{journal.stem}: {undo(journal).value}")
        except AnyikeError as error:
            failures.append(error)
    for failure in failures[1:]:
        _complain(str(failure))
    if failures:
        raise failures[0]
    return ExitCode.OK


def _overrides(arguments: argparse.Namespace, host: str | None) -> dict[str, Override]:
    """What the command line says about settings."""
    from anyike.config_file import Override

    given = {
        "gateway.host": ("HOST", host),
        "gateway.ca_file": ("--cafile", _absolute(arguments.cafile)),
        "gateway.servercert": ("--servercert", arguments.servercert),
        "login.user": ("--user", arguments.user),
        "login.group": ("--authgroup", arguments.authgroup),
        "token.mode": ("--token-mode", arguments.token_mode),
        "token.secret_file": ("--token-secret", _absolute(_token_file(arguments.token_secret))),
        "certificate.file": ("--certificate", _absolute(arguments.certificate)),
        "certificate.key": ("--sslkey", _absolute(arguments.sslkey)),
        "host_scan.wrapper": ("--csd-wrapper", _absolute(arguments.csd_wrapper)),
        "tunnel.interface": ("--interface", arguments.interface),
        "tunnel.mtu": ("--mtu", arguments.mtu),
    }
    return {key: Override(option, value) for key, (option, value) in given.items() if value is not None}


def _absolute(file: str | None) -> str | None:
    """A file that was named on the command line is where that was typed; a token is nowhere."""
    return file if file is None or file.startswith("pkcs11:") else str(Path(file).absolute())


def _token_file(secret: str | None) -> str | None:
    if secret is None:
        return None
    if len(secret) < 2 or not secret.startswith("@"):
        raise UsageError(
            "--token-secret wants @FILE: a secret on the command line could be read by other users. token.secret_command and "
            "token.secret_credential are other ways"
        )
    return secret[1:]


def _form_entries(texts: Sequence[str]) -> list[FormEntry]:
    from anyike.login.form_entries import parse_form_entry

    try:
        return [parse_form_entry(text, "--form-entry") for text in texts]
    except ValueError as error:
        raise UsageError(f"--form-entry: {error}") from None


@contextmanager
def _loading() -> Iterator[None]:
    """Import without the garbage collector: modules stay, and looking through them for garbage takes a tenth of their time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _verbosity(arguments: argparse.Namespace) -> int:
    return -1 if arguments.quiet else int(arguments.verbose)


def _complain(text: str) -> None:
    from anyike.text import printable

    print(f"anyike: {printable(text)}", file=sys.stderr, flush=True)


def _unexpected(error: Exception, *, verbose: bool) -> str:
    """One line about a fault of ours; the traceback goes to a file, or to the user who asked for more."""
    import tempfile
    import traceback

    trace = "".join(traceback.format_exception(error))
    what = f"a fault of anyike itself: {type(error).__name__}"
    if verbose:
        return f"{what}\n{trace}"
    try:
        with tempfile.NamedTemporaryFile("w", prefix="anyike-fault-", suffix=".txt", delete=False) as file:
            file.write(trace)
    except OSError as unwritable:
        return f"{what}. What led to it cannot be written to a file ({unwritable.strerror}); -v shows it here"
    return f"{what}. What led to it is in {file.name} (-v shows it here)"
