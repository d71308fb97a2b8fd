"""Answers to a gateway's forms: settings, sources of secrets, one-time codes, standard input, and the user.

A field is answered by the first of these that can:

1. Hidden fields, and choices of one option: as the gateway has them.
2. Form entries, for what is no password: one for this form before one for any, `--form-entry` before
   `login.form_entries`. An entry for a password is refused: command lines and profiles can be read by others.
3. `--user` or `login.user`, for the first factor's `username`.
4. The next one-time code, where a token is configured: for a password of the form `challenge`, for the second factor's
   password, and for the field that `token.field` names, but never for a new password or PIN. (openconnect gives codes to
   the passwords of `challenge` and to `secondary_password`, too.) Of several such fields the first.
5. `login.secrets`, for exactly the field that it names.
6. `--passwd-on-stdin`: the next line, for any password. A repeat takes none.
7. What was answered in an earlier login of this process, with `login.keep_credentials`. Then, for the first factor's
   `password` alone, `login.password_command`, `login.password_keyring`, `login.password_credential`.
8. The terminal. What was typed is the default of the next try, except secrets.
9. Without a terminal, the value that the gateway has filled in; never for passwords.

The repeat of a new password (`verify_password`, `verify_pin`) is typed if the new one was, else it is a copy.

A form that comes back was rejected, except a challenge without an error, which is another round. What a source has given
is not sent again after a rejection (wrong passwords lock accounts): the next source answers, or the terminal. One-time codes
and lines of standard input are new each time; after two rejected codes there is no third. Without a rejection, too, a source
and a token answer a few times only in one login, whatever the forms and fields are called.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from anyike.eap.form import BANNER, Answers, Field, FieldType, Form
from anyike.errors import LoginFailed
from anyike.login import form_advice
from anyike.login.form_entries import FormEntry, find_entry
from anyike.login.form_prompt import FormPrompt, label_of, option_by_name, prompt_label
from anyike.login.secret_fields import CHALLENGE, Purpose, purposes_of, repeated_fields
from anyike.login.secret_lines import STANDARD_INPUT_OPTION, SecretLines
from anyike.prompt import Console

if TYPE_CHECKING:  # most logins need no token: its libraries are not loaded for them
    from anyike.login.one_time_code import OneTimeCodes
    from anyike.login.secret_source import SecretSource

_MAX_REJECTED_CODES = 2
"""The second one is for a token that was out of step (openconnect sends as many)."""
_MAX_CODES = 6
"""In one login: some gateways ask for two or three in a row."""
_MAX_USES = 3
"""Of one source in one login: for other forms with the same field, and for further rounds of a challenge."""


@dataclass(frozen=True, slots=True)
class KeptSecret:
    """A secret that was given to this process before."""

    secret: str = dataclasses.field(repr=False)
    name: str = "the earlier login (login.keep_credentials)"

    async def read(self) -> str:
        """It."""
        return self.secret


class FormFiller:
    """Fills the forms of one login.

    Args:
        console: where to ask; None never asks.
        user: the first factor's user name.
        entries: answers to single fields, the profile's first: of several for the same field the last counts.
        codes: the token.
        code_field: FIELD or FORM:FIELD that takes a code besides those that always do.
        secrets: sources for single fields, by FIELD or FORM:FIELD.
        secret_lines: standard input, if passwords come from there.
        password_sources: sources for the first factor's password, in their order.
        kept: answers of earlier logins by FORM:FIELD, to which this one adds its own; None keeps nothing.
    """

    def __init__(
        self,
        *,
        console: Console | None,
        user: str | None = None,
        entries: Sequence[FormEntry] = (),
        codes: OneTimeCodes | None = None,
        code_field: str | None = None,
        secrets: Mapping[str, SecretSource] = MappingProxyType({}),
        secret_lines: SecretLines | None = None,
        password_sources: Sequence[SecretSource] = (),
        kept: MutableMapping[str, str] | None = None,
    ) -> None:
        self._prompt = None if console is None else FormPrompt(console)
        self._user = user
        self._entries = entries
        self._codes = codes
        self._code_field = code_field
        self._secrets = secrets
        self._secret_lines = secret_lines
        self._password_sources = password_sources
        self._kept = kept
        self._kept_before = dict(kept or {})
        self._given_by: dict[str, dict[str, str]] = {}
        self._answered: defaultdict[str, list[str]] = defaultdict(list)  # the name of a source to the ids of forms
        self._codes_given = 0
        self._codes_rejected = 0
        self._code_sent_last = False

    async def fill(self, form: Form) -> Answers:
        """An answer for every field. LoginFailed names what is missing, or was rejected, and how to give it."""
        rejected = self._given_by.pop(form.id, {})
        if _is_new_round(form):
            rejected = {}
        if self._code_sent_last and (form.error or rejected):
            self._codes_rejected += 1
        self._code_sent_last = False
        purposes, repeated = purposes_of(form), repeated_fields(form)
        values = {field.name: value for field in form.fields if (value := self._settled(form, field)) is not None}
        unsettled = [field for field in form.fields if field.name not in values]
        code_field = self._field_for_code(form, unsettled, purposes)
        missing: list[Field] = []
        withheld: dict[str, str] = {}
        for field in unsettled:
            if field is code_field:
                continue
            secret = values.get(repeated.get(field.name, ""))
            if secret is None:
                secret = await self._secret(form, field, purposes.get(field.name), withheld)
            if secret is None:
                missing.append(field)
            else:
                values[field.name] = secret
        if missing:
            values |= await self._ask(form, missing, rejected, withheld)
        self._keep(form, values, purposes)
        if code_field is not None:
            values[code_field.name] = await self._next_code(form, code_field)  # last: it may be valid for seconds only
        return Answers(values)

    async def ask_secret(self, prompt: str) -> str:
        """A pass phrase or a PIN from the terminal, which no gateway gets. LoginFailed where there is none."""
        label = prompt_label(prompt)
        if self._prompt is None:
            raise LoginFailed(f"{label!r} is needed, and {form_advice.NO_TERMINAL}.")
        return await self._prompt.ask_local_secret(label)

    def _settled(self, form: Form, field: Field) -> str | None:
        """What is known without any secret: ranks 1 to 3."""
        if field.type is FieldType.HIDDEN:
            return field.value
        if field.type is FieldType.SELECT and len(field.options) < 2:
            if not field.options:
                raise LoginFailed(f"The gateway's login form wants a choice and offers none ({label_of(field)}).")
            return field.options[0].value
        entry = find_entry(self._entries, form.id, field.name)
        if entry is not None:
            return _entered(form, field, entry)
        if field.name == "username" and field.type is FieldType.TEXT and not field.second_factor and self._user:
            return self._user
        visible = field.type is not FieldType.PASSWORD and form.id != BANNER
        return self._kept_before.get(f"{form.id}:{field.name}") if visible and not form.error else None

    def _keep(self, form: Form, values: Mapping[str, str], purposes: Mapping[str, Purpose]) -> None:
        """For the next login, if the user allows that: what is good for more than once."""
        if self._kept is None or form.id in (BANNER, CHALLENGE):
            return
        for field in form.fields:
            lasting = purposes.get(field.name) in (None, Purpose.FIRST_PASSWORD, Purpose.OTHER)
            if lasting and field.name in values and field.type is not FieldType.HIDDEN:
                self._kept[f"{form.id}:{field.name}"] = values[field.name]

    def _field_for_code(self, form: Form, fields: Sequence[Field], purposes: Mapping[str, Purpose]) -> Field | None:
        """Rank 4: the field that the user has named, else the first that takes a code by its nature."""
        if self._codes is None:
            return None
        named = [field for field in fields if self._code_field in {field.name, f"{form.id}:{field.name}"}]
        found = named or [field for field in fields if purposes.get(field.name) is Purpose.ONE_TIME_CODE]
        if not found:
            return None
        if self._codes_given >= _MAX_CODES or self._codes_rejected >= _MAX_REJECTED_CODES:
            raise LoginFailed(
                f"The gateway has taken {self._codes_given} one-time codes and wants another for {label_of(found[0])!r}. No more"
                " are sent, since that can lock the account. Check the token's secret ([token]), and the clock of this machine"
                f" (TOTP) or the counter (HOTP).{form_advice.said(form)}"
            )
        return found[0]

    async def _next_code(self, form: Form, field: Field) -> str:
        assert self._codes is not None
        self._codes_given += 1
        self._code_sent_last = True
        self._note(form, field, "the token ([token])")
        return await self._codes.next_code()

    async def _secret(self, form: Form, field: Field, purpose: Purpose | None, withheld: dict[str, str]) -> str | None:
        """What a source gives: ranks 5 to 7. None when the user has to be asked. `purpose` is None for what is shown.

        A source that has answered often enough comes into `withheld`, by the name of the field.
        """
        if field.type is FieldType.SELECT:
            return None
        named = self._secrets.get(f"{form.id}:{field.name}", self._secrets.get(field.name))
        secret = None if named is None else await self._read(form, field, named, withheld)
        if secret is not None or purpose is None:
            return secret
        line = None if self._secret_lines is None else await self._secret_lines.next_line()
        if line is not None:
            self._note(form, field, STANDARD_INPUT_OPTION)
            return line
        kept = self._kept_before.get(f"{form.id}:{field.name}")
        if kept is not None and purpose in (Purpose.FIRST_PASSWORD, Purpose.OTHER):
            secret = await self._read(form, field, KeptSecret(kept), withheld)
            if secret is not None:
                return secret
        for source in self._password_sources if purpose is Purpose.FIRST_PASSWORD else ():
            secret = await self._read(form, field, source, withheld)
            if secret is not None:
                return secret
        return None

    async def _read(self, form: Form, field: Field, source: SecretSource, withheld: dict[str, str]) -> str | None:
        """None when it has answered often enough, or when it fails and the user can be asked instead."""
        answered = self._answered[source.name]
        if answered and (form.error or len(answered) >= _MAX_USES or (form.id in answered and not _is_new_round(form))):
            withheld[field.name] = source.name
            return None
        answered.append(form.id)
        try:
            secret = await source.read()
        except LoginFailed as error:
            if self._prompt is None:
                raise
            self._prompt.tell(str(error))
            return None
        self._note(form, field, source.name)
        return secret

    async def _ask(
        self, form: Form, missing: Sequence[Field], rejected: Mapping[str, str], withheld: Mapping[str, str]
    ) -> dict[str, str]:
        """Ranks 8 and 9. `rejected` has the fields whose answers came from somewhere the last time, and from where."""
        sources = dict.fromkeys(rejected[field.name] for field in missing if field.name in rejected)
        if self._prompt is not None:
            for source in sources:
                self._prompt.tell(f"The gateway rejected the answer from {source}.")
            return await self._prompt.ask(form, missing)
        if sources:
            # All that were given: of two passwords in one form nobody knows which was wrong.
            given_by = " and ".join(dict.fromkeys(rejected.values()))
            raise LoginFailed(f"The gateway rejected the answer from {given_by}.{form_advice.said(form)}")
        if withheld:
            source = next(iter(withheld.values()))
            raise LoginFailed(
                f"The gateway asks again for what {source} has answered ({len(self._answered[source])} times in this login). It "
                f"is not sent once more, since that can lock the account.{form_advice.said(form)}"
            )
        lacking = [field for field in missing if field.type is FieldType.PASSWORD or not field.value]
        if lacking:
            raise LoginFailed(form_advice.missing(form, lacking))
        return {field.name: field.value for field in missing}

    def _note(self, form: Form, field: Field, source: str) -> None:
        self._given_by.setdefault(form.id, {})[field.name] = source


def _is_new_round(form: Form) -> bool:
    """A challenge without an error is another question, and no rejection of the last answer."""
    return form.id == CHALLENGE and not form.error


def _entered(form: Form, field: Field, entry: FormEntry) -> str:
    """The answer of a form entry. LoginFailed for a password, and for a choice that is not offered."""
    if field.type is FieldType.PASSWORD:
        raise LoginFailed(form_advice.password_in_entry(form, field, entry))
    if field.type is not FieldType.SELECT:
        return entry.value
    chosen = option_by_name(field, entry.value)
    if chosen is None:
        raise LoginFailed(form_advice.no_such_choice(field, entry))
    return chosen
