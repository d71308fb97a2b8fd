"""AnyConnect EAP as an EapMethod: the login dialogue (AnyConnect-EAP notes, sections 4 and 5).

::

    gateway   hello      auth-request            complete
    client        init               auth-reply           ack

What `init` may be sent for again: another group (`<group-select>`), or no certificate (`<client-cert-fail/>`).
The method makes no key (section 3).
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum, auto

from anyike.eap.form import Answers, Field, FieldType, Form
from anyike.eap.method import Ask, EapContext, Failed, Send, Step, Succeeded
from anyike.eap.packet import Code, EapPacket
from anyike.eap_anyconnect import client_documents
from anyike.eap_anyconnect.forms import (
    GROUP_FIELD,
    choose_option,
    complete_answers,
    group_field,
    read_form,
    repeat_differs,
    reply_elements,
)
from anyike.eap_anyconnect.gateway_document import GatewayDocument, message_text, read_document, shown_text
from anyike.eap_anyconnect.session import Session, read_session
from anyike.eap_anyconnect.settings import LoginSettings
from anyike.eap_anyconnect.tlv import METHOD_TYPE, Tlv, TlvType, document_of, encode_tlvs
from anyike.errors import AnyikeError, ConfigurationError, LoginFailed, ProtocolError
from anyike.text import printable_line
from anyike.wire import DecodeError

logger = logging.getLogger(__name__)

# Where it stands in the document, and what it is to the user: demands of a gateway that end the login.
_UNSUPPORTED_DEMANDS = {
    "host-scan": "a host scan (posture check) of this machine",
    "auth/host-scan": "a host scan (posture check) of this machine",
    "multiple-client-cert-request": "several client certificates",
    "sso-v2-login": "a single sign-on in a web browser",
    "auth/sso-v2-login": "a single sign-on in a web browser",
}


class _Stage(Enum):
    """How far the dialogue has come, by what may come next."""

    HELLO = auto()
    LOGIN = auto()
    DONE = auto()


@dataclass(frozen=True, slots=True)
class _Question:
    """What the user was asked: the choice of a group, or else everything of the form."""

    identifier: int
    form: Form
    groups: Field | None


class AnyConnectEap:
    """One login. `session` is there when the gateway has accepted it."""

    def __init__(self, settings: LoginSettings) -> None:
        self.session: Session | None = None
        self._settings = settings
        self._stage = _Stage.HELLO
        self._question: _Question | None = None
        self._opaque = b""
        self._session_id = ""
        self._session_token = ""
        self._group = settings.group
        self._restarted_for: str | None = None
        self._certificate_refused = False
        self._rejections = 0
        self._mismatches = 0
        self._last_error = ""
        self._notices: list[str] = []
        self._shown: set[str] = set()

    @property
    def method_type(self) -> bytes:
        """Expanded type of vendor 9 (Cisco)."""
        return METHOD_TYPE

    def identity(self) -> str | None:
        """The user name of the settings."""
        return self._settings.username

    def process(self, identifier: int, type_data: bytes, context: EapContext) -> Step:  # noqa: ARG002  only a certificate needs it
        """Answer one Request with init, auth-reply or ack, or ask the user."""
        try:
            document = read_document(document_of(type_data))
            logger.debug("gateway document %s: %s", document.type, document.child_names())
            return self._answer(identifier, document)
        except DecodeError as error:
            return Failed(ProtocolError(f"The gateway sent a login message that cannot be read: {error}"))
        except AnyikeError as error:
            return Failed(error)

    def supply_answers(self, answers: Answers) -> Step:
        """Send the answers to the last form, or go on with the chosen group."""
        question, self._question = self._question, None
        if question is None:
            return Failed(AnyikeError("Answers were supplied to a login that asks nothing."))
        try:
            if question.groups is not None:
                chosen = self._offered(question.groups, answers.values.get(GROUP_FIELD, ""))
                return self._enter_group(question.identifier, question.form, question.groups, chosen)
            return self._reply(question, answers)
        except AnyikeError as error:
            return Failed(error)

    def supply_signature(self, signature: bytes) -> Step:  # noqa: ARG002  nothing is ever signed without a certificate
        """Fail: this login asks for no signature."""
        return Failed(AnyikeError("A signature was supplied to a login that asked for none."))

    def succeed(self) -> Step:
        """Succeeded without a key, once `complete` has come."""
        if self._stage is not _Stage.DONE:
            return Failed(ProtocolError("The gateway sent EAP-Success before the login was complete."))
        return Succeeded(None)

    def fail(self) -> AnyikeError:
        """The login as rejected, with the last error that the gateway showed."""
        if self._last_error:
            return LoginFailed(f"The gateway rejected the login: {self._last_error}")
        if self._stage is _Stage.HELLO:
            return LoginFailed("The gateway ended the login (EAP-Failure) before it asked for anything.")
        return LoginFailed("The gateway rejected the login and gave no reason. Check user name, password and group.")

    def take_notices(self) -> tuple[str, ...]:
        """Banners and messages, safe to print, each handed out once."""
        notices, self._notices = tuple(self._notices), []
        return notices

    def _answer(self, identifier: int, document: GatewayDocument) -> Step:
        match self._stage, document.type:
            case _Stage.HELLO, "hello":
                self._stage = _Stage.LOGIN
                return self._init(identifier)
            case _Stage.LOGIN, "auth-request":
                return self._answer_request(identifier, document)
            case _Stage.LOGIN, "complete":
                return self._complete(identifier, document)
        raise ProtocolError(f"The gateway sent {document.type!r}, which has no place at this point of the login.")

    def _answer_request(self, identifier: int, document: GatewayDocument) -> Step:
        self._remember(document)
        self._notice(shown_text(document.find("auth/banner")))
        auth = document.find("auth")
        error = self._read_error(document)
        form = None if auth is None else read_form(auth, error)
        if error:
            self._count_rejection(error, final=form is None)
        self._refuse_unsupported(document)
        if document.find("client-cert-request") is not None:
            return self._without_certificate(identifier)
        if form is not None:
            return self._show(identifier, form)
        if document.find("auth/authentication-complete") is not None:
            return self._send_reply(identifier, [], None)
        demands = ", ".join(document.child_names())
        raise LoginFailed(f"The gateway asks for something that anyike does not know (its message holds: {demands}).")

    def _remember(self, document: GatewayDocument) -> None:
        if document.opaque is not None:
            self._opaque = document.opaque
        self._session_id = document.text("session-id") or self._session_id
        self._session_token = document.text("session-token") or self._session_token

    def _read_error(self, document: GatewayDocument) -> str:
        """The gateway's error, in or beside `<auth>`; "" when there is none."""
        for path in ("auth/error", "error"):
            element = document.find(path)
            if element is not None:
                return message_text(element) or f"error {printable_line(element.get('id', '')) or 'without a text'}"
        return ""

    def _count_rejection(self, error: str, *, final: bool) -> None:
        self._last_error = error = printable_line(error)
        self._rejections += 1
        if final:
            raise LoginFailed(f"The gateway rejected the login: {error}")
        if self._rejections >= self._settings.max_tries:
            raise LoginFailed(f"The gateway rejected the login {self._rejections} times, the last time with: {error}")

    def _refuse_unsupported(self, document: GatewayDocument) -> None:
        for path, demand in _UNSUPPORTED_DEMANDS.items():
            if document.find(path) is not None:
                raise LoginFailed(f"The gateway demands {demand}, which anyike does not support yet.")

    def _without_certificate(self, identifier: int) -> Step:
        if self._certificate_refused:
            raise LoginFailed("The gateway insists on a client certificate, and anyike does not support them yet.")
        self._certificate_refused = True
        self._notice("The gateway asks for a client certificate; going on without one.")
        return self._init(identifier, group_select=self._restarted_for, client_cert_fail=True)

    def _show(self, identifier: int, form: Form) -> Step:
        """Settle the group first: another one has another form."""
        groups = group_field(form)
        if groups is None:
            return self._ask(_Question(identifier, form, groups=None))
        if self._group is not None:
            return self._enter_group(identifier, form, groups, self._offered(groups, self._group))
        if len(groups.options) == 1:
            return self._enter_group(identifier, form, groups, groups.value)
        return self._ask(_Question(identifier, form, groups))

    def _offered(self, groups: Field, wanted: str) -> str:
        chosen = choose_option(groups, wanted)
        if chosen is None:
            offered = ", ".join(option.label for option in groups.options)
            raise LoginFailed(f"The gateway does not offer the group {wanted!r} (--authgroup). It offers: {offered}.")
        return chosen

    def _enter_group(self, identifier: int, form: Form, groups: Field, chosen: str) -> Step:
        self._group = chosen
        if chosen not in {groups.value, self._restarted_for}:
            self._restarted_for = chosen
            self._certificate_refused = False  # every group may ask for one
            self._notice(form.error)
            return self._init(identifier, group_select=chosen)
        settled = replace(groups, type=FieldType.HIDDEN, value=chosen)
        fields = tuple(settled if field is groups else field for field in form.fields)
        return self._ask(_Question(identifier, replace(form, fields=fields), groups=None))

    def _ask(self, question: _Question) -> Step:
        if question.groups is not None:
            self._question = question
            return Ask(replace(question.form, message="", fields=(question.groups,)))
        if all(field.type is FieldType.HIDDEN for field in question.form.fields):
            return self._reply(question, Answers({}))
        self._question = question
        return Ask(question.form)

    def _reply(self, question: _Question, answers: Answers) -> Step:
        form = question.form
        values = complete_answers(form, answers.values)
        if repeat_differs(form, values):
            self._count_mismatch()
            return self._ask(replace(question, form=replace(form, error="The two entries are not the same.")))
        return self._send_reply(question.identifier, reply_elements(form, values), values.get(GROUP_FIELD))

    def _count_mismatch(self) -> None:
        self._mismatches += 1
        if self._mismatches >= self._settings.max_tries:
            raise LoginFailed(f"The new password and its repetition differed {self._mismatches} times.")

    def _complete(self, identifier: int, document: GatewayDocument) -> Step:
        error = self._read_error(document)
        if error:
            self._count_rejection(error, final=True)
        self.session = read_session(document)
        self._notice(self.session.banner)
        self._notice(message_text(document.find("auth/message")))
        self._stage = _Stage.DONE
        return _send(identifier, client_documents.ack(self._settings))

    def _init(self, identifier: int, *, group_select: str | None = None, client_cert_fail: bool = False) -> Step:
        try:
            document = client_documents.init(
                self._settings, opaque=self._opaque, group_select=group_select, client_cert_fail=client_cert_fail
            )
        except ValueError:
            raise ConfigurationError("The settings of the login or the device hold control characters.") from None
        return _send(identifier, document)

    def _send_reply(self, identifier: int, elements: list[tuple[str, str]], group_select: str | None) -> Step:
        document = None
        # The ValueError of a text that XML cannot hold may quote the password: it must not hang on the error below.
        with suppress(ValueError):
            document = client_documents.auth_reply(
                self._settings,
                opaque=self._opaque,
                session_id=self._session_id,
                session_token=self._session_token,
                answers=elements,
                group_select=group_select,
            )
        if document is None:
            raise LoginFailed("An answer holds control characters, which cannot be sent to the gateway.")
        return _send(identifier, document)

    def _notice(self, text: str) -> None:
        if text and text not in self._shown:
            self._shown.add(text)
            self._notices.append(text)


def _send(identifier: int, document: bytes) -> Send:
    try:
        type_data = encode_tlvs([Tlv(TlvType.DOCUMENT, document)])
        return Send(EapPacket(Code.RESPONSE, identifier, METHOD_TYPE, type_data).encode())
    except ValueError:
        raise LoginFailed(
            f"The answer to the gateway would be {len(document)} bytes; it cannot be more than 65,535 with its header."
        ) from None
