"""Values of every payload, for property-based tests: what our codec can write, `payloads` gives."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from hypothesis import strategies as st

from anyike.ikev2.child_sa import TrafficSelector
from anyike.ikev2.constants import FLAG_INITIATOR, FLAG_RESPONSE
from anyike.ikev2.message import CONTAINERS, Header
from anyike.ikev2.payloads import (
    READABLE,
    Attribute,
    Authentication,
    Certificate,
    CertificateRequest,
    Configuration,
    Delete,
    Eap,
    IdInitiator,
    IdResponder,
    KeyExchange,
    Nonce,
    Notify,
    OpaqueSelector,
    Proposal,
    SecurityAssociation,
    Transform,
    TsInitiator,
    TsResponder,
    UnknownPayload,
    VendorId,
)
from anyike.ikev2.payloads.security_association import ATTRIBUTE_FORMAT, KEY_LENGTH

u8 = st.integers(0, 0xFF)
u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)
data = st.binary(max_size=80)
spis = st.binary(min_size=8, max_size=8)


def tuples(values: st.SearchStrategy, least: int = 0, most: int = 4) -> st.SearchStrategy:
    return st.lists(values, min_size=least, max_size=most).map(tuple)


short_attributes = st.tuples(
    st.integers(0, 0x7FFF).map(lambda kind: kind | ATTRIBUTE_FORMAT), st.binary(min_size=2, max_size=2)
)
long_attributes = st.tuples(st.integers(0, 0x7FFF), data)
other_attributes = st.one_of(short_attributes, long_attributes).filter(
    lambda attribute: attribute[0] != ATTRIBUTE_FORMAT | KEY_LENGTH
)
transforms = st.builds(Transform, u8, u16, st.none() | u16, tuples(other_attributes, most=2))
proposals = st.builds(Proposal, u8, u8, st.binary(max_size=8), tuples(transforms))


def _range(addresses: st.SearchStrategy) -> st.SearchStrategy:
    ordered = st.tuples(addresses, addresses).map(sorted)
    return st.builds(lambda ends, *rest: TrafficSelector(*ends, *rest), ordered, u8, u16, u16)


selectors = st.one_of(
    _range(u32.map(IPv4Address)),
    _range(st.integers(0, 2**128 - 1).map(IPv6Address)),
    st.builds(OpaqueSelector, u8.filter(lambda kind: kind not in (7, 8)), u8, data),
)
identities = (u8, data, st.binary(min_size=3, max_size=3))
deletes = st.integers(1, 8).flatmap(lambda size: st.builds(Delete, u8, tuples(st.binary(min_size=size, max_size=size))))

BY_TYPE = {
    SecurityAssociation: st.builds(SecurityAssociation, tuples(proposals, least=1)),
    KeyExchange: st.builds(KeyExchange, u16, data),
    IdInitiator: st.builds(IdInitiator, *identities),
    IdResponder: st.builds(IdResponder, *identities),
    Certificate: st.builds(Certificate, u8, data),
    CertificateRequest: st.builds(CertificateRequest, u8, data),
    Authentication: st.builds(Authentication, u8, data),
    Nonce: st.builds(Nonce, st.binary(min_size=16, max_size=256)),
    Notify: st.builds(Notify, u16, data, u8, st.binary(max_size=16)),
    Delete: deletes,
    VendorId: st.builds(VendorId, data),
    TsInitiator: st.builds(TsInitiator, tuples(selectors)),
    TsResponder: st.builds(TsResponder, tuples(selectors)),
    Configuration: st.builds(Configuration, u8, tuples(st.builds(Attribute, st.integers(0, 0x7FFF), data))),
    Eap: st.builds(Eap, data),
}
unknown_types = u8.filter(lambda kind: kind != 0 and kind not in READABLE and kind not in CONTAINERS)
unknown = st.builds(UnknownPayload, unknown_types, data)
payloads = st.one_of(*BY_TYPE.values(), unknown)
chains = tuples(payloads, most=6)
flags = st.sampled_from([0, FLAG_INITIATOR, FLAG_RESPONSE, FLAG_INITIATOR | FLAG_RESPONSE])
headers = st.builds(Header, spis, spis, st.just(0), u8, flags, u32)
