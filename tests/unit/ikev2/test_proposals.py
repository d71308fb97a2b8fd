"""Proposal strings, what is offered for them, and which answers are a choice from it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyike.crypto.cipher import CipherSuite
from anyike.crypto.dh import generate
from anyike.crypto.prf import PRFS
from anyike.ikev2.constants import (
    EncryptionId,
    EsnId,
    GroupId,
    IntegrityId,
    PrfId,
    ProtocolId,
    TransformType,
)
from anyike.ikev2.payloads import Proposal, SecurityAssociation, Transform
from anyike.ikev2.proposals import (
    ALLOWED_WORDS,
    DEFAULT_ESP_PROPOSALS,
    DEFAULT_IKE_PROPOSALS,
    ChosenEsp,
    ChosenIke,
    InvalidProposal,
    ProposalSpec,
    UnacceptableChoice,
    choose_esp,
    choose_ike,
    describe,
    group_name,
    offer_esp,
    offer_ike,
    parse_esp,
    parse_ike,
    select_esp,
)
from anyike.wire import Reader

ENCR, PRF, INTEG, DH, ESN = TransformType
GCM_256 = Transform(ENCR, EncryptionId.AES_GCM_16, 256)
GCM_128 = Transform(ENCR, EncryptionId.AES_GCM_16, 128)
CBC_256 = Transform(ENCR, EncryptionId.AES_CBC, 256)
SHA256 = Transform(INTEG, IntegrityId.HMAC_SHA2_256_128)
PRF_384 = Transform(PRF, PrfId.HMAC_SHA2_384)
PRF_256 = Transform(PRF, PrfId.HMAC_SHA2_256)
ECP_384 = Transform(DH, GroupId.ECP_384)
MODP_2048 = Transform(DH, GroupId.MODP_2048)
NO_ESN = Transform(ESN, EsnId.NONE)
EXTENDED = Transform(ESN, EsnId.ESN)
NO_INTEGRITY = Transform(INTEG, IntegrityId.NONE)
SPI = 0xCAFEBABE

IKE_OFFER = [
    parse_ike("aes256gcm16-aes128gcm16-prfsha384-prfsha256-ecp384-modp2048"),
    parse_ike("aes256-sha256-ecp384"),
]
ESP_OFFER = [parse_esp("aes256gcm16-aes128gcm16-ecp384"), parse_esp("aes256-sha256")]


def answer(
    number: int, *transforms: Transform, protocol: int = ProtocolId.IKE, spi: bytes = b""
) -> SecurityAssociation:
    return SecurityAssociation((Proposal(number, protocol, spi, transforms),))


def esp_answer(number: int, *transforms: Transform, spi: bytes = b"\x01\x02\x03\x04") -> SecurityAssociation:
    return answer(number, *transforms, protocol=ProtocolId.ESP, spi=spi)


# --- strings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "transforms"),
    [
        ("aes256gcm16-prfsha384-ecp384", (GCM_256, PRF_384, ECP_384)),
        ("ecp384-prfsha384-aes256gcm16", (GCM_256, PRF_384, ECP_384)),
        ("AES256GCM16-PRFSHA384-ECP384", (GCM_256, PRF_384, ECP_384)),
        ("aes256-sha256-modp2048", (CBC_256, SHA256, PRF_256, MODP_2048)),
        ("aes256-sha256-prfsha384-modp2048-ecp384", (CBC_256, SHA256, PRF_384, MODP_2048, ECP_384)),
        ("aes256-aes256-sha256-sha2_256-modp2048", (CBC_256, SHA256, PRF_256, MODP_2048)),
    ],
)
def test_ike_strings(text, transforms):
    spec = parse_ike(text)
    assert spec.transforms == transforms
    assert spec.text == text
    assert spec.weak == ()


@pytest.mark.parametrize(
    ("text", "transforms"),
    [
        ("aes256gcm16", (GCM_256, EXTENDED, NO_ESN)),
        ("aes256gcm16-esn", (GCM_256, EXTENDED)),
        ("aes256gcm16-noesn", (GCM_256, NO_ESN)),
        ("aes256gcm16-esn-noesn", (GCM_256, EXTENDED, NO_ESN)),
        ("noesn-aes256gcm16-esn", (GCM_256, NO_ESN, EXTENDED)),
        ("aes256-sha256", (CBC_256, SHA256, EXTENDED, NO_ESN)),
        ("aes256-sha256-ecp384-noesn", (CBC_256, SHA256, ECP_384, NO_ESN)),
    ],
)
def test_esp_strings(text, transforms):
    assert parse_esp(text).transforms == transforms


@pytest.mark.parametrize(
    ("synonym", "word"),
    [
        ("aes-sha-modp2048", "aes128-sha1-modp2048"),
        ("aes256gcm-prfsha384-ecp384", "aes256gcm16-prfsha384-ecp384"),
        ("aes256gcm128-prfsha384-curve25519", "aes256gcm16-prfsha384-x25519"),
        ("aes256-sha2_512-ecp521", "aes256-sha512-ecp521"),
    ],
)
def test_synonyms(synonym, word):
    assert parse_ike(synonym).transforms == parse_ike(word).transforms


def test_weak_words_are_reported():
    assert parse_ike("aes256-3des-sha256-sha1-ecp256-modp1024-modp1536").weak == (
        "3des",
        "sha1",
        "modp1024",
        "modp1536",
    )
    assert parse_ike("aes256gcm16-prfsha1-ecp256").weak == ("prfsha1",)
    assert parse_ike("aes-sha-modp2048").weak == ("sha1",)
    assert parse_esp("3des-sha1-modp1024").weak == ("3des", "sha1", "modp1024")
    assert parse_esp("aes128-sha256").weak == ()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["unknown word ''", "aes256gcm16"]),
        ("aes256gcm16-prfsha384-ecp384-blowfish", ["unknown word 'blowfish'", "x25519"]),
        ("aes256gcm16 -prfsha384-ecp384", ["unknown word 'aes256gcm16 '"]),
        ("aes256gcm16--ecp384", ["unknown word ''"]),
        ("prfsha384-ecp384", ["names no encryption", "chacha20poly1305"]),
        ("aes256gcm16-ecp384", ["names no PRF", "prfsha256"]),
        ("aes256-sha256", ["names no Diffie-Hellman group", "ecp256"]),
        ("aes256-prfsha256-ecp256", ["needs an integrity algorithm", "sha256"]),
        ("aes256gcm16-aes256-prfsha384-ecp384", ["mixes aes256gcm16", "two proposals"]),
        ("aes256gcm16-sha256-prfsha384-ecp384", ["aes256gcm16 protects integrity itself"]),
        ("aes256gcm16-prfsha384-ecp384-noesn", ["leave esn and noesn out"]),
        ("aes256gcm16-prfsha384-ecp384-esn", ["leave esn and noesn out"]),
    ],
)
def test_what_is_wrong_with_an_ike_string(text, parts):
    with pytest.raises(InvalidProposal) as caught:
        parse_ike(text)
    assert repr(text) in str(caught.value)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("aes256gcm16-prfsha384", "ESP has no PRF"),
        ("aes256", "needs an integrity algorithm"),
        ("sha256", "names no encryption"),
        ("aes256gcm16-sha256", "protects integrity itself"),
        ("aes256gcm16-noesm", "unknown word 'noesm'; allowed are .*, esn, noesn$"),
    ],
)
def test_what_is_wrong_with_an_esp_string(text, part):
    with pytest.raises(InvalidProposal, match=part):
        parse_esp(text)


words = st.sampled_from((*ALLOWED_WORDS, "aes", "sha", "curve25519", ""))


@given(st.text() | st.lists(words, max_size=8).map("-".join), st.sampled_from([parse_ike, parse_esp]))
def test_any_string_gives_a_usable_proposal_or_the_declared_error(text, parse):
    try:
        spec = parse(text)
    except InvalidProposal:
        return
    assert spec.transforms
    assert len(set(spec.transforms)) == len(spec.transforms)
    assert set(spec.weak) <= set(text.lower().split("-")) | {"sha1"}
    offer = offer_ike([spec]) if parse is parse_ike else offer_esp([spec], SPI)
    assert SecurityAssociation.decode(Reader(offer.encode())) == offer
    first = {t.type: t for t in reversed(offer.proposals[0].transforms)}.values()
    if parse is parse_ike:
        chosen = choose_ike([spec], answer(1, *first))
        assert chosen.prf in PRFS
        assert chosen.group == spec.groups[0]
    else:
        assert choose_esp([spec], SPI, esp_answer(1, *first)).spi == 0x01020304
        assert {t.id for t in spec.transforms if t.type == ESN} <= set(EsnId)


# --- offers -----------------------------------------------------------------------------------------------------------


def test_offers_are_numbered_from_one_and_keep_their_order():
    offer = offer_ike(IKE_OFFER)
    assert [(p.number, p.protocol, p.spi) for p in offer.proposals] == [(1, 1, b""), (2, 1, b"")]
    assert offer.proposals[0].transforms == IKE_OFFER[0].transforms
    offer = offer_esp(ESP_OFFER, SPI)
    assert [(p.number, p.protocol, p.spi) for p in offer.proposals] == [
        (1, 3, b"\xca\xfe\xba\xbe"),
        (2, 3, b"\xca\xfe\xba\xbe"),
    ]


def test_the_first_child_sa_offers_no_group():
    """RFC 7296 1.2: its keys come from the IKE SA's exchange; groups in the string are for later."""
    assert ESP_OFFER[0].groups == (GroupId.ECP_384,)
    assert all(t.type != DH for proposal in offer_esp(ESP_OFFER, SPI).proposals for t in proposal.transforms)


def test_the_defaults_are_usable_modern_and_strongest_first():
    ike, esp = [parse_ike(text) for text in DEFAULT_IKE_PROPOSALS], [parse_esp(text) for text in DEFAULT_ESP_PROPOSALS]
    assert all(spec.weak == () for spec in (*ike, *esp))
    for specs in (ike, esp):
        aead = [CipherSuite(t.id, t.key_length or 0).is_aead for t in specs[0].transforms if t.type == ENCR]
        assert all(aead)
        assert specs[0].transforms[0] == GCM_256
        assert all(t.id == EncryptionId.AES_CBC for spec in specs[1:] for t in spec.transforms if t.type == ENCR)
    assert {14, 15, 16, 19, 20, 21, 31} <= set(ike[0].groups)
    assert ike[0].groups == ike[1].groups  # one KE fits whichever proposal the gateway takes
    assert ike[0].groups[-1] == GroupId.MODP_2048
    assert all(generate(group, bytes).group == group for group in ike[0].groups[:1])
    covered = {t.id for spec in ike for t in spec.transforms if t.type == PRF}
    assert covered == {PrfId.HMAC_SHA2_256, PrfId.HMAC_SHA2_384, PrfId.HMAC_SHA2_512}


# --- answers ----------------------------------------------------------------------------------------------------------


def test_a_choice_from_either_ike_proposal():
    assert choose_ike(IKE_OFFER, answer(1, GCM_128, PRF_384, MODP_2048)) == ChosenIke(CipherSuite(20, 128), 6, 14)
    expected = ChosenIke(CipherSuite(12, 256, 12), 5, 20)
    assert choose_ike(IKE_OFFER, answer(2, ECP_384, PRF_256, SHA256, CBC_256)) == expected


def test_a_choice_from_either_esp_proposal():
    assert choose_esp(ESP_OFFER, SPI, esp_answer(1, GCM_128, NO_ESN)) == ChosenEsp(CipherSuite(20, 128), 0x01020304)
    expected = ChosenEsp(CipherSuite(12, 256, 12), 0xFFFFFFFF, esn=True)
    assert choose_esp(ESP_OFFER, SPI, esp_answer(2, CBC_256, SHA256, EXTENDED, spi=b"\xff" * 4)) == expected


@pytest.mark.parametrize(
    ("ours", "theirs", "esn"),
    [
        ("", "-esn", True),
        ("", "-noesn", False),
        ("", "-noesn-esn", False),
        ("", "-esn-noesn", True),
        ("-noesn", "-esn-noesn", False),
        ("-noesn", "-noesn", False),
        ("-esn", "-noesn-esn", True),
        ("-noesn-esn", "-esn-noesn", True),
        ("-noesn", "-esn", None),
        ("-esn", "-noesn", None),
    ],
)
def test_a_gateway_that_offers_finds_its_first_kind_of_sequence_number_that_is_ours_too(ours, theirs, esn):
    offer = offer_esp([parse_esp("aes256gcm16" + theirs)], 0x01020304)
    if esn is None:
        with pytest.raises(UnacceptableChoice):
            select_esp([parse_esp("aes256gcm16" + ours)], offer)
        return
    answer, chosen = select_esp([parse_esp("aes256gcm16" + ours)], offer)
    assert answer.transforms == (GCM_256, EXTENDED if esn else NO_ESN)
    assert chosen == ChosenEsp(CipherSuite(20, 256), 0x01020304, esn=esn)


@pytest.mark.parametrize(("text", "transform"), [("aes256gcm16-esn", NO_ESN), ("aes256gcm16-noesn", EXTENDED)])
def test_the_other_kind_of_sequence_number_is_no_choice(text, transform):
    with pytest.raises(UnacceptableChoice):
        choose_esp([parse_esp(text)], SPI, esp_answer(1, GCM_256, transform))


def test_integrity_none_beside_an_aead_is_the_same_as_nothing():
    """RFC 7296 3.3.3 allows both ways to say it."""
    assert choose_ike(IKE_OFFER, answer(1, GCM_256, NO_INTEGRITY, PRF_384, ECP_384)).suite == CipherSuite(20, 256)
    assert choose_esp(ESP_OFFER, SPI, esp_answer(1, GCM_256, NO_INTEGRITY, NO_ESN)).suite == CipherSuite(20, 256)


@pytest.mark.parametrize(
    "transforms",
    [
        (),
        (GCM_256, PRF_384),
        (PRF_384, ECP_384),
        (GCM_256, ECP_384),
        (GCM_256, GCM_128, PRF_384, ECP_384),
        (GCM_256, GCM_256, PRF_384, ECP_384),
        (GCM_256, PRF_384, ECP_384, MODP_2048),
        (GCM_256, PRF_384, ECP_384, NO_ESN),
        (GCM_256, PRF_384, ECP_384, SHA256),
        (CBC_256, SHA256, PRF_384, ECP_384),
        (replace(GCM_256, key_length=192), PRF_384, ECP_384),
        (replace(GCM_256, key_length=None), PRF_384, ECP_384),
        (replace(GCM_256, key_length=0), PRF_384, ECP_384),
        (replace(GCM_256, attributes=((14, b"\x01\x00"),)), PRF_384, ECP_384),
        (replace(GCM_256, attributes=((0x800E, b"\x00\x80"),)), PRF_384, ECP_384),
        (GCM_256, replace(PRF_384, key_length=128), ECP_384),
        (GCM_256, PRF_384, Transform(DH, GroupId.ECP_256)),
        (GCM_256, PRF_384, Transform(DH, 0)),
        (GCM_256, PRF_384, ECP_384, Transform(9, 1)),
        (Transform(ENCR, 11), PRF_384, ECP_384),
    ],
    ids=lambda transforms: describe(transforms) or "nothing",
)
def test_what_is_not_one_offered_ike_combination_is_refused(transforms):
    with pytest.raises(UnacceptableChoice):
        choose_ike(IKE_OFFER, answer(1, *transforms))


def test_an_encryption_without_its_integrity_is_refused():
    for transforms in ((CBC_256, PRF_256, ECP_384), (CBC_256, NO_INTEGRITY, PRF_256, ECP_384)):
        with pytest.raises(UnacceptableChoice):
            choose_ike(IKE_OFFER, answer(2, *transforms))


@pytest.mark.parametrize("number", [0, 3, 255])
def test_a_number_that_was_not_offered_is_refused(number):
    with pytest.raises(UnacceptableChoice, match=f"proposal {number}"):
        choose_ike(IKE_OFFER, answer(number, GCM_256, PRF_384, ECP_384))


def test_one_proposals_transforms_under_anothers_number_are_refused():
    with pytest.raises(UnacceptableChoice):
        choose_ike(IKE_OFFER, answer(2, GCM_256, PRF_384, ECP_384))


def test_exactly_one_proposal_of_the_right_protocol():
    right = answer(1, GCM_256, PRF_384, ECP_384).proposals[0]
    for proposals in ((), (right, right)):
        with pytest.raises(UnacceptableChoice):
            choose_ike(IKE_OFFER, SecurityAssociation(proposals))
    for protocol in (0, 2, 3):
        with pytest.raises(UnacceptableChoice):
            choose_ike(IKE_OFFER, SecurityAssociation((replace(right, protocol=protocol),)))
    with pytest.raises(UnacceptableChoice):
        choose_esp(ESP_OFFER, SPI, answer(1, GCM_256, NO_ESN, protocol=ProtocolId.AH, spi=b"\1\2\3\4"))


@pytest.mark.parametrize("spi", [b"", b"\x01", bytes(4), b"\x00\x00\x00\xff", b"\x01\x02\x03\x04\x05", bytes(8)])
def test_an_esp_spi_that_cannot_be_is_refused(spi):
    """RFC 4303 2.1: 0 is local, 1 to 255 are reserved."""
    with pytest.raises(UnacceptableChoice, match="SPI"):
        choose_esp(ESP_OFFER, SPI, esp_answer(1, GCM_256, NO_ESN, spi=spi))


@pytest.mark.parametrize(
    "transforms",
    [
        (GCM_256,),
        (GCM_256, Transform(ESN, 2)),
        (GCM_256, NO_ESN, EXTENDED),
        (GCM_256, NO_ESN, ECP_384),
        (GCM_256, NO_ESN, PRF_384),
    ],
    ids=describe,
)
def test_what_is_not_one_offered_esp_combination_is_refused(transforms):
    with pytest.raises(UnacceptableChoice):
        choose_esp(ESP_OFFER, SPI, esp_answer(1, *transforms))


transforms = st.builds(
    Transform, st.integers(0, 6), st.integers(0, 40), st.sampled_from([None, 0, 128, 192, 256]), st.just(())
)


@given(st.integers(0, 4), st.lists(transforms, max_size=5))
def test_any_answer_is_an_offered_choice_or_the_declared_error(number, transforms):
    try:
        chosen = choose_ike(IKE_OFFER, answer(number, *transforms))
    except UnacceptableChoice:
        return
    offered = IKE_OFFER[number - 1].transforms
    assert {t for t in transforms if t != NO_INTEGRITY} <= set(offered)
    assert Transform(DH, chosen.group) in offered


def test_describe_uses_the_words_people_write():
    assert describe(parse_ike("aes256gcm16-prfsha384-ecp384").transforms) == "aes256gcm16-prfsha384-ecp384"
    assert describe((Transform(ENCR, EncryptionId.TRIPLE_DES), NO_ESN)) == "3des-noesn"
    assert describe((Transform(ENCR, 99), Transform(77, 1))) == "1:99-77:1"
    assert (group_name(GroupId.CURVE25519), group_name(17)) == ("x25519", "17")


@pytest.mark.parametrize("word", ALLOWED_WORDS)
def test_every_documented_word_has_a_place(word):
    beside = ("aes256-sha256-prfsha256-ecp256", "sha256-ecp256", "prfsha256-ecp256", "aes256-sha256")
    spec = [
        parsed for rest in beside for parse in (parse_ike, parse_esp) if (parsed := _parsed(parse, f"{word}-{rest}"))
    ]
    assert spec
    assert any(word in describe(found.transforms).split("-") for found in spec)


def _parsed(parse, text: str) -> ProposalSpec | None:
    try:
        return parse(text)
    except InvalidProposal:
        return None
