"""What a user is asked, one form after the other, and how the answers are judged."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from container.scenario import Scenario

from radius import groups
from radius.accounts import USERS, Memory
from radius.forms import Form, Input, Problem, Words, problem

PASSWORD_LENGTHS = (8, 64)
PIN_LENGTHS = (4, 8)


@dataclass
class Person:
    """Who logs in, as far as that is known, with what is remembered of everybody, and the clock (Unix time)."""

    memory: Memory
    now: Callable[[], float]
    name: str = ""
    group: str = ""


@dataclass(frozen=True)
class Judgement:
    """What became of an answer; without a problem it was good. `final`: it is not asked again."""

    outcome: str
    problem: Problem | None = None
    final: bool = False


class Step(Protocol):
    """One question."""

    asked: str
    """What the log says when it is asked."""

    def form(self) -> Form:
        """The form."""

    def judge(self, person: Person, fields: Mapping[str, str]) -> Judgement:
        """Judge the reply, which holds exactly what the form asks."""


@dataclass(frozen=True)
class Login:
    """The group's own form."""

    group: str
    offered: Sequence[str]
    text: str
    asked: str = "form"

    def form(self) -> Form:
        """Whatever the group asks, with the choice of another group."""
        group = self._group()
        words = Words(f"{group.message} {self.text}".strip())
        return Form("main", "Login", words, group.inputs, groups.choice(self.offered, self.group))

    def judge(self, person: Person, fields: Mapping[str, str]) -> Judgement:
        """Name and password of the first factor, then of the second, if the group has one."""
        inputs = self._group().inputs
        if not inputs:
            return Judgement("nobody asked")
        name, password = (fields[field.name] for field in inputs[:2])
        person.name = name
        user = person.memory.find(name, self.group, password)
        if user is None:
            return Judgement("wrong password", problem(13, "Login failed."))
        if user.locked:
            return Judgement("locked", problem(15, "Your account is locked. Call the help desk."), final=True)
        second = [fields[field.name] for field in inputs if field.second]
        return self._judge_second(person, *second) if second else Judgement("right password")

    def _judge_second(self, person: Person, name: str, password: str) -> Judgement:
        user = USERS[person.name]
        refused = problem(18, "The second login of %s to the group %s failed.", person.name, self.group)
        if not user.second_name or user.second_name != name:
            return Judgement("wrong second factor", refused)
        if user.token:
            outcome = person.memory.use_code(person.name, password, person.now())
            return Judgement(outcome, None if outcome == "right code" else refused)
        if hmac.compare_digest(user.second_password.encode(), password.encode()):
            return Judgement("right second factor")
        return Judgement("wrong second factor", refused)

    def _group(self) -> groups.Group:
        found = groups.find(self.group, self.offered)
        assert found is not None
        return found


def challenge_form(message: Words, label: str) -> Form:
    """A form for one secret. A field named `answer` is sent as `password`."""
    return Form("challenge", "Second step", message, (Input("password", "answer", label),))


@dataclass(frozen=True)
class Code:
    """A fixed code, which the message tells."""

    code: str
    message: Words
    asked: str = "challenge"

    def form(self) -> Form:
        """One field."""
        return challenge_form(self.message, "Code:")

    def judge(self, person: Person, fields: Mapping[str, str]) -> Judgement:
        """The code."""
        if fields["password"] == self.code:
            return Judgement("right code")
        return Judgement("wrong code", problem(17, "That is not the code."))


def codes(expected: Sequence[str]) -> Iterator[Code]:
    """A challenge for each code, with a message of its own."""
    for number, code in enumerate(expected, 1):
        one = Words("Enter the code %s.", (code,))
        yield Code(code, one if len(expected) == 1 else Words("Round %s: enter the code %s.", (str(number), code)))


@dataclass(frozen=True)
class TokenCode:
    """A code of the user's token."""

    asked: str = "token code"

    def form(self) -> Form:
        """One field."""
        return challenge_form(Words("Enter the code that your token shows."), "Token code:")

    def judge(self, person: Person, fields: Mapping[str, str]) -> Judgement:
        """Each code is taken once."""
        outcome = person.memory.use_code(person.name, fields["password"], person.now())
        if outcome == "right code":
            return Judgement(outcome)
        return Judgement(outcome, problem(19, "The token of %s shows another code.", person.name))


@dataclass(frozen=True)
class Pin:
    """The PIN that was chosen at an earlier login."""

    asked: str = "PIN"

    def form(self) -> Form:
        """One field."""
        return challenge_form(Words("Enter your PIN."), "PIN:")

    def judge(self, person: Person, fields: Mapping[str, str]) -> Judgement:
        """The PIN."""
        if hmac.compare_digest(person.memory.pins[person.name].encode(), fields["password"].encode()):
            return Judgement("right PIN")
        return Judgement("wrong PIN", problem(20, "That is not your PIN."))


@dataclass(frozen=True)
class NewPin:
    """The choice of a PIN: `whichpin` is sent as `password`, its repetition never."""

    asked: str = "new PIN"

    def form(self) -> Form:
        """The PIN twice."""
        inputs = (Input("password", "whichpin", "New PIN:"), Input("password", "verify_pin", "New PIN again:"))
        return Form("main", "New PIN", Words("Choose a PIN of %s to %s digits.", texts(PIN_LENGTHS)), inputs)

    def judge(self, person: Person, fields: Mapping[str, str]) -> Judgement:
        """Digits, and not too few or too many."""
        pin = fields["password"]
        if not (pin.isdecimal() and in_limits(pin, PIN_LENGTHS)):
            return Judgement("bad PIN", problem(21, "A PIN has %s to %s digits.", *texts(PIN_LENGTHS)))
        person.memory.pins[person.name] = pin
        return Judgement("PIN chosen")


@dataclass(frozen=True)
class NewPassword:
    """The change of a password: `new_password` is sent as `password`, its repetition never."""

    asked: str = "new password"

    def form(self) -> Form:
        """The new password twice."""
        inputs = (
            Input("password", "new_password", "New password:"),
            Input("password", "verify_password", "New password again:"),
        )
        return Form("main", "New password", Words("Your password has expired. Choose a new one."), inputs)

    def judge(self, person: Person, fields: Mapping[str, str]) -> Judgement:
        """Another one than before, and not too short or too long."""
        new = fields["password"]
        if new == person.memory.password(person.name):
            return Judgement("same password", problem(23, "The new password of %s is the old one.", person.name))
        if not in_limits(new, PASSWORD_LENGTHS):
            limits = texts(PASSWORD_LENGTHS)
            return Judgement("bad password", problem(22, "A password has %s to %s characters.", *limits))
        person.memory.passwords[person.name] = new
        return Judgement("password changed")


@dataclass(frozen=True)
class Banner:
    """A banner to accept: a form without any field. Who declines it does not answer."""

    text: str
    asked: str = "banner"

    def form(self) -> Form:
        """Nothing but a button."""
        return Form("main", "Terms of use", banner=self.text, ticket=False)

    def judge(self, person: Person, fields: Mapping[str, str]) -> Judgement:
        """To answer is to accept."""
        return Judgement("banner accepted")


def following(person: Person, scenario: Scenario) -> Iterator[Step]:
    """What comes after a good login form."""
    user = USERS.get(person.name)
    if user:
        yield from codes(user.codes)
        group = groups.find(person.group, scenario.groups)
        if user.token and group and not any(field.second for field in group.inputs):
            yield TokenCode()
        if user.has_pin:
            yield Pin() if person.name in person.memory.pins else NewPin()
        if user.password_expired and person.name not in person.memory.passwords:
            yield NewPassword()
    if scenario.terms:
        yield Banner(scenario.terms)


def texts(limits: tuple[int, int]) -> tuple[str, ...]:
    """Limits as parameters of a text."""
    return tuple(map(str, limits))


def in_limits(text: str, limits: tuple[int, int]) -> bool:
    """Has the text a length between the limits?"""
    return limits[0] <= len(text) <= limits[1]
