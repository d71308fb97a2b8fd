"""Logins that go on after the password: one-time codes, new PINs, changed passwords."""

from __future__ import annotations

from tests.fakes.scenario import (
    PASSWORD,
    USERNAME,
    Ack,
    AuthReply,
    AuthRequest,
    Complete,
    Error,
    Hello,
    Init,
    Input,
    OneTime,
    Scenario,
    Turn,
)
from tests.scenarios.passwords import ADA, ADA_TYPES, ENTER

ANSWER = Input("password", "answer", "Answer:")
SENT_AS_PASSWORD = "answer, whichpin and new_password are sent as password: known from the same dialect over TLS"


def after_password(*turns: Turn) -> tuple[Turn, ...]:
    """A dialogue that asks for name and password first, and completes last."""
    first = (Hello(), Init(), AuthRequest(message=ENTER, form=(USERNAME, PASSWORD)), AuthReply(ADA))
    return (*first, *turns, Complete(), Ack())


def challenge(message: str, *parameters: str, error: Error | None = None) -> AuthRequest:
    given = (*parameters, "", "")[:2]
    return AuthRequest(id="challenge", message=message, parameters=given, error=error, form=(ANSWER,))


CHALLENGES = Scenario(
    "challenge",
    "Three rounds of challenge and answer after the password",
    after_password(
        challenge("Enter the code that was sent to %s.", "+44 *** 11"),
        AuthReply({"password": "4410293857"}),
        challenge("Enter the second code."),
        AuthReply({"password": "5520394816"}),
        challenge("Enter the last code."),
        AuthReply({"password": "6630495827"}),
    ),
    user=(*ADA_TYPES, ("Answer:", "4410293857"), ("Answer:", "5520394816"), ("Answer:", "6630495827")),
    shows=("Enter the code that was sent to +44 *** 11.", "Enter the second code.", "Enter the last code."),
    guessed=SENT_AS_PASSWORD,
)

NEW_PIN = Scenario(
    "new-pin",
    "A token's new PIN: which one is asked, then the PIN and its repetition, which is not sent",
    after_password(
        AuthRequest(
            id="challenge",
            message="Do you want a PIN of your own (y or n)?",
            form=(Input("text", "whichpin", "Own PIN:"),),
        ),
        AuthReply({"password": "y"}),
        AuthRequest(
            id="next-pin",
            message="Enter a new PIN of 4 to 10 digits.",
            form=(Input("password", "answer", "New PIN:"), Input("password", "verify_pin", "Verify PIN:")),
        ),
        AuthReply({"password": "8642097531"}),
    ),
    user=(*ADA_TYPES, ("Own PIN:", "y"), ("New PIN:", "8642097531"), ("Verify PIN:", "8642097531")),
    guessed=f"the ids of the forms; {SENT_AS_PASSWORD}",
)

PASSWORD_CHANGE = Scenario(
    "password-change",
    "An expired password: the new one and its repetition; a repetition that differs is found before anything is sent",
    after_password(
        AuthRequest(
            id="change-password",
            message="Your password has expired.",
            form=(
                Input("password", "new_password", "New password:"),
                Input("password", "verify_password", "Verify password:"),
            ),
        ),
        AuthReply({"password": "n3w-s3cret-of-ada"}),
    ),
    user=(
        *ADA_TYPES,
        ("New password:", "n3w-s3cret-of-ada"),
        ("Verify password:", "n3w-s3crte-of-ada"),
        ("New password:", "n3w-s3cret-of-ada"),
        ("Verify password:", "n3w-s3cret-of-ada"),
    ),
    shows=("Your password has expired.", "The two entries are not the same."),
    guessed=f"the id of the form; {SENT_AS_PASSWORD}",
)

TOTP = Scenario(
    "totp",
    "A time-based one-time code from the client's own secret",
    after_password(challenge("Enter the code of your app."), AuthReply({"password": OneTime("totp")})),
    user=(*ADA_TYPES, ("Answer:", OneTime("totp"))),
    needs=frozenset({"totp"}),
    guessed=SENT_AS_PASSWORD,
)

HOTP = Scenario(
    "hotp",
    "Counter-based one-time codes from the client's own secret: two are asked for, and they have to differ",
    after_password(
        challenge("Enter the code of your token."),
        AuthReply({"password": OneTime("hotp")}),
        challenge("Wait for the next code and enter that.", error=Error("One code is not enough.")),
        AuthReply({"password": OneTime("hotp")}),
    ),
    user=(*ADA_TYPES, ("Answer:", OneTime("hotp")), ("Answer:", OneTime("hotp"))),
    needs=frozenset({"hotp"}),
    guessed=SENT_AS_PASSWORD,
)

ALL = (CHALLENGES, NEW_PIN, PASSWORD_CHANGE, TOTP, HOTP)
