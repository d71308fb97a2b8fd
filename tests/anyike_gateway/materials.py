"""What a client needs for the test gateway, as files: CA, certificates with keys, secrets, a host-scan wrapper, a profile."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.fakes import pki
from tests.fakes.dialect import Dialect
from tests.fakes.one_time import new_secret
from tests.fakes.pki import HOST, Credential
from tests.fakes.scenario import Scenario

_ACCEPT_KEY = "--ignore-certificate-errors-spki-list"
"""Chromium's option for a page whose certificate no installed CA has signed."""

WRAPPER = """\
#!/bin/sh
# Stands in for a host scan: writes down what it was given, beside itself, and says that all is well.
printf '%s\\n' "$@" "CSD_SHA256=$CSD_SHA256" "CSD_TOKEN=$CSD_TOKEN" "CSD_HOSTNAME=$CSD_HOSTNAME" > "$0.called"
"""


@dataclass(frozen=True)
class Materials:
    """The files of one gateway; its certificates are valid from yesterday on, for a year."""

    directory: Path
    now: datetime
    token_secret: str = field(default_factory=new_secret)

    def write(self) -> None:
        """Make all files; keys and secrets are their owner's alone."""
        authority, issuer = pki.authority(now=self.now), pki.intermediate(now=self.now)
        self._file("ca.pem", _pem(authority))
        for name, person in (("machine", "machine"), ("user", "ada")):
            credential = pki.client_credential(person, now=self.now)
            self._file(f"{name}.pem", _pem(credential) + _pem(issuer))
            self._file(f"{name}.key", _key_pem(credential))
        gateway = pki.gateway_credential(now=self.now)
        self._file("gateway.pem", _pem(gateway) + _key_pem(gateway))
        self._file("token.secret", f"{self.token_secret}\n".encode())
        self._file("host-scan", WRAPPER.encode(), mode=0o700)

    def profile(self, scenario: Scenario, dialect: Dialect, host: str, ports: tuple[int, int]) -> str:
        """TOML for `anyike connect -c`, with what this scenario needs."""
        sections: dict[str, dict[str, object]] = {
            "gateway": {
                "host": host,
                "port": ports[0],
                "nat_port": ports[1],
                "gateway_id": HOST,
                "ca_file": self._path("ca.pem"),
            }
        }
        if dialect.name == "ios":
            sections["ike"] = {"local_id": {"type": "key-id", "value": "*$AnyConnectClient$*"}}
        if "certificate" in scenario.needs:
            sections["certificate"] = {"file": self._path("machine.pem"), "key": self._path("machine.key")}
        if "user certificate" in scenario.needs:
            sections["certificate"] |= {"user_file": self._path("user.pem"), "user_key": self._path("user.key")}
        for mode in sorted(scenario.needs & {"totp", "hotp"}):
            sections["token"] = {"mode": mode, "secret_file": self._path("token.secret")}
        if "host scan" in scenario.needs:
            sections["host_scan"] = {"wrapper": self._path("host-scan")}
        if "sign-on" in scenario.needs:
            sections["sign_on"] = {"chromium_arguments": [f"{_ACCEPT_KEY}={self._gateway_key_hash()}"]}
        return "\n".join(f"[{name}]\n{_settings(values)}" for name, values in sections.items())

    @property
    def gateway_pem(self) -> Path:
        """The gateway's certificate and key, for its page."""
        return self.directory / "gateway.pem"

    def _gateway_key_hash(self) -> str:
        certificate = x509.load_der_x509_certificate(pki.gateway_credential(now=self.now).certificate)
        key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return b64encode(sha256(key).digest()).decode()

    def _path(self, name: str) -> str:
        return str(self.directory / name)

    def _file(self, name: str, content: bytes, mode: int = 0o600) -> None:
        path = self.directory / name
        path.touch(mode)
        path.write_bytes(content)


def _settings(values: dict[str, object]) -> str:
    return "".join(f"{name} = {_toml(value)}\n" for name, value in values.items())


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_toml(entry)}" for name, entry in value.items()) + " }"
    return json.dumps(value)


def _pem(credential: Credential) -> bytes:
    return x509.load_der_x509_certificate(credential.certificate).public_bytes(Encoding.PEM)


def _key_pem(credential: Credential) -> bytes:
    return credential.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
