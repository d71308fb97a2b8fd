"""What belongs to a dialect below its documents: identities, fragmentation, and what the tunnel carries."""

from __future__ import annotations

from dataclasses import replace

from tests.fakes.dialect import Dialect
from tests.fakes.gateway import Profile
from tests.fakes.pki import HOST, Credential, distinguished_name

TEST_NETWORK = "192.0.2.0"
"""TEST-NET-1 (RFC 5737): nobody's, so that a tunnel for it takes nothing away."""

_IP4_ADDRESS, _SPLIT_INCLUDE = 1, 28676
_RECORD = bytes([192, 0, 2, 0]) + bytes([255, 255, 255, 0]) + bytes(6)

ASA_PROFILE = Profile(
    fragmentation="cisco",
    ts_i=("192.0.2.7/32",),
    attributes=((_IP4_ADDRESS, bytes([192, 0, 2, 7])), (_SPLIT_INCLUDE, _RECORD)),
)
"""Payload 132 as observed; one small network goes into the tunnel."""

IOS_PROFILE = replace(
    ASA_PROFILE,
    fragmentation="ietf",
    identity=b"\x09\0\0\0" + distinguished_name(HOST),
    client_identities=(b"\x0b\0\0\0*$AnyConnectClient$*",),
)
"""The client by key-id, as configurations for IOS have it; a distinguished name as its own identity is guessed."""


def profile_of(dialect: Dialect, credential: Credential | None = None) -> Profile:
    """The profile of the gateway that speaks this dialect."""
    return replace({"asa": ASA_PROFILE, "ios": IOS_PROFILE}[dialect.name], credential=credential)
