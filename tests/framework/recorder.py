"""An observer that remembers what it was told, and is waited for."""

from __future__ import annotations

import threading
from typing import Any, TypeVar

from framework.events import (
    ConnectionClosed,
    ConnectionOpened,
    Event,
    HandlerFailed,
    HandshakeFailed,
    Observer,
)
from tests.framework.spec import PATIENCE

EventT = TypeVar("EventT", bound=Event)


class Recorder(Observer):
    """Remembers the ends of connections and what led to them."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self._told = threading.Condition()

    def wait(self, kind: type[EventT], count: int = 1) -> EventT:
        """Return the ``count``-th event of that kind once it is there."""
        with self._told:
            assert self._told.wait_for(lambda: len(self.of(kind)) >= count, PATIENCE), self.events
            return self.of(kind)[count - 1]

    def of(self, kind: type[EventT]) -> list[EventT]:
        """Return all events of that kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    def _take(self, event: Event) -> None:
        with self._told:
            self.events.append(event)
            self._told.notify_all()

    def connection_opened(self, event: ConnectionOpened) -> None:
        """Take it in."""
        self._take(event)

    def connection_closed(self, event: ConnectionClosed) -> None:
        """Take it in."""
        self._take(event)

    def handler_failed(self, event: HandlerFailed) -> None:
        """Take it in."""
        self._take(event)

    def handshake_failed(self, event: HandshakeFailed) -> None:
        """Take it in."""
        self._take(event)
