import logging

import pytest

from anyike import logs


@pytest.fixture(autouse=True)
def _logging_as_before():
    root, ours = logging.getLogger(), logging.getLogger("anyike")
    handlers, level = root.handlers[:], ours.level
    yield
    root.handlers[:] = handlers
    ours.setLevel(level)


@pytest.mark.parametrize(
    ("verbosity", "expected"),
    [(-1, ["e"]), (0, ["w", "e"]), (1, ["i", "w", "e"]), (2, ["d", "i", "w", "e"]), (3, ["d", "i", "w", "e"])],
)
def test_levels(capsys, verbosity, expected):
    logs.configure(verbosity)
    log = logging.getLogger("anyike.somewhere")
    for level, text in ((logging.DEBUG, "d"), (logging.INFO, "i"), (logging.WARNING, "w"), (logging.ERROR, "e")):
        log.log(level, text)
    assert [line.rpartition(": ")[2] for line in capsys.readouterr().err.splitlines()] == expected


def test_a_line_says_when_how_bad_and_where(capsys):
    logs.configure(0)
    logging.getLogger("anyike.net").warning("careful")
    line = capsys.readouterr().err
    assert line[2::3].startswith("::")
    assert line.endswith(" WARNING anyike.net: careful\n")


def test_foreign_text_cannot_drive_the_terminal(capsys):
    logs.configure(0)
    logging.getLogger("anyike").error("%s", "a\x1b[2J\u202eb")
    assert not {"\x1b", "\u202e"} & set(capsys.readouterr().err)


def test_each_configuration_replaces_the_last(capsys):
    logs.configure(0)
    logs.configure(0)
    logging.getLogger("anyike").error("once")
    assert capsys.readouterr().err.count("once") == 1


def test_without_a_system_log_nothing_is_written(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "_SYSLOG", tmp_path / "none")
    logs.configure(0)
    logs.move_to_syslog()
    logging.getLogger("anyike").error("unheard")
    assert capsys.readouterr().err == ""


def test_the_system_log_gets_the_line(tmp_path, monkeypatch):
    import socket

    monkeypatch.setattr(logs, "_SYSLOG", tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as system:
        system.bind(str(tmp_path / "log"))
        system.settimeout(5)
        logs.configure(0)
        logs.move_to_syslog()
        logging.getLogger("anyike.client").error("the tunnel is gone")
        line = system.recv(1000).decode()
    logging.getLogger().handlers[-1].close()
    assert line.startswith("<27>anyike[")
    assert "ERROR anyike.client: the tunnel is gone" in line
