"""A SoftHSM token made for a test: `python -m tests.unit.login.soft_token` in a process of its own, as any module needs.

Keys are generated in the token and cannot leave it; what is printed is their certificates.
"""

from __future__ import annotations

import base64
import json
import os
import pwd
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pkcs11
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11 import Attribute, CertificateType, KeyType, ObjectClass
from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters
from pkcs11.util.rsa import encode_rsa_public_key

from anyike.invoking_user import InvokingUser
from tests.unit.crypto.certificates import Issued, make_root
from tests.unit.openssl import openssl

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
PIN, SECURITY_OFFICER_PIN = "90210-pin", "security-officer"
ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class SoftToken:
    """A token, and the certificates in it by label."""

    label: str
    user: InvokingUser
    certificates: dict[str, bytes]

    def uri(self, *attributes: str, query: str = "") -> str:
        parts = ";".join((f"token={quote(self.label)}", *attributes))
        return f"pkcs11:{parts}?module-path={MODULE}{query}"


def invoking(home: Path) -> InvokingUser:
    """The user who runs the tests, with this home."""
    entry = pwd.getpwuid(os.getuid())
    return InvokingUser(entry.pw_uid, entry.pw_name, entry.pw_gid, home)


def configuration(home: Path) -> Path:
    """What SOFTHSM2_CONF names."""
    return home / "softhsm2.conf"


def make_token(home: Path, label: str, *objects: dict) -> SoftToken:
    """A token in this folder, of the user who runs the tests.

    An object is `{"label", "id", "kind": "rsa" | "P-256" | "ca" | "foreign", "always"}`: a key with its certificate, a CA's
    certificate, or a certificate for a key that is not in the token.
    """
    (home / "tokens").mkdir(exist_ok=True)
    configuration(home).write_text(f"directories.tokendir = {home / 'tokens'}\nlog.level = ERROR\n")
    environment = {**os.environ, "SOFTHSM2_CONF": str(configuration(home)), "PYTHONPATH": str(ROOT)}
    command = [
        "softhsm2-util",
        "--init-token",
        "--free",
        "--label",
        label,
        "--pin",
        PIN,
        "--so-pin",
        SECURITY_OFFICER_PIN,
    ]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60)
    maker = [sys.executable, "-m", "tests.unit.login.soft_token", label]
    given = json.dumps(objects).encode()
    made = subprocess.run(maker, env=environment, input=given, check=True, capture_output=True, timeout=120, cwd=ROOT)
    certificates = {name: base64.b64decode(der) for name, der in json.loads(made.stdout).items()}
    return SoftToken(label, invoking(home), certificates)


class PublicKey:
    """What `Issued` needs of a key that is in a token: its public half."""

    def __init__(self, der: bytes) -> None:
        self._der = der

    def public_key(self):
        return load_der_public_key(self._der)


def generate(session, kind: str, options: dict) -> bytes:
    """A key in the token; its SubjectPublicKeyInfo."""
    if kind == "rsa":
        public, _ = session.generate_keypair(KeyType.RSA, 2048, store=True, **options)
        return openssl(
            "rsa",
            "-RSAPublicKey_in",
            "-inform",
            "DER",
            "-pubout",
            "-outform",
            "DER",
            given=encode_rsa_public_key(public),
        )
    curve = {"P-256": "secp256r1", "P-384": "secp384r1"}[kind]
    parameters = {Attribute.EC_PARAMS: encode_named_curve_parameters(curve)}
    public, _ = session.create_domain_parameters(KeyType.EC, parameters, local=True).generate_keypair(
        store=True, **options
    )
    return encode_ec_public_key(public)


def fill(session, objects: list[dict]) -> dict[str, str]:
    root = make_root()
    made = {}
    for wanted in objects:
        label, identifier = wanted["label"], bytes.fromhex(wanted["id"])
        if wanted["kind"] == "ca":
            der = root.der
        elif wanted["kind"] == "foreign":
            der = Issued(label, root).der
        else:
            private = {Attribute.ALWAYS_AUTHENTICATE: True} if wanted.get("always") else {}
            options = {"label": label, "id": identifier, "private_template": private}
            der = Issued(label, root, key=PublicKey(generate(session, wanted["kind"], options))).der
        session.create_object(
            {
                Attribute.CLASS: ObjectClass.CERTIFICATE, Attribute.CERTIFICATE_TYPE: CertificateType.X_509,
                Attribute.TOKEN: True, Attribute.LABEL: label, Attribute.ID: identifier, Attribute.VALUE: der,
                Attribute.SUBJECT: b"0\0", Attribute.PRIVATE: False,
            }
        )  # fmt: skip
        made[label] = base64.b64encode(der).decode()
    for key in session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY}):
        assert not key[Attribute.EXTRACTABLE]
        assert key[Attribute.NEVER_EXTRACTABLE]
    return made


if __name__ == "__main__":
    token = pkcs11.lib(MODULE).get_token(token_label=sys.argv[1])
    with token.open(rw=True, user_pin=PIN) as open_session:
        print(json.dumps(fill(open_session, json.load(sys.stdin))))
