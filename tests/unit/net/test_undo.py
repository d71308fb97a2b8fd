"""The journal: who may replay it, and when it is only deleted. The kernel's part is tested in namespaces."""

import json
import os
import stat
from ipaddress import ip_address, ip_interface

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anyike.errors import AlreadyRunning, HostSetupFailed
from anyike.net import host, undo
from anyike.net.plan import TABLES, Wishes, make_plan
from anyike.net.undo import Undone


@pytest.fixture
def removed(monkeypatch):
    """Tables that a replay removed, instead of removing anything."""
    tables = []
    monkeypatch.setattr(host, "remove_table", lambda netlink, table: tables.append(table))
    return tables


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "office.undo"


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def die(journal):
    """What the kernel does for a killed process."""
    os.close(journal._descriptor)
    journal._descriptor = -1


def test_the_journal_is_private_and_names_what_is_ours(path):
    journal = undo.claim(path, "anyike0")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    record = json.loads(path.read_text())
    assert record["interface"] == "anyike0"
    assert record["table"] == journal.table
    assert journal.table in TABLES
    assert record["pid"] == os.getpid()
    assert set(record) == {"version", "pid", "boot_id", "namespace", "interface", "table"}
    assert {entry.name for entry in path.parent.iterdir()} == {"office.undo", undo.LOCK_NAME}
    assert stat.S_IMODE((path.parent / undo.LOCK_NAME).stat().st_mode) == 0o600
    journal.close()
    journal.close()
    assert not path.exists()


def test_a_live_owner_is_left_alone(path, removed):
    journal = undo.claim(path, "anyike0")
    assert undo.undo(path) is Undone.ALIVE
    with pytest.raises(AlreadyRunning, match=f"process {os.getpid()}"):
        undo.claim(path, "anyike0")
    assert removed == []
    journal.close()
    assert undo.undo(path) is Undone.NOTHING


def test_the_lock_survives_a_fork_into_the_background(path, removed):
    journal = undo.claim(path, "anyike0")
    inherited = os.dup(journal._descriptor)  # as a forked child holds it
    die(journal)
    assert undo.undo(path) is Undone.ALIVE
    os.close(inherited)
    assert undo.undo(path) is Undone.REPLAYED


def test_a_dead_owner_is_cleaned_up_after(path, removed):
    journal = undo.claim(path, "anyike0")
    die(journal)
    assert undo.undo(path) is Undone.REPLAYED
    assert removed == [journal.table]
    assert not path.exists()


def test_a_start_replays_what_is_left(path, removed):
    dead = undo.claim(path, "anyike0")
    die(dead)
    journal = undo.claim(path, "anyike0")
    assert removed == [dead.table]
    assert undo.undo(path) is Undone.ALIVE
    journal.close()


def test_a_failed_replay_keeps_the_journal(path, monkeypatch):
    die(undo.claim(path, "anyike0"))

    def refuse(netlink, table):
        raise HostSetupFailed("no")

    monkeypatch.setattr(host, "remove_table", refuse)
    with pytest.raises(HostSetupFailed):
        undo.undo(path)
    assert path.exists()


def test_another_boot_leaves_nothing_to_remove(path, removed):
    die(undo.claim(path, "anyike0"))
    edit(path, boot_id="00000000-0000-0000-0000-000000000000")
    assert undo.undo(path) is Undone.OTHER_BOOT
    assert removed == []
    assert not path.exists()


def test_a_namespace_that_is_gone_leaves_nothing_to_remove(path, removed):
    die(undo.claim(path, "anyike0"))
    edit(path, namespace="4:1")
    assert undo.undo(path) is Undone.NAMESPACE_GONE
    assert removed == []
    assert not path.exists()


def test_another_namespace_is_not_touched(path, removed, monkeypatch):
    die(undo.claim(path, "anyike0"))
    edit(path, namespace="4:1")
    monkeypatch.setattr(undo, "_namespace_exists", lambda namespace: namespace == "4:1")
    assert undo.undo(path) is Undone.OTHER_NAMESPACE
    with pytest.raises(HostSetupFailed, match="another network namespace"):
        undo.claim(path, "anyike0")
    assert removed == []
    assert path.exists()


def test_two_tunnels_get_two_tables(path):
    first = undo.claim(path, "anyike0")
    second = undo.claim(path.with_name("home.undo"), "anyike1")
    assert first.table != second.table
    first.close()
    second.close()


def test_an_interrupted_write_is_no_obstacle(path):
    path.parent.mkdir()
    path.with_name(".office.undo.new").write_text("{")
    journal = undo.claim(path, "anyike0")
    assert path.exists()
    journal.close()
    assert not path.exists()


def test_a_symbolic_link_is_not_followed(path, tmp_path):
    path.parent.mkdir()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HostSetupFailed, match="cannot be opened"):
        undo.undo(path)


GOOD = {"version": 1, "pid": 1, "boot_id": "x", "namespace": "4:1", "interface": "anyike0", "table": TABLES[0]}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "[" * 50000,
        "{}",
        json.dumps(GOOD | {"version": 2}),
        json.dumps(GOOD | {"table": 254}),
        json.dumps(GOOD | {"table": "24900"}),
        json.dumps(GOOD | {"more": 1}),
    ],
)
def test_a_journal_that_is_none_is_a_clear_error(path, removed, content):
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(HostSetupFailed, match=r"office\.undo .*delete it"):
        undo.undo(path)
    assert removed == []
    other = undo.claim(path.with_name("home.undo"), "anyike1")
    other.close()


@given(st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_content_is_a_record_or_the_one_error(tmp_path, content):
    path = tmp_path / "any.undo"
    path.write_bytes(content)
    try:
        record = undo._read(path)
    except HostSetupFailed:
        return
    assert record.table in TABLES


PLAN = make_plan(
    Wishes(
        interface="anyike0",
        addresses=(ip_interface("10.9.0.2/32"),),
        remote_selectors=(),
        outer_local=ip_address("192.0.2.1"),
        gateway=ip_address("198.51.100.1"),
        mtu=1400,
    ),
    TABLES[0],
)


def test_taking_back_removes_the_plan_and_then_the_journal(path, monkeypatch):
    journal = undo.claim(path, "anyike0")
    there = []
    monkeypatch.setattr(host, "remove", lambda plan: there.append((plan, path.exists())))
    undo.take_back(PLAN, journal)
    assert there == [(PLAN, True)]
    assert not path.exists()


def test_taking_back_before_there_is_a_plan(path, monkeypatch):
    journal = undo.claim(path, "anyike0")
    monkeypatch.setattr(host, "remove", pytest.fail)
    undo.take_back(None, journal)
    assert not path.exists()


@pytest.mark.parametrize("failure", [HostSetupFailed("no"), OSError("no"), KeyboardInterrupt("no")])
def test_what_could_not_be_taken_back_stays_in_the_journal_for_the_cleanup(path, monkeypatch, removed, failure):
    journal = undo.claim(path, "anyike0")

    def fail(plan):
        raise failure

    monkeypatch.setattr(host, "remove", fail)
    with pytest.raises(type(failure), match="no"):
        undo.take_back(PLAN, journal)
    journal.close()
    assert path.exists()
    assert undo.undo(path) is Undone.REPLAYED, "although this process lives"
    assert removed == [journal.table]


def test_a_journal_that_cannot_be_deleted_is_a_clear_error_and_not_kept_locked(path, monkeypatch, removed):
    journal = undo.claim(path, "anyike0")

    def refuse(self, missing_ok=False):
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(type(path), "unlink", refuse)
        with pytest.raises(HostSetupFailed, match="cannot be deleted: Operation not permitted"):
            journal.close()
        with pytest.raises(HostSetupFailed, match="cannot be deleted: Operation not permitted"):
            undo.undo(path)
    assert undo.undo(path) is Undone.REPLAYED


def test_a_directory_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(HostSetupFailed, match=r"cannot create .*run"):
        undo.claim(tmp_path / "run" / "office.undo", "anyike0")
