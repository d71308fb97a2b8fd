import os
from pathlib import Path

import pytest

from anyike import profiles
from anyike.config_file import load_settings
from anyike.errors import ConfigurationError, HostSetupFailed
from anyike.invoking_user import invoking_user
from anyike.profile_import import files
from anyike.profile_import.files import write_profiles
from anyike.profile_import.profile import ImportedHost, import_profile

SAMPLES = Path(__file__).parents[2] / "vectors/anyconnect_profile"


def hosts(*names: str) -> list[ImportedHost]:
    return [ImportedHost(name, name, f'# {name} \N{SNOWMAN}\n[gateway]\nhost = "h"\n', ()) for name in names]


def test_what_is_written_is_found_again(tmp_path):
    imported = import_profile((SAMPLES / "ios_xe.xml").read_bytes(), "ios_xe.xml")
    paths = write_profiles(imported.hosts, tmp_path / "a/b")
    assert [path.name for path in paths] == [
        "FlexVPN.toml",
        "FlexVPN_default_identity.toml",
        "FlexVPN_switched_off.toml",
    ]
    for path, found in zip(paths, imported.hosts, strict=True):
        profile = profiles.find_profile(found.profile_name, None, tmp_path / "a/b")
        assert (profile.source, profile.host, profile.text) == (str(path), None, found.text)
    settings = load_settings(paths[0].read_text(), "FlexVPN", tmp_path, {})
    assert (settings.ike.local_id.number, settings.ike.local_id.data) == (201, b"staff.example.com")


def test_nobody_else_may_read_them(tmp_path):
    (path,) = write_profiles(hosts("a"), tmp_path / "new")
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert path.stat().st_uid == invoking_user().uid


@pytest.mark.parametrize("kind", ["file", "dangling link"])
def test_nothing_is_overwritten_and_nothing_half_done_stays(tmp_path, kind):
    there = tmp_path / "b.toml"
    if kind == "file":
        there.write_text("mine")
    else:
        there.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(
        ConfigurationError, match=r"b\.toml: exists already and is not overwritten; nothing was imported"
    ):
        write_profiles(hosts("a", "b", "c"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["b.toml"]
    assert kind != "file" or there.read_text() == "mine"


@pytest.mark.parametrize(("name", "reason"), [("file/below", "Not a directory"), ("file", "File exists")])
def test_a_directory_that_cannot_be(tmp_path, name, reason):
    (tmp_path / "file").write_text("")
    with pytest.raises(HostSetupFailed, match=f"cannot create the directory .*{name}: {reason}"):
        write_profiles(hosts("a"), tmp_path / name)
    assert (tmp_path / "file").read_text() == ""


def test_a_full_disk(tmp_path, monkeypatch):
    def open_private(path, flags):
        return os.open("/dev/full", os.O_WRONLY) if path.endswith("/b.toml") else os.open(path, flags, 0o600)

    monkeypatch.setattr(files, "_open_private", open_private)
    with pytest.raises(HostSetupFailed, match=r"b\.toml: cannot be written: No space left on device"):
        write_profiles(hosts("a", "b"), tmp_path)
    assert list(tmp_path.iterdir()) == []
