"""Every scenario through the real command: `anyike connect` at a terminal against `anyike-gateway` on loopback."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from anyike.errors import ExitCode
from tests.fakes.dialect import ASA, DIALECTS, Dialect
from tests.fakes.scenario import Scenario
from tests.integration.anyike_process import AnyikeProcess, AnyikeProcessError
from tests.scenarios.catalogue import SCENARIOS
from tests.scenarios.command import Stage, given_beforehand, network_namespace, play_user, secrets

pytestmark = pytest.mark.namespace


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    with network_namespace() as name:
        yield name


every_scenario = pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
every_dialect = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
LOUD = "-vv"


@contextmanager
def stage_for(namespace: str, scenario: Scenario, dialect: Dialect, directory: Path) -> Iterator[Stage]:
    """A stage that tells both sides' story when the test fails."""
    with Stage(namespace, scenario, dialect, directory) as stage:
        try:
            yield stage
        except (AssertionError, AnyikeProcessError) as failure:
            failure.add_note(stage.story())
            raise


@every_dialect
@every_scenario
def test_the_scenario_at_a_terminal(namespace: str, scenario: Scenario, dialect: Dialect, tmp_path: Path) -> None:
    with stage_for(namespace, scenario, dialect, tmp_path) as stage:
        client = stage.connect(LOUD)
        play_user(client, scenario)
        assert_played(stage, scenario, client)
        for words in scenario.shows:
            assert words in client.output


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != "sign-on"])
def test_the_scenario_without_a_terminal(namespace: str, name: str, tmp_path: Path) -> None:
    """The same answers from options and standard input; only a browser's token needs somebody to paste it."""
    scenario = SCENARIOS[name]
    options, lines = given_beforehand(scenario)
    with stage_for(namespace, scenario, ASA, tmp_path) as stage:
        client = stage.connect(LOUD, "--non-inter", "--passwd-on-stdin", *options, terminal=False)
        client.write(lines)
        assert_played(stage, scenario, client)


def test_a_host_scan_gets_what_existing_scripts_expect(namespace: str, tmp_path: Path) -> None:
    with stage_for(namespace, SCENARIOS["host-scan"], ASA, tmp_path) as stage:
        client = stage.connect(LOUD)
        assert_played(stage, SCENARIOS["host-scan"], client)
    empty, *arguments, sha256, token, host = (tmp_path / "host-scan.called").read_text().splitlines()
    assert empty == ""
    assert arguments[:6] == ["-ticket", '"73CDA0F380B1369A4D7F0D32"', "-stub", '"0"', "-group", '""']
    assert arguments[-3:] == ["-url", '"https://127.0.0.1/CACHE"', "-langselen"]
    assert sha256.startswith("CSD_SHA256=")
    assert (token, host) == ("CSD_TOKEN=F880653271FE8E12485BD83F", "CSD_HOSTNAME=127.0.0.1")
    assert "F880653271FE8E12485BD83F" not in client.output


def test_a_sign_on_cannot_be_done_without_a_terminal(namespace: str, tmp_path: Path) -> None:
    with stage_for(namespace, SCENARIOS["sign-on"], ASA, tmp_path) as stage:
        client = stage.connect("--non-inter", terminal=False)
        assert client.end() == ExitCode.LOGIN_FAILED
        assert "there is no terminal" in client.output


def test_a_sign_on_in_a_real_browser(namespace: str, tmp_path: Path) -> None:
    """Chromium without a window, as a user without rights; the page presses its own button."""
    with stage_for(namespace, SCENARIOS["sign-on"], ASA, tmp_path) as stage:
        profile = Path(stage.profile)
        text = profile.read_text().replace(
            "chromium_arguments = [", 'browser = "chromium"\nchromium_arguments = ["--headless=new", '
        )
        profile.write_text(f'{text}\n[login]\nrun_as = "nobody"\n')
        client = stage.connect(LOUD, "--non-inter")
        assert_played(stage, SCENARIOS["sign-on"], client)


def assert_played(stage: Stage, scenario: Scenario, client: AnyikeProcess) -> None:
    """It ends as the scenario has it, after a log-off if the tunnel is up; no secret is in argv or shown, however loud."""
    argv = Path(f"/proc/{client.pid}/cmdline").read_text()
    if scenario.ends:
        assert client.end() == ExitCode.LOGIN_FAILED
        assert scenario.ends in client.output
    else:
        client.wait_up()
        assert client.end(signal.SIGINT) == ExitCode.OK
    assert stage.gateway_status() == 0
    for secret in secrets(scenario):
        assert secret not in client.output
        assert secret not in argv
