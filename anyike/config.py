"""Settings: what a profile (TOML) and the command line may say, and their defaults. `config.example.toml` explains each one."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationInfo,
    model_validator,
)

from anyike.crypto.x509 import parse_chain_pin, parse_pin
from anyike.errors import ConfigurationError
from anyike.ikev2.proposals import (
    DEFAULT_ESP_PROPOSALS,
    DEFAULT_IKE_PROPOSALS,
    InvalidProposal,
    parse_esp,
    parse_ike,
)
from anyike.ikev2.settings import Fragmentation
from anyike.login.form_entries import parse_form_entry
from anyike.net.plan import DEFAULT_MARK

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_MAC_ADDRESS = re.compile(r"[0-9a-fA-F]{2}([-:][0-9a-fA-F]{2}){5}")
_MAX_HOST_NAME = 253
_MAX_INTERFACE_BYTES = 15
_MAX_CREDENTIAL = 255

ID_TYPES = {"anyconnect": 201, "key-id": 11, "fqdn": 2, "user-fqdn": 3, "email": 3, "ipv4": 1, "ipv6": 5}
"""ID types (RFC 7296 3.5) by the names that a profile may use; AnyConnect's is of the private range."""
_ADDRESS_TYPES: dict[int, type[IPv4Address | IPv6Address]] = {1: IPv4Address, 5: IPv6Address}


def _host(value: str) -> str:
    looks_like_address = ":" in value or value.replace(".", "").isdecimal()
    is_name = len(value) <= _MAX_HOST_NAME and _HOST_NAME.fullmatch(value)
    if _is_address(value) if looks_like_address else is_name:
        return value
    raise ValueError("must be a host name or an IP address alone, without https://, port or path")


def _is_address(value: str, kinds: tuple[type, ...] = (IPv4Address, IPv6Address)) -> bool:
    try:
        return isinstance(ip_address(value), kinds)
    except ValueError:
        return False


def _pin(value: str) -> str:
    try:
        parse_pin(value)
    except ConfigurationError:
        raise ValueError("must be pin-sha256: followed by the base64 of a SHA-256 hash") from None
    return value


def _chain_pin(value: str) -> str:
    try:
        parse_chain_pin(value)
    except ConfigurationError:
        raise ValueError("must be pin-sha512: followed by the base64 of a SHA-512 hash") from None
    return value


def _ike_proposal(value: str) -> str:
    try:
        parse_ike(value)
    except InvalidProposal as error:
        raise ValueError(str(error)) from None
    return value


def _esp_proposal(value: str) -> str:
    try:
        parse_esp(value)
    except InvalidProposal as error:
        raise ValueError(str(error)) from None
    return value


def _not_empty(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("must hold at least one proposal")
    return value


def _mac_address(value: str) -> str:
    if not _MAC_ADDRESS.fullmatch(value):
        raise ValueError("must be six hexadecimal bytes like 82-00-11-aa-bb-cc")
    return value.replace(":", "-").lower()


def _interface(value: str) -> str:
    size = len(value.encode())
    if not 0 < size <= _MAX_INTERFACE_BYTES or "/" in value or value in {".", ".."} or any(map(str.isspace, value)):
        raise ValueError(f"must have 1 to {_MAX_INTERFACE_BYTES} bytes, without spaces and slashes")
    _no_null(value)
    if "%" in value.replace("%d", "", 1):
        raise ValueError("may hold one %d, which the kernel replaces by a number, and no other %")
    return value


def _id_type(value: object) -> object:
    by_name = isinstance(value, str) and value in ID_TYPES
    by_number = type(value) is int and 0 < value <= 0xFF
    if not by_name and not by_number:
        raise ValueError(f"must be one of {', '.join(ID_TYPES)}, or a number from 1 to 255")
    return value


def _no_null(value: str) -> str:
    """The kernel and the libraries of C end a text at the first."""
    if "\0" in value:
        raise ValueError("must not hold a null character")
    return value


def _from_profile(value: Path, info: ValidationInfo) -> Path:
    """A relative file name is relative to the profile's directory, wherever the command is called."""
    _no_null(str(value))
    base: Path = (info.context or {}).get("directory", Path.cwd())
    return base / value


def _file_or_token(value: str, info: ValidationInfo) -> str:
    return _no_null(value) if value.startswith("pkcs11:") else str(_from_profile(Path(value), info))


def _credential(value: str) -> str:
    if not value or {"/", "\0"} & set(value) or value in {".", ".."} or len(value) > _MAX_CREDENTIAL:
        raise ValueError("must be the name of a credential, as in LoadCredential=NAME:...")
    return value


def _form_entry(value: str) -> str:
    parse_form_entry(_no_null(value), "login.form_entries")
    return value


Text = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_no_null)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
SecondsOrOff = Annotated[float, Field(ge=0, le=86_400)]
LongSecondsOrOff = Annotated[float, Field(ge=0, le=30 * 86_400)]
File = Annotated[Path, Strict(False), AfterValidator(_from_profile)]
FileOrToken = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_file_or_token)]
Command = Annotated[tuple[Text, ...], Strict(False), Field(min_length=1, max_length=256)]
CredentialName = Annotated[str, AfterValidator(_credential)]
Host = Annotated[str, AfterValidator(_host)]
Pins = Annotated[tuple[Annotated[str, AfterValidator(_pin)], ...], Strict(False)]
ChainPins = Annotated[tuple[Annotated[str, AfterValidator(_chain_pin)], ...], Strict(False)]
MacAddresses = Annotated[tuple[Annotated[str, AfterValidator(_mac_address)], ...], Strict(False)]
IkeProposals = Annotated[
    tuple[Annotated[str, AfterValidator(_ike_proposal)], ...], Strict(False), AfterValidator(_not_empty)
]
EspProposals = Annotated[
    tuple[Annotated[str, AfterValidator(_esp_proposal)], ...], Strict(False), AfterValidator(_not_empty)
]


class Section(BaseModel):
    """What all sections have in common: no unknown names, no silent conversions, no changes afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Identity(Section):
    """An IKE identity (RFC 7296 3.5): a type by name or number, and the value as text."""

    type: Annotated[str | int, BeforeValidator(_id_type)]
    value: Text

    @property
    def number(self) -> int:
        """The type as it stands in the payload."""
        return self.type if isinstance(self.type, int) else ID_TYPES[self.type]

    @property
    def data(self) -> bytes:
        """The identification data: packed for addresses, else UTF-8."""
        if self.number in _ADDRESS_TYPES:
            return ip_address(self.value).packed
        return self.value.encode()

    @model_validator(mode="after")
    def _check_address(self) -> Identity:
        kind = _ADDRESS_TYPES.get(self.number)
        if kind is not None and not _is_address(self.value, (kind,)):
            raise ValueError(f"the value must be an {kind.__name__.removesuffix('Address')} address")
        return self


class Gateway(Section):
    """Where the gateway is and how it proves itself."""

    host: Host
    backup_servers: Annotated[tuple[Host, ...], Strict(False), Field(max_length=32)] = ()
    port: Port = 500
    nat_port: Port = 4500
    start_on_nat_port: bool = False
    local_port: Annotated[int, Field(ge=0, le=65535)] = 0
    ca_file: File | None = None
    servercert: Pins = ()
    redirect: bool = True
    redirect_hosts: Annotated[tuple[Host, ...], Strict(False), Field(max_length=64)] = ()
    chain_pins: ChainPins = ()
    gateway_id: Host | None = None
    idr: Identity | None = None
    strict_id: bool = False
    allow_common_name: bool = False
    allow_sha1_signature: bool = False
    revocation: Literal["off"] = "off"


class Ike(Section):
    """The IKE SA."""

    proposals: IkeProposals = DEFAULT_IKE_PROPOSALS
    local_id: Identity = Identity(type="anyconnect", value="*$AnyConnectClient$*")
    initial_contact: bool = False
    signature_hash_algorithms: bool = False
    fragmentation: Annotated[Fragmentation, Strict(False)] = Fragmentation.AUTO
    fragment_size: Annotated[int, Field(ge=576, le=65535)] = 1280
    retransmit_timeout: Seconds = 2.0
    retransmit_base: Annotated[float, Field(ge=1, le=10)] = 1.8
    retransmit_tries: Annotated[int, Field(ge=0, le=20)] = 5
    error_grace: SecondsOrOff = 2.0
    mobike: bool = True
    rekey_time: LongSecondsOrOff = 72_000.0
    life_time: LongSecondsOrOff = 86_400.0
    liveness_interval: SecondsOrOff = 30.0
    keepalive_interval: Seconds = 20.0
    application_version: Text = "anyike"
    flexvpn: bool = False
    random_vendor_id: bool = False


class Esp(Section):
    """The CHILD_SA and what encrypts its packets."""

    proposals: EspProposals = DEFAULT_ESP_PROPOSALS
    rekey_time: LongSecondsOrOff = 14_400.0
    life_time: LongSecondsOrOff = 18_000.0
    rekey_packets: Annotated[int, Field(ge=0, le=2**32 - 1)] = 2**31
    rekey_bytes: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    backend: Literal["auto", "tun"] = "auto"


class Secret(Section):
    """Where a secret comes from: a command's first line, the user's keyring (a service), or a credential of systemd."""

    command: Command | None = None
    keyring: Text | None = None
    credential: CredentialName | None = None

    @model_validator(mode="after")
    def _check_one(self) -> Secret:
        if sum(source is not None for source in (self.command, self.keyring, self.credential)) != 1:
            raise ValueError("must name exactly one source: command, keyring or credential")
        return self


class Login(Section):
    """Who logs in, and where answers come from. No password is ever here, only ways to one."""

    user: Text | None = None
    group: Text | None = None
    user_group: Text | None = None
    group_access: Literal["name", "url"] = "name"
    tries: Annotated[int, Field(ge=1, le=10)] = 3
    accept_banner: bool = False
    keep_credentials: bool = False
    client_version: Text = "4.9.01095"
    auth_methods: Annotated[tuple[Text, ...], Strict(False)] = ("multiple-cert", "single-sign-on", "single-sign-on-v2")
    form_entries: Annotated[tuple[Annotated[str, AfterValidator(_form_entry)], ...], Strict(False)] = ()
    password_command: Command | None = None
    password_keyring: Text | None = None
    password_credential: CredentialName | None = None
    secrets: dict[Text, Secret] = Field(default_factory=dict)
    run_as: Text | None = None


class Token(Section):
    """The one-time codes of a software token; the secret comes from a file, a command or a credential only."""

    mode: Literal["totp", "hotp"] | None = None
    secret_file: File | None = None
    secret_command: Command | None = None
    secret_credential: CredentialName | None = None
    field: Text | None = None


class Certificate(Section):
    """The client's certificates: files (PEM, DER, PKCS#12) or the pkcs11: URI of a token."""

    file: FileOrToken | None = None
    key: FileOrToken | None = None
    pass_phrase_command: Command | None = None
    pass_phrase_credential: CredentialName | None = None
    user_file: FileOrToken | None = None
    user_key: FileOrToken | None = None
    user_pass_phrase_command: Command | None = None
    user_pass_phrase_credential: CredentialName | None = None
    expiry_warning: Annotated[int, Field(ge=0, le=365)] = 30


class HostScan(Section):
    """What answers a gateway that wants this machine inspected."""

    wrapper: File | None = None
    timeout: Seconds = 120.0


class SignOn(Section):
    """How a single sign-on in a browser is done."""

    browser: Literal["auto", "chromium", "print"] = "auto"
    chromium: File | None = None
    chromium_arguments: Annotated[tuple[Text, ...], Strict(False), Field(max_length=64)] = ()
    final_hosts: Annotated[tuple[Host, ...], Strict(False), Field(max_length=32)] = ()
    timeout: Seconds = 300.0


class Device(Section):
    """What the gateway is told of this machine; None stands for what the machine says itself."""

    computer_name: Text | None = None
    device_type: Text = "anyike"
    platform: Literal["linux", "win", "mac"] = "linux"
    platform_version: Text | None = None
    unique_id: Text | None = None
    unique_id_global: Text | None = None
    mac_addresses: MacAddresses = ()


class Reconnect(Section):
    """What happens when a tunnel that was up is lost."""

    enabled: bool = True
    first_delay: Seconds = 1.0
    longest_delay: Seconds = 60.0
    after_delete: bool = False
    on_disconnect: Literal["hold", "release"] = "hold"


class Tunnel(Section):
    """The inside of the tunnel on this machine."""

    interface: Annotated[str, AfterValidator(_interface)] = "anyike%d"
    mtu: Annotated[int, Field(ge=576, le=65535)] | None = None
    ipv6: bool = True
    max_time: LongSecondsOrOff = 0.0
    mark: Annotated[int, Field(ge=1, le=0xFFFFFFFF)] = DEFAULT_MARK


class Settings(Section):
    """Everything a connection is told."""

    gateway: Gateway
    ike: Ike = Ike()
    esp: Esp = Esp()
    login: Login = Login()
    token: Token = Token()
    certificate: Certificate = Certificate()
    host_scan: HostScan = HostScan()
    sign_on: SignOn = SignOn()
    device: Device = Device()
    tunnel: Tunnel = Tunnel()
    reconnect: Reconnect = Reconnect()
