"""The peer around a method that only records what reaches it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyike.eap.form import Answers
from anyike.eap.method import Ask, EapContext, Failed, Send, Succeeded
from anyike.eap.packet import Code, EapPacket
from anyike.eap.peer import MAX_REPETITIONS, MAX_REQUESTS, EapPeer
from anyike.eap.question import CertificateProof, ProofRequest
from anyike.errors import ExitCode, GatewayRefused, LoginFailed, ProtocolError

EXPANDED = bytes.fromhex("fe00000944425250")
CONTEXT = EapContext(b"octets", "sha256")
PROOF = ProofRequest(b"octets", ("sha256",))


class RecordingMethod:
    """Answers every Request with its own type data, upside down."""

    def __init__(self, method_type=EXPANDED, username="ada"):
        self.method_type = method_type
        self.username = username
        self.seen = []

    def identity(self):
        return self.username

    def process(self, identifier, type_data, context):
        self.seen.append((identifier, type_data, context))
        if type_data == b"sign":
            return Ask(PROOF)
        return Send(EapPacket(Code.RESPONSE, identifier, self.method_type, type_data[::-1]).encode())

    def answer(self, answer):
        self.seen.append(answer)
        if isinstance(answer, CertificateProof):
            return Send(EapPacket(Code.RESPONSE, 9, self.method_type, answer.signature).encode())
        return Succeeded(None)

    def succeed(self):
        return Succeeded(None)

    def fail(self):
        return LoginFailed("the method's words")

    def take_notices(self):
        return ()


def request(identifier, method_type, data=b""):
    return EapPacket(Code.REQUEST, identifier, method_type, data).encode()


def response(identifier, method_type, data=b""):
    return Send(EapPacket(Code.RESPONSE, identifier, method_type, data).encode())


def test_a_request_of_the_method_reaches_it_with_the_context():
    method = RecordingMethod()
    assert EapPeer(method).receive(request(7, EXPANDED, b"abc"), CONTEXT) == response(7, EXPANDED, b"cba")
    assert method.seen == [(7, b"abc", CONTEXT)]


def test_identity_is_the_user_name():
    assert EapPeer(RecordingMethod()).receive(request(3, b"\x01", b"Who?"), CONTEXT) == response(3, b"\x01", b"ada")


def test_an_unknown_identity_is_asked_for():
    method = RecordingMethod(username=None)
    peer = EapPeer(method)
    step = peer.receive(request(3, b"\x01"), CONTEXT)
    assert isinstance(step, Ask)
    assert [field.name for field in step.question.fields] == ["username"]
    assert peer.answer(Answers({"username": "grace"})) == response(3, b"\x01", b"grace")
    assert method.seen == []
    peer.answer(Answers({"password": "x"}))
    assert len(method.seen) == 1


@pytest.mark.parametrize("answers", [{}, {"username": ""}])
def test_no_user_name_at_all_fails(answers):
    peer = EapPeer(RecordingMethod(username=None))
    peer.receive(request(3, b"\x01"), CONTEXT)
    step = peer.answer(Answers(answers))
    assert isinstance(step, Failed)
    assert "--user" in str(step.error)


def test_a_user_name_that_does_not_fit_fails():
    step = EapPeer(RecordingMethod(username="a" * 65_536)).receive(request(3, b"\x01"), CONTEXT)
    assert isinstance(step, Failed)
    assert isinstance(step.error, LoginFailed)


def test_notification_is_shown_harmless_and_acknowledged():
    peer = EapPeer(RecordingMethod())
    assert peer.receive(request(5, b"\x02", b"soon \x1b[2J down"), CONTEXT) == response(5, b"\x02")
    assert peer.take_notices() == ("soon \N{REPLACEMENT CHARACTER}[2J down",)
    assert peer.take_notices() == ()


@pytest.mark.parametrize(
    ("wanted", "ours", "nak"),
    [
        (b"\x1a", EXPANDED, (b"\x03", b"\xfe")),
        (b"\xff", EXPANDED, (b"\x03", b"\xfe")),
        (b"\x1a", b"\x0d", (b"\x03", b"\x0d")),
        (bytes.fromhex("fe0000a100000001"), EXPANDED, (bytes.fromhex("fe00000000000003"), EXPANDED)),
        (EXPANDED, b"\x0d", (bytes.fromhex("fe00000000000003"), bytes.fromhex("fe0000000000000d"))),
    ],
)
def test_another_method_is_refused_with_nak(wanted, ours, nak):
    method = RecordingMethod(ours)
    assert EapPeer(method).receive(request(2, wanted, b"challenge"), CONTEXT) == response(2, *nak)
    assert method.seen == []


def test_failure_after_a_nak_names_the_method_that_the_gateway_wants():
    peer = EapPeer(RecordingMethod())
    peer.receive(request(2, b"\x1a"), CONTEXT)
    step = peer.receive(bytes.fromhex("04020004"), CONTEXT)
    assert isinstance(step, Failed)
    assert isinstance(step.error, GatewayRefused)
    assert "EAP-MSCHAPv2" in str(step.error)


def test_a_gateway_that_gives_in_after_a_nak_fails_in_its_own_words():
    peer = EapPeer(RecordingMethod())
    peer.receive(request(2, b"\x1a"), CONTEXT)
    peer.receive(request(3, EXPANDED), CONTEXT)
    step = peer.receive(bytes.fromhex("04030004"), CONTEXT)
    assert isinstance(step, Failed)
    assert str(step.error) == "the method's words"


@pytest.mark.parametrize("identifier", [4, 5, 255])
def test_success_counts_whatever_its_identifier(identifier):
    peer = EapPeer(RecordingMethod())
    peer.receive(request(4, EXPANDED), CONTEXT)
    assert peer.receive(bytes([3, identifier, 0, 4]), CONTEXT) == Succeeded(None)


def test_failure_counts_whatever_its_identifier():
    peer = EapPeer(RecordingMethod())
    peer.receive(request(4, EXPANDED), CONTEXT)
    step = peer.receive(bytes.fromhex("04030004"), CONTEXT)
    assert isinstance(step, Failed)


def test_the_response_after_a_signature_counts_as_the_last_one():
    peer = EapPeer(RecordingMethod())
    assert peer.receive(request(9, EXPANDED, b"sign"), CONTEXT) == Ask(PROOF)
    assert peer.answer(CertificateProof((), b"sig", "sha256")) == response(9, EXPANDED, b"sig")
    assert peer.receive(bytes.fromhex("03090004"), CONTEXT) == Succeeded(None)


def test_failure_has_the_words_of_the_method():
    peer = EapPeer(RecordingMethod())
    step = peer.receive(bytes.fromhex("04010004"), CONTEXT)
    assert isinstance(step, Failed)
    assert str(step.error) == "the method's words"


def test_a_repeated_request_gets_the_same_response_and_is_not_processed_again():
    method = RecordingMethod()
    peer = EapPeer(method)
    first = peer.receive(request(1, EXPANDED, b"abc"), CONTEXT)
    assert peer.receive(request(1, EXPANDED, b"abc"), CONTEXT) is first
    assert len(method.seen) == 1


def test_repetitions_are_few_in_one_login():
    """Each of them sends a password again."""
    method = RecordingMethod()
    peer = EapPeer(method)
    for number in range(MAX_REPETITIONS):
        first = peer.receive(request(number, EXPANDED, b"abc"), CONTEXT)
        assert peer.receive(request(number, EXPANDED, b"abc"), CONTEXT) is first
    peer.receive(request(77, EXPANDED, b"abc"), CONTEXT)
    for _ in range(2):
        step = peer.receive(request(77, EXPANDED, b"abc"), CONTEXT)
        assert isinstance(step, Failed)
        assert isinstance(step.error, ProtocolError)
        assert "repeat the one before them" in str(step.error)
    assert len(method.seen) == MAX_REPETITIONS + 1


@pytest.mark.parametrize("identifier", [1, 200])
def test_another_request_is_new_whatever_its_identifier(identifier):
    method = RecordingMethod()
    peer = EapPeer(method)
    peer.receive(request(1, EXPANDED, b"abc"), CONTEXT)
    assert peer.receive(request(identifier, EXPANDED, b"xyz"), CONTEXT) == response(identifier, EXPANDED, b"zyx")


def test_requests_are_bounded():
    peer = EapPeer(RecordingMethod())
    steps = [peer.receive(request(n % 256, EXPANDED, bytes([n % 256])), CONTEXT) for n in range(MAX_REQUESTS + 1)]
    assert all(isinstance(step, Send) for step in steps[:-1])
    assert isinstance(steps[-1], Failed)
    assert f"more than {MAX_REQUESTS}" in str(steps[-1].error)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes.fromhex("0101ffff01"),
        bytes.fromhex("09010004"),
        EapPacket(Code.RESPONSE, 1, EXPANDED).encode(),
        request(1, b"\x00"),
        request(1, b"\x03", b"\x1a"),
        request(1, bytes.fromhex("fe00000000000003")),
    ],
)
def test_what_breaks_a_rule_ends_in_one_protocol_error(data):
    step = EapPeer(RecordingMethod()).receive(data, CONTEXT)
    assert isinstance(step, Failed)
    assert isinstance(step.error, ProtocolError)
    assert step.error.exit_code is ExitCode.PROTOCOL


@given(st.lists(st.binary(max_size=30), max_size=4))
def test_arbitrary_bytes_never_raise(packets):
    peer = EapPeer(RecordingMethod())
    for data in packets:
        step = peer.receive(data, CONTEXT)
        assert isinstance(step, (Send, Ask, Succeeded, Failed))


def test_the_failure_can_be_asked_for_when_ike_auth_itself_is_refused():
    assert str(EapPeer(RecordingMethod()).fail()) == "the method's words"
