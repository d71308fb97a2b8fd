import asyncio
import os
import traceback

import pytest

from anyike.eap.form import Field, FieldType, Form, Option
from anyike.errors import LoginFailed
from anyike.login.form_prompt import FormPrompt, label_of, option_by_name
from anyike.prompt import Console
from tests.unit.pseudo_terminal import person_at_a_terminal

USERNAME = Field("username", FieldType.TEXT, "Username:")
PASSWORD = Field("password", FieldType.PASSWORD, "Password:")
GROUPS = Field(
    "group_list",
    FieldType.SELECT,
    "GROUP:",
    value="staff",
    options=(Option("staff", "Staff"), Option("lab", "Lab"), Option("2", "Two")),
)
LOGIN = Form("main", title="Login", message="Please log in.", fields=(USERNAME, PASSWORD))
ACCEPT = Field("accept", FieldType.SELECT, "Accept", options=(Option("accept", "Accept"), Option("decline", "Decline")))


@pytest.fixture
def person():
    with person_at_a_terminal() as person:
        yield person


def asking(prompt: FormPrompt, form: Form) -> asyncio.Future:
    return asyncio.ensure_future(prompt.ask(form, form.fields))


async def chosen(person, field: Field, typed: str) -> str:
    answers = asking(FormPrompt(person.console), Form("f", fields=(field,)))
    await person.answer("Number or name", "")
    await person.answer(": ", f"{typed}\n")
    return (await answers)[field.name]


class TestText:
    async def test_a_user_name_with_echo_and_a_password_without(self, person):
        answers = asking(FormPrompt(person.console), LOGIN)
        await person.answer("Username: ", "ada\n")
        await person.answer("Password: ", "hunter2\n")
        assert await answers == {"username": "ada", "password": "hunter2"}
        assert "Login\r\nPlease log in.\r\n" in person.look()
        assert "ada" in person.seen
        assert "hunter2" not in person.seen

    async def test_the_last_answer_is_the_next_default_except_secrets(self, person):
        prompt = FormPrompt(person.console)
        form = Form("f", fields=(Field("username", FieldType.TEXT, "Name", value="guest"), GROUPS, PASSWORD))
        for name, group, typed_name, typed_group in (
            ("guest", "Staff", "", "lab"),
            ("guest", "Lab", "ada", ""),
            ("ada", "Lab", "", "2"),
        ):
            answers = asking(prompt, form)
            await person.answer(f"Name [{name}]: ", f"{typed_name}\n")
            await person.answer(f"[{group}]: ", f"{typed_group}\n")
            await person.answer("Password: ", "x\n")
            assert (await answers)["username"] == (typed_name or name)

    async def test_another_forms_answer_is_no_default(self, person):
        prompt = FormPrompt(person.console)
        for form_id in ("one", "two"):
            answers = asking(prompt, Form(form_id, fields=(USERNAME,)))
            await person.answer("Username: ", f"{form_id}\n")
            assert await answers == {"username": form_id}

    async def test_an_empty_answer_to_nothing_preset_is_empty(self, person):
        answers = asking(FormPrompt(person.console), Form("f", fields=(USERNAME,)))
        await person.answer("Username: ", "\n")
        assert await answers == {"username": ""}

    async def test_what_is_no_text_is_asked_again_and_not_repeated(self, person):
        answers = asking(FormPrompt(person.console), Form("f", fields=(PASSWORD,)))
        await person.sees("Password: ")
        os.write(person._master, b"hunter\xff2\n")
        await person.answer("this is no UTF-8 text", "")
        await person.answer("Password: ", "hunter2\n")
        assert await answers == {"password": "hunter2"}
        assert "hunter" not in person.look()


class TestChoice:
    @pytest.mark.parametrize(
        ("typed", "value"),
        [("lab", "lab"), ("LAB", "lab"), ("1", "staff"), ("2", "2"), ("3", "2"), ("", "staff"), (" Lab ", "lab")],
    )
    async def test_by_number_or_name(self, person, typed, value):
        assert await chosen(person, GROUPS, typed) == value
        assert "GROUP:\r\n  1) Staff\r\n  2) Lab\r\n  3) Two\r\nNumber or name [Staff]: " in person.look()

    @pytest.mark.parametrize("typed", ["4", "0", "-1", "99999999999999999999", "none"])
    async def test_another_answer_is_asked_again(self, person, typed):
        answers = asking(FormPrompt(person.console), Form("f", fields=(GROUPS,)))
        await person.answer("[Staff]: ", f"{typed}\n")
        await person.answer(f"{typed!r} is none of the choices", "")
        await person.answer("[Staff]: ", "lab\n")
        assert await answers == {"group_list": "lab"}

    async def test_nothing_is_chosen_by_return_alone_without_a_default(self, person):
        answers = asking(FormPrompt(person.console), Form("banner", message="Mind the gap.", fields=(ACCEPT,)))
        await person.answer("Number or name: ", "\n")
        await person.answer("'' is none of the choices", "")
        await person.answer("Number or name: ", "accept\n")
        assert await answers == {"accept": "accept"}

    async def test_the_default_is_its_own_value_where_labels_are_the_same(self, person):
        twins = Field("x", FieldType.SELECT, "x", value="b", options=(Option("a", "Same"), Option("b", "Same")))
        assert await chosen(person, twins, "") == "b"

    async def test_of_thousands_a_part_is_shown_and_any_can_be_found(self, person):
        options = tuple(Option(f"v{number}", f"Group {number}") for number in range(3000))
        answers = asking(
            FormPrompt(person.console), Form("f", fields=(Field("x", FieldType.SELECT, "x", options=options),))
        )
        await person.answer("and 2900 more: answer with a part of a name", "")
        await person.answer("Number or name: ", "ROUP 27\n")
        await person.answer("'ROUP 27' is none of the choices; it is a part of Group 27, Group 270, ", "")
        await person.answer("Group 278 and 101 more", "")
        await person.answer("Number or name: ", "group 2789\n")
        assert await answers == {"x": "v2789"}
        assert len(person.look()) < 6000

    @pytest.mark.parametrize(
        ("name", "value"), [("Lab", "lab"), ("2", "2"), ("STAFF", "staff"), ("1", None), ("La", None), ("", None)]
    )
    def test_by_name_alone(self, name, value):
        assert option_by_name(GROUPS, name) == value

    def test_two_that_differ_in_case_are_told_apart(self):
        both = Field("x", FieldType.SELECT, "x", options=(Option("a", "Lab"), Option("b", "LAB")))
        assert [option_by_name(both, name) for name in ("Lab", "LAB", "lab")] == ["a", "b", None]


class TestForeignText:
    async def test_cannot_drive_the_terminal(self, person):
        evil = "a\x1b[2Jb\r\x07\u202e"
        fields = (
            Field("x", FieldType.TEXT, evil, value=evil),
            Field("y", FieldType.SELECT, evil, options=(Option(evil, evil), Option("z", "z"))),
            Field("p", FieldType.PASSWORD, evil),
        )
        prompt = FormPrompt(person.console)
        prompt.tell(evil)
        answers = asking(prompt, Form("f", title=evil, message=evil, error=evil, fields=fields))
        await person.answer("]: ", "x\n")
        await person.answer("name: ", "q\n")
        await person.answer("name: ", "z\n")
        await person.answer(": ", "x\n")
        await answers
        assert not {"\x1b", "\x07", "\u202e"} & set(person.look())

    async def test_a_huge_label_is_shortened_and_a_message_is_not(self, tmp_path):
        (tmp_path / "typed").write_bytes(b"\n")
        field = Field("x", FieldType.TEXT, "y" * 60_000, value="z" * 60_000)
        with (tmp_path / "typed").open("rb") as typed, (tmp_path / "shown").open("wb") as shown:
            prompt = FormPrompt(Console(typed.fileno(), shown.fileno()))
            assert await prompt.ask(Form("f", message="m" * 60_000), (field,)) == {"x": "z" * 60_000}
        assert (tmp_path / "shown").read_text() == f"{'m' * 60_000}\n{'y' * 200}... [{'z' * 200}...]: "

    @pytest.mark.parametrize(
        ("label", "shown"), [("Password:", "Password"), ("a\nb", "a b"), (" : ", "password"), ("", "password")]
    )
    def test_a_label(self, label, shown):
        assert label_of(Field("password", FieldType.PASSWORD, label)) == shown


class TestTheTerminalAfterwards:
    async def test_echo_is_off_for_the_password_only(self, person):
        answers = asking(FormPrompt(person.console), LOGIN)
        await person.sees("Username: ")
        assert person.echoes
        await person.answer("", "ada\n")
        await person.sees("Password: ")
        assert not person.echoes
        await person.answer("", "x\n")
        await answers
        assert person.echoes

    async def test_echo_is_back_after_cancellation(self, person):
        answers = asking(FormPrompt(person.console), Form("f", fields=(PASSWORD,)))
        await person.answer("Password: ", "half a passw")
        answers.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answers
        assert person.echoes
        os.set_blocking(person.terminal, False)
        with pytest.raises(BlockingIOError):
            os.read(person.terminal, 100)

    async def test_the_event_loop_goes_on(self, person):
        answers = asking(FormPrompt(person.console), Form("f", fields=(PASSWORD,)))
        await person.sees("Password: ")
        for _ in range(100):
            await asyncio.sleep(0)
        assert not answers.done()
        await person.answer("", "x\n")
        await answers


class TestTheEndOfInput:
    async def test_it_is_said_which_answer_is_missing(self, person):
        answers = asking(FormPrompt(person.console), LOGIN)
        await person.answer("Username: ", "\x04")
        with pytest.raises(LoginFailed, match="The input ended before an answer to 'Username'"):
            await answers

    @pytest.mark.parametrize("field", [USERNAME, PASSWORD, GROUPS], ids=lambda field: field.name)
    async def test_a_terminal_that_is_gone(self, field):
        master, terminal = os.openpty()
        os.close(master)
        with pytest.raises(LoginFailed, match="The input ended before an answer to"):
            await FormPrompt(Console(terminal, terminal)).ask(Form("f", message="hello", fields=(field,)), (field,))
        os.close(terminal)

    async def test_nothing_typed_hangs_on_the_error(self, person):
        answers = asking(FormPrompt(person.console), LOGIN)
        await person.answer("Username: ", "ada\n")
        await person.sees("Password: ")
        os.write(person._master, b"hunter\xff2\n")
        await person.answer("this is no UTF-8 text", "")
        await person.answer("Password: ", "\x04")
        with pytest.raises(LoginFailed) as caught:
            await answers
        assert "hunter" not in "".join(traceback.format_exception(caught.value))
