"""AnyConnect EAP as an EapMethod: the login dialogue (AnyConnect-EAP notes, sections 4 to 6).

::

    gateway   hello      auth-request            complete
    client        init               auth-reply           ack

What `init` may be sent for again: another group (`<group-select>`), a certificate's proof in front of it, or no certificate
(`<client-cert-fail/>`). One auth-request may demand several things; they are asked for one after the other, and one reply
holds what came of it. The method makes no key (section 3).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any

from anyike.eap.form import Answers, Field, FieldType, Form, acceptance_of, is_accepted
from anyike.eap.method import Ask, EapContext, Failed, Send, Step, Succeeded
from anyike.eap.packet import Code, EapPacket
from anyike.eap.question import (
    Answer,
    CertificateProof,
    CertificateUse,
    HostScanDone,
    NoCertificate,
    ProofRequest,
    Question,
    SignOnToken,
)
from anyike.eap_anyconnect import client_documents
from anyike.eap_anyconnect.auth_request import AuthRequest, read_auth_request, read_error
from anyike.eap_anyconnect.certificate_tlvs import certificate_tlvs, signed_data
from anyike.eap_anyconnect.forms import (
    GROUP_FIELD,
    choose_option,
    complete_answers,
    group_field,
    offers,
    repeat_differs,
    reply_elements,
)
from anyike.eap_anyconnect.gateway_document import GatewayDocument, message_text, read_document
from anyike.eap_anyconnect.session import Session, read_session
from anyike.eap_anyconnect.settings import LoginSettings
from anyike.eap_anyconnect.tlv import METHOD_TYPE, Tlv, TlvType, document_of, encode_tlvs
from anyike.errors import AnyikeError, ConfigurationError, LoginFailed, ProtocolError
from anyike.text import printable_line
from anyike.wire import DecodeError

logger = logging.getLogger(__name__)


class _Stage(Enum):
    """How far the dialogue has come, by what may come next."""

    HELLO = auto()
    LOGIN = auto()
    DONE = auto()


@dataclass(slots=True)
class _Turn:
    """One auth-request while it is being answered: what it demands, and what of that has been had."""

    identifier: int
    context: EapContext
    request: AuthRequest
    form: Form | None
    group: str | None = None
    scanned: bool = False
    accepted: bool = False
    token: str | None = field(default=None, repr=False)
    values: dict[str, str] | None = field(default=None, repr=False)


class AnyConnectEap:
    """One login. `session` is there when the gateway has accepted it."""

    def __init__(self, settings: LoginSettings) -> None:
        self.session: Session | None = None
        self._settings = settings
        self._stage = _Stage.HELLO
        self._go_on: Callable[[Answer], Step] | None = None
        self._opaque = b""
        self._session_id = ""
        self._session_token = ""
        self._group = settings.group
        self._restarted_for: str | None = None
        self._certificate_done: str | None = None
        self._certificate_sent = False
        self._second_certificate_done = False
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

    def process(self, identifier: int, type_data: bytes, context: EapContext) -> Step:
        """Answer one Request with init, auth-reply or ack, or ask."""
        try:
            document = read_document(document_of(type_data))
            logger.debug("gateway document %s: %s", document.type, document.child_names())
            return self._receive(identifier, document, context)
        except DecodeError as error:
            return Failed(ProtocolError(f"The gateway sent a login message that cannot be read: {error}"))
        except AnyikeError as error:
            return Failed(error)

    def answer(self, answer: Answer) -> Step:
        """Go on with the answer to the last question."""
        go_on, self._go_on = self._go_on, None
        if go_on is None:
            return Failed(AnyikeError("An answer was supplied to a login that asks nothing."))
        try:
            return go_on(answer)
        except AnyikeError as error:
            return Failed(error)

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
        if self._certificate_done:
            return LoginFailed(
                "The gateway rejected the login and gave no reason, after a request for a client certificate "
                f"({self._certificate_done})."
            )
        return LoginFailed("The gateway rejected the login and gave no reason. Check user name, password and group.")

    def take_notices(self) -> tuple[str, ...]:
        """Banners and messages, safe to print, each handed out once."""
        notices, self._notices = tuple(self._notices), []
        return notices

    # --- what the gateway says -------------------------------------------------------------------------------------------

    def _receive(self, identifier: int, document: GatewayDocument, context: EapContext) -> Step:
        match self._stage, document.type:
            case _Stage.HELLO, "hello":
                self._stage = _Stage.LOGIN
                return self._init(identifier)
            case _Stage.LOGIN, "auth-request":
                return self._receive_request(identifier, document, context)
            case _Stage.LOGIN, "complete":
                return self._complete(identifier, document)
        raise ProtocolError(f"The gateway sent {document.type!r}, which has no place at this point of the login.")

    def _receive_request(self, identifier: int, document: GatewayDocument, context: EapContext) -> Step:
        self._remember(document)
        try:
            request = read_auth_request(document)
        except LoginFailed:
            self._notice(read_error(document))  # the gateway's own words, before ours about what it demands
            raise
        if request.error:
            self._count_rejection(request.error, final=request.form is None)
        if not request.demands_something:
            demands = ", ".join(document.child_names())
            raise LoginFailed(
                f"The gateway asks for something that anyike does not know (its message holds: {demands})."
            )
        return self._proceed(_Turn(identifier, context, request, request.form))

    def _remember(self, document: GatewayDocument) -> None:
        if document.opaque is not None:
            self._opaque = document.opaque
        self._session_id = document.text("session-id") or self._session_id
        self._session_token = document.text("session-token") or self._session_token

    def _count_rejection(self, error: str, *, final: bool) -> None:
        self._last_error = error = printable_line(error)
        self._rejections += 1
        if final:
            raise LoginFailed(f"The gateway rejected the login: {error}")
        if self._rejections >= self._settings.max_tries:
            raise LoginFailed(f"The gateway rejected the login {self._rejections} times, the last time with: {error}")

    def _complete(self, identifier: int, document: GatewayDocument) -> Step:
        error = read_error(document)
        if error:
            self._count_rejection(error, final=True)
        self.session = read_session(document)
        self._notice(message_text(document.find("auth/message")))
        if self.session.banner and self._settings.accept_banner:
            question = acceptance_of(self.session.banner)
            return self._ask(question, lambda answers: self._acknowledge(identifier, answers), Answers)
        self._notice(self.session.banner)
        return self._acknowledge(identifier)

    def _acknowledge(self, identifier: int, accepted: Answers | None = None) -> Step:
        _insist_on_acceptance(accepted)
        self._stage = _Stage.DONE
        return _send(identifier, client_documents.ack(self._settings))

    # --- what an auth-request demands, one thing after the other ---------------------------------------------------------

    def _proceed(self, turn: _Turn) -> Step:
        """Ask for what is still open, else reply. A step is a question, or a message that replaces the reply."""
        demands = (
            self._prove_certificate,
            self._settle_group,
            self._have_host_scanned,
            self._have_signed_on,
            self._have_banner_accepted,
            self._prove_second_certificate,
            self._have_form_filled,
        )
        for demand in demands:
            step = demand(turn)
            if step is not None:
                return step
        return self._reply(turn)

    def _ask(self, question: Question, go_on: Callable[[Any], Step], *kinds: type[Answer]) -> Step:
        """Ask; an answer of one of these kinds goes on there, any other is a fault of ours."""

        def check(answer: Answer) -> Step:
            if not isinstance(answer, kinds):
                raise AnyikeError(f"A {type(question).__name__} was answered by {type(answer).__name__}.")
            return go_on(answer)

        self._go_on = check
        return Ask(question)

    def _prove_certificate(self, turn: _Turn) -> Step | None:
        if not turn.request.certificate:
            return None
        if self._certificate_done is not None:
            raise LoginFailed(
                f"The gateway insists on a client certificate that it accepts ({self._certificate_done}). Set "
                "certificate.file (--certificate) to one that its administrator gave you, or choose another group."
            )
        question = ProofRequest(turn.context.initiator_signed_octets, (turn.context.prf_hash,))
        return self._ask(question, lambda answer: self._send_proof(turn, answer), CertificateProof, NoCertificate)

    def _send_proof(self, turn: _Turn, answer: CertificateProof | NoCertificate) -> Step:
        """TLV 3, TLV 1 and init again (section 6); without a certificate init says so."""
        if isinstance(answer, NoCertificate):
            self._certificate_done = f"there was none to send: {answer.reason}"
            self._notice(f"The gateway asks for a client certificate; going on without one: {answer.reason}.")
            return self._init(turn.identifier, client_cert_fail=True)
        self._certificate_done = "it was sent, and asked for again"
        self._certificate_sent = True
        return self._init(turn.identifier, proof=certificate_tlvs(answer))

    def _prove_second_certificate(self, turn: _Turn) -> Step | None:
        if not turn.request.second_certificate:
            return None
        if not self._certificate_sent:
            # The reply says that the first one went before it (client-cert-sent-via-protocol).
            raise LoginFailed(
                "The gateway wants a second client certificate, the user's, without having had the first one: the machine's "
                "(certificate.file, --certificate) is proved before it. Ask its administrator, or choose another group."
            )
        if self._second_certificate_done:
            raise LoginFailed(
                "The gateway wants the second client certificate, the user's, once more. It was sent, and nothing is signed "
                "twice for one login: set certificate.user_file to one that the gateway accepts, or choose another group."
            )
        question = ProofRequest(turn.request.document, turn.request.second_certificate, CertificateUse.USER)
        return self._ask(
            question, lambda answer: self._send_second_proof(turn, answer), CertificateProof, NoCertificate
        )

    def _send_second_proof(self, turn: _Turn, answer: CertificateProof | NoCertificate) -> Step:
        if isinstance(answer, NoCertificate):
            raise LoginFailed(f"The gateway wants a second client certificate, the user's: {answer.reason}.")
        self._second_certificate_done = True
        document = client_documents.second_certificate_reply(
            self._settings,
            opaque=self._opaque,
            session_id=self._session_id,
            session_token=self._session_token,
            certificates=signed_data(answer.chain),
            signature=answer.signature,
            hash_name=answer.hash_name,
        )
        return _send(turn.identifier, document)

    def _settle_group(self, turn: _Turn) -> Step | None:
        """Which group comes first: another one has another form."""
        groups = None if turn.form is None else group_field(turn.form)
        if turn.form is None or groups is None or turn.group is not None:
            return None
        if self._group is None and len(groups.options) > 1:
            question = replace(turn.form, message="", fields=(groups,))
            return self._ask(question, lambda answers: self._enter_group(turn, answers), Answers)
        chosen = groups.value
        if self._group is not None:
            chosen = self._group = _offered(groups, self._group)
        if chosen not in {groups.value, self._restarted_for}:
            self._restarted_for = chosen
            self._certificate_done, self._second_certificate_done = None, False  # every group may ask for them
            self._notice(turn.form.error)
            return self._init(turn.identifier)
        settled = replace(groups, type=FieldType.HIDDEN, value=chosen)
        fields = tuple(settled if field is groups else field for field in turn.form.fields)
        turn.form, turn.group = replace(turn.form, fields=fields), chosen
        return None

    def _enter_group(self, turn: _Turn, answers: Answers) -> Step:
        self._group = answers.values.get(GROUP_FIELD, "")
        return self._proceed(turn)

    def _have_host_scanned(self, turn: _Turn) -> Step | None:
        if turn.request.host_scan is None or turn.scanned:
            return None

        def go_on(_done: HostScanDone) -> Step:
            turn.scanned = True
            return self._proceed(turn)

        return self._ask(replace(turn.request.host_scan, group=self._group or ""), go_on, HostScanDone)

    def _have_signed_on(self, turn: _Turn) -> Step | None:
        if turn.request.sign_on is None or turn.token is not None:
            return None

        def go_on(answer: SignOnToken) -> Step:
            turn.token = answer.token
            return self._proceed(turn)

        return self._ask(turn.request.sign_on, go_on, SignOnToken)

    def _have_banner_accepted(self, turn: _Turn) -> Step | None:
        """A banner with nothing to fill in waits for a yes; with a form, filling it in is one."""
        banner = turn.request.banner
        if not banner or turn.accepted:
            return None
        fills_a_form = turn.form is not None and not _nothing_to_fill(turn.form)
        if fills_a_form and not self._settings.accept_banner:
            self._notice(banner)
            return None

        def go_on(answers: Answers) -> Step:
            _insist_on_acceptance(answers)
            turn.accepted = True
            return self._proceed(turn)

        return self._ask(acceptance_of(banner), go_on, Answers)

    def _have_form_filled(self, turn: _Turn) -> Step | None:
        if turn.form is None or turn.values is not None:
            return None
        if _nothing_to_fill(turn.form):
            turn.values = complete_answers(turn.form, {})
            return None
        return self._ask(turn.form, lambda answers: self._take_answers(turn, answers), Answers)

    def _take_answers(self, turn: _Turn, answers: Answers) -> Step:
        form = turn.form
        assert form is not None
        values = complete_answers(form, answers.values)
        if repeat_differs(form, values):
            self._mismatches += 1
            if self._mismatches >= self._settings.max_tries:
                raise LoginFailed(f"The new password and its repetition differed {self._mismatches} times.")
            turn.form = replace(form, error="The two entries are not the same.")
        else:
            turn.values = values
        return self._proceed(turn)

    # --- what the client says --------------------------------------------------------------------------------------------

    def _init(self, identifier: int, *, client_cert_fail: bool = False, proof: tuple[Tlv, ...] = ()) -> Step:
        try:
            document = client_documents.init(
                self._settings,
                opaque=self._opaque,
                group_select=self._restarted_for,
                client_cert_fail=client_cert_fail,
            )
        except ValueError:
            raise ConfigurationError("The settings of the login or the device hold control characters.") from None
        return _send(identifier, document, proof)

    def _reply(self, turn: _Turn) -> Step:
        elements, group = [], None
        if turn.form is not None and turn.values is not None:
            elements, group = reply_elements(turn.form, turn.values), turn.values.get(GROUP_FIELD)
        if turn.token is not None:
            elements.append((turn.request.sign_on_field, turn.token))
        scan = turn.request.host_scan
        document = None
        # The ValueError of a text that XML cannot hold may quote the password: it must not hang on the error below.
        with suppress(ValueError):
            document = client_documents.auth_reply(
                self._settings,
                opaque=self._opaque,
                session_id=self._session_id,
                session_token=self._session_token,
                answers=elements,
                group_select=group,
                host_scan_token=None if scan is None else scan.token,
            )
        if document is None:
            raise LoginFailed("An answer holds control characters, which cannot be sent to the gateway.")
        return _send(turn.identifier, document)

    def _notice(self, text: str) -> None:
        if text and text not in self._shown:
            self._shown.add(text)
            self._notices.append(text)


def _nothing_to_fill(form: Form) -> bool:
    return all(field.type is FieldType.HIDDEN for field in form.fields)


def _offered(groups: Field, wanted: str) -> str:
    chosen = choose_option(groups, wanted)
    if chosen is None:
        raise LoginFailed(
            f"The gateway does not offer the group {wanted!r} (--authgroup). It offers: {offers(groups)}."
        )
    return chosen


def _insist_on_acceptance(answers: Answers | None) -> None:
    if answers is not None and not is_accepted(answers):
        raise LoginFailed("The gateway's banner was not accepted.")


def _send(identifier: int, document: bytes, before: tuple[Tlv, ...] = ()) -> Send:
    content = [*before, Tlv(TlvType.DOCUMENT, document)]
    try:
        return Send(EapPacket(Code.RESPONSE, identifier, METHOD_TYPE, encode_tlvs(content)).encode())
    except ValueError:
        size = sum(len(tlv.value) for tlv in content)
        raise LoginFailed(
            f"The answer to the gateway would be {size} bytes; it cannot be more than 65,535 with its header."
        ) from None
