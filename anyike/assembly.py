"""From a user's settings to what each room wants to be told."""

from __future__ import annotations

import os
import platform
import re
import secrets
import socket
from collections.abc import Sequence
from pathlib import Path

from anyike import paths
from anyike.config import Identity, Settings
from anyike.crypto.x509 import TrustPolicy, authority_key_hashes
from anyike.eap_anyconnect.settings import DeviceIdentity, LoginSettings
from anyike.errors import HostSetupFailed
from anyike.esp.wear import KeyLimits
from anyike.ikev2.constants import (
    VENDOR_ANYCONNECT_EAP,
    VENDOR_COPYRIGHT,
    VENDOR_DELETE_REASON,
    VENDOR_FLEXVPN_SUPPORTED,
    VENDOR_FRAGMENTATION,
)
from anyike.ikev2.payloads import IdInitiator, IdResponder
from anyike.ikev2.proposals import ProposalSpec, parse_esp, parse_ike
from anyike.ikev2.settings import IkeSettings, Lifetime, Retransmission
from anyike.trust_store import load_roots, load_system_roots

_UNIQUE_ID = re.compile(rb"[0-9A-Fa-f]{64}")
MAX_ANNOUNCED_AUTHORITIES = 20
"""CERTREQ names at most this many CAs: the system's store would make the request several packets long, and says nothing."""


def ike_settings(settings: Settings, roots: Sequence[bytes], *, force_encapsulation: bool) -> IkeSettings:
    """What the protocol core is told."""
    ike, gateway = settings.ike, settings.gateway
    vendor_ids = [VENDOR_DELETE_REASON, VENDOR_COPYRIGHT, VENDOR_FRAGMENTATION, VENDOR_ANYCONNECT_EAP]
    if ike.flexvpn:
        vendor_ids.append(VENDOR_FLEXVPN_SUPPORTED)
    authorities = authority_key_hashes(roots) if len(roots) <= MAX_ANNOUNCED_AUTHORITIES else b""
    return IkeSettings(
        ike_proposals=tuple(parse_ike(text) for text in ike.proposals),
        esp_proposals=tuple(parse_esp(text) for text in settings.esp.proposals),
        local_id=IdInitiator(ike.local_id.number, ike.local_id.data),
        remote_id=_remote_id(gateway.idr),
        vendor_ids=tuple(vendor_ids),
        application_version=ike.application_version,
        certificate_authorities=authorities,
        initial_contact=ike.initial_contact,
        random_vendor_id=ike.random_vendor_id,
        signature_hash_algorithms=ike.signature_hash_algorithms,
        request_ipv6=settings.tunnel.ipv6,
        fragmentation=ike.fragmentation,
        fragment_size=ike.fragment_size,
        retransmission=Retransmission(ike.retransmit_timeout, ike.retransmit_base, ike.retransmit_tries),
        port=gateway.port,
        nat_port=gateway.nat_port,
        start_on_nat_port=gateway.start_on_nat_port,
        force_encapsulation=force_encapsulation,
        error_grace=ike.error_grace,
        mobike=ike.mobike,
        redirect=gateway.redirect,
        ike_lifetime=Lifetime(ike.rekey_time, ike.life_time),
        child_lifetime=Lifetime(settings.esp.rekey_time, settings.esp.life_time),
        liveness_interval=ike.liveness_interval,
        keepalive_interval=ike.keepalive_interval,
    )


def key_limits(settings: Settings) -> KeyLimits:
    """What a CHILD_SA may carry until the data path says that it wants new keys."""
    return KeyLimits(settings.esp.rekey_packets, settings.esp.rekey_bytes)


def trusted_names(settings: Settings, host: str) -> tuple[str, ...]:
    """The names of which the certificate of this host must hold one."""
    return (settings.gateway.gateway_id or host,)


def trust_policy(settings: Settings, host: str) -> TrustPolicy:
    """What the gateway is measured against when it is this host; reads the trusted CAs. ConfigurationError."""
    gateway = settings.gateway
    if gateway.servercert:
        roots: tuple[bytes, ...] = ()
    else:
        roots = load_roots(gateway.ca_file) if gateway.ca_file else load_system_roots()
    return TrustPolicy(
        roots=roots,
        names=trusted_names(settings, host),
        pins=gateway.servercert,
        chain_pins=gateway.chain_pins,
        allow_common_name=gateway.allow_common_name,
    )


def login_settings(settings: Settings, host: str) -> LoginSettings:
    """What the EAP method is told when the gateway is this host."""
    login, device = settings.login, settings.device
    group = login.user_group or login.group or ""
    if login.group_access == "url":
        group = f"https://{host}/{group}"
    return LoginSettings(
        device=DeviceIdentity(
            computer_name=device.computer_name or socket.gethostname(),
            platform_version=device.platform_version or platform.release(),
            unique_id=device.unique_id or _stable_unique_id(),
            unique_id_global=device.unique_id_global,
            device_type=device.device_type,
            platform=device.platform,
            mac_addresses=device.mac_addresses,
        ),
        group_access=group,
        username=login.user,
        group=login.group,
        version=login.client_version,
        auth_methods=login.auth_methods,
        max_tries=login.tries,
        accept_banner=login.accept_banner,
    )


def weak_algorithms(settings: IkeSettings) -> tuple[str, ...]:
    """Words of the configured proposals that should not be used any more."""
    specs: tuple[ProposalSpec, ...] = (*settings.ike_proposals, *settings.esp_proposals)
    return tuple(dict.fromkeys(word for spec in specs for word in spec.weak))


def _remote_id(identity: Identity | None) -> IdResponder | None:
    return None if identity is None else IdResponder(identity.number, identity.data)


def _stable_unique_id() -> str:
    """64 hexadecimal digits: random, made once and kept, so that the gateway sees one device and learns nothing of it."""
    path = paths.ensure_directory(paths.STATE, paths.PRIVATE) / "device-id"
    try:
        kept = path.read_bytes().strip() if path.exists() else b""
        if _UNIQUE_ID.fullmatch(kept):
            return kept.decode("ascii")
        made = secrets.token_hex(32).upper()
        _replace(path, f"{made}\n")
    except OSError as error:
        raise HostSetupFailed(
            f"{path} cannot be kept: {error.strerror}. Set device.unique_id to do without it"
        ) from error
    return made


def _replace(path: Path, text: str) -> None:
    """In one step and on the disk, so that a crash leaves no half of it."""
    temporary = path.with_suffix(".new")
    with temporary.open("w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
