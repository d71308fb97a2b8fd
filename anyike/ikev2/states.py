"""The states of a connection and of a CHILD_SA: two tables of what happens, from which docs/states.md is drawn.

Nothing else says what may follow what. An input that a state does not know is a fault of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Generic, TypeVar

from anyike.errors import AnyikeError


class State(Enum):
    """The life of a connection."""

    IDLE = auto()
    INIT = auto()
    AUTH = auto()
    ESTABLISHED = auto()
    DELETING = auto()
    CLOSED = auto()


class Input(Enum):
    """What happens to a connection."""

    CONNECT = "connect"
    KEYS = "IKE_SA_INIT done"
    AUTHENTICATED = "both AUTH payloads verified"
    LEAVE = "close, or an end that the gateway has to hear of"
    OVER = "the end: said, heard, or nobody answers"


class ChildState(Enum):
    """What is happening to a CHILD_SA."""

    INSTALLED = auto()
    REKEYING = auto()
    REPLACED = auto()
    DELETING = auto()


class ChildInput(Enum):
    """What happens to a CHILD_SA."""

    REKEY = "a limit is near, or somebody wants new keys"
    PUT_OFF = "the gateway does not rekey now"
    SUPERSEDED = "it has a successor"
    DELETE = "either side deletes it"


S = TypeVar("S", bound=Enum)


@dataclass(frozen=True)
class Transition(Generic[S]):
    """`effect` is for people: what is done on the way."""

    states: tuple[S, ...]
    happens: Enum
    next: S
    effect: str


CONNECTION: tuple[Transition[State], ...] = (
    Transition((State.IDLE,), Input.CONNECT, State.INIT, "IKE_SA_INIT goes out"),
    Transition((State.INIT,), Input.KEYS, State.AUTH, "an SPI is asked for, then IKE_AUTH goes out"),
    Transition((State.AUTH,), Input.AUTHENTICATED, State.ESTABLISHED, "the first CHILD_SA is installed"),
    Transition((State.AUTH, State.ESTABLISHED), Input.LEAVE, State.DELETING, "DELETE goes out"),
    Transition(
        (State.IDLE, State.INIT, State.AUTH, State.ESTABLISHED, State.DELETING),
        Input.OVER,
        State.CLOSED,
        "keys are let go, Terminated is told",
    ),
)

CHILD: tuple[Transition[ChildState], ...] = (
    Transition((ChildState.INSTALLED,), ChildInput.REKEY, ChildState.REKEYING, "an SPI, then CREATE_CHILD_SA"),
    Transition((ChildState.REKEYING,), ChildInput.PUT_OFF, ChildState.INSTALLED, "tried again later"),
    Transition(
        (ChildState.INSTALLED, ChildState.REKEYING),
        ChildInput.SUPERSEDED,
        ChildState.REPLACED,
        "whoever made the successor deletes it",
    ),
    Transition(
        (ChildState.INSTALLED, ChildState.REKEYING, ChildState.REPLACED),
        ChildInput.DELETE,
        ChildState.DELETING,
        "packets under way are received a little longer",
    ),
)


def after(state: S, happens: Enum, table: Sequence[Transition[S]]) -> S:
    """The next state. AnyikeError for what cannot happen."""
    for transition in table:
        if transition.happens is happens and state in transition.states:
            return transition.next
    raise AnyikeError(f"{happens.name} cannot happen in the state {state.name}")


def diagram(table: Sequence[Transition[S]]) -> str:
    """The table as a Mermaid state diagram, followed by what each arrow does."""
    lines = ["```mermaid", "stateDiagram-v2"]
    for transition in table:
        lines += [
            f"    {state.name} --> {transition.next.name}: {transition.happens.name}" for state in transition.states
        ]
    lines += ["```", "", "| state | what happens | next state | effect |", "|---|---|---|---|"]
    for transition in table:
        names = ", ".join(state.name for state in transition.states)
        happens = f"{transition.happens.name}: {transition.happens.value}"
        lines.append(f"| {names} | {happens} | {transition.next.name} | {transition.effect} |")
    return "\n".join(lines)


def document() -> str:
    """docs/states.md."""
    return (
        "# States\n\nDrawn from the tables in `anyike/ikev2/states.py` by `python -m anyike.ikev2.states > docs/states.md`.\n\n"
        f"## A connection\n\n{diagram(CONNECTION)}\n\n## A CHILD_SA\n\n{diagram(CHILD)}\n"
    )


if __name__ == "__main__":
    print(document(), end="")
