"""The openssl command as an independent judge, and as what made most keys that users have."""

from __future__ import annotations

import subprocess
from pathlib import Path


def openssl(*arguments: object, given: bytes = b"") -> bytes:
    """Its standard output."""
    command = ["openssl", *map(str, arguments)]
    return subprocess.run(command, input=given, capture_output=True, check=True, timeout=120).stdout


def ecdsa_der(signature: bytes) -> bytes:
    """r | s as the SEQUENCE of two INTEGERs that openssl reads."""
    half = len(signature) // 2
    integers = b""
    for part in (signature[:half], signature[half:]):
        octets = part.lstrip(b"\0")
        octets = b"\0" + octets if not octets or octets[0] & 0x80 else octets
        integers += bytes([0x02, len(octets)]) + octets
    header = bytes([0x30, len(integers)]) if len(integers) < 0x80 else bytes([0x30, 0x81, len(integers)])
    return header + integers


def verifies(folder: Path, certificate_der: bytes, signature: bytes, octets: bytes, hash_name: str) -> bool:
    """Whether openssl finds this signature (PKCS#1 v1.5, or ECDSA in DER) to be made by the certificate's key."""
    (folder / "judged.der").write_bytes(certificate_der)
    (folder / "judged.sig").write_bytes(signature)
    key = openssl("x509", "-inform", "DER", "-in", folder / "judged.der", "-noout", "-pubkey")
    (folder / "judged.pub").write_bytes(key)
    command = [
        "openssl",
        "dgst",
        f"-{hash_name}",
        "-verify",
        folder / "judged.pub",
        "-signature",
        folder / "judged.sig",
    ]
    return subprocess.run(command, input=octets, capture_output=True, check=False, timeout=60).returncode == 0
