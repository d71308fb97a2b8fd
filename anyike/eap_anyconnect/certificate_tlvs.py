"""The proof by certificate as TLVs (AnyConnect-EAP notes, section 6): certificates in TLV 3, the bare signature in TLV 1.

TLV 3 is a PKCS#7 SignedData without signers, built here by hand: libraries sort the certificates or leave the empty
content out, and the gateway takes the first certificate as the client's.
"""

from __future__ import annotations

from collections.abc import Sequence

from anyike.eap.question import CertificateProof
from anyike.eap_anyconnect.tlv import Tlv, TlvType

# X.690: the low bits are the tag's number, 0x20 says constructed, 0x80 context-specific.
_OCTET_STRING = 0x04
_SEQUENCE = 0x30
_SET = 0x31
_CONTEXT_0 = 0xA0
_VERSION_1 = bytes.fromhex("020101")
_SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")
"""OBJECT IDENTIFIER 1.2.840.113549.1.7.2."""
_DATA = bytes.fromhex("06092a864886f70d010701")
"""OBJECT IDENTIFIER 1.2.840.113549.1.7.1."""
_SHORT_FORM_END = 0x80
_LONG_FORM = 0x80


def certificate_tlvs(proof: CertificateProof) -> tuple[Tlv, Tlv]:
    """TLV 3 and TLV 1, in the order in which they precede the document."""
    return Tlv(TlvType.CERTIFICATES, signed_data(proof.chain)), Tlv(TlvType.SIGNATURE, proof.signature)


def signed_data(chain: Sequence[bytes]) -> bytes:
    """The value of TLV 3: DER certificates in the order given, the client's own first."""
    digest_algorithms = signers = _element(_SET)
    content = _element(_SEQUENCE, _DATA, _element(_CONTEXT_0, _element(_OCTET_STRING)))
    certificates = _element(_CONTEXT_0, *chain)
    fields = _element(_SEQUENCE, _VERSION_1, digest_algorithms, content, certificates, signers)
    return _element(_SEQUENCE, _SIGNED_DATA, _element(_CONTEXT_0, fields))


def _element(tag: int, *parts: bytes) -> bytes:
    """Tag, definite length in its shortest form, contents."""
    contents = b"".join(parts)
    length = len(contents)
    if length < _SHORT_FORM_END:
        return bytes([tag, length]) + contents
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, _LONG_FORM | len(octets)]) + octets + contents
