import asyncio
import os

import pytest

from anyike.eap.form import Field, FieldType, Form, Option
from anyike.errors import LoginFailed
from anyike.form_filler import FormFiller
from tests.unit.pseudo_terminal import person_at_a_terminal

USERNAME = Field("username", FieldType.TEXT, "Username:")
PASSWORD = Field("password", FieldType.PASSWORD, "Password:")
CODE = Field("answer", FieldType.PASSWORD, "Code")
HIDDEN = Field("token", FieldType.HIDDEN, "token", value="abc")
GROUPS = Field(
    "group_list",
    FieldType.SELECT,
    "GROUP:",
    value="staff",
    options=(Option("staff", "Staff"), Option("lab", "Lab"), Option("2", "Two")),
)
LOGIN = Form("main", title="Login", message="Please log in.", fields=(USERNAME, PASSWORD, HIDDEN))


@pytest.fixture
def person():
    with person_at_a_terminal() as person:
        yield person


def standard_input(data: bytes) -> int:
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    return reader


async def answered(filler: FormFiller, form: Form) -> dict[str, str]:
    return dict((await filler.fill(form)).values)


class TestAsking:
    async def test_user_name_with_echo_and_password_without(self, person):
        filling = asyncio.ensure_future(answered(FormFiller(None, person.console, None), LOGIN))
        await person.answer("Username: ", "ada\n")
        await person.answer("Password: ", "hunter2\n")
        assert await filling == {"username": "ada", "password": "hunter2", "token": "abc"}
        assert "Login\r\nPlease log in.\r\n" in person.look()
        assert "ada" in person.seen
        assert "hunter2" not in person.seen

    async def test_what_is_known_is_not_asked(self, person):
        filling = asyncio.ensure_future(answered(FormFiller("ada", person.console, None), LOGIN))
        await person.answer("Password: ", "x\n")
        assert (await filling)["username"] == "ada"
        assert "Username" not in person.look()

    async def test_the_user_is_not_the_second_factors(self, person):
        second = Field("username", FieldType.TEXT, "Token user", second_factor=True)
        filling = asyncio.ensure_future(answered(FormFiller("ada", person.console, None), Form("f", fields=(second,))))
        await person.answer("Token user: ", "bob\n")
        assert await filling == {"username": "bob"}

    @pytest.mark.parametrize(
        ("typed", "value"),
        [("lab", "lab"), ("LAB", "lab"), ("1", "staff"), ("2", "2"), ("3", "2"), ("", "staff"), (" Lab ", "lab")],
    )
    async def test_a_choice_by_number_or_name(self, person, typed, value):
        filling = asyncio.ensure_future(answered(FormFiller(None, person.console, None), Form("f", fields=(GROUPS,))))
        await person.answer("1) Staff\r\n  2) Lab\r\n  3) Two\r\nNumber or name [Staff]: ", f"{typed}\n")
        assert await filling == {"group_list": value}

    @pytest.mark.parametrize("typed", ["4", "0", "-1", "99999999999999999999", "none"])
    async def test_another_choice_is_asked_again(self, person, typed):
        filling = asyncio.ensure_future(answered(FormFiller(None, person.console, None), Form("f", fields=(GROUPS,))))
        await person.answer("[Staff]: ", f"{typed}\n")
        await person.answer(f"{typed!r} is none of the choices", "")
        await person.answer("[Staff]: ", "lab\n")
        assert await filling == {"group_list": "lab"}

    async def test_a_single_choice_is_no_question(self):
        only = Field("group_list", FieldType.SELECT, "GROUP", options=(Option("staff", "Staff"),))
        assert await answered(FormFiller(None, None, None), Form("f", fields=(only,))) == {"group_list": "staff"}

    async def test_presets_and_earlier_answers_are_defaults(self, person):
        filler = FormFiller(None, person.console, None)
        preset = Form("f", fields=(Field("username", FieldType.TEXT, "Name", value="guest"), PASSWORD))
        for shown, typed, value in (("guest", "", "guest"), ("guest", "ada", "ada"), ("ada", "", "ada")):
            filling = asyncio.ensure_future(answered(filler, preset))
            await person.answer(f"Name [{shown}]: ", f"{typed}\n")
            await person.answer("Password: ", "x\n")
            assert (await filling)["username"] == value

    async def test_foreign_text_cannot_drive_the_terminal(self, person):
        evil = "a\x1b[2Jb\r\x07\u202e"
        form = Form(
            "f",
            title=evil,
            message=evil,
            error=evil,
            fields=(
                Field("x", FieldType.TEXT, evil, value=evil),
                Field("y", FieldType.SELECT, evil, options=(Option(evil, evil), Option("z", "z"))),
            ),
        )
        filling = asyncio.ensure_future(answered(FormFiller(None, person.console, None), form))
        await person.answer("]: ", "x\n")
        await person.answer("name: ", "z\n")
        await filling
        assert not {"\x1b", "\x07", "\u202e"} & set(person.look())

    async def test_end_of_input(self, person):
        filling = asyncio.ensure_future(answered(FormFiller(None, person.console, None), LOGIN))
        await person.answer("Username: ", "\x04")
        with pytest.raises(LoginFailed, match="ended before an answer to 'Username'"):
            await filling

    async def test_what_is_no_text_is_asked_again_and_not_repeated(self, person):
        filling = asyncio.ensure_future(answered(FormFiller("ada", person.console, None), LOGIN))
        await person.sees("Password: ")
        os.write(person._master, b"hunter\xff2\n")
        await person.answer("this is no UTF-8 text", "")
        await person.answer("Password: ", "hunter2\n")
        assert (await filling)["password"] == "hunter2"
        assert "hunter" not in person.look()


class TestTheTerminalAfterwards:
    async def test_echo_is_off_for_the_password_only(self, person):
        filling = asyncio.ensure_future(answered(FormFiller(None, person.console, None), LOGIN))
        await person.sees("Username: ")
        assert person.echoes
        await person.answer("", "ada\n")
        await person.sees("Password: ")
        assert not person.echoes
        await person.answer("", "x\n")
        await filling
        assert person.echoes

    async def test_echo_is_back_after_cancellation(self, person):
        filling = asyncio.ensure_future(answered(FormFiller("ada", person.console, None), LOGIN))
        await person.answer("Password: ", "half a passw")
        filling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await filling
        assert person.echoes
        os.set_blocking(person.terminal, False)
        with pytest.raises(BlockingIOError):
            os.read(person.terminal, 100)

    async def test_the_event_loop_goes_on(self, person):
        filling = asyncio.ensure_future(answered(FormFiller("ada", person.console, None), LOGIN))
        await person.sees("Password: ")
        turns = 0
        for _ in range(100):
            await asyncio.sleep(0)
            turns += 1
        assert turns == 100
        assert not filling.done()
        await person.answer("", "x\n")
        await filling


class TestPasswordOnStandardInput:
    async def test_first_line_for_the_first_password(self):
        filler = FormFiller("ada", None, standard_input(b"hunter2\r\nmore\n"))
        assert await answered(filler, LOGIN) == {"username": "ada", "password": "hunter2", "token": "abc"}

    async def test_spaces_and_a_missing_line_end(self):
        assert (await answered(FormFiller("ada", None, standard_input(b" a b ")), LOGIN))["password"] == " a b "

    async def test_from_a_regular_file(self, tmp_path):
        (tmp_path / "password").write_bytes(b"hunter2\n")
        with (tmp_path / "password").open("rb") as file:
            assert (await answered(FormFiller("ada", None, file.fileno()), LOGIN))["password"] == "hunter2"

    async def test_arriving_in_pieces(self):
        reader, writer = os.pipe()
        filling = asyncio.ensure_future(answered(FormFiller("ada", None, reader), LOGIN))
        for piece in (b"hun", b"ter2", b"\n"):
            await asyncio.sleep(0)
            os.write(writer, piece)
        assert (await filling)["password"] == "hunter2"
        os.close(writer)
        os.close(reader)

    async def test_used_once_and_then_the_gateways_word_is_the_end(self, person):
        filler = FormFiller("ada", person.console, standard_input(b"hunter2\n"))
        await answered(filler, LOGIN)
        again = Form("main", error="Login failed.", fields=LOGIN.fields)
        with pytest.raises(LoginFailed, match="rejected the password from --passwd-on-stdin: Login failed") as caught:
            await answered(filler, again)
        assert "hunter2" not in str(caught.value)

    async def test_a_later_one_time_code_is_asked_for(self, person):
        filler = FormFiller("ada", person.console, standard_input(b"hunter2\n"))
        await answered(filler, LOGIN)
        filling = asyncio.ensure_future(answered(filler, Form("challenge", fields=(CODE,))))
        await person.answer("Code: ", "123456\n")
        assert await filling == {"answer": "123456"}

    @pytest.mark.parametrize(
        ("data", "reason"), [(b"", "ended before"), (b"\xff\n", "no line of UTF-8"), (b"x" * 65_537, "no line of")]
    )
    async def test_what_is_no_password(self, tmp_path, data, reason):
        (tmp_path / "password").write_bytes(data)
        with (tmp_path / "password").open("rb") as file, pytest.raises(LoginFailed, match=reason) as caught:
            await answered(FormFiller("ada", None, file.fileno()), LOGIN)
        assert "xxx" not in str(caught.value)

    async def test_typed_at_a_terminal_it_stays_invisible(self, person):
        filling = asyncio.ensure_future(answered(FormFiller("ada", None, person.terminal), LOGIN))
        await asyncio.sleep(0)
        assert not person.echoes
        await person.answer("", "hunter2\n")
        assert (await filling)["password"] == "hunter2"
        assert "hunter2" not in person.look()


class TestNeverAsking:
    async def test_says_all_that_was_missing_and_how_to_give_it(self):
        with pytest.raises(LoginFailed) as caught:
            await answered(FormFiller(None, None, None), LOGIN)
        assert "'Username' (--user), 'Password' (--passwd-on-stdin)" in str(caught.value)

    async def test_tells_what_the_gateway_said(self):
        with pytest.raises(LoginFailed, match="The gateway says: Token out of step"):
            await answered(FormFiller("ada", None, None), Form("f", error="Token out of step", fields=(CODE,)))

    async def test_takes_presets(self):
        form = Form("f", fields=(GROUPS, Field("realm", FieldType.TEXT, "Realm", value="corp")))
        assert await answered(FormFiller(None, None, None), form) == {"group_list": "staff", "realm": "corp"}

    async def test_a_second_code_after_the_password(self):
        filler = FormFiller("ada", None, standard_input(b"hunter2\n"))
        await answered(filler, LOGIN)
        with pytest.raises(LoginFailed, match="asks for 'Code'"):
            await answered(filler, Form("challenge", fields=(CODE,)))
