"""What the README says is what the program does."""

import argparse
import re
from pathlib import Path

import pytest

from anyike import __version__, cli
from anyike.config_file import load_settings
from anyike.errors import ExitCode

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """The text below a heading, up to the next one."""
    return re.split(r"^#+ .*$", README.split(f"{title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def test_exit_codes():
    rows = re.findall(r"^\| (\d+) \| (\w+) \| \S", section("### Exit codes"), re.MULTILINE)
    assert [(int(number), name) for number, name in rows] == [(code.value, code.name) for code in ExitCode]


def test_options():
    commands = next(a for a in cli._parser()._actions if isinstance(a, argparse._SubParsersAction))
    options = [
        action for action in commands.choices["connect"]._actions if action.option_strings and action.dest != "help"
    ]
    rows = re.findall(r"^\| (`-.*?) \| (\S.*) \|$", section("### Options of `anyike connect`"), re.MULTILINE)
    documented = {frozenset(re.findall(r"`(-[A-Za-z-]+)`", names)) for names, _ in rows}
    assert documented == {frozenset(action.option_strings) for action in options}


def test_the_profile_loads():
    profile = re.search(r"```toml\n(.*?)```", README, re.DOTALL)
    settings = load_settings(profile[1], "README.md", ROOT, {})
    assert (settings.gateway.host, settings.login.user) == ("vpn.example.com", "ada")


@pytest.mark.parametrize("document", ["README.md", "CHANGELOG.md", "docs/architecture.md"])
def test_every_link_into_the_project_leads_somewhere(document):
    text = (ROOT / document).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)[^)]*\)", text)
    assert [link for link in links if not (ROOT / document).parent.joinpath(link).exists()] == []


def test_every_anchor_is_a_heading():
    headings = {
        re.sub(r"[^\w -]", "", line).strip().lower().replace(" ", "-")
        for line in re.findall(r"^#+ (.*)$", README, re.MULTILINE)
    }
    anchors = re.findall(r"\]\(#([^)]+)\)", README)
    assert anchors
    assert set(anchors) <= headings


def test_every_make_target_that_is_named_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"\bmake ([a-z]+)\b", README))
    assert {"demo", "test", "check", "install", "uninstall"} <= named
    assert named <= set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


def test_the_changelog_knows_this_version():
    assert __version__ in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
