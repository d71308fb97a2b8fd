"""The EAP authenticator that plays a scenario: it says the gateway's turns and judges the client's.

What the client says has to be what the dialogue expects, down to the order of the elements. A reply that is only answered
wrongly (a wrong password) gets the form again with an error, as at any gateway; anything else ends in EAP-Failure. Both are
in `deviations`.
"""

from __future__ import annotations

import time
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from xml.etree import ElementTree as ET

from tests.fakes import certificate_proof, eap, gateway_documents
from tests.fakes.certificate_proof import ProofRefused, Trust
from tests.fakes.dialect import ASA, DECLARATION, Dialect
from tests.fakes.eap import CERTIFICATES, DOCUMENT, SIGNATURE, Reply
from tests.fakes.one_time import CodeServer
from tests.fakes.scenario import (
    Ack,
    AuthReply,
    AuthRequest,
    Complete,
    Error,
    Failure,
    Hello,
    Init,
    OneTime,
    Said,
    Scenario,
    SecondCertificate,
    SignedOn,
    Turn,
)
from tests.fakes.session import IkeAttributes

TRIES = 3
SIGN_ON_TOKEN = "0A1B2C3D4E5F-token-of-the-sign-on"

_TYPES = {Init: "init", AuthReply: "auth-reply", SecondCertificate: "auth-reply", SignedOn: "auth-reply", Ack: "ack"}
_HEADER = ["version", "device-id"]


class Deviation(Exception):
    """The client did not say what the dialogue expects."""


class WrongAnswer(Deviation):
    """It did, with other answers of the user."""


@dataclass(frozen=True)
class Site:
    """What a gateway has that no dialogue tells: whom it trusts, its pages, its clock (seconds since 1970)."""

    trust: Trust | None = None
    sign_on_url: str = "https://vpn.example.com/+CSCOE+/saml/sp/login"
    clock: Callable[[], float] = time.time


class ScenarioLogin:
    """One login after a scenario."""

    def __init__(
        self, scenario: Scenario, dialect: Dialect = ASA, site: Site | None = None, codes: CodeServer | None = None
    ) -> None:
        self.scenario = scenario
        self.deviations: list[str] = []
        self.clients: list[str] = []
        self.identity = b""
        self.ended = False
        self._dialect = dialect
        self._site = site or Site()
        self._codes = codes or CodeServer(self._site.clock)
        self._turns: list[Turn] = list(scenario.dialogue)
        self._attributes = IkeAttributes(b"", "")
        self._said: Said = Hello()
        self._document = b""
        self._opaque = b""
        self._identifier = 0
        self._wrong = 0
        self._over: bool | None = None
        self._username = ""

    # --- the session ---------------------------------------------------------------------------------------------------

    def begin(self, identity: bytes, attributes: IkeAttributes) -> None:
        self.identity = identity
        self._attributes = attributes

    def receive_packet(self, packet: bytes) -> None:
        try:
            self._judge(Reply(packet))
        except WrongAnswer as wrong:
            self.deviations.append(str(wrong))
            self._ask_again()
        except (Deviation, ProofRefused) as deviation:
            self.deviations.append(f"{deviation} (after {self._said})")
            self._turns = [Failure()]

    def send_packet(self) -> bytes:
        if not self._turns:
            self._over = True
            return bytes([eap.SUCCESS, self._identifier, 0, 4])
        turn = self._turns.pop(0)
        assert isinstance(turn, Said), f"the gateway should speak, and the dialogue has {turn}"
        if isinstance(turn, Failure):
            self._over = False
            return bytes([eap.FAILURE, self._identifier, 0, 4])
        self._said = turn
        self._document = self._write(turn)
        self._identifier += 1
        return eap.request(self._identifier, eap.tlv(DOCUMENT, self._document))

    def get_result(self) -> bool | None:
        return self._over

    def end(self) -> None:
        self.ended = True

    # --- what the gateway says -----------------------------------------------------------------------------------------

    def _write(self, said: Said) -> bytes:
        match said:
            case Hello():
                return self._dialect.document("hello")
            case Complete():
                return gateway_documents.complete(self._dialect, said)
            case AuthRequest():
                if said.group is not None:
                    self._opaque = self._dialect.opaque_of(said.group).encode()
                return gateway_documents.auth_request(self._dialect, said, self._username, self._site.sign_on_url)
        raise AssertionError(said)

    def _ask_again(self) -> None:
        """The last question once more, or its end when that has been asked often enough."""
        self._wrong += 1
        assert isinstance(self._said, AuthRequest)
        if self._wrong >= TRIES:
            self._turns = [AuthRequest(error=Error("Too many failed logins."), group=self._said.group)]
        else:
            self._turns[:0] = [replace(self._said, error=Error()), self._expected]

    # --- what the client says ------------------------------------------------------------------------------------------

    def _judge(self, reply: Reply) -> None:
        if not self._turns:
            raise Deviation("the client spoke where the dialogue was over")
        expected = self._turns.pop(0)
        assert not isinstance(expected, Said), f"the client should speak, and the dialogue has {expected}"
        self._expected = expected
        _require("identifier", reply.identifier, self._identifier)
        _require("EAP type", reply.method_type, eap.TYPE)
        with_certificate = isinstance(expected, Init) and expected.certificate
        wanted = [CERTIFICATES, SIGNATURE, DOCUMENT] if with_certificate else [DOCUMENT]
        _require("TLVs", [number for number, _ in reply.tlv_list], wanted)
        root = _read(reply.document)
        _require("type of the document", root.get("type"), _TYPES[type(expected)])
        match expected:
            case Init():
                self._judge_init(expected, root, reply)
            case AuthReply():
                self._judge_reply(expected, root, reply)
            case SecondCertificate():
                self._judge_parts(root, reply, ["auth"])
                self._judge_second_certificate(root)
            case SignedOn(element):
                self._judge_parts(root, reply, ["auth"])
                _require("auth", _texts(root), {element: SIGN_ON_TOKEN})
            case Ack():
                _require("elements", _children(root), _HEADER)

    def _judge_init(self, expected: Init, root: ET.Element, reply: Reply) -> None:
        opaque = ["opaque"] * bool(self._opaque)
        group = ["group-select"] * (expected.group_select is not None)
        fails = ["client-cert-fail"] * expected.certificate_fails
        wanted = [*_HEADER, *opaque, *group, "group-access", *fails, "capabilities"]
        _require("elements", _children(root), wanted)
        _require("group-select", root.findtext("group-select"), expected.group_select)
        self._require_opaque(reply)
        if expected.certificate:
            trust, octets = self._site.trust, self._attributes.initiator_signed_octets
            assert trust is not None
            proof = reply.tlvs[CERTIFICATES], reply.tlvs[SIGNATURE]
            self.clients.append(certificate_proof.check(*proof, octets, self._attributes.prf_hash, trust))

    def _judge_reply(self, expected: AuthReply, root: ET.Element, reply: Reply) -> None:
        group = ["group-select"] * (expected.group_select is not None)
        scan = ["host-scan-token"] * (expected.host_scan_token is not None)
        self._judge_parts(root, reply, ["auth", *group, *scan])
        _require("group-select", root.findtext("group-select"), expected.group_select)
        _require("host-scan-token", root.findtext("host-scan-token"), expected.host_scan_token)
        self._username = root.findtext("auth/username") or self._username
        self._judge_answers(expected.auth, _texts(root))

    def _judge_answers(self, wanted: Mapping[str, str | OneTime], given: Mapping[str, str]) -> None:
        _require("elements of auth", sorted(given), sorted(wanted))
        for name, value in wanted.items():
            right = self._codes.accepts(value.mode, given[name]) if isinstance(value, OneTime) else given[name] == value
            if not right:
                raise WrongAnswer(f"auth/{name} is {given[name]!r}, and {value!r} is expected")

    def _judge_parts(self, root: ET.Element, reply: Reply, tail: list[str]) -> None:
        opaque = ["opaque"] * bool(self._opaque)
        _require("elements", _children(root), [*_HEADER, "session-id", "session-token", *opaque, *tail])
        self._require_opaque(reply)

    def _judge_second_certificate(self, root: ET.Element) -> None:
        """As over TLS: the machine's was proven before, the user's signs the gateway's document (a guess inside IKEv2)."""
        assert isinstance(self._said, AuthRequest)
        chains = {chain.get("cert-store"): chain for chain in root.iterfind("auth/client-cert-chain")}
        _require("certificate stores", list(chains), ["1M", "1U"])
        _require("machine's chain", _children(chains["1M"]), ["client-cert-sent-via-protocol"])
        _require("user's chain", _children(chains["1U"]), ["client-cert", "client-cert-auth-signature"])
        container, proof = chains["1U"]
        _require("format", container.get("cert-format"), "pkcs7")
        hash_name = proof.get("hash-algorithm-chosen", "")
        if hash_name not in self._said.second_certificate:
            raise Deviation(f"the hash {hash_name!r} is none of {self._said.second_certificate}")
        trust = self._site.trust
        assert trust is not None
        try:
            certificates, signature = b64decode(container.text or ""), b64decode(proof.text or "")
        except NotBase64 as error:
            raise Deviation(f"the second certificate cannot be read: {error}") from None
        self.clients.append(certificate_proof.check(certificates, signature, self._document, hash_name, trust))

    def _require_opaque(self, reply: Reply) -> None:
        if self._opaque not in reply.document:
            raise Deviation(f"the opaque element did not come back as it was: {self._opaque!r}")


def _read(document: bytes) -> ET.Element:
    if not document.startswith(DECLARATION) or not document.endswith(b"</config-auth>\n"):
        raise Deviation("the document is not framed as observed")
    try:
        root = ET.fromstring(document)
    except ET.ParseError as error:
        raise Deviation(f"no XML: {error}") from None
    found = root.tag, root.get("client"), root.get("aggregate-auth-version")
    _require("root", found, ("config-auth", "vpn", "2"))
    return root


def _children(element: ET.Element) -> list[str]:
    """The names of the children; the list of MAC addresses is there or not, as the client's user wants."""
    return [child.tag for child in element if child.tag != "mac-address-list"]


def _texts(root: ET.Element) -> dict[str, str]:
    return {child.tag: child.text or "" for child in root.iterfind("auth/*")}


def _require(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise Deviation(f"{what}: {found!r}, and {wanted!r} is expected")
