"""The tables of states, and the page that is drawn from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from anyike.errors import AnyikeError
from anyike.ikev2 import states
from anyike.ikev2.states import CHILD, CONNECTION, ChildInput, ChildState, Input, State, after

PAGE = Path(__file__).parents[3] / "docs/states.md"


def test_the_page_is_drawn_from_the_tables():
    assert PAGE.read_text() == states.document()


@pytest.mark.parametrize(("table", "kinds"), [(CONNECTION, (State, Input)), (CHILD, (ChildState, ChildInput))])
def test_every_state_and_input_has_a_place_and_one_outcome(table, kinds):
    pairs = [(state, transition.happens) for transition in table for state in transition.states]
    assert len(pairs) == len(set(pairs))
    assert {state for state, _ in pairs} | {transition.next for transition in table} == set(kinds[0])
    assert {happens for _, happens in pairs} == set(kinds[1])


def test_an_established_tunnel_ends_in_two_ways():
    assert after(State.ESTABLISHED, Input.LEAVE, CONNECTION) is State.DELETING
    assert after(State.ESTABLISHED, Input.OVER, CONNECTION) is State.CLOSED


@pytest.mark.parametrize(
    ("state", "happens", "table"),
    [
        (State.CLOSED, Input.OVER, CONNECTION),
        (State.ESTABLISHED, Input.CONNECT, CONNECTION),
        (ChildState.DELETING, ChildInput.REKEY, CHILD),
        (ChildState.REPLACED, ChildInput.SUPERSEDED, CHILD),
    ],
)
def test_what_cannot_happen_is_a_fault(state, happens, table):
    with pytest.raises(AnyikeError, match="cannot happen"):
        after(state, happens, table)
