"""From a user's settings to the respondent that answers one login's questions.

Rooms that most logins never enter are imported when a setting or a question leads there: they load a lot.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from typing import TYPE_CHECKING

from anyike import paths
from anyike.config import Command, CredentialName, Secret, Settings
from anyike.eap.question import CertificateUse, SignOn, SignOnToken
from anyike.errors import ConfigurationError
from anyike.invoking_user import InvokingUser, invoking_user
from anyike.login.form_entries import FormEntry, parse_form_entry
from anyike.login.form_filler import FormFiller
from anyike.login.gateway_facts import GatewayFacts
from anyike.login.key_secrets import KeySecrets
from anyike.login.respondent import Respondent
from anyike.login.secret_lines import SecretLines
from anyike.login.secret_source import CommandSource, CredentialSource, FileSource, KeyringSource, SecretSource
from anyike.login.unattended import unattended
from anyike.prompt import Console

if TYPE_CHECKING:
    from anyike.login.client_certificate import CertificateSettings
    from anyike.login.host_scan import Wrapper
    from anyike.login.one_time_code import OneTimeCodes


def respondent(
    settings: Settings,
    *,
    console: Console | None,
    entries: Sequence[FormEntry],
    secret_lines: SecretLines | None,
    tell: Callable[[str], None],
    kept: MutableMapping[str, str] | None = None,
) -> Respondent:
    """Who answers with these settings. ConfigurationError.

    `entries` are the command line's; `kept` are the answers of earlier logins, which only `login.keep_credentials` fills.
    """
    login = settings.login
    user = invoking_user(login.run_as)
    asked = user if console is not None else unattended(user)
    filler = FormFiller(
        console=console,
        user=login.user,
        entries=(*(parse_form_entry(text, "login.form_entries") for text in login.form_entries), *entries),
        codes=_codes(settings, asked, tell),
        code_field=settings.token.field,
        secrets={
            name: _secret(f"login.secrets.{name}", secret, settings, asked) for name, secret in login.secrets.items()
        },
        secret_lines=secret_lines,
        password_sources=tuple(_password_sources(settings, asked)),
        kept=kept if settings.login.keep_credentials else None,
    )
    return Respondent(
        filler=filler,
        certificates=_certificates(settings, asked, filler.ask_secret, attended=console is not None),
        wrapper=_wrapper(settings, user),
        sign_on=_signing_on(settings, user, console, tell),
        tell=tell,
        expiry_days=settings.certificate.expiry_warning,
    )


def _wrapper(settings: Settings, user: InvokingUser) -> Wrapper | None:
    scan = settings.host_scan
    if scan.wrapper is None:
        return None
    from anyike.login.host_scan import Wrapper

    return Wrapper(scan.wrapper, scan.timeout, user)


def _signing_on(
    settings: Settings, user: InvokingUser, console: Console | None, tell: Callable[[str], None]
) -> Callable[[SignOn, GatewayFacts], Awaitable[SignOnToken]]:
    async def sign_on_as_set(question: SignOn, gateway: GatewayFacts) -> SignOnToken:
        from anyike.login.sign_on import Browser, SignOnSettings, sign_on

        how = settings.sign_on
        chosen = SignOnSettings(
            user,
            Browser(how.browser),
            how.chromium,
            how.timeout,
            how.chromium_arguments,
            how.final_hosts,
            trust_names=not settings.gateway.servercert,
        )
        return await sign_on(question, gateway, chosen, console, tell)

    return sign_on_as_set


def _certificates(
    settings: Settings, user: InvokingUser, ask_user: Callable[[str], Awaitable[str]], *, attended: bool
) -> dict[CertificateUse, tuple[CertificateSettings, KeySecrets]]:
    own = settings.certificate
    if own.file is None and own.user_file is None:
        return {}
    from anyike.login.client_certificate import CertificateSettings

    def secrets(setting: str, command: Command | None, credential: CredentialName | None) -> KeySecrets:
        return KeySecrets(tuple(_sources(setting, command, credential, user)), ask_user, attended=attended)

    found = {}
    if own.file is not None:
        opening = secrets("certificate.pass_phrase", own.pass_phrase_command, own.pass_phrase_credential)
        found[CertificateUse.CLIENT] = CertificateSettings(own.file, own.key, user), opening
    if own.user_file is not None:
        names = ("certificate.user_file", "certificate.user_key")
        opening = secrets("certificate.user_pass_phrase", own.user_pass_phrase_command, own.user_pass_phrase_credential)
        found[CertificateUse.USER] = CertificateSettings(own.user_file, own.user_key, user, *names), opening
    return found


def _codes(settings: Settings, user: InvokingUser, tell: Callable[[str], None]) -> OneTimeCodes | None:
    token = settings.token
    if token.mode is None:
        return None
    sources = list(_sources("token.secret", token.secret_command, token.secret_credential, user))
    if token.secret_file is not None:
        sources.append(FileSource("token.secret_file", user, token.secret_file))
    if len(sources) != 1:
        raise ConfigurationError(
            "token.mode needs the token's secret from exactly one place: token.secret_file (--token-secret @FILE), "
            "token.secret_command or token.secret_credential"
        )
    from anyike.login.one_time_code import TokenCodes
    from anyike.login.token_secret import TokenMode

    return TokenCodes(sources[0], TokenMode(token.mode), tell, directory=paths.STATE)


def _password_sources(settings: Settings, user: InvokingUser) -> Iterator[SecretSource]:
    login = settings.login
    if login.password_command is not None:
        yield CommandSource("login.password_command", user, login.password_command)
    if login.password_keyring is not None:
        yield KeyringSource("login.password_keyring", user, login.password_keyring, login.user or user.name)
    if login.password_credential is not None:
        yield CredentialSource("login.password_credential", login.password_credential)


def _sources(
    setting: str, command: Command | None, credential: CredentialName | None, user: InvokingUser
) -> Iterator[SecretSource]:
    if command is not None:
        yield CommandSource(f"{setting}_command", user, command)
    if credential is not None:
        yield CredentialSource(f"{setting}_credential", credential)


def _secret(setting: str, secret: Secret, settings: Settings, user: InvokingUser) -> SecretSource:
    if secret.command is not None:
        return CommandSource(f"{setting}.command", user, secret.command)
    if secret.keyring is not None:
        return KeyringSource(f"{setting}.keyring", user, secret.keyring, settings.login.user or user.name)
    assert secret.credential is not None
    return CredentialSource(f"{setting}.credential", secret.credential)
