"""One raw IKE_SA_INIT: a half-open IKE SA that makes charon demand cookies of everybody."""

from __future__ import annotations

import os
import socket
import struct

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

IKE_PORT = 500
IKE_SA_INIT = 34
SA, KE, NONCE, NOTIFY = 33, 34, 40, 41
ANSWER_LIMIT = 2.0

# Transforms (type, ID, key length in bits): RFC 7296 section 3.3.2 and RFC 5282.
ENCR, PRF, DH = 1, 2, 4
AES_GCM_16, PRF_SHA256, PRF_SHA384, ECP256, ECP384 = 20, 5, 6, 19, 20


def payload(next_payload: int, body: bytes) -> bytes:
    """A payload with its generic header."""
    return struct.pack(">BBH", next_payload, 0, 4 + len(body)) + body


def proposal(number: int, last: bool, transforms: list[tuple[int, int, int]]) -> bytes:
    """One IKE proposal of the SA payload."""
    encoded = b""
    for index, (kind, identifier, key_bits) in enumerate(transforms, 1):
        attribute = struct.pack(">HH", 0x800E, key_bits) if key_bits else b""
        more = 0 if index == len(transforms) else 3
        encoded += struct.pack(">BBHBBH", more, 0, 8 + len(attribute), kind, 0, identifier)
        encoded += attribute
    more = 0 if last else 2
    return struct.pack(">BBHBBBB", more, 0, 8 + len(encoded), number, 1, 0, len(transforms)) + (encoded)


def ike_sa_init(group: int = ECP384) -> bytes:
    """An IKE_SA_INIT request that the default proposals accept, with a fresh key and nonce."""
    private_key = generate_private_key(SECP384R1() if group == ECP384 else SECP256R1())
    public = private_key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    proposals = proposal(1, False, [(ENCR, AES_GCM_16, 256), (PRF, PRF_SHA384, 0), (DH, ECP384, 0)]) + proposal(
        2, True, [(ENCR, AES_GCM_16, 128), (PRF, PRF_SHA256, 0), (DH, ECP256, 0)]
    )
    body = payload(KE, proposals)
    body += payload(NONCE, struct.pack(">HH", group, 0) + public[1:])
    body += payload(0, os.urandom(32))
    header = os.urandom(8) + bytes(8)
    return header + struct.pack(">BBBBLL", SA, 0x20, IKE_SA_INIT, 0x08, 0, 28 + len(body)) + body


def exchange(address: str, request: bytes) -> bytes:
    """Send a request from an ephemeral port and return the answer; TimeoutError without one."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as link:
        link.settimeout(ANSWER_LIMIT)
        link.sendto(request, (address, IKE_PORT))
        return link.recv(65535)


def payload_types(message: bytes) -> list[int]:
    """The payload types of an unencrypted IKE message, in order."""
    found, kind, offset = [], message[16], 28
    while kind and offset < len(message):
        found.append(kind)
        kind, length = message[offset], struct.unpack_from(">H", message, offset + 2)[0]
        offset += length
    return found


def leave_half_open(address: str) -> None:
    """Begin an IKE SA and never go on."""
    exchange(address, ike_sa_init())
