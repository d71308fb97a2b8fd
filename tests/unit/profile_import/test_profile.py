"""Whole profiles: what they become, what is named as lost, and what is refused."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyike.config_file import load_settings
from anyike.errors import ConfigurationError
from anyike.profile_import.profile import MAX_HOSTS, MAX_LEFT_OUT, MAX_SIZE, ImportedProfile, import_profile
from anyike.text import printable

SAMPLES = Path(__file__).parents[2] / "vectors/anyconnect_profile"
ASA_PIN = "pin-sha512:1CTrrVAMvRhKnCRBlcHvHPvVvyW5ZuV7QpWv9wR3oSYPlyz1bfkD9HgO7uCIaYyLbjX9cDmcvJmeIwiVNTrZWg=="


def sample(name: str) -> ImportedProfile:
    return import_profile((SAMPLES / name).read_bytes(), name)


def profile(servers: str, initialization: str = "", source: str = "x.xml") -> ImportedProfile:
    text = (
        '<?xml version="1.0" encoding="UTF-8"?><AnyConnectProfile xmlns="http://schemas.xmlsoap.org/encoding/">'
        f"<ClientInitialization>{initialization}</ClientInitialization><ServerList>{servers}</ServerList>"
        "</AnyConnectProfile>"
    )
    return import_profile(text.encode(), source)


def host(
    name: str = "Work", address: str = "vpn.example.com", more: str = "<PrimaryProtocol>IPsec</PrimaryProtocol>"
) -> str:
    return f"<HostEntry><HostName>{name}</HostName><HostAddress>{address}</HostAddress>{more}</HostEntry>"


def ipsec(standard: str) -> str:
    inside = f"<StandardAuthenticationOnly>{standard}</StandardAuthenticationOnly>"
    return f"<PrimaryProtocol>IPsec{inside}</PrimaryProtocol>"


def settings_of(imported: ImportedProfile) -> dict[str, dict]:
    return {found.profile_name: tomllib.loads(found.text) for found in imported.hosts}


def lost(entries) -> dict[str, str]:
    return {entry.where: entry.reason for entry in entries}


class TestSamples:
    def test_the_shortest(self):
        imported = sample("minimal.xml")
        assert settings_of(imported) == {"vpn.example.com": {"gateway": {"host": "vpn.example.com"}}}
        assert (imported.refused, imported.left_out, imported.hosts[0].left_out) == ((), (), ())

    def test_an_asa(self):
        assert settings_of(sample("asa.xml")) == {
            "Head_office___staff": {
                "gateway": {
                    "host": "vpn.example.com",
                    "backup_servers": ["backup1.example.com", "192.0.2.99"],
                    "chain_pins": [ASA_PIN],
                },
                "login": {"user_group": "Staff"},
            },
            "Laboratory": {
                "gateway": {
                    "host": "lab.example.com",
                    "backup_servers": ["lab2.example.com", "2001:db8::2", "lab3.example.com"],
                    "chain_pins": [ASA_PIN],
                },
                "login": {"user_group": "Lab"},
            },
            "Web_only": {
                "gateway": {
                    "host": "ssl.example.com",
                    "backup_servers": ["backup1.example.com", "192.0.2.99", "vpn.example.com"],
                    "chain_pins": [ASA_PIN],
                }
            },
        }

    def test_an_asa_loses(self):
        found = lost(sample("asa.xml").left_out)
        assert {where.removeprefix("ClientInitialization/") for where in found} == {
            "BackupServerList/HostAddress[4]",
            "AutomaticCertSelection",
            "CertificateStore",
            "CertificateStoreOverride",
            "ProxySettings",
            "AllowLocalProxyConnections",
            "AuthenticationTimeout",
            "MinimizeOnConnect",
            "LocalLanAccess",
            "ClearSmartcardPin",
            "IPProtocolSupport",
            "AutoReconnect",
            "AutoUpdate",
            "RSASecurIDIntegration",
            "WindowsLogonEnforcement",
            "WindowsVPNEstablishment",
            "AutomaticVPNPolicy",
            "AutomaticVPNPolicy/AlwaysOn",
            "EnableScripting",
            "CertificatePinning",
            "CertificatePinning/CertificatePinList/Pin[2]",
            "CertificateMatch",
            "RetainVpnOnLogoff",
            "SuspendOnConnectedStandby",
        }
        assert "traffic is not blocked" in found["ClientInitialization/AutomaticVPNPolicy/AlwaysOn"]
        assert 'gateway.host = "not a host"' in found["ClientInitialization/BackupServerList/HostAddress[4]"]

    def test_a_host_of_the_asa_loses(self):
        _, laboratory, web = sample("asa.xml").hosts
        assert [entry.where.split(")/")[1] for entry in laboratory.left_out] == [
            "HostAddress",
            "BackupServerList/HostAddress[1]",
            "BackupServerList/HostAddress[4]",
            "HostAddress",
            "LoadBalancingServerList",
        ]
        assert [entry.where.split(")/")[1] for entry in web.left_out] == [
            "PrimaryProtocol",
            "CAURL",
            "MobileHostEntryInfo",
        ]
        assert "asks for SSL; anyike speaks IKEv2 only" in web.left_out[0].reason

    def test_comments_say_it_all(self):
        imported = sample("asa.xml")
        for found in imported.hosts:
            head = found.text.partition("\n\n")[0]
            assert head.startswith(f"# {found.name}, made by anyike import from the AnyConnect profile asa.xml\n")
            flat = head.replace("\n#  ", "")
            for entry in (*found.left_out, *imported.left_out):
                assert f"# - {entry}" in flat

    def test_ios_xe(self):
        imported = sample("ios_xe.xml")
        assert settings_of(imported) == {
            "FlexVPN": {
                "gateway": {"host": "192.0.2.10"},
                "ike": {"local_id": {"type": "anyconnect", "value": "staff.example.com"}},
            },
            "FlexVPN_default_identity": {"gateway": {"host": "2001:db8::10"}},
            "FlexVPN_switched_off": {"gateway": {"host": "192.0.2.13"}},
        }
        assert [(entry.where.split(" (")[0], entry.reason.split(";")[0]) for entry in imported.refused] == [
            ("ServerList/HostEntry[3]", "the gateway takes only EAP-MD5"),
            ("ServerList/HostEntry[4]", "the gateway takes only EAP-GTC"),
        ]

    @pytest.mark.parametrize("name", ["minimal.xml", "ios_xe.xml", "asa.xml"])
    def test_the_settings_accept_every_text(self, name, tmp_path):
        for found in sample(name).hosts:
            load_settings(found.text, found.profile_name, tmp_path, {})


class TestHosts:
    def test_the_name_alone_is_the_address(self):
        assert settings_of(profile("<HostEntry><HostName>vpn.example.com</HostName></HostEntry>")) == {
            "vpn.example.com": {"gateway": {"host": "vpn.example.com"}}
        }

    def test_a_name_that_is_no_host_is_refused(self):
        imported = profile(host() + "<HostEntry><HostName>Head office</HostName></HostEntry><HostEntry/>")
        assert lost(imported.refused) == {
            "ServerList/HostEntry[2] (Head office)": (
                'gateway.host = "Head office": must be a host name or an IP address alone, without https://, port or path'
            ),
            "ServerList/HostEntry[3] ()": "has neither a HostAddress nor a HostName",
        }

    @pytest.mark.parametrize("method", ["EAP-MD5", "EAP-MSCHAPv2", "EAP-GTC", "IKE-RSA", "IKE-ECDSA", ""])
    def test_standard_methods_are_refused(self, method):
        standard = ipsec(f"true<AuthMethodDuringIKENegotiation>{method}</AuthMethodDuringIKENegotiation>")
        imported = profile(host() + host("Other", more=standard))
        assert [found.name for found in imported.hosts] == ["Work"]
        assert f"takes only {method or 'EAP-GTC'};" in imported.refused[0].reason

    def test_comments_and_character_data_in_mixed_content(self):
        more = (
            "<PrimaryProtocol> <!-- IKEv2 --> <StandardAuthenticationOnly> <![CDATA[ TRUE ]]>"
            "<IKEIdentity>lab</IKEIdentity>"
            "<AuthMethodDuringIKENegotiation>eap-anyconnect</AuthMethodDuringIKENegotiation>"
            "</StandardAuthenticationOnly>ipsec</PrimaryProtocol>"
        )
        assert settings_of(profile(host(more=more)))["Work"]["ike"] == {
            "local_id": {"type": "anyconnect", "value": "lab"}
        }

    def test_the_group_of_the_address_gives_way_to_the_group(self):
        imported = profile(host(address="vpn.example.com/a", more="<UserGroup>b</UserGroup>"))
        assert settings_of(imported)["Work"]["login"] == {"user_group": "b"}
        assert "its group is not used" in imported.hosts[0].left_out[0].reason

    @pytest.mark.parametrize("group", ["a\nb", "a\N{RIGHT-TO-LEFT OVERRIDE}b", "a\N{NEXT LINE}b", "a\tb"])
    def test_a_group_that_could_disguise_itself_is_left_out(self, group):
        imported = profile(host(more=f"<UserGroup>{group}</UserGroup>"))
        assert "login" not in settings_of(imported)["Work"]
        assert imported.hosts[0].left_out[0].where.endswith("/UserGroup")

    def test_quotes_and_backslashes_survive(self):
        group = "a\"b\\c'd]#="
        assert settings_of(profile(host(more=f"<UserGroup>{group}</UserGroup>")))["Work"]["login"] == {
            "user_group": group
        }

    def test_the_hosts_own_backup_servers_replace_the_common_ones(self):
        common = "<BackupServerList><HostAddress>common.example.com</HostAddress></BackupServerList>"
        own = "<BackupServerList><HostAddress>own.example.com</HostAddress></BackupServerList>"
        empty = "<BackupServerList><HostAddress></HostAddress></BackupServerList>"
        imported = profile(host("a", more=own) + host("b", more=empty) + host("c"), common)
        assert [found["gateway"]["backup_servers"] for found in settings_of(imported).values()] == [
            ["own.example.com"],
            ["common.example.com"],
            ["common.example.com"],
        ]

    def test_backup_servers_have_an_end(self):
        many = "".join(f"<HostAddress>b{number}.example.com</HostAddress>" for number in range(40))
        imported = profile(host(more=f"<BackupServerList>{many}</BackupServerList>"))
        assert len(settings_of(imported)["Work"]["gateway"]["backup_servers"]) == 32
        assert imported.hosts[0].left_out[0].where.endswith("/BackupServerList/HostAddress[33]")


class TestNames:
    @pytest.mark.parametrize(
        ("name", "profile_name"),
        [
            ("Work", "Work"),
            ("../../etc/passwd", "_.._etc_passwd"),
            ("/etc/cron.d/x", "_etc_cron.d_x"),
            ("..", "_"),
            (".-.hidden", "hidden"),
            ("--config", "config"),
            ("a\nb", "a_b"),
            ("a b", "a_b"),
            ("Zürich", "Z_rich"),
            ("n" * 5000, "n" * 200),
        ],
    )
    def test_a_safe_name(self, name, profile_name):
        assert profile(host(name)).hosts[0].profile_name == profile_name

    def test_no_two_files_have_one_name(self):
        imported = profile(host("a b") + host("a_b") + host("a/b") + host("a_b-2"))
        assert [found.profile_name for found in imported.hosts] == ["a_b", "a_b-2", "a_b-3", "a_b-2-2"]

    def test_what_is_shown_is_harmless(self):
        evil = "x\N{RIGHT-TO-LEFT OVERRIDE}\n\u0085[gateway]\nhost = 'evil'"
        imported = profile(
            host(evil, more=f"<{'y' * 500}/>"),
            f"<BackupServerList><HostAddress>{evil}</HostAddress></BackupServerList>",
            evil,
        )
        text = imported.hosts[0].text
        assert tomllib.loads(text) == {"gateway": {"host": "vpn.example.com"}}
        assert printable(text) == text
        assert all(len(entry.where) < 300 for entry in (*imported.left_out, *imported.hosts[0].left_out))


class TestClientSettings:
    @pytest.mark.parametrize(
        "xml",
        [
            "<AutoUpdate>false</AutoUpdate>",
            "<AutoUpdate/>",
            "<ProxySettings>IgnoreProxy</ProxySettings>",
            "<AutomaticVPNPolicy>false<AlwaysOn>true</AlwaysOn></AutomaticVPNPolicy>",
            "<CertificatePinning>false<CertificatePinList><Pin>00</Pin></CertificatePinList></CertificatePinning>",
            "<AllowManualHostInput>true</AllowManualHostInput>",
            "<CertificateMatch/>",
        ],
    )
    def test_what_anyike_does_anyway_is_not_named(self, xml):
        assert profile(host(), xml).left_out == ()

    @pytest.mark.parametrize(
        ("xml", "where", "reason"),
        [
            ("<Novelty>1</Novelty>", "Novelty", "no setting of anyike corresponds to it"),
            ("<AllowManualHostInput>false</AllowManualHostInput>", "AllowManualHostInput", "any host"),
            ("<UseStartBeforeLogon>TRUE</UseStartBeforeLogon>", "UseStartBeforeLogon", "before the user logs in"),
            ("<ProxySettings>Override</ProxySettings>", "ProxySettings", "no proxies"),
            ("<MobilePolicy><DeviceLockRequired/></MobilePolicy>", "MobilePolicy", "Windows Mobile"),
        ],
    )
    def test_what_it_does_not_is_named(self, xml, where, reason):
        (entry,) = profile(host(), xml).left_out
        assert entry.where == f"ClientInitialization/{where}"
        assert reason in entry.reason

    def test_unknown_parts_beside_the_known_ones_are_named(self):
        data = f"<AnyConnectProfile><Extra/><ServerList>{host()}</ServerList></AnyConnectProfile>".encode()
        assert lost(import_profile(data, "x.xml").left_out) == {"Extra": "is unknown"}

    def test_a_second_one_is_named(self):
        data = (
            f"<AnyConnectProfile>{'<ClientInitialization/>' * 3}<ServerList>{host()}</ServerList></AnyConnectProfile>"
        )
        assert list(lost(import_profile(data.encode(), "x.xml").left_out)) == ["ClientInitialization[2]"]


class TestRefused:
    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"", "no element"),
            (b"[gateway]\nhost = 'vpn.example.com'\n", "syntax error"),
            (b"<AnyConnectProfile>", "no element found"),
            (b"<AnyConnectLocalPolicy/>", "its root is <AnyConnectLocalPolicy>, not <AnyConnectProfile>"),
            (b"<AnyConnectProfile/>", "there is no ServerList with a HostEntry"),
            (b"<AnyConnectProfile><ServerList/></AnyConnectProfile>", "there is no ServerList with a HostEntry"),
            (b'<!DOCTYPE AnyConnectProfile SYSTEM "file:///etc/passwd"><AnyConnectProfile/>', "a DTD or entity"),
            (b'<!DOCTYPE a [<!ENTITY e "x">]><AnyConnectProfile>&e;</AnyConnectProfile>', "a DTD or entity"),
            (b"<AnyConnectProfile>&e;</AnyConnectProfile>", "undefined entity"),
            ('<?xml version="1.0"?><AnyConnectProfile/>'.encode("utf-16"), "zero byte"),
            (b'<?xml version="1.0" encoding="ISO-8859-1"?><AnyConnectProfile/>', "encoding other than UTF-8"),
            (b"<AnyConnectProfile>\xfc</AnyConnectProfile>", "not UTF-8"),
            (b"<a>" * 1000, "inside each other"),
            (b" " * (MAX_SIZE + 1), f"at most {MAX_SIZE} are accepted"),
        ],
    )
    def test_what_is_no_profile(self, data, reason):
        with pytest.raises(ConfigurationError, match=r"^x\.xml: ") as refused:
            import_profile(data, "x.xml")
        assert reason in str(refused.value)

    def test_no_usable_host(self):
        with pytest.raises(ConfigurationError, match="has no host that can be connected to") as refused:
            profile(host("a", "not a host") + host("b", more=ipsec("true")))
        assert [line.split(")")[0] for line in str(refused.value).splitlines()[1:]] == [
            "ServerList/HostEntry[1] (a",
            "ServerList/HostEntry[2] (b",
        ]

    def test_a_large_profile_is_read(self):
        # Longer than any document of a login.
        imported = profile("".join(host(f"host{number}") for number in range(MAX_HOSTS)), "<!--" + "x" * 70_000 + "-->")
        assert len(imported.hosts) == MAX_HOSTS

    @pytest.mark.parametrize(
        ("servers", "reason"),
        [
            (host() * (MAX_HOSTS + 1), f"has {MAX_HOSTS + 1} hosts, at most {MAX_HOSTS} can be imported"),
            ("<HostEntry/>" * 10_000, "more than 8192 elements"),
            (host() * 10_000, f"at most {MAX_SIZE} are accepted"),
        ],
        ids=["hosts", "elements", "bytes"],
    )
    def test_too_many_hosts(self, servers, reason):
        with pytest.raises(ConfigurationError, match=reason):
            profile(servers)

    def test_too_many_settings(self):
        unknown = "<Novelty>1</Novelty>" * (MAX_LEFT_OUT + 1)
        for xml in ({"servers": host(), "initialization": unknown}, {"servers": host(more=unknown)}):
            with pytest.raises(ConfigurationError, match=f"at most {MAX_LEFT_OUT} are accepted"):
                profile(**xml)


XML_TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="<&]\ufffe\uffff"), max_size=40)


@given(name=XML_TEXT, address=XML_TEXT, group=XML_TEXT, source=st.text(max_size=40))
def test_whatever_a_profile_says_its_text_is_accepted_or_refused(name, address, group, source):
    entry = host(name, address, f"<UserGroup>{group}</UserGroup>")
    try:
        imported = profile(host() + entry, source=source)
    except ConfigurationError as error:
        pytest.fail(str(error))
    assert len(imported.hosts) + len(imported.refused) == 2
    for found in imported.hosts:
        load_settings(found.text, "x", Path(), {})
        assert printable(found.text) == found.text
        assert found.profile_name[0] not in ".-"
        assert "/" not in found.profile_name
