"""One scenario played in process, and all that can be told about it afterwards."""

from __future__ import annotations

from dataclasses import dataclass

from anyike.ikev2.constants import IdType
from anyike.ikev2.events import Established, Notice
from anyike.ikev2.payloads import IdInitiator
from anyike.ikev2.states import State
from tests.fakes import pki
from tests.fakes.certificate_proof import Trust
from tests.fakes.dialect import Dialect
from tests.fakes.gateway import Profile
from tests.fakes.link import Link, ike_settings, login_method
from tests.fakes.profiles import profile_of
from tests.fakes.scenario import Scenario
from tests.fakes.scenario_login import ScenarioLogin, Site
from tests.scenarios.user import ScenarioUser

NOW = pki.NOW.timestamp()
CLIENT_ID = {"asa": IdType.ANYCONNECT, "ios": IdType.KEY_ID}


@dataclass
class Played:
    """What became of a scenario."""

    login: ScenarioLogin
    user: ScenarioUser
    link: Link

    @property
    def established(self) -> bool:
        return any(isinstance(event, Established) for event in self.link.events)

    @property
    def shown(self) -> str:
        """All that the user got to read."""
        notices = [event.text for event in self.link.events if isinstance(event, Notice)]
        for form in self.user.forms:
            notices += [form.title, form.message, form.error]
        return "\n".join(notices)

    @property
    def journal(self) -> str:
        """For failing tests."""
        calls = "\n".join(map(str, self.link.gateway.journal.calls))
        return f"{calls}\n{self.link.gateway.journal.lines}\ndeviations: {self.login.deviations}\n{self.link.events}"


def play(
    scenario: Scenario, dialect: Dialect, *, profile: Profile | None = None, ike: str = "", key_kind: str = "rsa"
) -> Played:
    """Log in until the tunnel is up or the connection is over."""
    site = Site(Trust(pki.authority().certificate, pki.NOW), clock=lambda: NOW)
    login = ScenarioLogin(scenario, dialect, site)
    user = ScenarioUser(scenario=scenario, clock=lambda: NOW, key_kind=key_kind)
    identity = IdInitiator(CLIENT_ID[dialect.name], b"*$AnyConnectClient$*")
    settings = ike_settings(*[ike] * bool(ike), local_id=identity)
    link = Link(login, profile=profile or profile_of(dialect), settings=settings, method=login_method(), user=user)
    played = Played(login, user, link)
    try:
        link.connect().run(until=lambda: link.client.state in (State.ESTABLISHED, State.CLOSED))
    except AssertionError as error:
        error.add_note(played.journal)
        raise
    return played
