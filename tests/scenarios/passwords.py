"""Logins with what the user knows: names, passwords, groups, banners, and the errors of all that."""

from __future__ import annotations

from tests.fakes.scenario import (
    PASSWORD,
    USERNAME,
    Ack,
    AuthReply,
    AuthRequest,
    Complete,
    Error,
    Failure,
    Hello,
    Init,
    Input,
    Scenario,
    groups,
)

ENTER = "Please enter your username and password."
ADA = {"username": "ada", "password": "s3cret-of-ada"}
ADA_TYPES = (("Username:", "ada"), ("Password:", "s3cret-of-ada"))

PASSWORD_LOGIN = Scenario(
    "password",
    "User name and password",
    (
        Hello(),
        Init(),
        AuthRequest(title="Login", message=ENTER, form=(USERNAME, PASSWORD)),
        AuthReply(ADA),
        Complete(),
        Ack(),
    ),
    user=ADA_TYPES,
    shows=(ENTER,),
)

GROUP_KEPT = Scenario(
    "group",
    "A choice of groups, the first one is kept",
    (
        Hello(),
        Init(),
        AuthRequest(message=ENTER, form=(USERNAME, PASSWORD, groups("Staff", "Lab", selected="Staff"))),
        AuthReply(ADA, group_select="Staff"),
        Complete(),
        Ack(),
    ),
    user=(("GROUP:", "Staff"), *ADA_TYPES),
)

GROUP_CHANGED = Scenario(
    "other-group",
    "Another group is chosen: the login starts over, and that group asks in words of its own",
    (
        Hello(),
        Init(),
        AuthRequest(message=ENTER, form=(USERNAME, PASSWORD, groups("Staff", "Lab", "Guests", selected="Staff"))),
        Init(group_select="Lab"),
        AuthRequest(
            group="Lab",
            title="Laboratory",
            message="Use the number of your badge.",
            form=(
                Input("text", "username", "Badge:"),
                Input("password", "password", "PIN of the badge:"),
                groups("Staff", "Lab", "Guests", selected="Lab"),
            ),
        ),
        AuthReply({"username": "4711", "password": "7391468205"}, group_select="Lab"),
        Complete(),
        Ack(),
    ),
    user=(("GROUP:", "Lab"), ("Badge:", "4711"), ("PIN of the badge:", "7391468205")),
    shows=("Use the number of your badge.",),
)

GROUP_WITHOUT_AAA = Scenario(
    "group-without-password",
    "Another group is chosen, which asks for nothing but the choice",
    (
        Hello(),
        Init(),
        AuthRequest(message=ENTER, form=(USERNAME, PASSWORD, groups("Staff", "Guests", selected="Staff"))),
        Init(group_select="Guests"),
        AuthRequest(group="Guests", form=(groups("Staff", "Guests", selected="Guests"),)),
        AuthReply({}, group_select="Guests"),
        Complete(),
        Ack(),
    ),
    user=(("GROUP:", "Guests"),),
    guessed="what a group without authentication asks for; over TLS its form holds the choice of the group alone",
)

SECOND_PASSWORD = Scenario(
    "second-password",
    "Two user names and two passwords in one form",
    (
        Hello(),
        Init(),
        AuthRequest(
            message="Please enter both accounts.",
            form=(
                USERNAME,
                PASSWORD,
                Input("text", "secondary_username", "Second username:", second_factor=True),
                Input("password", "secondary_password", "Second password:", second_factor=True),
            ),
        ),
        AuthReply({**ADA, "secondary_username": "ada-admin", "secondary_password": "s3cret-of-the-admin"}),
        Complete(),
        Ack(),
    ),
    user=(*ADA_TYPES, ("Second username:", "ada-admin"), ("Second password:", "s3cret-of-the-admin")),
)

HIDDEN_FIELDS = Scenario(
    "hidden-fields",
    "Hidden fields go back as they came, buttons do not",
    (
        Hello(),
        Init(),
        AuthRequest(
            message=ENTER,
            form=(
                USERNAME,
                PASSWORD,
                Input("hidden", "context", value=" 1 < 2 & \u00fc "),
                Input("hidden", "empty", value=""),
                Input("submit", "Login", value="Login"),
                Input("reset", "Clear", value="Clear"),
            ),
        ),
        AuthReply({**ADA, "context": " 1 < 2 & \u00fc ", "empty": ""}),
        AuthRequest(id="continue", form=(Input("hidden", "state", value="2"),)),
        AuthReply({"state": "2"}),
        Complete(),
        Ack(),
    ),
    user=ADA_TYPES,
)

BANNER = Scenario(
    "banner",
    "A banner that waits for the user's yes, with nothing to fill in",
    (
        Hello(),
        Init(),
        AuthRequest(message=ENTER, form=(USERNAME, PASSWORD)),
        AuthReply(ADA),
        AuthRequest(banner=True, form=(Input("submit", "Continue"),)),
        AuthReply(),
        Complete(banner=True),
        Ack(),
    ),
    user=(*ADA_TYPES, ("Accept and go on?", "Accept")),
    guessed="where a banner stands inside IKEv2, and that an empty reply accepts it",
)

BANNER_DECLINED = Scenario(
    "banner-declined",
    "A banner that the user does not accept",
    (Hello(), Init(), AuthRequest(banner=True, form=(Input("submit", "Continue"),)), AuthReply()),
    user=(("Accept and go on?", "Decline"),),
    ends="accept",
    guessed="where a banner stands inside IKEv2",
)

RETRY = Scenario(
    "retry",
    "A wrong password, an error with parameters, then the right one; the user name is kept",
    (
        Hello(),
        Init(),
        AuthRequest(message="Hello %s, this is %s.", parameters=("stranger", "Example"), form=(USERNAME, PASSWORD)),
        AuthReply({"username": "ada", "password": "wr0ng-of-ada"}),
        AuthRequest(
            error=Error("Login failed for %s, %s tries are left (100%s).", "ada", "2"), form=(USERNAME, PASSWORD)
        ),
        AuthReply(ADA),
        Complete(),
        Ack(),
    ),
    user=(("Username:", "ada"), ("Password:", "wr0ng-of-ada"), ("Username:", ""), ("Password:", "s3cret-of-ada")),
    shows=("Hello stranger, this is Example.", "Login failed for ada, 2 tries are left (100%s)."),
)

ERROR_BESIDE = Scenario(
    "error-beside",
    "An error that stands beside the form's element, in the gateway's standard words",
    (
        Hello(),
        Init(),
        AuthRequest(message=ENTER, form=(USERNAME, PASSWORD)),
        AuthReply({"username": "ada", "password": "wr0ng-of-ada"}),
        AuthRequest(error=Error(beside=True), form=(USERNAME, PASSWORD)),
        AuthReply(ADA),
        Complete(),
        Ack(),
    ),
    user=(("Username:", "ada"), ("Password:", "wr0ng-of-ada"), ("Username:", ""), ("Password:", "s3cret-of-ada")),
)

LOCKED = Scenario(
    "locked",
    "A final error: there is no form beside it",
    (
        Hello(),
        Init(),
        AuthRequest(message=ENTER, form=(USERNAME, PASSWORD)),
        AuthReply({"username": "mallory", "password": "s3cret-of-ada"}),
        AuthRequest(error=Error("The account of %s is locked until %s.", "mallory", "Friday")),
    ),
    user=(("Username:", "mallory"), ("Password:", "s3cret-of-ada")),
    ends="The account of mallory is locked until Friday.",
)

FAILURE = Scenario(
    "failure",
    "EAP-Failure without a word",
    (Hello(), Init(), AuthRequest(message=ENTER, form=(USERNAME, PASSWORD)), AuthReply(ADA), Failure()),
    user=ADA_TYPES,
    ends="rejected the login",
)

LONG = Scenario(
    "long",
    "Messages that no packet holds: a form and a last document of 20,000 bytes each",
    (
        Hello(),
        Init(),
        AuthRequest(message=ENTER, filler=20_000, form=(USERNAME, PASSWORD)),
        AuthReply(ADA),
        Complete(filler=20_000),
        Ack(),
    ),
    user=ADA_TYPES,
)

ALL = (
    PASSWORD_LOGIN,
    GROUP_KEPT,
    GROUP_CHANGED,
    GROUP_WITHOUT_AAA,
    SECOND_PASSWORD,
    HIDDEN_FIELDS,
    BANNER,
    BANNER_DECLINED,
    RETRY,
    ERROR_BESIDE,
    LOCKED,
    FAILURE,
    LONG,
)
