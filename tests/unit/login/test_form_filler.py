import asyncio
import os
import time
from dataclasses import dataclass, field, replace

import pytest

from anyike.eap.form import Answers, Field, FieldType, Form, Option
from anyike.errors import LoginFailed
from anyike.login.form_entries import parse_form_entry
from anyike.login.form_filler import FormFiller
from anyike.login.secret_lines import SecretLines
from tests.unit.login.counting import Source
from tests.unit.pseudo_terminal import person_at_a_terminal

USERNAME = Field("username", FieldType.TEXT, "Username:")
PASSWORD = Field("password", FieldType.PASSWORD, "Password:")
SECOND_PASSWORD = Field("secondary_password", FieldType.PASSWORD, "Token:")
ANSWER = Field("answer", FieldType.PASSWORD, "Code")
NEW_PASSWORD = Field("new_password", FieldType.PASSWORD, "New password:")
VERIFY_PASSWORD = Field("verify_password", FieldType.PASSWORD, "Again:", repeat=True)
VERIFY_PIN = Field("verify_pin", FieldType.PASSWORD, "Again:", repeat=True)
REALM = Field("realm", FieldType.TEXT, "Realm")
HIDDEN = Field("token", FieldType.HIDDEN, "token", value="abc")
GROUPS = Field(
    "group_list",
    FieldType.SELECT,
    "GROUP:",
    value="staff",
    options=(Option("staff", "Staff"), Option("lab", "Lab"), Option("2", "Two")),
)
ACCEPT = Field("accept", FieldType.SELECT, "Accept", options=(Option("accept", "Accept"), Option("decline", "Decline")))
LOGIN = Form("main", title="Login", message="Please log in.", fields=(USERNAME, PASSWORD, HIDDEN))
BOTH = Form("main", fields=(USERNAME, PASSWORD, SECOND_PASSWORD))
CHALLENGE = Form("challenge", message="Your code, please.", fields=(ANSWER,))
CHANGE = Form("main", message="Your password has expired.", fields=(NEW_PASSWORD, VERIFY_PASSWORD))
NEW_PIN = Form("challenge", message="Choose a PIN.", fields=(ANSWER, VERIFY_PIN))
BANNER = Form("banner", message="All that you do is recorded.", fields=(ACCEPT,))


def again(form: Form, error: str = "Login failed.") -> Form:
    return replace(form, error=error)


@dataclass
class Codes:
    """A token, whose codes are 1, 2, 3 and so on."""

    given: list[str] = field(default_factory=list)

    async def next_code(self) -> str:
        self.given.append(str(len(self.given) + 1))
        return self.given[-1]


@pytest.fixture
def person():
    with person_at_a_terminal() as person:
        yield person


def standard_input(data: bytes) -> SecretLines:
    reader, writer = os.pipe()
    os.write(writer, data)
    os.close(writer)
    return SecretLines(reader)


def filler(console=None, entries=(), **arguments) -> FormFiller:
    return FormFiller(
        console=console, entries=[parse_form_entry(text, "--form-entry") for text in entries], **arguments
    )


async def answers(to_ask: FormFiller, form: Form) -> dict[str, str]:
    return dict((await to_ask.fill(form)).values)


def start(to_ask: FormFiller, form: Form) -> asyncio.Future:
    return asyncio.ensure_future(answers(to_ask, form))


async def failure(to_ask: FormFiller, form: Form) -> str:
    with pytest.raises(LoginFailed) as caught:
        await to_ask.fill(form)
    return str(caught.value)


class TestWithoutSecrets:
    async def test_hidden_fields_and_single_choices_are_as_the_gateway_has_them(self):
        only = replace(GROUPS, options=GROUPS.options[:1], value="")
        form = Form("f", fields=(HIDDEN, only))
        assert await answers(filler(entries=["*:token=x", "*:group_list=Lab"]), form) == {
            "token": "abc",
            "group_list": "staff",
        }

    async def test_a_form_without_fields(self):
        assert await filler().fill(Form("f")) == Answers({})

    async def test_a_choice_without_options(self, person):
        empty = Form("f", fields=(replace(GROUPS, options=()),))
        assert await failure(filler(person.console), empty) == (
            "The gateway's login form wants a choice and offers none (GROUP)."
        )

    async def test_entries_come_before_the_user(self):
        form = Form("main", fields=(USERNAME, REALM))
        given = filler(user="ada", entries=["main:username=bob", "*:realm=corp", "other:realm=x"])
        assert await answers(given, form) == {"username": "bob", "realm": "corp"}

    @pytest.mark.parametrize("value", ["Lab", "lab", "LAB"])
    async def test_an_entry_chooses_by_name(self, value):
        assert await answers(filler(entries=[f"main:group_list={value}"]), Form("main", fields=(GROUPS,))) == {
            "group_list": "lab"
        }

    async def test_an_entry_that_is_no_choice(self, person):
        message = await failure(filler(person.console, entries=["*:group_list=1"]), Form("main", fields=(GROUPS,)))
        assert message == "--form-entry *:group_list: '1' is no choice; the gateway offers Staff, Lab, Two."

    @pytest.mark.parametrize("entry", ["main:password=hunter3", "*:password=hunter3"])
    async def test_an_entry_for_a_password_is_refused(self, person, entry):
        given = filler(person.console, user="ada", entries=[entry], password_sources=[Source("login.password_command")])
        message = await failure(given, LOGIN)
        assert message.startswith(f"{'--form-entry'} {entry.split('=')[0]}: the gateway asks for a password there")
        assert "--passwd-on-stdin, login.password_command, login.password_keyring" in message
        assert "hunter3" not in message

    async def test_an_entry_for_another_form_is_not_looked_at(self):
        given = filler(user="ada", entries=["other:password=x"], password_sources=[Source("login.password_command")])
        assert (await answers(given, LOGIN))["password"] == "hunter2"

    async def test_the_user_is_the_first_factors(self, person):
        given = filler(person.console, user="ada")
        assert await answers(given, Form("f", fields=(USERNAME,))) == {"username": "ada"}
        filling = start(given, Form("f", fields=(replace(USERNAME, label="Token user", second_factor=True),)))
        await person.answer("Token user: ", "bob\n")
        assert await filling == {"username": "bob"}

    async def test_without_a_terminal_the_presets_count(self):
        form = Form("f", fields=(GROUPS, replace(REALM, value="corp")))
        assert await answers(filler(), form) == {"group_list": "staff", "realm": "corp"}

    async def test_a_preset_password_does_not(self):
        assert "asks for 'Password'" in await failure(filler(), Form("f", fields=(replace(PASSWORD, value="x"),)))

    async def test_at_a_terminal_presets_are_defaults(self, person):
        filling = start(filler(person.console), Form("f", fields=(replace(REALM, value="corp"),)))
        await person.answer("Realm [corp]: ", "\n")
        assert await filling == {"realm": "corp"}


class TestBanner:
    async def test_it_is_shown_before_the_question(self, person):
        filling = start(filler(person.console), BANNER)
        await person.answer("All that you do is recorded.\r\nAccept:\r\n  1) Accept\r\n  2) Decline\r\n", "")
        await person.answer("Number or name: ", "\n")
        await person.answer("none of the choices", "")
        await person.answer("Number or name: ", "1\n")
        assert await filling == {"accept": "accept"}

    async def test_it_is_never_accepted_by_default(self):
        message = await failure(filler(user="ada", password_sources=[Source("x")]), BANNER)
        assert "'Accept' (banner:accept, by --form-entry banner:accept=VALUE" in message
        assert "as one of Accept, Decline" in message
        assert "The gateway says: All that you do is recorded." in message

    async def test_it_is_accepted_beforehand(self):
        assert await answers(filler(entries=["banner:accept=accept"]), BANNER) == {"accept": "accept"}


class TestPasswordSources:
    @pytest.mark.parametrize(
        "other",
        [
            ANSWER,
            SECOND_PASSWORD,
            NEW_PASSWORD,
            replace(PASSWORD, second_factor=True),
            replace(PASSWORD, name="Password"),
        ],
        ids=lambda field: field.name,
    )
    async def test_they_are_for_the_first_factors_password_alone(self, other):
        source = Source("login.password_command")
        await failure(filler(password_sources=[source]), Form("f", fields=(other,)))
        assert source.reads == 0

    async def test_nor_for_a_new_password_of_that_name(self):
        source = Source("login.password_command")
        await failure(filler(password_sources=[source]), Form("f", fields=(PASSWORD, VERIFY_PASSWORD)))
        assert source.reads == 0

    async def test_in_their_order_and_each_once(self):
        command, keyring = Source("login.password_command", "old"), Source("login.password_keyring", "new")
        given = filler(user="ada", password_sources=[command, keyring])
        assert (await answers(given, LOGIN))["password"] == "old"
        assert (await answers(given, again(LOGIN)))["password"] == "new"
        message = await failure(given, again(LOGIN, "Account locked."))
        assert message == (
            "The gateway rejected the answer from login.password_keyring. The gateway says: Account locked."
        )
        assert (command.reads, keyring.reads) == (1, 1)

    async def test_after_a_rejection_the_terminal_asks(self, person):
        source = Source("login.password_command")
        given = filler(person.console, user="ada", password_sources=[source])
        assert (await answers(given, LOGIN))["password"] == "hunter2"
        for typed in ("one", "two"):
            filling = start(given, again(LOGIN))
            await person.answer("Login failed.", "")
            await person.answer("Password: ", f"{typed}\n")
            assert (await filling)["password"] == typed
        assert person.look().count("The gateway rejected the answer from login.password_command.") == 1
        assert source.reads == 1

    async def test_another_form_may_ask_for_it_too(self):
        given = filler(user="ada", password_sources=[Source("login.password_command")])
        for form_id in ("main", "other"):
            assert (await answers(given, replace(LOGIN, id=form_id)))["password"] == "hunter2"

    @pytest.mark.parametrize(("error", "reads"), [("", 3), ("Login failed.", 1)])
    async def test_but_not_every_form_of_many(self, error, reads):
        source = Source("login.password_command")
        given = filler(user="ada", password_sources=[source])
        forms = [replace(LOGIN, id=f"main{number}", error=error if number else "") for number in range(63)]
        for form in forms[:reads]:
            await given.fill(form)
        for form in forms[reads:]:
            assert "asks again for what login.password_command has answered" in await failure(given, form)
        assert source.reads == reads

    async def test_the_terminal_answers_then(self, person):
        given = filler(person.console, user="ada", password_sources=[Source("login.password_command")])
        for number in range(3):
            await given.fill(replace(LOGIN, id=f"main{number}"))
        filling = start(given, replace(LOGIN, id="main3"))
        await person.answer("Password: ", "typed\n")
        assert (await filling)["password"] == "typed"

    async def test_one_that_fails_ends_a_login_without_a_terminal(self):
        sources = [Source("login.password_command", None), Source("login.password_keyring")]
        assert await failure(filler(user="ada", password_sources=sources), LOGIN) == (
            "login.password_command: the safe is locked"
        )

    async def test_at_a_terminal_the_next_way_answers(self, person):
        given = filler(person.console, user="ada", password_sources=[Source("login.password_command", None)])
        filling = start(given, LOGIN)
        await person.answer("login.password_command: the safe is locked", "")
        await person.answer("Password: ", "x\n")
        assert (await filling)["password"] == "x"


class TestSecretsOfFields:
    async def test_the_form_comes_before_the_field_and_both_before_the_password_sources(self):
        secrets = {"password": Source("a", "field"), "main:password": Source("b", "form and field")}
        given = filler(user="ada", secrets=secrets, password_sources=[Source("c")])
        assert (await answers(given, LOGIN))["password"] == "form and field"
        assert (await answers(given, replace(LOGIN, id="other")))["password"] == "field"

    async def test_for_a_field_that_is_shown(self):
        secrets = {"pin": Source("login.secrets.pin", "1234")}
        assert await answers(filler(secrets=secrets), Form("f", fields=(Field("pin", FieldType.TEXT, "PIN"),))) == {
            "pin": "1234"
        }

    async def test_after_a_rejection_the_next_source_answers(self):
        given = filler(user="ada", secrets={"password": Source("a", "1")}, password_sources=[Source("b", "2")])
        assert [(await answers(given, form))["password"] for form in (LOGIN, again(LOGIN))] == ["1", "2"]

    async def test_all_that_may_have_been_wrong_are_named(self):
        secrets = {"secondary_password": Source("login.secrets.secondary_password")}
        given = filler(user="ada", secrets=secrets, password_sources=[Source("login.password_command")])
        await answers(given, BOTH)
        assert "from login.password_command and login.secrets.secondary_password." in await failure(given, again(BOTH))

    async def test_a_new_password_answers_its_repeat(self):
        given = filler(secrets={"new_password": Source("x", "new")})
        assert await answers(given, CHANGE) == {"new_password": "new", "verify_password": "new"}


class TestStandardInput:
    async def test_the_first_line_for_the_first_password(self):
        given = filler(user="ada", secret_lines=standard_input(b"hunter2\r\nmore\n"))
        assert await answers(given, LOGIN) == {"username": "ada", "password": "hunter2", "token": "abc"}

    async def test_a_line_for_each_password(self):
        given = filler(user="ada", secret_lines=standard_input(b"one\ntwo\nthree"))
        both = await answers(given, BOTH)
        assert (both["password"], both["secondary_password"]) == ("one", "two")
        assert await answers(given, CHALLENGE) == {"answer": "three"}

    async def test_it_comes_before_the_password_sources_and_after_the_fields_own(self):
        lines = standard_input(b"line\n")
        given = filler(
            user="ada", secrets={"secondary_password": Source("a")}, secret_lines=lines, password_sources=[Source("b")]
        )
        assert await answers(given, BOTH) == {"username": "ada", "password": "line", "secondary_password": "hunter2"}

    async def test_a_further_line_answers_after_a_rejection(self):
        given = filler(user="ada", secret_lines=standard_input(b"one\ntwo\n"))
        assert [(await answers(given, form))["password"] for form in (LOGIN, again(LOGIN))] == ["one", "two"]
        message = await failure(given, again(LOGIN))
        assert message == "The gateway rejected the answer from --passwd-on-stdin. The gateway says: Login failed."

    async def test_then_the_terminal_asks(self, person):
        given = filler(person.console, user="ada", secret_lines=standard_input(b"one\n"))
        await answers(given, LOGIN)
        filling = start(given, again(LOGIN))
        await person.answer("The gateway rejected the answer from --passwd-on-stdin.", "")
        await person.answer("Password: ", "two\n")
        assert (await filling)["password"] == "two"

    async def test_a_later_one_time_code_is_asked_for(self, person):
        given = filler(person.console, user="ada", secret_lines=standard_input(b"hunter2\n"))
        await answers(given, LOGIN)
        filling = start(given, CHALLENGE)
        await person.answer("Code: ", "123456\n")
        assert await filling == {"answer": "123456"}

    async def test_without_any_line(self, person):
        given = filler(person.console, user="ada", secret_lines=standard_input(b""))
        assert "--passwd-on-stdin: standard input ended before" in await failure(given, LOGIN)

    async def test_no_line_goes_where_it_would_be_seen(self, person):
        filling = start(filler(person.console, secret_lines=standard_input(b"hunter2\n")), LOGIN)
        await person.answer("Username: ", "ada\n")
        assert await filling == {"username": "ada", "password": "hunter2", "token": "abc"}

    async def test_a_repeat_takes_no_line(self):
        given = filler(secret_lines=standard_input(b"new\nnext\n"))
        assert await answers(given, CHANGE) == {"new_password": "new", "verify_password": "new"}
        assert await answers(given, NEW_PIN) == {"answer": "next", "verify_pin": "next"}


class TestCodes:
    @pytest.mark.parametrize(
        ("form", "name"),
        [
            (CHALLENGE, "answer"),
            (Form("challenge", fields=(replace(PASSWORD, name="whatever"),)), "whatever"),
            (Form("main", fields=(SECOND_PASSWORD,)), "secondary_password"),
            (Form("main", fields=(replace(PASSWORD, second_factor=True),)), "password"),
        ],
    )
    async def test_fields_that_take_a_code(self, form, name):
        assert await answers(filler(codes=Codes()), form) == {name: "1"}

    @pytest.mark.parametrize(
        "form",
        [
            Form("main", fields=(ANSWER,)),
            Form("main", fields=(PASSWORD,)),
            Form("challenge", fields=(replace(ANSWER, type=FieldType.TEXT),)),
            NEW_PIN,
            CHANGE,
        ],
    )
    async def test_fields_that_do_not(self, form):
        codes = Codes()
        await failure(filler(codes=codes), form)
        assert codes.given == []

    @pytest.mark.parametrize("name", ["answer", "main:answer"])
    @pytest.mark.parametrize("kind", [FieldType.TEXT, FieldType.PASSWORD])
    async def test_the_field_that_was_named(self, name, kind):
        form = Form("main", fields=(replace(ANSWER, type=kind),))
        assert await answers(filler(codes=Codes(), code_field=name), form) == {"answer": "1"}

    async def test_it_comes_before_one_by_nature_and_only_one_code_is_made(self):
        codes = Codes()
        given = filler(codes=codes, code_field="main:password", secret_lines=standard_input(b"line\n"))
        assert await answers(given, Form("main", fields=(SECOND_PASSWORD, PASSWORD))) == {
            "secondary_password": "line",
            "password": "1",
        }
        assert codes.given == ["1"]

    async def test_a_code_comes_before_other_sources_and_after_an_entry(self):
        secrets = {"answer": Source("login.secrets.answer")}
        assert await answers(filler(codes=Codes(), secrets=secrets), CHALLENGE) == {"answer": "1"}
        text = Form("main", fields=(replace(ANSWER, type=FieldType.TEXT),))
        given = filler(codes=Codes(), code_field="answer", entries=["main:answer=x"])
        assert await answers(given, text) == {"answer": "x"}

    async def test_it_is_made_when_everything_else_is_answered(self, person):
        codes = Codes()
        filling = start(filler(person.console, user="ada", codes=codes), BOTH)
        await person.sees("Password: ")
        assert codes.given == []
        await person.answer("", "x\n")
        assert (await filling)["secondary_password"] == "1"

    async def test_none_is_made_for_a_form_that_cannot_be_filled(self):
        codes = Codes()
        await failure(filler(codes=codes), BOTH)
        assert codes.given == []

    async def test_a_rejected_code_is_followed_by_one_more_and_no_third(self, person):
        codes = Codes()
        given = filler(person.console, codes=codes)
        assert await answers(given, CHALLENGE) == {"answer": "1"}
        assert await answers(given, again(CHALLENGE, "Wrong code.")) == {"answer": "2"}
        message = await failure(given, again(CHALLENGE, "Wrong code."))
        assert message.startswith(
            "The gateway has taken 2 one-time codes and wants another for 'Code'. No more are sent"
        )
        assert message.endswith("The gateway says: Wrong code.")
        assert codes.given == ["1", "2"]

    async def test_rounds_without_an_error_are_no_rejections_and_bounded(self):
        codes = Codes()
        given = filler(codes=codes)
        for number in range(1, 7):
            assert await answers(given, CHALLENGE) == {"answer": str(number)}
        assert "taken 6 one-time codes" in await failure(given, CHALLENGE)

    async def test_the_next_round_may_be_answered_by_the_same_source(self):
        source = Source("login.secrets.answer")
        given = filler(secrets={"challenge:answer": source})
        for reads in (1, 2):
            assert await answers(given, CHALLENGE) == {"answer": "hunter2"}
            assert source.reads == reads
        assert "rejected the answer" in await failure(given, again(CHALLENGE, "Wrong code."))

    async def test_but_not_every_round_of_many(self):
        source = Source("login.secrets.answer")
        given = filler(secrets={"answer": source})
        for _ in range(3):
            assert await answers(given, CHALLENGE) == {"answer": "hunter2"}
        for _ in range(3):
            message = await failure(given, CHALLENGE)
            assert "asks again for what login.secrets.answer has answered (3 times in this login)" in message
        assert source.reads == 3

    async def test_codes_of_all_fields_are_counted_together(self):
        codes = Codes()
        given = filler(user="ada", codes=codes, secret_lines=standard_input(b"one\ntwo\n"))
        found = [await answers(given, form) for form in (BOTH, CHALLENGE, again(BOTH))]
        assert [found[0]["secondary_password"], found[1]["answer"], found[2]["secondary_password"]] == ["1", "2", "3"]
        assert "taken 3 one-time codes" in await failure(given, again(CHALLENGE))
        assert codes.given == ["1", "2", "3"]

    @pytest.mark.parametrize("error", ["", "Wrong code."])
    @pytest.mark.parametrize("what", ["form", "field", "nothing"])
    async def test_other_names_of_forms_and_fields_get_no_further_codes(self, what, error):
        codes = Codes()
        given = filler(codes=codes)
        allowed = 2 if error or what == "nothing" else 6
        for number in range(63):
            code = replace(SECOND_PASSWORD, name=f"code{number if what == 'field' else ''}", second_factor=True)
            form = Form("main" if what == "nothing" else f"main{number}", error=error if number else "", fields=(code,))
            if number < allowed:
                await given.fill(form)
            else:
                assert "No more are sent" in await failure(given, form)
        assert len(codes.given) == allowed

    async def test_it_may_have_been_the_code(self):
        given = filler(user="ada", codes=Codes(), password_sources=[Source("login.password_command")])
        await answers(given, BOTH)
        assert "from login.password_command and the token ([token])." in await failure(given, again(BOTH))


class TestNewSecrets:
    async def test_typed_twice(self, person):
        filling = start(filler(person.console, codes=Codes()), NEW_PIN)
        await person.answer("Choose a PIN.\r\nCode: ", "1234\n")
        await person.answer("Again: ", "1243\n")
        assert await filling == {"answer": "1234", "verify_pin": "1243"}

    async def test_the_repeat_of_what_was_rejected_is_typed_too(self, person):
        given = filler(person.console, secrets={"new_password": Source("login.secrets.new_password", "short")})
        await answers(given, CHANGE)
        filling = start(given, again(CHANGE, "Too short."))
        await person.answer("Too short.", "")
        await person.answer("New password: ", "longer\n")
        await person.answer("Again: ", "longer\n")
        assert await filling == {"new_password": "longer", "verify_password": "longer"}


class TestNobodyToAsk:
    async def test_all_that_is_missing_is_named_with_safe_ways_to_give_it(self):
        form = Form("main", fields=(USERNAME, PASSWORD, SECOND_PASSWORD, GROUPS, REALM, NEW_PASSWORD))
        message = await failure(filler(), replace(form, fields=(*form.fields[:3], *form.fields[4:])))
        for part in (
            "'Username' (main:username, by --user or login.user)",
            "'Password' (main:password, by --passwd-on-stdin, login.password_command, login.password_keyring or",
            "'Token' (main:secondary_password, by [token], [login.secrets] \"main:secondary_password\" or --passwd-on-stdin)",
            "'Realm' (main:realm, by --form-entry main:realm=VALUE or login.form_entries)",
            "'New password' (main:new_password, by [login.secrets] \"main:new_password\" or --passwd-on-stdin)",
            "there is no terminal to ask on, or --non-inter was given",
        ):
            assert part in message

    async def test_a_choice_of_group(self):
        form = Form("main", fields=(replace(GROUPS, value=""),))
        assert "'GROUP' (main:group_list, by --authgroup or login.group)" in await failure(filler(), form)

    @pytest.mark.parametrize("form_id", ["", "a:b", "a=b"])
    async def test_the_name_given_is_one_that_works(self, form_id):
        form = Form(form_id, fields=(REALM,))
        assert "--form-entry *:realm=VALUE" in await failure(filler(), form)
        assert await answers(filler(entries=["*:realm=x"]), form) == {"realm": "x"}
        assert '[login.secrets] "answer"' in await failure(filler(), Form(form_id, fields=(ANSWER,)))

    async def test_the_gateways_words(self):
        message = await failure(filler(user="ada"), again(CHALLENGE, "Token out of\nstep\x1b[2J"))
        assert message.endswith("The gateway says: Token out of step\ufffd[2J")
        assert (await failure(filler(), CHALLENGE)).endswith("The gateway says: Your code, please.")
        assert (await failure(filler(), Form("f", fields=(REALM,)))).endswith("was given.")

    async def test_a_terminal_that_has_ended(self, person):
        filling = start(filler(person.console), LOGIN)
        await person.answer("Username: ", "\x04")
        with pytest.raises(LoginFailed, match="The input ended before an answer to 'Username'"):
            await filling


class TestLimits:
    async def test_thousands_of_fields_and_huge_labels(self):
        fields = tuple(
            Field(f"field{number}", FieldType.PASSWORD, "label\x1b[2J" * 10_000 if number < 5 else "x")
            for number in range(8000)
        )
        entries = [f"*:other{number}=x" for number in range(10)]
        begun = time.process_time()
        message = await failure(filler(entries=entries, codes=Codes()), Form("main", fields=fields))
        assert time.process_time() - begun < 5
        assert "and 7990 more" in message
        assert len(message) < 10_000
        assert "\x1b" not in message

    async def test_a_huge_choice_that_nobody_makes(self):
        options = tuple(Option(str(number), "o" * 20_000) for number in range(5000))
        field = Field("x", FieldType.SELECT, "x", options=options)
        message = await failure(filler(entries=[f"*:x={'y' * 60_000}"]), Form("main", fields=(field,)))
        assert message.endswith("and 4990 more.")
        assert len(message) < 5000


class TestAskingForASecret:
    async def test_it_stays_invisible(self, person):
        asking = asyncio.ensure_future(filler(person.console).ask_secret("PIN of\x1b[2J Card:"))
        await person.sees("[this machine] PIN of\ufffd(2J Card: ")
        assert not person.echoes
        await person.answer("", "1234\n")
        assert await asking == "1234"
        assert "1234" not in person.look()

    @pytest.mark.parametrize("opening", "[\uff3b\u2045\u3010{")
    async def test_no_gateway_can_ask_the_same(self, person, opening):
        """Not at the start of a line nor where a long one is wrapped, in no text of the form."""
        imitation = f"{opening}this machine] PIN of the token 'ada'"
        padded = "\u2800" * 80 + imitation
        fields = (Field("a", FieldType.PASSWORD, imitation), Field("b", FieldType.TEXT, padded, value=imitation))
        filling = start(filler(person.console), Form("f", imitation, imitation, f"x\n{imitation}", fields))
        await person.answer("\r\n(this machine) PIN of the token 'ada': ", "x\n")
        await person.answer(": ", "y\n")
        await filling
        seen = person.look()
        assert f"{opening}this" not in seen.replace(" [(this machine) PIN of the token 'ada']: ", "")
        assert seen.count("(this machine) PIN of the token 'ada'") == 6

    async def test_nobody_to_ask(self):
        with pytest.raises(
            LoginFailed, match="'PIN of Card' is needed, and there is no terminal to ask on, or --non-i"
        ):
            await filler(secret_lines=standard_input(b"1234\n")).ask_secret("PIN of Card: ")


async def test_nothing_shows_an_answer():
    given = filler(user="ada", password_sources=[Source("x", "swordfish")])
    filled = await given.fill(LOGIN)
    assert "swordfish" not in repr(filled)
    assert "swordfish" not in repr(given)


class TestKept:
    """`login.keep_credentials`: the next login of the same process."""

    async def test_what_was_typed_answers_the_next_login(self, person):
        kept: dict[str, str] = {}
        first = start(filler(person.console, kept=kept), LOGIN)
        await person.answer("Username: ", "ada\n")
        await person.answer("Password: ", "hunter2\n")
        await first
        found = await answers(filler(kept=kept), LOGIN)
        assert (found["username"], found["password"]) == ("ada", "hunter2")

    async def test_codes_and_new_passwords_are_not_kept(self):
        kept: dict[str, str] = {}
        await answers(filler(secret_lines=standard_input(b"123456\n"), kept=kept), CHALLENGE)
        assert kept == {}

    async def test_a_kept_password_that_was_rejected_is_not_sent_again(self):
        given = filler(user="ada", kept={"main:password": "old"})
        assert (await answers(given, LOGIN))["password"] == "old"
        assert "login.keep_credentials" in await failure(given, again(LOGIN))

    async def test_nothing_is_kept_unless_that_was_allowed(self):
        given = filler(user="ada", secret_lines=standard_input(b"secret\n"))
        await answers(given, LOGIN)
        assert given._kept is None
