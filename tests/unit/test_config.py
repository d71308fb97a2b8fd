import re
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from anyike.config import ID_TYPES, Identity, Settings
from anyike.config_file import Override, load_settings
from anyike.errors import ConfigurationError, UsageError
from anyike.ikev2.settings import IkeSettings, Retransmission

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"
PROFILES = Path("/etc/anyike")
PIN = "pin-sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
CHAIN_PIN = "pin-sha512:z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg=="
MINIMAL = "[gateway]\nhost = 'vpn.example.com'\n"


def load(text: str, **overrides: object) -> Settings:
    named = {key.replace("__", "."): Override(f"--{key.partition('__')[2]}", value) for key, value in overrides.items()}
    return load_settings(text, "work.toml", PROFILES, named)


def fault_of(text: str, **overrides: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(text, **overrides)
    return str(caught.value)


def example_with_everything_on() -> str:
    """The example with its commented-out settings taken in."""
    return re.sub(r"^# (\w+ = )", r"\1", EXAMPLE.read_text(), flags=re.MULTILINE)


def all_settings() -> set[str]:
    sections = {name: field.annotation for name, field in Settings.model_fields.items()}
    assert all(issubclass(section, BaseModel) for section in sections.values())
    return {f"{name}.{key}" for name, section in sections.items() for key in section.model_fields}


class TestExample:
    def test_equals_the_defaults(self):
        assert load(EXAMPLE.read_text()) == Settings(gateway={"host": "vpn.example.com"})

    def test_holds_every_setting(self):
        written = tomllib.loads(example_with_everything_on())
        assert {f"{section}.{key}" for section, table in written.items() for key in table} == all_settings()

    def test_what_is_commented_out_is_what_has_no_default_and_its_example_is_valid(self):
        on_by_itself = load(EXAMPLE.read_text()).model_dump()
        everything = load(example_with_everything_on()).model_dump()
        unset = {f"{s}.{k}" for s, table in on_by_itself.items() for k, value in table.items() if value is None}
        changed = {
            f"{s}.{k}" for s, table in everything.items() for k, value in table.items() if value != on_by_itself[s][k]
        }
        assert unset
        assert changed == unset

    def test_explains_every_setting_in_a_line_before_it(self):
        lines = EXAMPLE.read_text().splitlines()
        unexplained = [
            line
            for before, line in pairwise(lines)
            if re.match(r"(# )?\w+ = ", line) and not re.match(r"# [A-Z].*\.$", before)
        ]
        assert unexplained == []


def test_defaults_are_those_of_the_protocol_core():
    ike = Settings(gateway={"host": "a"}).ike
    core = {name: field.default for name, field in IkeSettings.__dataclass_fields__.items()}
    assert (ike.retransmit_timeout, ike.retransmit_base, ike.retransmit_tries) == (
        Retransmission().timeout,
        Retransmission().base,
        Retransmission().tries,
    )
    for name in (
        "fragmentation",
        "fragment_size",
        "error_grace",
        "liveness_interval",
        "keepalive_interval",
        "initial_contact",
    ):
        assert getattr(ike, name) == core[name], name


def test_settings_cannot_be_changed():
    settings = load(MINIMAL)
    with pytest.raises(ValidationError):
        settings.gateway.port = 1


class TestOverrides:
    def test_command_line_wins(self):
        settings = load(
            MINIMAL + "[login]\nuser = 'ada'\n", login__user="bob", gateway__host="other.example", tunnel__mtu=1300
        )
        assert (settings.login.user, settings.gateway.host, settings.tunnel.mtu) == ("bob", "other.example", 1300)

    def test_a_bad_option_is_a_usage_error_that_names_it(self):
        with pytest.raises(UsageError, match=r"^--mtu 20: must be greater than or equal to 576$"):
            load(MINIMAL, tunnel__mtu=20)

    def test_the_profile_is_blamed_first(self):
        assert (
            fault_of(MINIMAL + "port = 0\n", tunnel__mtu=20)
            == "work.toml: gateway.port = 0: must be greater than or equal to 1"
        )


class TestFaults:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", "gateway.host is missing"),
            ("gateway = 5", "gateway: must be a table of settings"),
            (MINIMAL + "port = 70000", "gateway.port = 70000: must be less than or equal to 65535"),
            (MINIMAL + "port = '500'", 'gateway.port = "500": must be a valid integer'),
            (MINIMAL + "strict_id = 1", "gateway.strict_id = 1: must be a valid boolean"),
            (MINIMAL + "ca_file = 5", "gateway.ca_file = 5: must be a file name"),
            (MINIMAL + "servercert = 'x'", 'gateway.servercert = "x": must be a list'),
            (MINIMAL + "revocation = 'strict'", "gateway.revocation = \"strict\": must be 'off'"),
            (
                MINIMAL + "[ike]\nfragmentation = 'no'",
                "ike.fragmentation = \"no\": must be 'auto', 'ietf', 'cisco' or 'off'",
            ),
            (MINIMAL + "[ike]\nproposals = []", "ike.proposals = []: must hold at least one proposal"),
            (
                MINIMAL + "[tunnel]\ninterface = 'a/b'",
                'tunnel.interface = "a/b": must have 1 to 15 bytes, without spaces and slashes',
            ),
            (
                MINIMAL + "[device]\nmac_addresses = ['82-00']",
                'device.mac_addresses[0] = "82-00": must be six hexadecimal bytes',
            ),
            (MINIMAL + "idr = {type = 'ipv4', value = '::1'}", "the value must be an IPv4 address"),
            (
                MINIMAL + "idr = {type = 'dn', value = 'x'}",
                'gateway.idr.type = "dn": must be one of anyconnect, key-id, fqdn',
            ),
            (MINIMAL + "idr = {type = true, value = 'x'}", "gateway.idr.type = true: must be one of"),
            (MINIMAL + "[login]\nuser = ''", 'login.user = "": must have at least 1 character'),
        ],
    )
    def test_names_file_key_value_and_what_is_allowed(self, text, expected):
        fault = fault_of(text)
        assert fault.startswith("work.toml: ")
        assert expected in fault

    @pytest.mark.parametrize(
        "host", ["https://vpn.example.com/", "vpn.example.com:443", "a b", "", "-a", "1.2.3.400", "[::1]", "a" * 64]
    )
    def test_what_is_no_host(self, host):
        assert "must be a host name or an IP address alone" in fault_of(f"[gateway]\nhost = '{host}'")

    @pytest.mark.parametrize(
        "host",
        ["vpn.example.com", "vpn.example.com.", "vpn", "192.0.2.1", "2001:db8::1", "fe80::1%eth0", "1and1.example"],
    )
    def test_what_is_a_host(self, host):
        assert load(f"[gateway]\nhost = '{host}'").gateway.host == host

    def test_unknown_setting_lists_its_neighbours_and_hides_the_value(self):
        fault = fault_of(MINIMAL + "[esp]\nsecrett = 'hunter2'\n")
        names = "proposals, rekey_time, life_time, rekey_packets, rekey_bytes, backend"
        assert fault == f"work.toml: esp.secrett is not a setting; [esp] has {names}"

    def test_unknown_section_lists_the_sections(self):
        names = "gateway, ike, esp, login, token, certificate, host_scan, sign_on, device, tunnel, reconnect"
        assert f"vpn is not a setting; a profile has {names}" in fault_of(MINIMAL + "[vpn]\na = 1\n")

    def test_a_password_is_refused_and_not_repeated(self):
        fault = fault_of(MINIMAL + "[login]\npassword = 'hunter2'\n")
        assert "never kept in a profile" in fault
        assert "hunter2" not in fault

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("[login.secrets]\nanswer = 'hunter2'", "login.secrets.answer: must be a table of settings"),
            (
                "[login.secrets]\n'main:answer' = ['hunter2']",
                'login.secrets."main:answer": must be a table of settings',
            ),
            ("[login]\nsecrets = 'hunter2'", "login.secrets: must be a valid dictionary"),
            ("[login.secrets]\nanswer = {command = 'hunter2'}", "login.secrets.answer.command: must be a list"),
            (
                "[login.secrets]\nanswer = {credential = '/hunter2'}",
                "login.secrets.answer.credential: must be the name",
            ),
            (
                "[login.secrets]\nanswer = {command = ['a'], keyring = 'hunter2'}",
                "login.secrets.answer: must name exactly",
            ),
            ("[login]\nform_entries = ['hunter2']", "login.form_entries[0]: it has no '='"),
            ("[login]\nform_entries = 'main:password=hunter2'", "login.form_entries: must be a list"),
            (
                "[login]\npassword_credential = '/hunter2'",
                "login.password_credential: must be the name of a credential",
            ),
            ("[login]\npassword_command = 'hunter2'", "login.password_command: must be a list"),
            (
                "[login]\npassword_command = ['echo', {a = 'hunter2'}]",
                "login.password_command[1]: must be a valid string",
            ),
            ("[login]\npassword_keyring = ['hunter2']", "login.password_keyring: must be a valid string"),
            ("[certificate]\npass_phrase_command = 'hunter2'", "certificate.pass_phrase_command: must be a list"),
            (
                "[certificate]\npass_phrase_credential = '/hunter2'",
                "certificate.pass_phrase_credential: must be the name",
            ),
            ("[token]\nsecret_file = ['hunter2']", "token.secret_file: must be a file name"),
            ("[token]\nsecret_command = 'hunter2'", "token.secret_command: must be a list"),
            ("[token]\nmode = {secret = 'hunter2'}", "token.mode: must be"),
            ("[token]\nfield = [['a', {pin = 'hunter2'}]]", "token.field: must be a valid string"),
            ("[[login]]\npasswd = 'hunter2'", "login: must be a table of settings"),
            ("token = 'hunter2'", "token: must be a table of settings"),
        ],
    )
    def test_what_may_be_a_secret_by_mistake_is_not_repeated(self, text, expected):
        fault = fault_of(f"{text}\n{MINIMAL}")
        assert expected in fault
        assert "hunter2" not in fault

    @pytest.mark.parametrize(
        ("section", "setting", "value"),
        [
            ("host_scan", "wrapper", '"a%s"'),
            ("sign_on", "chromium", '"a%s"'),
            ("gateway", "ca_file", '"a%s"'),
            ("certificate", "file", '"a%s"'),
            ("certificate", "key", '"pkcs11:a%s"'),
            ("login", "user", '"a%s"'),
            ("login", "form_entries", '["a:b=c%s"]'),
            ("login", "password_command", '["echo", "a%s"]'),
            ("login", "password_credential", '"a%s"'),
            ("sign_on", "chromium_arguments", '["a%s"]'),
            ("tunnel", "interface", '"a%s"'),
        ],
    )
    def test_no_null_character(self, section, setting, value):
        def profile(character: str) -> str:
            return f"gateway.host = 'a'\n{section}.{setting} = {value % character}\n"

        load(profile("a"))
        fault = fault_of(profile("\\u0000"))
        assert fault.startswith(f"work.toml: {section}.{setting}")
        assert "null character" in fault or "name of a credential" in fault

    def test_every_fault_has_a_line(self):
        faults = fault_of(MINIMAL + "port = 0\n[esp]\nx = 1\n").splitlines()
        assert len(faults) == 2
        assert all(fault.startswith("work.toml: ") for fault in faults)

    def test_an_unknown_algorithm_lists_the_known_ones(self):
        fault = fault_of(MINIMAL + "[esp]\nproposals = ['aes256-md5']")
        assert "esp.proposals[0]" in fault
        assert "'md5'" in fault
        assert "sha256" in fault

    @pytest.mark.parametrize("pin", ["sha256:abc", PIN[:-2], PIN.removeprefix("pin-sha256:"), ""])
    def test_a_pin_of_another_kind(self, pin):
        assert "must be pin-sha256:" in fault_of(MINIMAL + f"servercert = ['{pin}']")

    @pytest.mark.parametrize(
        "pin", [PIN, CHAIN_PIN.replace("512", "256"), CHAIN_PIN[:-4], CHAIN_PIN.removeprefix("pin-sha512:"), ""]
    )
    def test_a_chain_pin_of_another_kind(self, pin):
        assert "gateway.chain_pins[0]" in fault_of(MINIMAL + f"chain_pins = ['{pin}']")
        assert "must be pin-sha512:" in fault_of(MINIMAL + f"chain_pins = ['{pin}']")
        assert load(MINIMAL + f"chain_pins = ['{CHAIN_PIN}']").gateway.chain_pins == (CHAIN_PIN,)

    def test_values_cannot_drive_the_terminal(self):
        assert "\x1b" not in fault_of('[gateway]\nhost = "\\u001b[2J"')

    def test_a_long_value_is_cut(self):
        assert len(fault_of(f"[gateway]\nhost = '{'a' * 5000}'")) < 300

    def test_bad_toml_is_located(self):
        assert "work.toml is not valid TOML" in fault_of("[gateway]\nhost")
        assert "line 2" in fault_of("[gateway]\nhost = \n")

    def test_bottomless_toml(self):
        assert fault_of("a = " + "[" * 100_000) == "work.toml is nested too deeply"


def test_files_are_relative_to_the_profile():
    assert load(MINIMAL + "ca_file = 'ca.pem'").gateway.ca_file == PROFILES / "ca.pem"
    assert load(MINIMAL + "ca_file = '/root/ca.pem'").gateway.ca_file == Path("/root/ca.pem")


class TestIdentity:
    @pytest.mark.parametrize(
        ("kind", "value", "number", "data"),
        [
            ("anyconnect", "*$AnyConnectClient$*", 201, b"*$AnyConnectClient$*"),
            ("key-id", "staff", 11, b"staff"),
            ("fqdn", "vpn.example.com", 2, b"vpn.example.com"),
            ("email", "a@example.com", 3, b"a@example.com"),
            ("ipv4", "192.0.2.1", 1, b"\xc0\x00\x02\x01"),
            ("ipv6", "::1", 5, bytes(15) + b"\x01"),
            (222, "ä", 222, b"\xc3\xa4"),
        ],
    )
    def test_on_the_wire(self, kind, value, number, data):
        identity = Identity(type=kind, value=value)
        assert (identity.number, identity.data) == (number, data)

    def test_every_name_is_accepted(self):
        addresses = {"ipv4": "192.0.2.1", "ipv6": "::1"}
        assert {Identity(type=name, value=addresses.get(name, "x")).number for name in ID_TYPES} == set(
            ID_TYPES.values()
        )


def test_mac_addresses_are_written_as_the_gateway_wants_them():
    assert load(MINIMAL + "[device]\nmac_addresses = ['82:00:11:AA:BB:CC']").device.mac_addresses == (
        "82-00-11-aa-bb-cc",
    )


TOML_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(setting=st.sampled_from(sorted(all_settings())), value=TOML_VALUES)
def test_any_value_of_any_setting_is_taken_or_refused_by_its_name(setting, value):
    try:
        settings = load(MINIMAL, **{setting.replace(".", "__"): value})
    except UsageError as error:
        assert str(error).startswith(f"--{setting.partition('.')[2]} ")  # noqa: PT017  both outcomes are right
    else:
        assert isinstance(settings, Settings)


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda data: data.decode("latin-1")))
def test_any_text_is_settings_or_a_configuration_error(text):
    try:
        assert isinstance(load(text), Settings)
    except ConfigurationError as error:
        assert "work.toml" in str(error)  # noqa: PT017  both outcomes are right


@pytest.mark.parametrize(
    ("name", "number", "value", "data"),
    [
        ("ipv4", 1, "192.0.2.1", b"\xc0\x00\x02\x01"),
        ("ipv6", 5, "2001:db8::1", b"\x20\x01\x0d\xb8" + bytes(11) + b"\x01"),
    ],
)
def test_an_address_is_packed_however_its_type_is_written(name, number, value, data):
    for kind in (f'"{name}"', number):
        identity = load(f'[gateway]\nhost = "a"\n[ike]\nlocal_id = {{type = {kind}, value = "{value}"}}').ike.local_id
        assert (identity.number, identity.data) == (number, data)
        assert f"the value must be an IPv{name[-1]} address" in fault_of(
            f'[gateway]\nhost = "a"\n[ike]\nlocal_id = {{type = {kind}, value = "no.address"}}'
        )


def test_keys_cannot_drive_the_terminal():
    fault = fault_of('"\\u001b[2J" = 1\n[gateway]\nhost = "a"\n"\\u202e" = 1\n')
    assert '"\\u001b[2J" is not a setting' in fault
    assert 'gateway."\\u202e" is not a setting' in fault


@pytest.mark.parametrize("number", ["9" * 5000, "0x" + "f" * 5000])
def test_numbers_beyond_all_bounds(number):
    assert "a number" in fault_of(f'[gateway]\nhost = "a"\nport = {number}')
    assert "too many digits" in fault_of(f'[gateway]\nhost = "a"\nport = {number}')
