"""Wireshark as the judge: with the keys of a connection it decrypts every message, and finds nothing to object to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from client import Client
from rig import Rig

from anyike.errors import ExitCode

LAUNCHER = Path(__file__).with_name("anyike_with_keys.py")

# Names in Wireshark's key tables, of what CipherSuite.name calls otherwise.
IKE_NAMES = {
    "AES_GCM_16_256": ("AES-GCM-256 with 16 octet ICV [RFC5282]", "NONE [RFC4306]"),
    "AES_CBC_256/HMAC_SHA2_256_128": ("AES-CBC-256 [RFC3602]", "HMAC_SHA2_256_128 [RFC4868]"),
}
ESP_NAMES = {
    "AES_GCM_16_256": ("AES-GCM with 16 octet ICV [RFC4106]", "NULL"),
    "AES_CBC_256/HMAC_SHA2_256_128": ("AES-CBC [RFC3602]", "HMAC-SHA-256-128 [RFC4868]"),
}
DECRYPT_ESP = ("-o", "esp.enable_encryption_decode:TRUE", "-o", "esp.enable_authentication_check:TRUE")
IKE_SA_INIT, IKE_AUTH, INFORMATIONAL = "34", "35", "37"


class Wireshark:
    """tshark with the keys of one connection, on its capture."""

    def __init__(self, pcap: Path, keys: Path) -> None:
        self.pcap = pcap
        self.home = pcap.parent / "wireshark-home"
        tables = self.home / "wireshark"
        tables.mkdir(parents=True)
        for line in keys.read_text().splitlines():
            ((kind, values),) = json.loads(line).items()
            name, entry = (ike_entry if kind == "ike" else esp_entry)(values)
            with (tables / name).open("a", encoding="ascii") as table:
                table.write(entry)

    def fields(self, display_filter: str, *fields: str) -> list[list[str]]:
        """The values of fields in the packets that match."""
        selected = [part for field in fields for part in ("-e", field)]
        command = ["tshark", "-r", self.pcap, *DECRYPT_ESP, "-Y", display_filter, "-T", "fields", *selected]
        environment = {**os.environ, "XDG_CONFIG_HOME": str(self.home)}
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environment)
        return [line.split("\t") for line in done.stdout.splitlines()]


def ike_entry(keys: dict[str, str]) -> tuple[str, str]:
    encryption, integrity = IKE_NAMES[keys["suite"]]
    secrets = (keys["sk_ei"], keys["sk_er"], f'"{encryption}"', keys["sk_ai"], keys["sk_ar"], f'"{integrity}"')
    return "ikev2_decryption_table", ",".join((keys["spi_i"], keys["spi_r"], *secrets)) + "\n"


def esp_entry(keys: dict[str, str]) -> tuple[str, str]:
    encryption, integrity = ESP_NAMES[keys["suite"]]
    integrity_key = f"0x{keys['integrity']}" if keys["integrity"] else ""
    row = ("IPv4", "*", "*", f"0x{keys['spi']}", encryption, f"0x{keys['encryption']}", integrity, integrity_key)
    return "esp_sa", ",".join(f'"{value}"' for value in row) + "\n"


@pytest.mark.parametrize(
    ("ike", "esp"), [("aes256gcm16-prfsha384-ecp384", "aes256gcm16"), ("aes256-sha256-ecp256", "aes256-sha256")]
)
def test_wireshark_decrypts_a_whole_connection(rig: Rig, client: Client, tmp_path: Path, ike: str, esp: str) -> None:
    rig.configure(ike_proposals=ike, esp_proposals=esp)
    keys = tmp_path / "keys"
    with rig.capture(tmp_path / "outside.pcap", "udp") as pcap:
        process = client.up(
            program=(sys.executable, LAUNCHER, keys),
            ike={"proposals": [ike], "signature_hash_algorithms": True, "fragment_size": 576},
            esp={"proposals": [esp]},
        )
        client.run("ping", "-c", "3", "-i", "0.2", "-W", "5", "10.77.0.2")
        client.run("ping", "-c", "2", "-i", "0.2", "-W", "5", "fd77::2")
        assert process.end(signal.SIGINT) == ExitCode.OK
    wireshark = Wireshark(pcap, keys)

    assert (
        wireshark.fields('_ws.malformed || _ws.expert.severity >= "Warning"', "frame.number", "_ws.expert.message")
        == []
    )
    messages = wireshark.fields("isakmp", "isakmp.exchangetype", "isakmp.enc.decrypted")
    assert {exchange for exchange, _ in messages} == {IKE_SA_INIT, IKE_AUTH, INFORMATIONAL}
    assert all(decrypted or exchange == IKE_SA_INIT for exchange, decrypted in messages)
    documents = wireshark.fields("eap.type == 254", "eap.code")
    assert {code for (code,) in documents} == {"1", "2"}
    assert wireshark.fields("eap.code == 3", "frame.number")
    assert wireshark.fields("isakmp.delete.protoid == 1", "frame.number")

    packets = wireshark.fields("esp", "esp.icv_good", "icmp.type", "icmpv6.type")
    assert all(good in {"1", "True"} for good, _, _ in packets)
    assert [icmp for _, icmp, _ in packets if icmp] == ["8", "0"] * 3
    assert [icmp for _, _, icmp in packets if icmp in {"128", "129"}] == ["128", "129"] * 2
