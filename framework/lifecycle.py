"""The life of a service as a table: which states there are, and what leads from one to another. No I/O.

::

    NEW ─▶ BOUND ─▶ SERVING ⇄ SUSPENDED
              ▲        │          │
              │        ▼          ▼
              ├──── DRAINING ◀────┘
              └─────── │ ◀── shut down        CLOSED can be reached from everywhere, and is the end.

A service that was shut down is bound again: it may serve once more, and clients queue in its backlog.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["DrainResult", "ServerState", "ServerStateError", "Step", "next_state"]


class ServerState(enum.Enum):
    """Where in its life a service is."""

    NEW = "new"
    """Made, without a bound socket."""
    BOUND = "bound"
    """Clients can connect, and wait in the backlog."""
    SERVING = "serving"
    """The loop runs and takes requests."""
    SUSPENDED = "suspended"
    """The loop runs and takes no requests; those that run go on."""
    DRAINING = "draining"
    """As suspended, and every request is asked to end."""
    CLOSED = "closed"
    """The socket is gone."""


class Step(enum.Enum):
    """What leads from one state to another."""

    ACTIVATE = "activate"
    SERVE = "serve"
    SUSPEND = "suspend"
    RESUME = "resume"
    DRAIN = "drain"
    STOP = "stop"
    CLOSE = "close"


class ServerStateError(RuntimeError):
    """What was asked of a server cannot be done in the state it is in."""


_NEW, _BOUND, _SERVING = ServerState.NEW, ServerState.BOUND, ServerState.SERVING
_SUSPENDED, _DRAINING, _CLOSED = ServerState.SUSPENDED, ServerState.DRAINING, ServerState.CLOSED

_TABLE: dict[tuple[ServerState, Step], ServerState] = {
    (_NEW, Step.ACTIVATE): _BOUND,
    (_NEW, Step.SERVE): _SERVING,  # of a server that was handed its socket
    (_BOUND, Step.SERVE): _SERVING,
    (_BOUND, Step.ACTIVATE): _BOUND,
    (_BOUND, Step.STOP): _BOUND,
    (_SERVING, Step.SUSPEND): _SUSPENDED,
    (_SERVING, Step.RESUME): _SERVING,
    (_SERVING, Step.DRAIN): _DRAINING,
    (_SERVING, Step.STOP): _BOUND,
    (_SUSPENDED, Step.SUSPEND): _SUSPENDED,
    (_SUSPENDED, Step.RESUME): _SERVING,
    (_SUSPENDED, Step.DRAIN): _DRAINING,
    (_SUSPENDED, Step.STOP): _BOUND,
    (_DRAINING, Step.SUSPEND): _DRAINING,
    (_DRAINING, Step.DRAIN): _DRAINING,
    (_DRAINING, Step.STOP): _BOUND,
    (_CLOSED, Step.STOP): _CLOSED,  # of a server that was closed under its loop
    **{(state, Step.CLOSE): _CLOSED for state in ServerState},
}


def next_state(state: ServerState, step: Step) -> ServerState:
    """Return the state that ``step`` leads to.

    Raises:
        ServerStateError: it cannot be taken from ``state``.
    """
    try:
        return _TABLE[state, step]
    except KeyError:
        raise ServerStateError(f"cannot {step.value} a server that is {state.value}") from None


@dataclass(frozen=True, slots=True)
class DrainResult:
    """What became of the connections that were open when a drain began."""

    completed: int
    """Ended by themselves before the deadline."""
    forced: int
    """Cut off at the deadline, and ended then."""
    abandoned: int
    """Still running when the drain returned: a handler that is stuck in something else than its connection."""
