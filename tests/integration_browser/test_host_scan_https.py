"""A host scan wrapper that reports over HTTPS with curl, as openconnect's csd-post.sh does, against a real server."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from anyike.eap.question import HostScan
from anyike.errors import LoginFailed
from anyike.invoking_user import invoking_user
from anyike.login.gateway_facts import GatewayFacts
from anyike.login.host_scan import Wrapper, run_host_scan
from tests.integration_browser.login_site import LoginSite, Reply, make_certificate

SCRIPT = """#!/bin/bash
shift
while [ "$1" ]; do
    if [ "$1" == "-ticket" ]; then shift; TICKET=${1//\\"/}; fi
    shift
done
PIN="-k --pinnedpubkey sha256//$CSD_SHA256"
curl $PIN -s -S "https://$CSD_HOSTNAME/+CSCOE+/sdesktop/token.xml?ticket=$TICKET&stub=0" || exit
echo 'endpoint.os.version="Linux";' |
    curl $PIN -s -S -H "Cookie: sdesktop=$CSD_TOKEN" --data-binary @- "https://$CSD_HOSTNAME/+CSCOE+/sdesktop/scan.xml"
"""


def der(pem: Path) -> bytes:
    found = subprocess.run(["openssl", "x509", "-in", pem, "-outform", "DER"], check=True, capture_output=True)
    return found.stdout


@pytest.fixture
def wrapper(tmp_path: Path) -> Wrapper:
    path = tmp_path / "wrapper.sh"
    path.write_text(SCRIPT)
    path.chmod(0o755)
    return Wrapper(path, 30.0, invoking_user())


def question(site: LoginSite) -> HostScan:
    gateway = f"127.0.0.1:{site.port}"
    site.pages = {
        f"{gateway}/+CSCOE+/sdesktop/token.xml": Reply("<hostscan><token>1</token></hostscan>"),
        f"{gateway}/+CSCOE+/sdesktop/scan.xml": Reply("done"),
    }
    return HostScan("73CDA0F380B1369A", "F880653271FE8E12", "/CACHE", "/wait.html", site.port, "")


async def test_the_pin_lets_the_script_report_to_this_gateway_alone(
    site: LoginSite, wrapper: Wrapper, certificate: Path
) -> None:
    await run_host_scan(question(site), wrapper, GatewayFacts("127.0.0.1", der(certificate)))
    first, second = site.requests
    assert (first.path, first.query) == ("/+CSCOE+/sdesktop/token.xml", "ticket=73CDA0F380B1369A&stub=0")
    assert (second.method, second.path) == ("POST", "/+CSCOE+/sdesktop/scan.xml")
    assert second.cookies == "sdesktop=F880653271FE8E12"
    assert second.body == 'endpoint.os.version="Linux";\n'


async def test_another_key_at_the_https_port_is_found_out(site: LoginSite, wrapper: Wrapper, tmp_path: Path) -> None:
    other = der(make_certificate(tmp_path))
    with pytest.raises(LoginFailed, match=r"status 90.*pinned public key"):
        await run_host_scan(question(site), wrapper, GatewayFacts("127.0.0.1", other))
    assert not site.requests
