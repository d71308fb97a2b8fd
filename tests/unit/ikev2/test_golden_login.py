"""The captured login once more, by the whole core: with the capture's nonces, keys, IVs and signature it says the same bytes.

What a key exchange cannot give back (the private values) comes in as the captured result of IKE_SA_INIT; from the login on,
everything that goes out is compared, the pieces of payload 132 included.
"""

from __future__ import annotations

import pytest

from anyike.crypto.prf import PRFS
from anyike.eap.peer import EapPeer
from anyike.eap.question import CertificateProof, HostScan, HostScanDone, ProofRequest
from anyike.eap_anyconnect.method import AnyConnectEap
from anyike.ikev2 import natt
from anyike.ikev2.constants import ExchangeType
from anyike.ikev2.events import GatewayProof, LoginQuestion
from anyike.ikev2.exchanges.ike_auth import IkeAuth
from anyike.ikev2.exchanges.ike_sa_init import IkeSaInitResult
from anyike.ikev2.exchanges.outcome import Again, Wait
from anyike.ikev2.fragments import cut_cisco
from anyike.ikev2.keymat import expand_ike_keys
from anyike.ikev2.message import decode_header, encode_payloads
from anyike.ikev2.payloads import Nonce
from anyike.ikev2.proposals import ChosenIke
from tests.fakes.link import ike_settings
from tests.unit.eap_anyconnect.test_certificate_tlvs import certificates_in, golden_tlv
from tests.unit.eap_anyconnect.test_client_documents import GOLDEN_SETTINGS
from tests.unit.ikev2.golden import SUITE, keys
from tests.unit.ikev2.test_golden_messages import INIT, LIMIT, MESSAGES, label, message_of, observer, payloads_of

PRF_SHA2_256, MODP_2048 = 5, 14
REQUESTS = [
    (message, pieces)
    for message, pieces in MESSAGES
    if decode_header(message).exchange == ExchangeType.IKE_AUTH
    and not decode_header(message).is_response
    and decode_header(message).message_id > 1
]


def golden_result() -> IkeSaInitResult:
    request, response = (message_of(ExchangeType.IKE_SA_INIT, 0, is_response) for is_response in (False, True))
    ni, nr = request.get(Nonce).data, response.get(Nonce).data
    header = response.header
    derived = expand_ike_keys(PRFS[PRF_SHA2_256], SUITE, keys()["skeyseed"], ni, nr, header.spi_i, header.spi_r)
    assert (derived.sk_pi, derived.sk_er) == (keys()["sk_pi"], keys()["sk_er"])
    return IkeSaInitResult(
        chosen=ChosenIke(SUITE, PRF_SHA2_256, MODP_2048),
        keys=derived,
        spi_r=header.spi_r,
        ni=ni,
        nr=nr,
        request=INIT[0],
        response=INIT[1],
        vendor_ids=(),
        ietf_fragmentation=False,
        cisco_fragmentation=True,
        nat=natt.NatDetection(True, True, True, b""),
    )


@pytest.fixture(scope="module")
def said() -> list[tuple]:
    """The payloads that the core sends after the gateway was found to be the right one, in order."""
    events: list = []
    method = AnyConnectEap(GOLDEN_SETTINGS)
    auth = IkeAuth(ike_settings(request_ipv6=False), golden_result(), EapPeer(method), events.append, bytes, True)
    auth.build(0x12345678)
    found = []
    for number in range(1, len(REQUESTS) + 1):
        outcome = auth.process(message_of(ExchangeType.IKE_AUTH, number, True).payloads)
        while isinstance(outcome, Wait):
            outcome = answered(auth, events.pop(0))
        assert isinstance(outcome, Again), outcome
        found.append(outcome.payloads)
    return found


def answered(auth: IkeAuth, event: object):
    match event:
        case GatewayProof():
            return auth.supply_verdict(None)
        case LoginQuestion(ProofRequest() as question):
            # The golden signature verifies over just these octets: test_certificate_tlvs.
            assert question.hash_names == ("sha256",)
            return auth.supply_answer(CertificateProof(tuple(certificates_in(golden_tlv(3))), golden_tlv(1), "sha256"))
        case LoginQuestion(HostScan()):
            return auth.supply_answer(HostScanDone())
        case _:
            return Wait()


def test_the_whole_login_was_played(said):
    assert len(said) == len(REQUESTS) == 5


@pytest.mark.parametrize("number", range(len(REQUESTS)), ids=[label(message) for message, _ in REQUESTS])
def test_every_message_is_the_captured_one_byte_for_byte(said, number):
    """The plaintext, and the datagrams: but for the captured padding, which is random, and the ICV over it."""
    message, pieces = REQUESTS[number]
    assert said[number] == payloads_of(message)
    assert encode_payloads(said[number]) == encode_payloads(payloads_of(message))
    sealed = observer(message).seal(decode_header(message), said[number])
    same = len(message) - SUITE.icv_length - SUITE.block_size
    assert (len(sealed), sealed[:same]) == (len(message), message[:same])
    cut = cut_cisco(sealed, LIMIT) if len(sealed) > LIMIT else [sealed]
    assert [len(piece) for piece in cut] == [len(piece) for piece in pieces]
    assert cut[:-1] == pieces[:-1]
