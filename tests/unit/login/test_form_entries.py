import pytest

from anyike.login.form_entries import FormEntry, entry_name, find_entry, parse_form_entry

OPTION = "--form-entry"


@pytest.mark.parametrize(
    ("text", "form", "field", "value"),
    [
        ("main:username=ada", "main", "username", "ada"),
        ("main:realm=", "main", "realm", ""),
        ("main:realm=a=b:c", "main", "realm", "a=b:c"),
        ("a:b:c=d", "a", "b:c", "d"),
        ("*:username=ada", "*", "username", "ada"),
        ("main:username= ada ", "main", "username", " ada "),
    ],
)
def test_cut_at_the_first_equals_sign_and_then_the_first_colon(text, form, field, value):
    assert parse_form_entry(text, OPTION) == FormEntry(form, field, value, OPTION)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("main:username", "it has no '='"),
        ("", "it has no '='"),
        ("=x", "'' is no FORM:FIELD"),
        ("username=ada", "'username' is no FORM:FIELD"),
        (":username=ada", "':username' is no FORM:FIELD"),
        ("main:=ada", "'main:' is no FORM:FIELD"),
        ("us\x1b[2Jer=ada", "'us\ufffd[2Jer' is no FORM:FIELD"),
    ],
)
def test_what_is_no_entry(text, reason):
    with pytest.raises(ValueError, match="main:username=ada, or ") as caught:
        parse_form_entry(text, OPTION)
    assert str(caught.value).startswith(reason)


def test_a_value_is_repeated_nowhere():
    with pytest.raises(ValueError, match="no FORM:FIELD") as caught:
        parse_form_entry("password=hunter2", OPTION)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(parse_form_entry("main:x=hunter2", OPTION))


def test_the_form_comes_before_any_form_and_of_several_the_last_counts():
    entries = [
        parse_form_entry(text, OPTION) for text in ("main:a=1", "main:a=2", "*:a=3", "*:b=4", "*:b=5", "other:b=6")
    ]
    found = {
        name: entry and entry.value
        for name in ("main:a", "other:a", "main:b", "other:b", "main:c")
        for entry in [find_entry(entries, *name.split(":"))]
    }
    assert found == {"main:a": "2", "other:a": "3", "main:b": "5", "other:b": "6", "main:c": None}


@pytest.mark.parametrize("form_id", ["main", "", "a:b", "a=b", "*", "two words"])
def test_every_field_has_a_name_by_which_an_entry_finds_it(form_id):
    name = entry_name(form_id, "realm")
    assert find_entry([parse_form_entry(f"{name}=x", OPTION)], form_id, "realm")
