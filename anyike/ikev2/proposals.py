"""Proposals as people write them (`aes256gcm16-prfsha384-ecp384`), as they are offered, and as the gateway chose.

The words are strongSwan's, which users and administrators know. Order is preference, within a proposal and among them.
RFC 7296 sections 2.7 and 3.3; identifiers by IANA "IKEv2 Parameters".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from anyike.crypto.cipher import CipherSuite
from anyike.errors import AnyikeError
from anyike.ikev2.constants import EncryptionId, EsnId, GroupId, IntegrityId, PrfId, ProtocolId, TransformType
from anyike.ikev2.payloads import Proposal, SecurityAssociation, Transform

DEFAULT_IKE_PROPOSALS = (
    "aes256gcm16-aes128gcm16-chacha20poly1305-prfsha384-prfsha256-prfsha512-ecp256-x25519-ecp384-ecp521-modp3072-modp4096-modp2048",
    "aes256-aes128-sha256-sha384-sha512-ecp256-x25519-ecp384-ecp521-modp3072-modp4096-modp2048",
)
DEFAULT_ESP_PROPOSALS = ("aes256gcm16-aes128gcm16-chacha20poly1305", "aes256-aes128-sha256-sha384-sha512")

_AEAD = {
    "aes128gcm16": (EncryptionId.AES_GCM_16, 128),
    "aes192gcm16": (EncryptionId.AES_GCM_16, 192),
    "aes256gcm16": (EncryptionId.AES_GCM_16, 256),
    "chacha20poly1305": (EncryptionId.CHACHA20_POLY1305, None),
}
_CBC = {
    "aes128": (EncryptionId.AES_CBC, 128),
    "aes192": (EncryptionId.AES_CBC, 192),
    "aes256": (EncryptionId.AES_CBC, 256),
    "3des": (EncryptionId.TRIPLE_DES, None),
}
_INTEGRITY = {
    "sha256": IntegrityId.HMAC_SHA2_256_128,
    "sha384": IntegrityId.HMAC_SHA2_384_192,
    "sha512": IntegrityId.HMAC_SHA2_512_256,
    "sha1": IntegrityId.HMAC_SHA1_96,
}
_PRF = {
    "prfsha256": PrfId.HMAC_SHA2_256,
    "prfsha384": PrfId.HMAC_SHA2_384,
    "prfsha512": PrfId.HMAC_SHA2_512,
    "prfsha1": PrfId.HMAC_SHA1,
}
_GROUP = {
    "modp1024": GroupId.MODP_1024,
    "modp1536": GroupId.MODP_1536,
    "modp2048": GroupId.MODP_2048,
    "modp3072": GroupId.MODP_3072,
    "modp4096": GroupId.MODP_4096,
    "ecp256": GroupId.ECP_256,
    "ecp384": GroupId.ECP_384,
    "ecp521": GroupId.ECP_521,
    "x25519": GroupId.CURVE25519,
}
_SYNONYMS = {
    "aes": "aes128",
    "aes128gcm": "aes128gcm16",
    "aes192gcm": "aes192gcm16",
    "aes256gcm": "aes256gcm16",
    "aes128gcm128": "aes128gcm16",
    "aes192gcm128": "aes192gcm16",
    "aes256gcm128": "aes256gcm16",
    "sha": "sha1",
    "sha2_256": "sha256",
    "sha2_384": "sha384",
    "sha2_512": "sha512",
    "curve25519": "x25519",
}
_ESN = {"esn": EsnId.ESN, "noesn": EsnId.NONE}
_WORDS: dict[int, Mapping[str, int]] = {
    TransformType.INTEG: _INTEGRITY,
    TransformType.PRF: _PRF,
    TransformType.DH: _GROUP,
    TransformType.ESN: _ESN,
}
_WEAK = {"3des", "sha1", "prfsha1", "modp1024", "modp1536"}

ALLOWED_WORDS = (*_AEAD, *_CBC, *_INTEGRITY, *_PRF, *_GROUP, *_ESN)
"""Every word a proposal may consist of, for error messages and documentation."""


class InvalidProposal(AnyikeError):
    """A proposal string that cannot be understood or offered."""


class UnacceptableChoice(AnyikeError):
    """The gateway's SA payload is not one of the offered combinations."""


@dataclass(frozen=True, slots=True)
class ProposalSpec:
    """One proposal as configured. `weak` names the words in it that should not be used any more."""

    text: str
    transforms: tuple[Transform, ...]
    weak: tuple[str, ...] = ()

    @property
    def groups(self) -> tuple[int, ...]:
        """Diffie-Hellman groups in order of preference."""
        return tuple(t.id for t in self.transforms if t.type == TransformType.DH)


@dataclass(frozen=True, slots=True)
class ChosenIke:
    """What the gateway picked for the IKE SA."""

    suite: CipherSuite
    prf: int
    group: int


@dataclass(frozen=True, slots=True)
class ChosenEsp:
    """What was picked for a CHILD_SA; `spi` is the gateway's inbound SPI, `group` that of a key exchange of its own, 0 for none.

    `esn`: with extended sequence numbers.
    """

    suite: CipherSuite
    spi: int
    group: int = 0
    esn: bool = False


def parse_ike(text: str) -> ProposalSpec:
    """An IKE proposal: encryption, integrity unless AEAD, PRF (derived from integrity when left out), group.

    Raises:
        InvalidProposal: says which word is unknown or what is missing.
    """
    words = _words(text)
    if any(word in _ESN for word in words):
        raise InvalidProposal(f"{text!r}: only ESP has sequence numbers to extend; leave {' and '.join(_ESN)} out")
    encryption = _encryption(words, text)
    integrity = _integrity(words, text)
    prfs = [Transform(TransformType.PRF, _PRF[word]) for word in words if word in _PRF]
    if not prfs:
        prfs = [Transform(TransformType.PRF, _PRF["prf" + word]) for word in words if word in _INTEGRITY]
    groups = _groups(words)
    if not prfs:
        raise InvalidProposal(f"{text!r} names no PRF: add one of {', '.join(_PRF)}")
    if not groups:
        raise InvalidProposal(f"{text!r} names no Diffie-Hellman group: add one of {', '.join(_GROUP)}")
    return ProposalSpec(text, (*encryption, *integrity, *prfs, *groups), _weak(words))


def parse_esp(text: str) -> ProposalSpec:
    """An ESP proposal: encryption and, unless AEAD, integrity; groups in it are for rekeying with PFS.

    `esn` and `noesn`: sequence numbers are extended, or not. With both words, or with neither, the gateway may choose, as
    RFC 7296 3.3.2 expects of an initiator that can do both.

    Raises:
        InvalidProposal: says which word is unknown or what is missing.
    """
    words = _words(text)
    if any(word in _PRF for word in words):
        raise InvalidProposal(f"{text!r}: ESP has no PRF; leave the prf... words out")
    encryption = _encryption(words, text)
    named = [word for word in words if word in _ESN] or list(_ESN)
    esn = [Transform(TransformType.ESN, _ESN[word]) for word in named]
    return ProposalSpec(text, (*encryption, *_integrity(words, text), *_groups(words), *esn), _weak(words))


def offer_ike(specs: Sequence[ProposalSpec], spi: bytes = b"") -> SecurityAssociation:
    """The IKE SA's proposals, numbered from 1: without SPI in IKE_SA_INIT, with the new one's in a rekeying."""
    return SecurityAssociation(
        tuple(Proposal(number, ProtocolId.IKE, spi, spec.transforms) for number, spec in enumerate(specs, 1))
    )


def offer_esp(specs: Sequence[ProposalSpec], spi: int, *, own_exchange: bool = False) -> SecurityAssociation:
    """The CHILD_SA's proposals. SAi2 of IKE_AUTH has no groups: the first one uses the IKE SA's key exchange (RFC 7296 1.2).

    With an `own_exchange` the groups that the proposals name are offered (perfect forward secrecy).
    """
    return SecurityAssociation(
        tuple(
            Proposal(
                number,
                ProtocolId.ESP,
                spi.to_bytes(4, "big"),
                tuple(t for t in spec.transforms if own_exchange or t.type != TransformType.DH),
            )
            for number, spec in enumerate(specs, 1)
        )
    )


def choose_ike(specs: Sequence[ProposalSpec], answer: SecurityAssociation) -> ChosenIke:
    """Check SAr1, or the answer to a rekeying, against what was offered.

    Raises:
        UnacceptableChoice: not exactly one of the offered combinations.
    """
    _, chosen = _chosen(offer_ike(specs), answer)
    return ChosenIke(_suite(chosen), chosen[TransformType.PRF].id, chosen[TransformType.DH].id)


def choose_esp(
    specs: Sequence[ProposalSpec], our_spi: int, answer: SecurityAssociation, *, own_exchange: bool = False
) -> ChosenEsp:
    """Check SAr2, or the answer to a rekeying, against what was offered.

    Raises:
        UnacceptableChoice: not exactly one of the offered combinations, or an SPI that cannot be.
    """
    proposal, chosen = _chosen(offer_esp(specs, our_spi, own_exchange=own_exchange), answer)
    return _chosen_esp(proposal, chosen)


def select_ike(specs: Sequence[ProposalSpec], offer: SecurityAssociation) -> tuple[Proposal, ChosenIke]:
    """As responder: the first proposal of the gateway's that fits one of ours, as it goes back, and what it means.

    Raises:
        UnacceptableChoice: none fits.
    """
    kinds = frozenset({TransformType.ENCR, TransformType.INTEG, TransformType.PRF, TransformType.DH})
    proposal, chosen = _selected(specs, offer, ProtocolId.IKE, kinds)
    return proposal, ChosenIke(_suite(chosen), chosen[TransformType.PRF].id, chosen[TransformType.DH].id)


def select_esp(specs: Sequence[ProposalSpec], offer: SecurityAssociation) -> tuple[Proposal, ChosenEsp]:
    """As responder, likewise. A group is taken if the gateway insists on one, whether or not ours name any.

    Raises:
        UnacceptableChoice: none fits.
    """
    kinds = frozenset({TransformType.ENCR, TransformType.INTEG, TransformType.ESN})
    proposal, chosen = _selected(specs, offer, ProtocolId.ESP, kinds)
    return proposal, _chosen_esp(proposal, chosen)


def _chosen_esp(proposal: Proposal, chosen: Mapping[int, Transform]) -> ChosenEsp:
    group = chosen.get(TransformType.DH)
    esn = chosen[TransformType.ESN].id == EsnId.ESN
    return ChosenEsp(_suite(chosen), _esp_spi(proposal), group.id if group else 0, esn)


def _esp_spi(proposal: Proposal) -> int:
    spi = int.from_bytes(proposal.spi, "big")
    if len(proposal.spi) != 4 or spi < 256:
        raise UnacceptableChoice(
            f"the gateway's ESP SPI {proposal.spi.hex() or '(empty)'} is not allowed (RFC 4303 2.1)"
        )
    return spi


def _selected(
    specs: Sequence[ProposalSpec], offer: SecurityAssociation, protocol: int, kinds: frozenset[TransformType]
) -> tuple[Proposal, dict[int, Transform]]:
    for proposal in offer.proposals:
        for spec in specs:
            chosen = _fit(spec, proposal, kinds) if proposal.protocol == protocol else None
            if chosen is not None:
                return Proposal(proposal.number, protocol, proposal.spi, tuple(chosen.values())), chosen
    offered = "; ".join(describe(proposal.transforms) for proposal in offer.proposals)
    raise UnacceptableChoice(f"the gateway offers {offered}, and none of it is among the configured proposals")


def _fit(spec: ProposalSpec, proposal: Proposal, kinds: frozenset[TransformType]) -> dict[int, Transform] | None:
    """One transform of each type that the gateway offers; None where one of them is not ours."""
    chosen: dict[int, Transform] = {}
    for kind in dict.fromkeys(transform.type for transform in proposal.transforms):
        theirs = [transform for transform in proposal.transforms if transform.type == kind]
        ours = [transform for transform in spec.transforms if transform.type == kind]
        if kind == TransformType.DH and kind not in kinds:
            ours = ours or [Transform(TransformType.DH, group) for word, group in _GROUP.items() if word not in _WEAK]
        common = [transform for transform in theirs if transform in ours]
        if common:
            chosen[kind] = common[0]
        elif not any(transform.id == 0 for transform in theirs):  # NONE of integrity, group or ESN may be left out
            return None
    wanted = {transform.type for transform in spec.transforms} & kinds
    return chosen if wanted <= set(chosen) else None


def describe(transforms: Iterable[Transform]) -> str:
    """Transforms by the words of a proposal string; unknown ones as type:id."""
    return "-".join(_word(transform) for transform in transforms)


def group_name(group: int) -> str:
    """The proposal word of a group, or its number."""
    return next((word for word, identifier in _GROUP.items() if identifier == group), str(group))


def _chosen(offer: SecurityAssociation, answer: SecurityAssociation) -> tuple[Proposal, dict[int, Transform]]:
    if len(answer.proposals) != 1:
        raise UnacceptableChoice(f"the gateway answered with {len(answer.proposals)} proposals where one is allowed")
    proposal = answer.proposals[0]
    offered = next((p for p in offer.proposals if p.number == proposal.number), None)
    if offered is None or offered.protocol != proposal.protocol:
        raise UnacceptableChoice(f"the gateway chose proposal {proposal.number}, which was not offered")
    transforms = [t for t in proposal.transforms if (t.type, t.id) != (TransformType.INTEG, IntegrityId.NONE)]
    chosen = {t.type: t for t in transforms}
    unknown = [t for t in transforms if t not in offered.transforms]
    if unknown or len(chosen) != len(transforms) or set(chosen) != {t.type for t in offered.transforms}:
        raise UnacceptableChoice(
            f"the gateway chose {describe(proposal.transforms)}, which is not one algorithm of each kind that was offered"
        )
    return proposal, chosen


def _suite(chosen: Mapping[int, Transform]) -> CipherSuite:
    encryption = chosen[TransformType.ENCR]
    integrity = chosen.get(TransformType.INTEG)
    return CipherSuite(encryption.id, encryption.key_length or 0, integrity.id if integrity else IntegrityId.NONE)


def _words(text: str) -> list[str]:
    words = [_SYNONYMS.get(word, word) for word in text.lower().split("-")]
    for word in words:
        if word not in ALLOWED_WORDS:
            raise InvalidProposal(f"{text!r}: unknown word {word!r}; allowed are {', '.join(ALLOWED_WORDS)}")
    return list(dict.fromkeys(words))


def _encryption(words: list[str], text: str) -> list[Transform]:
    names = _AEAD | _CBC
    found = [word for word in words if word in names]
    if not found:
        raise InvalidProposal(f"{text!r} names no encryption: add one of {', '.join(names)}")
    aead = [word for word in found if word in _AEAD]
    if aead and len(aead) != len(found):
        raise InvalidProposal(f"{text!r} mixes {aead[0]} with algorithms that need integrity: write two proposals")
    if aead and any(word in _INTEGRITY for word in words):
        raise InvalidProposal(f"{text!r}: {aead[0]} protects integrity itself; leave {', '.join(_INTEGRITY)} out")
    return [Transform(TransformType.ENCR, *names[word]) for word in found]


def _integrity(words: list[str], text: str) -> list[Transform]:
    found = [Transform(TransformType.INTEG, _INTEGRITY[word]) for word in words if word in _INTEGRITY]
    if not found and any(word in _CBC for word in words):
        raise InvalidProposal(f"{text!r} needs an integrity algorithm: add one of {', '.join(_INTEGRITY)}")
    return found


def _groups(words: list[str]) -> list[Transform]:
    return [Transform(TransformType.DH, _GROUP[word]) for word in words if word in _GROUP]


def _weak(words: list[str]) -> tuple[str, ...]:
    return tuple(word for word in words if word in _WEAK)


def _word(transform: Transform) -> str:
    if transform.type == TransformType.ENCR:
        key = (transform.id, transform.key_length)
        found = [word for word, value in (_AEAD | _CBC).items() if value == key]
    else:
        found = [word for word, value in _WORDS.get(transform.type, {}).items() if value == transform.id]
    return found[0] if found else f"{transform.type}:{transform.id}"
