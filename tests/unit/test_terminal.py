import io

import pytest

from anyike.terminal import SHOWN_ENTRIES, Terminal
from anyike.ui import Stage, TunnelSummary, UserInterface

EVIL = "a\x1b]0;owned\x07\u202eb"


def summary(**changes: object) -> TunnelSummary:
    facts: dict[str, object] = {
        "interface": "anyike0",
        "gateway": "vpn.example.com (192.0.2.1, UDP 4500)",
        "addresses": ("10.0.0.5", "fd00::5"),
        "mtu": 1400,
        "ike_algorithms": "aes256gcm16-prfsha384-ecp384",
        "esp_algorithms": "aes256gcm16, in UDP",
        "dns": ("10.0.0.1",),
        "routes": ("10.0.0.0/8",),
    }
    return TunnelSummary(**(facts | changes))


class Screen(io.StringIO):
    """Standard output as a terminal."""

    def isatty(self) -> bool:
        return True


def shown(action, verbosity: int = 0, screen: io.StringIO | None = None) -> str:
    output = screen or io.StringIO()
    action(Terminal(verbosity, output=output))
    return output.getvalue()


def everything(ui: UserInterface) -> None:
    for stage in Stage:
        ui.stage(stage, EVIL)
    ui.notice(f"{EVIL}\n{EVIL}")
    ui.warning(EVIL)
    ui.established(
        summary(interface=EVIL, gateway=EVIL, dns=(EVIL,), routes=(EVIL,), ike_algorithms=EVIL, domains=(EVIL,))
    )
    ui.ended(EVIL)


def test_stages_are_aligned():
    text = shown(lambda ui: [ui.stage(stage, "detail") for stage in Stage])
    assert {line.index("detail") for line in text.splitlines()} == {len("gateway verified") + 2}


def test_a_stage_is_one_line():
    assert shown(lambda ui: ui.stage(Stage.LOGIN, "a\nb")).count("\n") == 1


def test_the_banner_keeps_its_lines_and_is_set_apart():
    assert shown(lambda ui: ui.notice("Welcome.\nBe good.\n")) == "  | Welcome.\n  | Be good.\n"


def test_the_summary_is_a_table():
    text = shown(lambda ui: ui.established(summary()))
    assert text == (
        "anyike0 is up, to vpn.example.com (192.0.2.1, UDP 4500)\n"
        "  addresses   10.0.0.5\n"
        "              fd00::5\n"
        "  DNS         10.0.0.1\n"
        "  routes      10.0.0.0/8\n"
        "  MTU         1400\n"
        "  IKE SA      aes256gcm16-prfsha384-ecp384\n"
        "  CHILD_SA    aes256gcm16, in UDP\n"
    )


def test_a_long_list_is_cut_and_counted_unless_verbose():
    routes = tuple(f"10.{n}.0.0/16" for n in range(200))
    text = shown(lambda ui: ui.established(summary(routes=routes)))
    assert text.count("/16") == SHOWN_ENTRIES - 1
    assert f"and {200 - SHOWN_ENTRIES + 1} more (-v shows all)" in text
    assert shown(lambda ui: ui.established(summary(routes=routes)), verbosity=1).count("/16") == 200
    fits = routes[:SHOWN_ENTRIES]
    assert shown(lambda ui: ui.established(summary(routes=fits))).count("/16") == SHOWN_ENTRIES


def test_quiet_shows_nothing():
    assert shown(everything, verbosity=-1) == ""


def test_verbose_shows_times():
    assert " s  login" in shown(lambda ui: ui.stage(Stage.LOGIN, "x"), verbosity=1)


def test_foreign_text_cannot_drive_the_terminal():
    text = shown(everything)
    assert "owned" in text
    assert not {"\x1b", "\x07", "\u202e"} & set(text)


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colour_on_terminals_unless_unwanted(monkeypatch, variables, coloured):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert ("\x1b[" in shown(lambda ui: ui.warning("x"), screen=Screen())) is coloured


def test_no_colour_in_files():
    assert shown(lambda ui: ui.warning("x")) == "warning: x\n"


def test_a_reader_who_went_away_does_not_matter():
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    assert shown(everything, screen=Closed()) == ""


@pytest.mark.parametrize("verbosity", [-1, 0])
def test_tells_when_the_tunnel_is_up(verbosity):
    output, up = io.StringIO(), []
    Terminal(verbosity, lambda: up.append(output.getvalue()), output).established(summary())
    assert up == [output.getvalue()]


@pytest.mark.parametrize("verbosity", [-1, 0])
def test_what_the_user_has_to_do_is_shown_harmless_however_quiet(verbosity):
    output = io.StringIO()
    Terminal(verbosity, output=output).tell("log in at https://idp/\x1b[2J")
    assert output.getvalue() == "log in at https://idp/\ufffd[2J\n"
