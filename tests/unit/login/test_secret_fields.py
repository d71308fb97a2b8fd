import pytest

from anyike.eap.form import Field, FieldType, Form
from anyike.login.secret_fields import Purpose, purposes_of, repeated_fields


def form(form_id: str, *names: str) -> Form:
    fields = (Field(name, FieldType.PASSWORD, name, repeat=name.startswith("verify_")) for name in names)
    return Form(form_id, fields=tuple(fields))


@pytest.mark.parametrize(
    ("form_id", "name", "purpose"),
    [
        ("main", "password", Purpose.FIRST_PASSWORD),
        ("main", "answer", Purpose.OTHER),
        ("main", "secondary_password", Purpose.ONE_TIME_CODE),
        ("challenge", "answer", Purpose.ONE_TIME_CODE),
        ("challenge", "password", Purpose.ONE_TIME_CODE),
        ("challenge", "new_password", Purpose.NEW),
        ("main", "new_pin", Purpose.NEW),
        ("main", "verify_pin", Purpose.REPEAT),
    ],
)
def test_a_password_alone(form_id, name, purpose):
    assert purposes_of(form(form_id, name)) == {name: purpose}


def test_the_second_factor_takes_a_code():
    second = Field("password", FieldType.PASSWORD, "Token", second_factor=True)
    assert purposes_of(Form("main", fields=(second,))) == {"password": Purpose.ONE_TIME_CODE}


@pytest.mark.parametrize("name", ["password", "answer"])
def test_whatever_has_a_repeat_is_new(name):
    changed = form("challenge", name, "verify_pin")
    assert purposes_of(changed) == {name: Purpose.NEW, "verify_pin": Purpose.REPEAT}
    assert repeated_fields(changed) == {"verify_pin": name}


def test_a_repeat_is_of_the_last_password_before_it():
    text = Field("note", FieldType.TEXT, "Note")
    changed = form("main", "password", "new_password", "verify_password")
    assert repeated_fields(Form("main", fields=(*changed.fields[:2], text, changed.fields[2]))) == {
        "verify_password": "new_password"
    }
    assert repeated_fields(form("main", "verify_pin", "password")) == {}


def test_what_is_no_password_has_no_purpose():
    kinds = (FieldType.TEXT, FieldType.HIDDEN, FieldType.SELECT)
    assert purposes_of(Form("challenge", fields=tuple(Field(kind, kind, "x") for kind in kinds))) == {}
