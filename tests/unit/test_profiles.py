import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyike import profiles
from anyike.errors import ConfigurationError, UsageError
from anyike.profiles import MAX_PROFILE_BYTES, InvokingUser, Profile, file_name, find_profile, invoking_user

NOBODY = 65534


@pytest.fixture
def user(tmp_path, monkeypatch) -> InvokingUser:
    """The invoking user is the one of this process, with a home of the test's."""
    home = tmp_path / "home"
    (home / ".config/anyike").mkdir(parents=True)
    user = InvokingUser(os.getuid(), "me", os.getgid(), home)
    monkeypatch.setattr(profiles, "invoking_user", lambda: user)
    return user


@pytest.fixture
def system(tmp_path) -> Path:
    directory = tmp_path / "etc"
    directory.mkdir()
    return directory


def write(path: Path, text: str, mode: int = 0o644) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


class TestWhichOne:
    def test_system_before_user(self, user, system):
        write(system / "work.toml", "system")
        write(user.home / ".config/anyike/work.toml", "user")
        assert find_profile("work", None, system) == Profile("work", None, "system", str(system / "work.toml"), system)

    def test_user_when_the_system_has_none(self, user, system):
        path = write(user.home / ".config/anyike/work.toml", "user")
        found = find_profile("work", None, system)
        assert (found.text, found.source, found.directory) == ("user", str(path), path.parent)

    def test_a_profile_wins_over_a_host_of_its_name(self, user, system):
        write(system / "vpn.example.com.toml", "profile")
        found = find_profile("vpn.example.com", None, system)
        assert (found.host, found.text) == (None, "profile")

    def test_else_it_is_a_host(self, user, system):
        found = find_profile("2001:db8::1", None, system)
        assert (found.name, found.host, found.text) == ("2001_db8__1", "2001:db8::1", "")

    def test_a_file_by_name(self, user, system, tmp_path):
        path = write(tmp_path / "elsewhere.toml", "text")
        assert find_profile(None, path, system) == Profile("elsewhere", None, "text", str(path), tmp_path)
        assert find_profile("vpn.example.com", path, system).host == "vpn.example.com"

    def test_a_missing_file(self, user, system, tmp_path):
        with pytest.raises(ConfigurationError, match="there is no such file"):
            find_profile(None, tmp_path / "none.toml", system)

    def test_nothing_named(self, user, system):
        with pytest.raises(UsageError, match="say what to connect to"):
            find_profile(None, None, system)

    @pytest.mark.parametrize("target", ["../etc/work", "a/b", ".hidden", "..", "", "a\0b"])
    def test_a_target_is_never_a_path(self, user, system, target):
        write(system.parent / "work.toml", "not this one")
        found = find_profile(target, None, system)
        assert (found.text, found.host) == ("", target)


@given(st.text())
def test_file_names_stay_in_their_directory(target):
    name = file_name(target)
    assert 0 < len(name) <= 200
    assert Path("/run", f"{name}.lock").parent == Path("/run")
    assert not name.startswith(".")
    assert file_name(name) == name


class TestTrust:
    @pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
    def test_others_may_not_write_it(self, user, system, mode):
        path = write(system / "work.toml", "", mode)
        with pytest.raises(ConfigurationError, match=f"others may write to it; run: chmod go-w {path}"):
            find_profile("work", None, system)

    def test_it_belongs_to_root_or_the_user(self, user, system, monkeypatch):
        write(system / "work.toml", "")
        real = os.fstat

        def of_somebody_else(descriptor: int) -> os.stat_result:
            status = list(real(descriptor))
            status[4] = 4711
            return os.stat_result(status)

        monkeypatch.setattr(os, "fstat", of_somebody_else)
        with pytest.raises(ConfigurationError, match="belongs to somebody else"):
            find_profile("work", None, system)

    def test_a_pipe_does_not_hold_us_up(self, user, system):
        os.mkfifo(system / "work.toml")
        with pytest.raises(ConfigurationError, match="is not a regular file"):
            find_profile("work", None, system)

    def test_a_directory(self, user, system):
        (system / "work.toml").mkdir()
        with pytest.raises(ConfigurationError, match="is not a regular file"):
            find_profile("work", None, system)

    def test_size_is_bounded(self, user, system):
        write(system / "work.toml", "#" * (MAX_PROFILE_BYTES + 1))
        with pytest.raises(ConfigurationError, match="is no profile"):
            find_profile("work", None, system)

    def test_encoding(self, user, system):
        (system / "work.toml").write_bytes(b"\xff")
        with pytest.raises(ConfigurationError, match="is not UTF-8 text"):
            find_profile("work", None, system)


class TestInvokingUser:
    def test_without_sudo(self, monkeypatch):
        monkeypatch.delenv("SUDO_UID", raising=False)
        assert invoking_user().uid == os.getuid()

    def test_through_sudo(self, monkeypatch):
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setenv("SUDO_UID", str(NOBODY))
        assert (invoking_user().uid, invoking_user().name) == (NOBODY, "nobody")

    def test_who_is_not_root_cannot_claim_it(self, monkeypatch):
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        monkeypatch.setenv("SUDO_UID", str(NOBODY))
        assert invoking_user().uid == os.getuid()

    @pytest.mark.parametrize("number", ["4294967000", "99999999999999999999"])
    def test_somebody_whom_the_system_does_not_know(self, monkeypatch, number):
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setenv("SUDO_UID", number)
        with pytest.raises(ConfigurationError, match=f"no user with the number {number}") as caught:
            find_profile(None, Path("work.toml"))
        assert "-c" not in str(caught.value)


@pytest.mark.namespace
class TestAsRootForAnotherUser:
    """Needs root: profiles in the home of another user are read with that user's rights."""

    @pytest.fixture
    def profiles_of_nobody(self, monkeypatch):
        home = Path(tempfile.mkdtemp())
        home.chmod(0o755)
        directory = home / ".config/anyike"
        directory.mkdir(parents=True)
        user = InvokingUser(NOBODY, "nobody", NOBODY, home)
        monkeypatch.setattr(profiles, "invoking_user", lambda: user)
        yield directory
        shutil.rmtree(home)

    def test_their_own_profile(self, profiles_of_nobody, system):
        path = write(profiles_of_nobody / "work.toml", "theirs", 0o600)
        os.chown(path, NOBODY, NOBODY)
        rights = (os.geteuid(), os.getegid(), os.getgroups())
        assert find_profile("work", None, system).text == "theirs"
        assert (os.geteuid(), os.getegid(), os.getgroups()) == rights

    def test_a_link_to_what_only_root_may_read(self, profiles_of_nobody, system):
        secret = write(profiles_of_nobody / "secret", "root's", 0o600)
        (profiles_of_nobody / "work.toml").symlink_to(secret)
        rights = (os.geteuid(), os.getegid(), os.getgroups())
        with pytest.raises(ConfigurationError, match="cannot be read: Permission denied"):
            find_profile("work", None, system)
        assert (os.geteuid(), os.getegid(), os.getgroups()) == rights

    def test_a_profile_that_somebody_else_put_there(self, profiles_of_nobody, system):
        path = write(profiles_of_nobody / "work.toml", "")
        os.chown(path, 1, 1)
        with pytest.raises(ConfigurationError, match="belongs to somebody else"):
            find_profile("work", None, system)

    def test_a_file_named_by_c_too(self, profiles_of_nobody, system):
        secret = write(profiles_of_nobody / "secret.toml", "root's", 0o600)
        with pytest.raises(ConfigurationError, match="cannot be read: Permission denied"):
            find_profile(None, secret, system)
        os.chown(secret, NOBODY, NOBODY)
        assert find_profile(None, secret, system).text == "root's"
