"""Secrets that nobody types: each source, and each way in which it fails, without a word of the secret."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from anyike.errors import LoginFailed
from anyike.invoking_user import InvokingUser
from anyike.login import secret_source
from anyike.login.secret_source import (
    MAX_SECRET_BYTES,
    CommandSource,
    CredentialSource,
    FileSource,
    KeyringSource,
)

NOBODY = 65534
ME = InvokingUser(os.getuid(), "me", os.getgid(), Path("/"))
SECRET = "correct horse \N{SNOWMAN}"


def shell(script: str, timeout: float = 20) -> CommandSource:
    return CommandSource("login.password_command", ME, ("sh", "-c", script), timeout)


async def failure(source) -> str:
    with pytest.raises(LoginFailed) as caught:
        await source.read()
    assert str(caught.value).startswith(f"{source.name}: ")
    return str(caught.value).removeprefix(f"{source.name}: ")


class TestCommand:
    @pytest.mark.parametrize("output", [SECRET, f"{SECRET}\n", f"{SECRET}\r\n", f"{SECRET}\nuser: ada\nurl: x\n"])
    async def test_the_first_line(self, output):
        source = CommandSource("login.password_command", ME, ("printf", "%s", output))
        assert await source.read() == SECRET

    async def test_white_space_is_the_secret_s(self):
        assert await shell("printf ' a\\t \\n'").read() == " a\t "

    async def test_the_last_words_of_a_failure_made_harmless(self):
        message = await failure(shell(f"echo '{SECRET}'; printf 'first\\n\\033[2Jno such entry\\n\\n' >&2; exit 3"))
        assert message == "sh failed with status 3: \N{REPLACEMENT CHARACTER}[2Jno such entry"

    async def test_a_failure_without_words(self):
        assert await failure(shell(f"echo '{SECRET}'; exit 1")) == "sh failed with status 1 and said nothing"

    async def test_words_have_a_limit(self):
        assert len(await failure(shell("head -c 9999 /dev/zero | tr '\\0' x >&2; exit 1"))) < 400

    async def test_a_signal(self):
        assert await failure(shell("kill -TERM $$")) == "sh was ended by signal 15 (Terminated) and said nothing"

    async def test_the_time_limit(self):
        assert await failure(shell("sleep 600", 0.2)) == "sh did not end within 0.2 seconds and was stopped"

    @pytest.mark.parametrize("script", ["true", "echo", "printf '\\r\\n'"])
    async def test_nothing(self, script):
        assert await failure(shell(script)) == "the output of sh is empty"

    async def test_what_is_no_text(self):
        assert await failure(shell("printf 'a\\377'")) == "the output of sh is not UTF-8 text"

    async def test_too_much(self):
        assert "it wrote more than" in await failure(shell("yes"))

    async def test_no_such_program(self):
        source = CommandSource("login.password_command", ME, ("/no/such/program",))
        assert await failure(source) == "me cannot run /no/such/program: No such file or directory"

    async def test_what_is_no_argument(self):
        source = CommandSource("login.password_command", ME, ("echo", "a\0b"))
        assert await failure(source) == "echo: embedded null byte"

    @pytest.mark.namespace
    async def test_as_the_user(self):
        nobody = InvokingUser(NOBODY, "nobody", NOBODY, Path("/"))
        assert await CommandSource("login.password_command", nobody, ("id", "-u")).read() == str(NOBODY)


class TestKeyring:
    """keyring's own command, with a backend of the test's in the place of a desktop's."""

    BACKEND = """
import os
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked

class Backend(KeyringBackend):
    priority = 1

    def set_password(self, service, account, password):
        raise NotImplementedError

    def get_password(self, service, account):
        if service == "locked":
            raise KeyringLocked("Failed to \\033[1munlock the collection!")
        return {("work vpn", "ada"): os.environ["TEST_SECRET"], ("-work", "-ada"): "dashes"}.get((service, account))
"""

    @pytest.fixture(autouse=True)
    def backend(self, tmp_path, monkeypatch):
        (tmp_path / "backend_of_the_test.py").write_text(self.BACKEND)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "backend_of_the_test.Backend")
        monkeypatch.setenv("TEST_SECRET", SECRET)
        monkeypatch.setenv("LC_ALL", "C")

    @staticmethod
    def source(service: str, account: str = "ada", user: InvokingUser = ME) -> KeyringSource:
        return KeyringSource("login.password_keyring", user, service, account)

    async def test_an_entry(self):
        assert await self.source("work vpn").read() == SECRET
        assert await self.source("-work", "-ada").read() == "dashes"

    async def test_no_such_entry(self):
        message = await failure(self.source("home vpn"))
        assert message == "the keyring of me has no such entry. Make it, as that user: keyring set 'home vpn' ada"

    async def test_a_locked_keyring(self):
        message = await failure(self.source("locked"))
        assert "keyring.errors.KeyringLocked: Failed to \N{REPLACEMENT CHARACTER}[1munlock the collection!" in message
        assert "unlocked; without one use a command or a systemd credential" in message

    async def test_no_keyring_at_all(self, monkeypatch):
        monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
        message = await failure(self.source("work vpn"))
        assert "NoKeyringError: No recommended backend was available" in message
        assert "It needs a Secret Service" in message

    async def test_an_empty_entry(self, monkeypatch):
        monkeypatch.setenv("TEST_SECRET", "")
        assert await failure(self.source("work vpn")) == "the keyring's entry is empty"

    async def test_a_file_in_the_working_directory_is_not_the_library(self, tmp_path, monkeypatch):
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "keyring.py").write_text("print('not the keyring')")
        monkeypatch.chdir(elsewhere)
        assert await self.source("work vpn").read() == SECRET

    async def test_the_library_is_out_of_reach(self, monkeypatch):
        monkeypatch.setattr(
            sys, "executable", shutil.which("python3", path="/usr/bin") or sys.base_prefix + "/bin/python3"
        )
        message = await failure(self.source("work vpn"))
        assert message.startswith(f"me cannot use {sys.executable}: ")
        assert "No module named" in message
        assert "install anyike where every user may read it" in message

    @pytest.mark.namespace
    async def test_our_python_is_out_of_the_user_s_reach(self, tmp_path, monkeypatch):
        tmp_path.chmod(0o700)
        (tmp_path / "python").symlink_to(sys.executable)
        monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
        nobody = InvokingUser(NOBODY, "nobody", NOBODY, Path("/"))
        message = await failure(self.source("work vpn", user=nobody))
        assert message.startswith(f"nobody cannot run {tmp_path}/python: Permission denied. ")
        assert "install anyike where every user may read it" in message


class TestCredential:
    @pytest.fixture
    def directory(self, tmp_path, monkeypatch):
        directory = tmp_path / "credentials"
        directory.mkdir()
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(directory))
        return directory

    @pytest.fixture(autouse=True)
    def nobody_called_sudo(self, monkeypatch):
        for variable in ("SUDO_UID", "PKEXEC_UID", "DOAS_USER"):
            monkeypatch.delenv(variable, raising=False)

    @staticmethod
    def source(credential: str = "vpn-password") -> CredentialSource:
        return CredentialSource("login.password_credential", credential)

    @pytest.mark.parametrize("mode", [0o400, 0o440])  # systemd's access list for another user shows as the group's
    async def test_content(self, directory, mode):
        (directory / "vpn-password").write_text(f"{SECRET}\n")
        (directory / "vpn-password").chmod(mode)
        assert await self.source().read() == SECRET

    @pytest.mark.parametrize("value", [None, ""])
    async def test_no_service(self, monkeypatch, value):
        monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
        if value is not None:
            monkeypatch.setenv("CREDENTIALS_DIRECTORY", value)
        message = await failure(self.source())
        assert message == (
            "$CREDENTIALS_DIRECTORY is not set: only a systemd service with LoadCredential=vpn-password:... has it"
        )

    async def test_a_directory_that_the_caller_named(self, directory, monkeypatch):
        """sudo may keep the variable, and root could read anybody's secret there."""
        (directory / "vpn-password").write_text(SECRET)
        monkeypatch.setattr(secret_source, "invoking_uid", lambda: os.getuid() + 1)
        message = await failure(self.source())
        assert message.startswith("only a service has credentials, and this anyike was called by a user through sudo")
        assert SECRET not in message

    @pytest.mark.namespace
    async def test_through_sudo(self, directory, monkeypatch):
        (directory / "vpn-password").write_text(SECRET)
        monkeypatch.setenv("SUDO_UID", str(NOBODY))
        assert "only a service has credentials" in await failure(self.source())
        monkeypatch.setenv("SUDO_UID", "0")
        assert await self.source().read() == SECRET

    async def test_none_of_this_name(self, directory):
        assert "add LoadCredential=vpn-password:... to its unit" in await failure(self.source())

    @pytest.mark.parametrize("name", ["../etc/passwd", "/etc/passwd", "a/b", "", ".", "..", "a\0b"])
    async def test_a_path_is_no_name(self, directory, name):
        assert "is no name of a credential" in await failure(self.source(name))

    async def test_what_is_no_credential(self, directory):
        (directory / "vpn-password").mkdir()
        assert "is not a regular file" in await failure(self.source())

    @pytest.mark.parametrize(
        ("content", "reason"), [(b"", "is empty"), (b"\n", "is empty"), (b"\xff", "is not UTF-8 text")]
    )
    async def test_no_secret_in_it(self, directory, content, reason):
        (directory / "vpn-password").write_bytes(content)
        assert await failure(self.source()) == f"{directory}/vpn-password {reason}"

    async def test_size(self, directory):
        (directory / "vpn-password").write_bytes(b"x" * MAX_SECRET_BYTES)
        assert len(await self.source().read()) == MAX_SECRET_BYTES
        (directory / "vpn-password").write_bytes(b"x" * (MAX_SECRET_BYTES + 1))
        assert "which is no secret" in await failure(self.source())


class TestFile:
    @pytest.fixture
    def path(self, tmp_path):
        path = tmp_path / "secret"
        path.touch(0o600)
        return path

    @staticmethod
    def source(path: Path, user: InvokingUser = ME) -> FileSource:
        return FileSource("token.secret_file", user, path)

    @pytest.mark.parametrize(
        ("content", "secret"),
        [(b"a", "a"), (b"a\n", "a"), (b"a\r\n", "a"), (b"a\n\n", "a\n"), (b" a \n", " a "), (b"a\nb\n", "a\nb")],
    )
    async def test_one_line_end_is_no_part_of_it(self, path, content, secret):
        path.write_bytes(content)
        assert await self.source(path).read() == secret

    async def test_others_may_not_read_it(self, path):
        path.write_text(SECRET)
        path.chmod(0o644)
        assert await failure(self.source(path)) == f"{path}: others may read the secret in it; run: chmod go-rwx {path}"

    async def test_what_cannot_be_read(self, path):
        message = await failure(self.source(path.with_name("none")))
        assert message == f"{path.with_name('none')} cannot be read with the rights of me: No such file or directory"
        assert "is no file name" in await failure(self.source(Path("a\0b")))

    async def test_what_is_no_secret(self, path):
        assert await failure(self.source(path)) == f"{path} is empty"
        path.write_bytes(bytes(MAX_SECRET_BYTES + 1))
        assert f"has more than {MAX_SECRET_BYTES} bytes" in await failure(self.source(path))

    @pytest.fixture
    def home(self):
        home = Path(tempfile.mkdtemp())
        home.chmod(0o755)
        yield home
        shutil.rmtree(home)

    @pytest.mark.namespace
    async def test_root_s_file_is_not_the_user_s(self, home):
        path = home / "secret"
        path.write_text(SECRET)
        path.chmod(0o600)
        nobody = InvokingUser(NOBODY, "nobody", NOBODY, home)
        assert "with the rights of nobody: Permission denied" in await failure(self.source(path, nobody))
        os.chown(path, NOBODY, NOBODY)
        assert await self.source(path, nobody).read() == SECRET


@pytest.mark.parametrize("source", [shell("cat", 1), KeyringSource("n", ME, "s", "a"), FileSource("n", ME, Path("/"))])
def test_every_source_says_which_setting_it_is(source):
    known: secret_source.SecretSource = source
    assert known.name
