"""``Observer``: a base of methods that do nothing, one for each event; ``Observers``: who is told what.

Rules:

1. An event that nobody observes costs one look into a dictionary, and is never made.
2. An observer that raises is logged once and detached: watching must not harm what is watched.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, ParamSpec

from framework.events import (
    AcceptFailed,
    ActionsFailed,
    ConnectionClosed,
    ConnectionOpened,
    DatagramTruncated,
    DrainBegan,
    DrainEnded,
    Event,
    HandlerFailed,
    HandshakeFailed,
    HubHeld,
    Overloaded,
    Recovered,
    Rejected,
    Saturated,
    WorkerExited,
    WorkerStarted,
)

__all__ = ["Observer", "Observers"]

_log = logging.getLogger("framework")

P = ParamSpec("P")


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

    def actions_failed(self, event: ActionsFailed) -> None:
        """Take note that ``service_actions()`` raised; runs inside its ``except`` block."""

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
    ActionsFailed: "actions_failed",
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

    def happened(self, kind: Callable[P, Event], *what: P.args, **named: P.kwargs) -> None:
        """Tell of an event of that kind, if anybody wants to know; only then is it made."""
        if kind in self._told:
            self.tell(kind(*what, **named))

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
