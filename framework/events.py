"""What a service tells about itself: frozen events.

They hold facts about connections, never what was sent on them; and a connection that was opened is closed
exactly once, in every outcome.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

__all__ = [
    "AcceptFailed",
    "ActionsFailed",
    "CloseReason",
    "ConnectionClosed",
    "ConnectionOpened",
    "DatagramTruncated",
    "DrainBegan",
    "DrainEnded",
    "Event",
    "HandlerFailed",
    "HandshakeFailed",
    "HubHeld",
    "Overloaded",
    "Recovered",
    "RejectReason",
    "Rejected",
    "Saturated",
    "WorkerExitReason",
    "WorkerExited",
    "WorkerStarted",
]


class CloseReason(enum.Enum):
    """Why a connection ended."""

    LOCAL = "local"
    """The handler was done with it."""
    PEER = "peer"
    """The peer closed or reset it."""
    TIMEOUT = "timeout"
    """It broke a deadline."""
    DRAIN = "drain"
    """The server is going down, or is to take no more."""
    ERROR = "error"
    """The handler failed."""
    LIMIT = "limit"
    """The peer sent more than a limit allows, such as a line that is too long."""
    REFUSED = "refused"
    """It was not to be served."""
    HANDSHAKE = "handshake"
    """Its TLS handshake, or the header of a proxy, failed or took too long."""


class RejectReason(enum.Enum):
    """Why a request was not served."""

    VERIFY = "verify_request"
    PEER_LIMIT = "max_connections_per_peer"
    PEER_RATE = "max_datagrams_per_peer"
    """A datagram; told once until the peer is served again, or another is dropped."""
    NO_DESCRIPTOR = "no descriptor"
    """The system was out of descriptors for so long that the reserve was given up to say so."""


class WorkerExitReason(enum.Enum):
    """Why a worker process ended."""

    CRASHED = "crashed"
    """By a signal or with a failure, unasked."""
    HUNG = "hung"
    """Killed, since its loop stood still for ``heartbeat_timeout``."""
    SPENT = "max_requests"
    """It has served its share, and another took over."""
    RESTARTED = "restarted"
    """All workers are replaced, and another took over."""
    STOPPED = "stopped"
    """The server drains or ends."""
    LEFT = "left"
    """By itself, in good order: somebody sent it SIGTERM, or a handler shut it down."""


class Event:
    """What all events are."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class ConnectionOpened(Event):
    """A connection was accepted; nobody has looked at it yet."""

    number: int
    address: Any  # whatever the family says it is
    open: int
    """Connections open now, this one included."""


@dataclass(frozen=True, slots=True)
class ConnectionClosed(Event):
    """A connection has ended."""

    number: int
    address: Any
    reason: CloseReason
    seconds: float
    received: int
    """Octets; over TLS, as the handler sees them."""
    sent: int
    open: int
    """Connections still open."""


@dataclass(frozen=True, slots=True)
class Rejected(Event):
    """A request got no handler: a connection was closed, or a datagram dropped."""

    address: Any
    reason: RejectReason


@dataclass(frozen=True, slots=True)
class HandlerFailed(Event):
    """A handler raised what was no fault of its client."""

    address: Any
    error: BaseException


@dataclass(frozen=True, slots=True)
class HandshakeFailed(Event):
    """A TLS handshake, or the header of a proxy, failed or took too long: mostly a stranger's doing."""

    number: int
    address: Any
    error: Exception


@dataclass(frozen=True, slots=True)
class ActionsFailed(Event):
    """``service_actions()`` raised, and the loop goes on; told once until it has passed again."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class AcceptFailed(Event):
    """``get_request()`` raised: mostly, the system cannot accept for now; told once until it does not."""

    error: Exception


@dataclass(frozen=True, slots=True)
class DatagramTruncated(Event):
    """A datagram was longer than ``max_packet_size``, and its end is lost."""

    address: Any
    kept: int
    """Octets that were received."""


@dataclass(frozen=True, slots=True)
class HubHeld(Event):
    """A turn of a hub takes longer than ``hub_limit``, and all its connections wait meanwhile."""

    seconds: float
    """So far, to within half the limit."""
    where: str
    """The function and the line that holds it."""


@dataclass(frozen=True, slots=True)
class Overloaded(Event):
    """The cap on connections was reached: further clients wait in the backlog."""

    open: int


@dataclass(frozen=True, slots=True)
class Recovered(Event):
    """Clients are accepted again."""

    open: int


@dataclass(frozen=True, slots=True)
class Saturated(Event):
    """Every worker of a pool is busy and there may be no more: clients wait; told once until one was idle."""

    workers: int


@dataclass(frozen=True, slots=True)
class DrainBegan(Event):
    """Every connection is asked to end."""

    open: int
    seconds: float


@dataclass(frozen=True, slots=True)
class DrainEnded(Event):
    """The drain is over."""

    completed: int
    forced: int
    abandoned: int


@dataclass(frozen=True, slots=True)
class WorkerStarted(Event):
    """A worker process was forked; its loop does not run yet."""

    pid: int
    slot: int
    """From 0 on; a worker takes over the slot of the one it replaces."""


@dataclass(frozen=True, slots=True)
class WorkerExited(Event):
    """A worker process has ended."""

    pid: int
    reason: WorkerExitReason
    status: int | None
    """What it exited with, or minus the signal that ended it; ``None`` if somebody else collected it."""
    seconds: float
    """Since it was started."""
