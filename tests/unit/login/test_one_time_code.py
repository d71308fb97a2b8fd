"""Codes that are given once only: over time, over processes, over crashes."""

import asyncio
import fcntl
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from anyike.errors import HostSetupFailed, LoginFailed, MissingPrivilege
from anyike.login import used_codes
from anyike.login.one_time_code import TokenCodes
from anyike.login.token_secret import MAX_COUNTER, TokenMode, TokenSecret
from anyike.login.used_codes import UsedCodes

KEY = b"12345678901234567890"
BASE32 = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
TOKEN = TokenSecret(TokenMode.HOTP, KEY)
RFC_4226 = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"]
NOON = 1_700_000_010.0
"""The beginning of a time step of 30 seconds."""


class Source:
    name = "token.secret_file"

    def __init__(self, text: str) -> None:
        self.text = text
        self.reads = 0

    async def read(self) -> str:
        self.reads += 1
        return self.text


class Clock:
    """Time that goes by only when somebody sleeps."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def directory(tmp_path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def make(directory, clock, told):
    def codes(mode: TokenMode, text: str = BASE32) -> TokenCodes:
        return TokenCodes(Source(text), mode, told.append, directory=directory, clock=clock, sleep=clock.sleep)

    return codes


def state_file(directory: Path) -> Path:
    (path,) = directory.glob("one-time-code-*")
    return path


class TestHotp:
    async def test_one_after_the_other_in_one_process_and_the_next(self, make):
        token = make(TokenMode.HOTP)
        assert [await token.next_code() for _ in range(3)] == RFC_4226[:3]
        assert await make(TokenMode.HOTP).next_code() == RFC_4226[3]
        assert await token.next_code() == RFC_4226[4]

    async def test_the_secret_s_own_counter_is_only_where_to_begin(self, make):
        assert await make(TokenMode.HOTP, f"{BASE32},5").next_code() == RFC_4226[5]
        assert await make(TokenMode.HOTP, f"{BASE32},5").next_code() == RFC_4226[6]
        assert await make(TokenMode.HOTP, f"otpauth://hotp/x?secret={BASE32}&counter=9").next_code() == RFC_4226[7]

    async def test_the_secret_is_read_at_the_first_code_and_once(self, directory, clock, told):
        source = Source(BASE32)
        token = TokenCodes(source, TokenMode.HOTP, told.append, directory=directory)
        assert source.reads == 0
        await token.next_code()
        await token.next_code()
        assert source.reads == 1

    async def test_each_token_counts_for_itself(self, make):
        await make(TokenMode.HOTP).next_code()
        assert await make(TokenMode.HOTP, "0x00").next_code() == TokenSecret(TokenMode.HOTP, b"\0").code(0)

    async def test_the_counter_s_end(self, make):
        token = make(TokenMode.HOTP, f"{BASE32},{MAX_COUNTER}")
        assert await token.next_code() == TOKEN.code(MAX_COUNTER)
        with pytest.raises(LoginFailed, match=r"^token\.secret_file: the token's counter has come to its end"):
            await token.next_code()

    async def test_the_counter_is_on_the_disk_before_the_code_is_given(self, make, directory, monkeypatch):
        """A crash at any moment after that loses a code, and never uses one twice."""
        order = []
        real_fsync, real_replace, real_code = os.fsync, Path.replace, TokenSecret.code

        def fsync(descriptor: int) -> None:
            order.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
            real_fsync(descriptor)

        def replace(path: Path, target: Path) -> Path:
            order.append("replace")
            return real_replace(path, target)

        def code(token: TokenSecret, number: int) -> str:
            order.append(f"code {number}")
            return real_code(token, number)

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(Path, "replace", replace)
        monkeypatch.setattr(TokenSecret, "code", code)
        await make(TokenMode.HOTP).next_code()
        assert order == ["file", "replace", "directory", "code 0"]

    async def test_two_tasks_get_two_codes(self, make):
        tokens = [make(TokenMode.HOTP) for _ in range(5)]
        assert sorted(await asyncio.gather(*(token.next_code() for token in tokens))) == sorted(RFC_4226[:5])

    def test_processes_at_the_same_time_get_different_codes(self, directory):
        code = (
            "import asyncio, sys\n"
            "from pathlib import Path\n"
            "from anyike.login.one_time_code import TokenCodes\n"
            "from anyike.login.token_secret import TokenMode\n"
            "class Source:\n"
            "    name = 'x'\n"
            "    async def read(self): return sys.argv[2]\n"
            "async def main():\n"
            "    token = TokenCodes(Source(), TokenMode.HOTP, print, directory=Path(sys.argv[1]))\n"
            "    for _ in range(10): print(await token.next_code())\n"
            "asyncio.run(main())\n"
        )
        command = [sys.executable, "-c", code, str(directory), BASE32]
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
        given = [line for process in processes for line in process.communicate(timeout=60)[0].split()]
        assert sorted(given) == sorted(TOKEN.code(counter) for counter in range(40))


class TestTotp:
    async def test_the_code_of_now(self, make, clock, told):
        clock.now = 59
        assert await make(TokenMode.TOTP, f"otpauth://totp/x?secret={BASE32}&digits=8").next_code() == "94287082"
        assert (clock.slept, told) == ([], [])

    async def test_a_step_s_code_is_given_once(self, make, clock, told):
        """RFC 6238, section 5.2: the verifier must not accept the second use."""
        clock.now = NOON + 12
        token = make(TokenMode.TOTP)
        codes = [await token.next_code() for _ in range(3)]
        steps = [int(NOON) // 30 + number for number in range(3)]
        assert codes == [TOKEN.code(step) for step in steps]
        assert clock.slept == [pytest.approx(18.1), pytest.approx(30.0)]
        assert told == [
            "The token's code of these 30 seconds has been used: waiting 18 s for the next one",
            "The token's code of these 30 seconds has been used: waiting 30 s for the next one",
        ]

    async def test_nor_by_a_later_process(self, make, clock):
        first = await make(TokenMode.TOTP).next_code()
        assert await make(TokenMode.TOTP).next_code() != first
        assert clock.now > NOON + 30

    async def test_a_later_step_waits_for_nothing(self, make, clock):
        await make(TokenMode.TOTP).next_code()
        clock.now += 30
        await make(TokenMode.TOTP).next_code()
        assert clock.slept == []

    async def test_a_sleep_that_ends_early(self, make, clock):
        token = make(TokenMode.TOTP)
        first = await token.next_code()

        async def short(seconds: float) -> None:
            clock.now += seconds * 0.99

        clock.sleep = short
        token._sleep = short
        assert await token.next_code() != first
        assert NOON + 30 <= clock.now < NOON + 31

    async def test_others_who_are_always_faster(self, make, clock, directory):
        token = make(TokenMode.TOTP)
        await token.next_code()
        path = state_file(directory)

        async def overtaken(seconds: float) -> None:
            clock.now += seconds
            path.write_text(f"{int(clock.now // 30)}\n")

        token._sleep = overtaken
        with pytest.raises(LoginFailed, match="other logins used the token's code 5 times"):
            await token.next_code()
        assert clock.now < NOON + 5 * 30 + 2

    async def test_a_clock_that_went_back(self, make, clock, directory):
        await make(TokenMode.TOTP).next_code()
        clock.now -= 86_400
        with pytest.raises(
            LoginFailed, match="was used 86400 seconds in the future, going by this machine's clock"
        ) as caught:
            await make(TokenMode.TOTP).next_code()
        assert str(state_file(directory)) in str(caught.value)
        assert clock.slept == []

    async def test_cancelled_while_waiting(self, make, directory):
        token = make(TokenMode.TOTP)
        await token.next_code()
        before = state_file(directory).read_text()
        token._sleep = asyncio.sleep
        task = asyncio.create_task(token.next_code())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert state_file(directory).read_text() == before
        async with asyncio.timeout(5), UsedCodes(directory, "any").locked():
            pass  # nobody waits with the lock in hand


@pytest.mark.parametrize("mode", list(TokenMode))
class TestStateOnDisk:
    async def test_files_are_ours_alone(self, make, directory, mode):
        await make(mode).next_code()
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
        assert all(BASE32 not in path.name for path in directory.iterdir())

    @pytest.mark.parametrize("content", [b"", b"\n", b"-1\n", b"x\n", b"1 2\n", b"\xd9\xa1\n", b"1" * 33, b"1\n\n"])
    async def test_nonsense_gives_no_code(self, make, directory, mode, content):
        await make(mode).next_code()
        state_file(directory).write_bytes(content)
        with pytest.raises(HostSetupFailed, match="does not say which one-time code was used last") as caught:
            await make(mode).next_code()
        assert str(state_file(directory)) in str(caught.value)
        assert state_file(directory).read_bytes() == content

    async def test_what_others_could_have_written_gives_no_code(self, make, directory, mode):
        await make(mode).next_code()
        state_file(directory).chmod(0o666)
        with pytest.raises(HostSetupFailed, match="others may write to it"):
            await make(mode).next_code()

    async def test_a_full_disk_gives_no_code(self, make, monkeypatch, mode):
        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(HostSetupFailed, match="No space left on device"):
            await make(mode).next_code()

    async def test_no_right_to_make_the_directory(self, make, monkeypatch, mode):
        def refuse(*args: object, **named: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "mkdir", refuse)
        with pytest.raises(MissingPrivilege, match="Run anyike as root"):
            await make(mode).next_code()

    async def test_a_directory_that_is_a_file(self, make, directory, mode):
        directory.touch()
        with pytest.raises(HostSetupFailed, match="cannot create"):
            await make(mode).next_code()

    async def test_what_a_crash_left_is_no_obstacle(self, make, directory, mode):
        await make(mode).next_code()
        state_file(directory).with_suffix(".new").write_text("half")
        await make(mode).next_code()
        assert [path.suffix for path in directory.iterdir() if path.suffix == ".new"] == []

    async def test_a_lock_that_nobody_lets_go(self, make, directory, monkeypatch, mode):
        monkeypatch.setattr(used_codes, "LOCK_LIMIT", 0.2)
        await make(mode).next_code()
        with (directory / "one-time-codes.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            with pytest.raises(HostSetupFailed, match="another process has held this lock for"):
                await make(mode).next_code()

    async def test_a_link_is_not_a_lock(self, make, directory, tmp_path, mode):
        directory.mkdir(0o700)
        (directory / "one-time-codes.lock").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(HostSetupFailed, match=r"one-time-codes\.lock"):
            await make(mode).next_code()
        assert not (tmp_path / "elsewhere").exists()

    async def test_a_bad_secret_names_its_setting_and_leaves_no_trace(self, make, directory, mode):
        with pytest.raises(LoginFailed, match=r"^token\.secret_file: the token's secret is neither base32") as caught:
            await make(mode, "not-a-SECRET!").next_code()
        assert "SECRET!" not in str(caught.value)
        assert not directory.exists()
