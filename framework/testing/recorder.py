"""``Recorder``: an observer that keeps what it is told."""

from __future__ import annotations

import threading
from typing import TypeVar

from framework.events import Event
from framework.observers import Observer
from framework.testing.waiting import PATIENCE, StuckError

__all__ = ["Recorder"]

EventT = TypeVar("EventT", bound=Event)


class Recorder(Observer):
    """Keeps every event of the services that it observes, and waits for those that are to come."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.events: list[Event] = []

    def record(self, event: Event) -> None:
        """Keep an event."""
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def of(self, kind: type[EventT]) -> list[EventT]:
        """Return the events of one kind so far, in their order."""
        with self._changed:
            return [event for event in self.events if isinstance(event, kind)]

    def wait_for(self, kind: type[EventT], count: int = 1, patience: float = PATIENCE) -> list[EventT]:
        """Wait until there are ``count`` events of one kind, and return all of that kind.

        Raises:
            StuckError: there are fewer after ``patience`` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.of(kind)) >= count, patience):
                raise StuckError(f"{count} of {kind.__name__} expected, there are {self.events}")
            return self.of(kind)


# Each of an observer's methods: services ask which of them are more than the base's.
for _name in [name for name in vars(Observer) if not name.startswith("_")]:
    setattr(Recorder, _name, Recorder.record)
