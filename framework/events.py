"""What a service tells about itself: frozen events, and ``Observer``, a base of methods that do nothing.

Rules:

1. An event that nobody observes costs one look into a dictionary, and is never made.
2. An observer that raises is logged once and detached: watching must not harm what is watched.
3. A connection that was opened is closed exactly once, in every outcome.
4. Events hold facts about connections, never what was sent on them.

Logging is one observer among others.
"""

from __future__ import annotations

import enum
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = [
    "AcceptFailed",
    "CloseReason",
    "ConnectionClosed",
    "ConnectionLoggingObserver",
    "ConnectionOpened",
    "DatagramTruncated",
    "DrainBegan",
    "DrainEnded",
    "Event",
    "HandlerFailed",
    "HandshakeFailed",
    "HubHeld",
    "LoggingObserver",
    "Observer",
    "Observers",
    "Overloaded",
    "Recovered",
    "RejectReason",
    "Rejected",
    "Saturated",
    "WorkerExitReason",
    "WorkerExited",
    "WorkerStarted",
]

_log = logging.getLogger("framework")


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
    open: int
    """Connections still open."""


@dataclass(frozen=True, slots=True)
class Rejected(Event):
    """A connection was closed without a handler."""

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
class AcceptFailed(Event):
    """The system cannot accept for now; told once until it can again."""

    error: OSError


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


class Observer:
    """Told what happens; override what is of interest.

    A method runs where the event happens, on the loop or in a worker, and holds it up: it must not block.
    """

    def connection_opened(self, event: ConnectionOpened) -> None:
        """Take note of a new connection."""

    def connection_closed(self, event: ConnectionClosed) -> None:
        """Take note of a connection's end."""

    def rejected(self, event: Rejected) -> None:
        """Take note of a connection that is not served."""

    def handler_failed(self, event: HandlerFailed) -> None:
        """Take note of a handler's exception; runs inside its ``except`` block."""

    def handshake_failed(self, event: HandshakeFailed) -> None:
        """Take note of a client that never came to its first request."""

    def accept_failed(self, event: AcceptFailed) -> None:
        """Take note that the system cannot accept."""

    def datagram_truncated(self, event: DatagramTruncated) -> None:
        """Take note of a datagram that lost its end."""

    def hub_held(self, event: HubHeld) -> None:
        """Take note of a handler that holds its hub; runs on a thread of its own."""

    def overloaded(self, event: Overloaded) -> None:
        """Take note that the cap was reached."""

    def recovered(self, event: Recovered) -> None:
        """Take note that clients are accepted again."""

    def saturated(self, event: Saturated) -> None:
        """Take note that every worker is busy."""

    def drain_began(self, event: DrainBegan) -> None:
        """Take note of the beginning of a drain."""

    def drain_ended(self, event: DrainEnded) -> None:
        """Take note of the end of a drain."""

    def worker_started(self, event: WorkerStarted) -> None:
        """Take note of a new worker; runs in the parent."""

    def worker_exited(self, event: WorkerExited) -> None:
        """Take note of a worker's end; runs in the parent."""


_METHODS: dict[type[Event], str] = {
    ConnectionOpened: "connection_opened",
    ConnectionClosed: "connection_closed",
    Rejected: "rejected",
    HandlerFailed: "handler_failed",
    HandshakeFailed: "handshake_failed",
    AcceptFailed: "accept_failed",
    DatagramTruncated: "datagram_truncated",
    HubHeld: "hub_held",
    Overloaded: "overloaded",
    Recovered: "recovered",
    Saturated: "saturated",
    DrainBegan: "drain_began",
    DrainEnded: "drain_ended",
    WorkerStarted: "worker_started",
    WorkerExited: "worker_exited",
}


class Observers:
    """Who is told what: for each kind of event the methods that are more than the base's."""

    def __init__(self) -> None:
        self._told: dict[type[Event], tuple[tuple[Observer, Callable[[Any], None]], ...]] = {}
        self._all: tuple[Observer, ...] = ()
        self._guard = threading.Lock()

    def attach(self, observer: Observer) -> None:
        """Tell ``observer`` from now on."""
        with self._guard:
            self._set((*self._all, observer))

    def detach(self, observer: Observer) -> bool:
        """Tell ``observer`` no more; tell whether it was attached."""
        with self._guard:
            before = self._all
            self._set(tuple(each for each in before if each is not observer))
            return len(self._all) < len(before)

    def after_fork(self) -> Observers:
        """Return the same for a new process, where nobody holds their lock."""
        copy = Observers()
        copy._set(self._all)
        return copy

    def leave_to(self, observer: Observer, kind: type[Event]) -> None:
        """Tell ``observer`` alone of one kind of event: what a child leaves word of, its parent tells."""
        self._told = self._told | {kind: ((observer, getattr(observer, _METHODS[kind])),)}

    def wants(self, kind: type[Event]) -> bool:
        """Tell whether anybody wants events of that kind: ask before making one."""
        return kind in self._told

    def tell(self, event: Event) -> None:
        """Hand the event to whoever wants it."""
        for observer, method in self._told.get(type(event), ()):
            try:
                method(event)
            except Exception:
                # Only the first of several threads that it fails in at once has something to say.
                if self.detach(observer):
                    _log.exception("observer %r failed and is detached", observer)

    def _set(self, observers: tuple[Observer, ...]) -> None:
        # Built aside and put in place at once: other threads are telling meanwhile.
        told: dict[type[Event], tuple[tuple[Observer, Callable[[Any], None]], ...]] = {}
        for kind, name in _METHODS.items():
            methods = tuple(
                (observer, getattr(observer, name))
                for observer in observers
                if getattr(type(observer), name) is not getattr(Observer, name)
            )
            if methods:
                told[kind] = methods
        self._all = observers
        self._told = told


class LoggingObserver(Observer):
    """Writes what an operator should see to a logger.

    Args:
        logger: where to.
    """

    def __init__(self, logger: logging.Logger = _log) -> None:
        self._logger = logger

    def rejected(self, event: Rejected) -> None:
        """Log at INFO."""
        self._logger.info("refused %r (%s)", event.address, event.reason.value)

    def handler_failed(self, event: HandlerFailed) -> None:
        """Log at ERROR, with the traceback."""
        self._logger.error("serving %r failed", event.address, exc_info=event.error)

    def handshake_failed(self, event: HandshakeFailed) -> None:
        """Log at INFO, without a traceback: any stranger can bring this about."""
        self._logger.info("no handshake with %r: %s", event.address, event.error)

    def accept_failed(self, event: AcceptFailed) -> None:
        """Log at ERROR."""
        self._logger.error("cannot accept for now: %s", event.error)

    def datagram_truncated(self, event: DatagramTruncated) -> None:
        """Log at WARNING."""
        self._logger.warning("a datagram from %r was cut to %d octets", event.address, event.kept)

    def hub_held(self, event: HubHeld) -> None:
        """Log at WARNING."""
        self._logger.warning("the hub is held for %.3f s by %s", event.seconds, event.where)

    def overloaded(self, event: Overloaded) -> None:
        """Log at WARNING."""
        self._logger.warning("%d connections are open: further clients wait", event.open)

    def recovered(self, event: Recovered) -> None:
        """Log at INFO."""
        self._logger.info("accepting again, %d connections are open", event.open)

    def saturated(self, event: Saturated) -> None:
        """Log at WARNING."""
        self._logger.warning("all %d workers are busy: clients wait", event.workers)

    def drain_began(self, event: DrainBegan) -> None:
        """Log at INFO."""
        self._logger.info("draining %d connections for up to %g s", event.open, event.seconds)

    def drain_ended(self, event: DrainEnded) -> None:
        """Log at INFO, or at WARNING when a handler was left behind."""
        level = logging.WARNING if event.abandoned else logging.INFO
        counts = event.completed, event.forced, event.abandoned
        self._logger.log(level, "drained: %d completed, %d forced, %d abandoned", *counts)

    def worker_started(self, event: WorkerStarted) -> None:
        """Log at INFO."""
        self._logger.info("worker %d started", event.pid)

    def worker_exited(self, event: WorkerExited) -> None:
        """Log at INFO, or at ERROR when it failed."""
        failed = event.reason in {WorkerExitReason.CRASHED, WorkerExitReason.HUNG}
        how = f", status {event.status}" if event.status else ""
        level = logging.ERROR if failed else logging.INFO
        self._logger.log(
            level, "worker %d %s after %.1f s%s", event.pid, event.reason.value, event.seconds, how
        )


class ConnectionLoggingObserver(LoggingObserver):
    """Writes what each client does, too; a class of its own since that costs something for each."""

    def connection_opened(self, event: ConnectionOpened) -> None:
        """Log at DEBUG."""
        self._logger.debug("connection %d from %r, %d open", event.number, event.address, event.open)

    def connection_closed(self, event: ConnectionClosed) -> None:
        """Log at DEBUG."""
        self._logger.debug(
            "connection %d closed (%s) after %.3f s, %d open",
            event.number,
            event.reason.value,
            event.seconds,
            event.open,
        )
