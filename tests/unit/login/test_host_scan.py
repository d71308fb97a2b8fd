"""The host scan: real wrapper scripts are called as existing ones expect, and only with harmless words."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pwd
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from anyike.eap.question import HostScan
from anyike.errors import LoginFailed
from anyike.invoking_user import InvokingUser, invoking_user
from anyike.login.gateway_facts import GatewayFacts
from anyike.login.host_scan import MAX_LOGGED_LINES, Wrapper, run_host_scan

TICKET = "73CDA0F380B1369A4D7F0D32"
TOKEN = "F880653271FE8E12485BD83F"
QUESTION = HostScan(TICKET, TOKEN, "/CACHE", "/+CSCOE+/sdesktop/wait.html", 443, "Staff")

RECORD = f"""#!{sys.executable}
import json, os, sys
names = ("CSD_SHA256", "CSD_TOKEN", "CSD_HOSTNAME", "HOME")
seen = {{"argv": sys.argv[1:], "environment": {{name: os.environ.get(name) for name in names}}, "uid": os.getuid()}}
with open(os.path.join(os.path.dirname(__file__), "seen.json"), "w") as file:
    json.dump(seen, file)
"""

# How openconnect's scripts read their arguments: the first one is dropped, quotation marks are taken off here and there.
AS_EXISTING_SCRIPTS_READ_IT = """#!/bin/bash
shift
while [ "$1" ]; do
    if [ "$1" == "-ticket" ];   then shift; TICKET=${1//\\"/}; fi
    if [ "$1" == "-stub" ];     then shift; STUB=${1//\\"/}; fi
    if [ "$1" == "-group" ];    then shift; GROUP=$1; fi
    if [ "$1" == "-certhash" ]; then shift; CERTHASH=$1; fi
    if [ "$1" == "-url" ];      then shift; URL=$(echo $1|tr -d '"'); fi
    if [ "$1" == "-langselen" ];then shift; LANGSELEN=$1; fi
    shift
done
echo "https://$CSD_HOSTNAME/+CSCOE+/sdesktop/token.xml?ticket=$TICKET&stub=$STUB" > "$0.url"
echo "$URL/sdesktop/hostscan/linux_x64/manifest" >> "$0.url"
echo "-group $GROUP -certhash $CERTHASH" >> "$0.url"
"""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The gateway's and the client's, as DER files, made by openssl."""
    directory = tmp_path_factory.mktemp("certificates")
    for name in ("gateway", "client"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-subj", f"/CN={name}", "-keyout", os.devnull, "-outform", "DER", "-out", directory / f"{name}.der"],
            check=True, capture_output=True,
        )  # fmt: skip
    return directory / "gateway.der", directory / "client.der"


@pytest.fixture
def gateway(certificates: tuple[Path, Path]) -> GatewayFacts:
    return GatewayFacts("vpn.example.com", certificates[0].read_bytes(), certificates[1].read_bytes())


def wrapper(directory: Path, script: str, timeout: float = 20.0, user: InvokingUser | None = None) -> Wrapper:
    path = directory / "wrapper.sh"
    path.write_text(script)
    path.chmod(0o755)
    return Wrapper(path, timeout, user or invoking_user())


def seen(directory: Path) -> dict[str, object]:
    return json.loads((directory / "seen.json").read_text())


def openssl(*arguments: object) -> str:
    return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, text=True).stdout


def pin_by_openssl(certificate: Path, directory: Path) -> str:
    """By the recipe with which people make a pin for curl."""
    public, key, digest = directory / "public.pem", directory / "key.der", directory / "digest"
    public.write_text(openssl("x509", "-inform", "DER", "-in", certificate, "-noout", "-pubkey"))
    openssl("pkey", "-pubin", "-in", public, "-outform", "DER", "-out", key)
    openssl("dgst", "-sha256", "-binary", "-out", digest, key)
    return openssl("enc", "-base64", "-in", digest).strip()


async def test_arguments_and_environment_are_those_of_the_existing_contract(
    tmp_path: Path, gateway: GatewayFacts, certificates: tuple[Path, Path]
) -> None:
    await run_host_scan(QUESTION, wrapper(tmp_path, RECORD), gateway)
    server, client = (
        openssl("x509", "-inform", "DER", "-in", file, "-noout", "-fingerprint", "-md5").split("=")[1].strip()
        for file in certificates
    )
    assert seen(tmp_path)["argv"] == [
        "",
        "-ticket", f'"{TICKET}"',
        "-stub", '"0"',
        "-group", '"Staff"',
        "-certhash", f'"{server.replace(":", "")}:{client.replace(":", "")}"',
        "-url", '"https://vpn.example.com/CACHE"',
        "-langselen",
    ]  # fmt: skip
    environment = seen(tmp_path)["environment"]
    assert isinstance(environment, dict)
    assert environment["CSD_SHA256"] == pin_by_openssl(certificates[0], tmp_path)
    assert environment["CSD_TOKEN"] == TOKEN
    assert environment["CSD_HOSTNAME"] == "vpn.example.com"


async def test_existing_scripts_get_the_addresses_that_they_need(tmp_path: Path, gateway: GatewayFacts) -> None:
    program = wrapper(tmp_path, AS_EXISTING_SCRIPTS_READ_IT)
    await run_host_scan(QUESTION, program, gateway)
    token, manifest, words = (tmp_path / "wrapper.sh.url").read_text().splitlines()
    assert token == f"https://vpn.example.com/+CSCOE+/sdesktop/token.xml?ticket={TICKET}&stub=0"
    assert manifest == "https://vpn.example.com/CACHE/sdesktop/hostscan/linux_x64/manifest"
    assert words.startswith('-group "Staff" -certhash "')


@pytest.mark.parametrize(
    ("host", "port", "authority"),
    [
        ("vpn.example.com", None, "vpn.example.com"),
        ("vpn.example.com", 8443, "vpn.example.com:8443"),
        ("2001:db8::1", 443, "[2001:db8::1]"),
        ("2001:db8::1", 8443, "[2001:db8::1]:8443"),
        ("192.0.2.1", 443, "192.0.2.1"),
    ],
)
async def test_another_port_and_addresses(
    tmp_path: Path, gateway: GatewayFacts, host: str, port: int | None, authority: str
) -> None:
    await run_host_scan(replace(QUESTION, csport=port), wrapper(tmp_path, RECORD), replace(gateway, host=host))
    result = seen(tmp_path)
    assert f'"https://{authority}/CACHE"' in result["argv"]  # type: ignore[operator]
    assert result["environment"]["CSD_HOSTNAME"] == authority  # type: ignore[index]


async def test_without_a_client_certificate_its_hash_is_empty(tmp_path: Path, gateway: GatewayFacts) -> None:
    await run_host_scan(QUESTION, wrapper(tmp_path, RECORD), replace(gateway, client_certificate=None))
    arguments = seen(tmp_path)["argv"]
    assert isinstance(arguments, list)
    hashes = arguments[arguments.index("-certhash") + 1]
    assert hashes.endswith(':"')
    assert len(hashes) == 32 + 3


async def test_no_wrapper_is_one_clear_error(gateway: GatewayFacts) -> None:
    with pytest.raises(LoginFailed, match=r"host_scan\.wrapper or --csd-wrapper"):
        await run_host_scan(QUESTION, None, gateway)


@pytest.mark.parametrize(
    "base",
    [
        "https://elsewhere.example/CACHE", "CACHE", "@elsewhere.example/", ".elsewhere.example/", ":99/", "/a b", '/a"b',
        "/a'b", "/a$(id)", "/a`id`", "/a\\b", "/a\nb", "/a?b", "/a#b", "/a&b", "/a|b",
        "/-a", "/a/-b", "//elsewhere.example/", "/a//b", "/a/../b", "/.a", "/a*", "/a!b", "/a(b)", "/a;b", "/a%2fb", "/a=b", "/a~b",
        "/a,b", "/a@b:c", "/a" * 17, "/" + "a" * 257,
    ],
)  # fmt: skip
async def test_a_base_that_leads_elsewhere_or_out_of_a_script_is_refused(
    tmp_path: Path, gateway: GatewayFacts, base: str
) -> None:
    with pytest.raises(LoginFailed, match="not a plain path on the gateway"):
        await run_host_scan(replace(QUESTION, base_uri=base), wrapper(tmp_path, RECORD), gateway)
    assert not (tmp_path / "seen.json").exists()


@pytest.mark.parametrize(
    "word",
    [
        "", 'a"b', "a b", "a\nb", "a'b", "$(id)", "`id`", "a&b", "a;b", "a|b", "a\0b", "x" * 1025, "-a", "--a", "a%b", "~a", "a~",
        "a@b", "a:b",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["ticket", "token"])
async def test_a_ticket_or_token_that_is_no_plain_word_is_refused_and_not_repeated(
    tmp_path: Path, gateway: GatewayFacts, name: str, word: str
) -> None:
    with pytest.raises(LoginFailed, match=f"host scan {name} is") as caught:
        await run_host_scan(replace(QUESTION, **{name: word}), wrapper(tmp_path, RECORD), gateway)
    assert not (tmp_path / "seen.json").exists()
    assert word == "" or word not in str(caught.value)


@pytest.mark.parametrize(
    "group",
    [
        'St"aff', "St\naff", "$(id)", "`id`", "St\x1b[2Jaff", "-Staff", " Staff", "a;b", "a|b", "a&b", "a>b", "a*", "a!b", "a(b)",
        "a'b", "a\\b", "a/b", "a=b", "~a", "#a", "a\u2028b", "a\u202eb", "a" * 1000,
    ],
)  # fmt: skip
async def test_a_group_that_breaks_out_of_its_quotes_is_refused(
    tmp_path: Path, gateway: GatewayFacts, group: str
) -> None:
    with pytest.raises(LoginFailed, match="cannot be given to a host scan wrapper") as caught:
        await run_host_scan(replace(QUESTION, group=group), wrapper(tmp_path, RECORD), gateway)
    assert len(str(caught.value)) < 1000
    assert "\x1b" not in str(caught.value)
    assert not (tmp_path / "seen.json").exists()


@pytest.mark.parametrize("group", ["Außendienst Köln", "", "Staff-2_A.b", "ada@example.com", "日本"])
async def test_a_group_of_ordinary_words(tmp_path: Path, gateway: GatewayFacts, group: str) -> None:
    await run_host_scan(replace(QUESTION, group=group), wrapper(tmp_path, RECORD), gateway)
    assert f'"{group}"' in seen(tmp_path)["argv"]  # type: ignore[operator]


@pytest.mark.parametrize("base", ["", "/", "/CACHE", "/CACHE/", "/+CSCOE+/sdesktop", "/a.b_c/x-y"])
async def test_ordinary_paths(tmp_path: Path, gateway: GatewayFacts, base: str) -> None:
    await run_host_scan(replace(QUESTION, base_uri=base), wrapper(tmp_path, RECORD), gateway)
    assert f'"https://vpn.example.com{base}"' in seen(tmp_path)["argv"]  # type: ignore[operator]


async def test_the_output_is_in_the_log_harmless_and_without_the_secrets(
    tmp_path: Path, gateway: GatewayFacts, caplog: pytest.LogCaptureFixture
) -> None:
    script = '#!/bin/bash\necho "out $3 $CSD_TOKEN"\nprintf "err \\x1b[2J\\xff end" >&2\n'
    with caplog.at_level(logging.DEBUG):
        await run_host_scan(QUESTION, wrapper(tmp_path, script), gateway)
    assert 'host scan: out "***" ***' in caplog.text
    assert "host scan: err \ufffd[2J\ufffd end" in caplog.text
    assert TICKET not in caplog.text
    assert TOKEN not in caplog.text


async def test_endless_lines_and_many_lines_are_bounded(
    tmp_path: Path, gateway: GatewayFacts, caplog: pytest.LogCaptureFixture
) -> None:
    script = "#!/bin/bash\nhead -c 3000000 /dev/zero | tr '\\0' x\nseq 1 5000 >&2\n"
    with caplog.at_level(logging.DEBUG):
        await run_host_scan(QUESTION, wrapper(tmp_path, script), gateway)
    lines = [record.getMessage() for record in caplog.records if record.name == "anyike.login.host_scan"]
    assert len(lines) <= MAX_LOGGED_LINES + 3
    assert max(map(len, lines)) < 600


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("exit 7", r"ended with status 7\. "),
        ("echo no antivirus >&2; exit 1", r"ended with status 1\. Its last words: no antivirus "),
        ("echo $CSD_TOKEN; exit 1", r"Its last words: \*\*\* "),
        ("kill -TERM $$", r"was ended by signal 15\. "),
    ],
)
async def test_a_failure_says_what_the_wrapper_said(
    tmp_path: Path, gateway: GatewayFacts, script: str, said: str
) -> None:
    with pytest.raises(LoginFailed, match=said) as caught:
        await run_host_scan(QUESTION, wrapper(tmp_path, f"#!/bin/bash\n{script}\n"), gateway)
    assert TOKEN not in str(caught.value)


async def test_a_wrapper_that_hangs_is_ended_with_what_it_started(tmp_path: Path, gateway: GatewayFacts) -> None:
    script = f"#!/bin/bash\nsleep 600 &\necho $! > {tmp_path}/child\nsleep 600\n"
    with pytest.raises(LoginFailed, match=r"did not end within 0\.5 s.*host_scan\.timeout"):
        await run_host_scan(QUESTION, wrapper(tmp_path, script, timeout=0.5), gateway)
    assert await _ended(int((tmp_path / "child").read_text()))


async def test_what_a_wrapper_leaves_running_does_not_hold_up_the_login(tmp_path: Path, gateway: GatewayFacts) -> None:
    script = f"#!/bin/bash\nsleep 600 &\necho $! > {tmp_path}/child\nexit 0\n"
    await run_host_scan(QUESTION, wrapper(tmp_path, script, timeout=5.0), gateway)
    assert await _ended(int((tmp_path / "child").read_text()))


@pytest.mark.parametrize(
    ("mode", "content", "reason"),
    [
        (0o644, "#!/bin/sh\n", "Permission denied"),
        (0o755, "no script\n", "Exec format error"),
        (None, "", "No such file"),
    ],
)
async def test_a_wrapper_that_cannot_start(
    tmp_path: Path, gateway: GatewayFacts, mode: int | None, content: str, reason: str
) -> None:
    program = wrapper(tmp_path, content)
    if mode is None:
        program.path.unlink()
    else:
        program.path.chmod(mode)
    with pytest.raises(LoginFailed, match=f"host_scan.wrapper.: {reason}"):
        await run_host_scan(QUESTION, program, gateway)


async def test_a_relative_path_is_refused(gateway: GatewayFacts) -> None:
    with pytest.raises(LoginFailed, match="must be an absolute path"):
        await run_host_scan(QUESTION, Wrapper(Path("wrapper.sh"), 1.0, invoking_user()), gateway)


@pytest.mark.namespace
async def test_the_wrapper_runs_with_the_users_rights_alone(tmp_path: Path, gateway: GatewayFacts) -> None:
    entry = pwd.getpwnam("nobody")
    home = Path("/tmp") / f"host-scan-{os.getpid()}"
    home.mkdir()
    try:
        os.chown(home, entry.pw_uid, entry.pw_gid)
        user = InvokingUser(entry.pw_uid, "nobody", entry.pw_gid, home)
        await run_host_scan(
            QUESTION, wrapper(home, RECORD.replace(sys.executable, "/usr/bin/python3"), user=user), gateway
        )
        result = seen(home)
        assert result["uid"] == entry.pw_uid
        assert result["environment"]["HOME"] == str(home)  # type: ignore[index]
        roots = wrapper(tmp_path, "#!/bin/sh\n", user=user)
        roots.path.chmod(stat.S_IRWXU)
        with pytest.raises(LoginFailed, match="Permission denied"):
            await run_host_scan(QUESTION, roots, gateway)
    finally:
        for file in home.iterdir():
            file.unlink()
        home.rmdir()


async def _ended(pid: int) -> bool:
    """Whether a process is gone, or soon; a dead one that nobody has waited for yet is."""
    status = Path(f"/proc/{pid}/stat")
    for _ in range(100):
        if _state(status) in "ZX":
            return True
        await asyncio.sleep(0.02)
    return False


def _state(status: Path) -> str:
    try:
        return status.read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"
