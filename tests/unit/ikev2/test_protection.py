"""SK and SKF payloads: what is sealed opens, what was altered does not, and the two kinds of failure stay apart."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st

from anyike.crypto.cipher import CipherSuite
from anyike.errors import AuthenticationFailed
from anyike.ikev2.constants import ConfigurationType, ExchangeType, NotifyType, PayloadType
from anyike.ikev2.message import Header, Message, UnsupportedCriticalPayload, decode_header, encode_payloads
from anyike.ikev2.payloads import Configuration, Eap, Notify, VendorId
from anyike.ikev2.protection import Fragment, Protection
from anyike.wire import DecodeError
from tests.unit.ikev2.samples import chains, headers

SUITES = [
    CipherSuite(20, 256),
    CipherSuite(28),
    CipherSuite(12, 256, 12),
    CipherSuite(12, 128, 14),
    CipherSuite(3, 0, 2),
]
HEADER = Header(b"i" * 8, b"r" * 8, 0, ExchangeType.IKE_AUTH, 0x08, 7)
PAYLOADS = (Notify(NotifyType.INITIAL_CONTACT), Eap(bytes(range(200)) * 10))
suites = st.sampled_from(SUITES)


def counting(count: int) -> bytes:
    return bytes(range(count))


def ends(suite: CipherSuite) -> tuple[Protection, Protection]:
    """Initiator and responder of one IKE SA."""
    to_responder, to_initiator = (
        suite.bind(bytes([label]) * suite.encryption_key_length, bytes([label]) * suite.integrity_key_length)
        for label in (1, 2)
    )
    return Protection(to_responder, to_initiator, counting), Protection(to_initiator, to_responder, counting)


def sealed_raw(
    suite: CipherSuite, clear: bytes, plaintext: bytes, first: int, padding: bytes, behind: bytes = b""
) -> bytes:
    """A message from the initiator by hand, so that it can break rules: `clear` is a chain that ends in SK."""
    cipher = suite.bind(bytes([1]) * suite.encryption_key_length, bytes([1]) * suite.integrity_key_length)
    iv = counting(cipher.iv_length)
    padded = plaintext + padding
    length = 4 + len(iv) + len(padded) + cipher.icv_length
    kind = PayloadType.VENDOR if clear else PayloadType.SK
    total = 28 + len(clear) + length + len(behind)
    aad = (
        replace(HEADER, next_payload=kind, length=total).encode()
        + clear
        + bytes([first, 0])
        + length.to_bytes(2, "big")
    )
    return aad + iv + cipher.seal(iv, padded, aad) + behind


@given(suites, headers, chains)
def test_what_is_sealed_opens(suite, header, payloads):
    initiator, responder = ends(suite)
    datagram = initiator.seal(header, payloads)
    decoded = decode_header(datagram)
    assert decoded == replace(header, next_payload=PayloadType.SK, length=len(datagram))
    opened = responder.open(datagram)
    assert (opened.payloads, opened.clear, opened.error) == (payloads, (), None)


@given(suites, st.data())
def test_any_altered_byte_is_noticed(suite, data):
    initiator, responder = ends(suite)
    datagram = bytearray(initiator.seal(HEADER, (VendorId(b"abc"),)))
    place = data.draw(st.integers(0, len(datagram) - 1))
    datagram[place] ^= data.draw(st.integers(1, 0xFF))
    with pytest.raises((AuthenticationFailed, DecodeError)):
        responder.open(bytes(datagram))


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_every_byte_of_header_and_content_is_covered(suite):
    """Altered so that the message is still well-formed, only the integrity check can notice."""
    initiator, responder = ends(suite)
    datagram = initiator.seal(HEADER, PAYLOADS)
    structural = {16, 17, *range(24, 28), 30, 31}  # next payload, version and lengths: DecodeError
    for place in set(range(len(datagram))) - structural:
        altered = datagram[:place] + bytes([datagram[place] ^ 1]) + datagram[place + 1 :]
        with pytest.raises(AuthenticationFailed):
            responder.open(altered)


@given(suites, st.binary(max_size=120))
def test_arbitrary_bytes_never_open(suite, noise):
    _, responder = ends(suite)
    header = replace(HEADER, next_payload=PayloadType.SK, length=32 + len(noise)).encode()
    for datagram in (noise, header + b"\0\0" + (4 + len(noise)).to_bytes(2, "big") + noise):
        with pytest.raises((AuthenticationFailed, DecodeError)):
            responder.open(datagram)
        with pytest.raises((AuthenticationFailed, DecodeError)):
            responder.open_fragment(datagram)


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_directions_do_not_mix(suite):
    initiator, _ = ends(suite)
    with pytest.raises(AuthenticationFailed):
        initiator.open(initiator.seal(HEADER, PAYLOADS))


@pytest.mark.parametrize(("suite", "aead"), [(SUITES[0], AESGCM), (SUITES[1], ChaCha20Poly1305)])
def test_aead_as_rfc_5282_has_it(suite, aead):
    """Additional data: everything up to the IV; nonce: salt and IV; one byte of padding length at the end."""
    initiator, _ = ends(suite)
    first, plaintext = encode_payloads(PAYLOADS)
    key, salt = bytes([1]) * 32, bytes([1]) * 4
    ivs = set()
    for _ in range(3):
        datagram = initiator.seal(HEADER, PAYLOADS)
        assert datagram[28:32] == bytes([first, 0]) + (len(datagram) - 28).to_bytes(2, "big")
        assert aead(key).decrypt(salt + datagram[32:40], datagram[40:], datagram[:32]) == plaintext + b"\0"
        ivs.add(datagram[32:40])
    assert len(ivs) == 3


def test_no_iv_comes_twice_among_messages_and_fragments():
    initiator, _ = ends(SUITES[0])
    datagrams = [initiator.seal(HEADER, PAYLOADS), *initiator.seal_fragments(HEADER, PAYLOADS, 576)]
    datagrams.append(initiator.seal(HEADER, PAYLOADS))
    starts = [36 if decode_header(datagram).next_payload == PayloadType.SKF else 32 for datagram in datagrams]
    ivs = [datagram[start : start + 8] for datagram, start in zip(datagrams, starts, strict=True)]
    assert len(set(ivs)) == len(ivs) > 4


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_payloads_before_sk_are_given_apart(suite):
    """AnyConnect-EAP notes, section 7: authentic, but not confidential, and never acted on."""
    clear = (
        bytes([PayloadType.CP, 0, 0, 6])
        + b"v1"
        + bytes([PayloadType.SK, 0, 0, 8, ConfigurationType.CFG_REPLY, 0, 0, 0])
    )
    first, plaintext = encode_payloads((Notify(40963),))
    pad = -(len(plaintext) + 1) % suite.block_size
    datagram = sealed_raw(suite, clear, plaintext, first, bytes(pad) + bytes([pad]))
    opened = ends(suite)[1].open(datagram)
    assert opened.payloads == (Notify(40963),)
    assert opened.clear == (VendorId(b"v1"), Configuration(ConfigurationType.CFG_REPLY, ()))
    assert opened.error is None
    with pytest.raises(AuthenticationFailed):
        ends(suite)[1].open(datagram.replace(b"v1", b"v2"))


def test_something_behind_sk_is_refused():
    datagram = sealed_raw(SUITES[0], b"", b"", 0, b"\0", behind=b"\0\0\0\x05x")
    with pytest.raises(DecodeError, match="follows"):
        ends(SUITES[0])[1].open(datagram)


@pytest.mark.parametrize("message", [Message(HEADER, ()), Message(HEADER, (VendorId(b"x"),))], ids=["empty", "clear"])
def test_a_message_without_sk_proves_nothing(message):
    _, responder = ends(SUITES[0])
    for opening in (responder.open, responder.open_fragment):
        with pytest.raises(DecodeError, match="no payload of type"):
            opening(message.encode())


@pytest.mark.parametrize(
    ("first", "plaintext", "padding", "reason"),
    [
        (0, b"", b"\x01", "padding"),  # more padding than there is
        (0, b"", b"\xff" * 16, "padding"),
        (0, b"", b"", "padding"),  # not even a padding length
        (43, b"\0\0\0\x09abcd", b"\0", "payload"),  # a payload longer than the plaintext
        (43, b"\0\0\0\x08abcdx", b"\0", "left over"),
        (46, b"\0\0\0\x08abcd", b"\0", "SK"),
    ],
)
def test_authentic_but_wrong_content_is_an_error_of_its_own(first, plaintext, padding, reason):
    opened = ends(SUITES[0])[1].open(sealed_raw(SUITES[0], b"", plaintext, first, padding))
    assert isinstance(opened.error, DecodeError)
    assert reason in str(opened.error)
    assert (opened.payloads, opened.clear) == ((), ())


def test_an_unknown_critical_payload_under_protection():
    opened = ends(SUITES[0])[1].open(sealed_raw(SUITES[0], b"", b"\0\x80\0\x04", 200, b"\0"))
    assert isinstance(opened.error, UnsupportedCriticalPayload)
    assert opened.error.type == 200


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_more_padding_than_needed_with_any_content_is_accepted(suite):
    """RFC 7296 3.14: the sender chooses, the recipient ignores."""
    first, plaintext = encode_payloads((VendorId(b"abc"),))
    pad = -(len(plaintext) + 1) % suite.block_size + 5 * suite.block_size
    padding = bytes(range(7, 7 + pad)) + bytes([pad])
    assert ends(suite)[1].open(sealed_raw(suite, b"", plaintext, first, padding)).payloads == (VendorId(b"abc"),)


@given(suites, chains, st.integers(150, 700))
def test_fragments_are_the_plaintext_in_pieces(suite, payloads, limit):
    initiator, responder = ends(suite)
    first, plaintext = encode_payloads((*payloads, PAYLOADS[1]))
    datagrams = initiator.seal_fragments(HEADER, (*payloads, PAYLOADS[1]), limit)
    assert max(map(len, datagrams)) <= limit
    fragments = [responder.open_fragment(datagram) for datagram in datagrams]
    assert [fragment.number for fragment in fragments] == list(range(1, len(datagrams) + 1))
    assert {fragment.total for fragment in fragments} == {len(datagrams)}
    assert [fragment.first_payload for fragment in fragments] == [first] + [0] * (len(datagrams) - 1)
    assert b"".join(fragment.plaintext for fragment in fragments) == plaintext
    assert {decode_header(datagram).next_payload for datagram in datagrams} == {PayloadType.SKF}


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
@pytest.mark.parametrize("limit", range(1200, 1217))
def test_no_fragment_is_smaller_than_it_could_be(suite, limit):
    """Filled to the last cipher block, and nothing of it padding."""
    initiator, responder = ends(suite)
    first, *_ = initiator.seal_fragments(HEADER, PAYLOADS, limit)
    blocks = (limit - 28 - 8 - suite.iv_length - suite.icv_length) // suite.block_size
    assert limit - suite.block_size < len(first) <= limit
    assert len(responder.open_fragment(first).plaintext) == blocks * suite.block_size - 1


def test_the_shape_of_a_fragment():
    """RFC 7383 2.5: next payload, reserved, length, Fragment Number, Total Fragments, IV, content."""
    first, last = ends(SUITES[0])[0].seal_fragments(HEADER, PAYLOADS, 1248)
    assert first[16] == last[16] == 53
    assert first[28:36] == bytes([41, 0]) + (1248 - 28).to_bytes(2, "big") + bytes.fromhex("0001 0002")
    assert last[28:36] == bytes([0, 0]) + (len(last) - 28).to_bytes(2, "big") + bytes.fromhex("0002 0002")
    assert AESGCM(bytes([1]) * 32).decrypt(bytes([1]) * 4 + first[36:44], first[44:], first[:36])[-1] == 0


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_every_byte_of_a_fragment_is_covered(suite):
    initiator, responder = ends(suite)
    first, *_ = initiator.seal_fragments(HEADER, PAYLOADS, 200)
    for place in range(len(first)):
        altered = first[:place] + bytes([first[place] ^ 1]) + first[place + 1 :]
        with pytest.raises((AuthenticationFailed, DecodeError)):
            responder.open_fragment(altered)


@pytest.mark.parametrize(("number", "total"), [(0, 0), (0, 1), (2, 1), (1, 0)])
def test_authentic_numbers_that_cannot_be(number, total):
    suite = SUITES[0]
    cipher = suite.bind(bytes([1]) * suite.encryption_key_length, b"")
    iv, fields = counting(8), number.to_bytes(2, "big") + total.to_bytes(2, "big")
    length = 8 + 8 + 1 + 16
    aad = replace(HEADER, next_payload=PayloadType.SKF, length=28 + length).encode()
    aad += b"\0\0" + length.to_bytes(2, "big") + fields
    with pytest.raises(DecodeError, match=f"fragment {number} of {total}"):
        ends(suite)[1].open_fragment(aad + iv + cipher.seal(iv, b"\0", aad))


def test_a_whole_message_is_no_fragment_and_a_fragment_no_message():
    initiator, responder = ends(SUITES[0])
    with pytest.raises(DecodeError):
        responder.open_fragment(initiator.seal(HEADER, PAYLOADS))
    for datagram in initiator.seal_fragments(HEADER, PAYLOADS, 600):
        with pytest.raises(DecodeError):
            responder.open(datagram)


def test_a_limit_without_room_is_refused():
    initiator, responder = ends(SUITES[0])
    least = 28 + 4 + 4 + 8 + 16 + 2
    (datagram,) = initiator.seal_fragments(HEADER, (), least)
    assert responder.open_fragment(datagram) == Fragment(1, 1, 0, b"")
    with pytest.raises(ValueError, match="too few"):
        initiator.seal_fragments(HEADER, PAYLOADS, least - 1)
