"""Events, and those who are told them."""

from __future__ import annotations

import dataclasses
import logging
import threading
from typing import Any

import pytest

from framework import events
from framework.events import (
    CloseReason,
    ConnectionClosed,
    ConnectionOpened,
    DrainEnded,
    Event,
    Overloaded,
    Recovered,
)
from framework.logs import ConnectionLoggingObserver, LoggingObserver
from framework.observers import Observer, Observers
from framework.testing import PATIENCE, Recorder, StuckError

KINDS = [kind for kind in vars(events).values() if isinstance(kind, type) and Event in kind.__mro__[1:]]


def example(kind: Any) -> Any:
    """Return an event of that kind, whatever it holds."""
    samples: dict[str, Any] = {
        "reason": CloseReason.LOCAL,
        "error": OSError("no more"),
        "seconds": 1.5,
        "address": ("a", 1),
    }
    return kind(**{field.name: samples.get(field.name, 3) for field in dataclasses.fields(kind)})


@pytest.mark.parametrize("kind", KINDS)
def test_events_are_frozen(kind: type[Event]) -> None:
    """What has happened cannot be changed, and takes no more room than its fields."""
    event = example(kind)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(event, dataclasses.fields(event)[0].name, 0)
    assert not hasattr(event, "__dict__")


@pytest.mark.parametrize("kind", KINDS)
def test_every_event_reaches_its_method(kind: type[Event]) -> None:
    """Each kind of event has a method of ``Observer``, which does nothing, and which a recorder keeps it by."""
    recorder, observers = Recorder(), Observers()
    observers.attach(Observer())
    assert not observers.wants(kind)
    observers.attach(recorder)
    assert observers.wants(kind)
    observers.tell(example(kind))
    assert [type(event) for event in recorder.events] == [kind]
    assert observers.detach(recorder)
    assert not observers.detach(recorder)
    assert not observers.wants(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_every_event_can_be_logged(kind: type[Event], caplog: pytest.LogCaptureFixture) -> None:
    """Logging is an observer: at DEBUG every kind of event is one line."""
    observers = Observers()
    observers.attach(ConnectionLoggingObserver())
    with caplog.at_level(logging.DEBUG, "framework"):
        observers.tell(example(kind))
    assert len(caplog.records) == 1


def test_logging_by_default_says_nothing_of_single_clients() -> None:
    """The observer that every service has asks for no event that each client causes."""
    observers = Observers()
    observers.attach(LoggingObserver())
    assert not observers.wants(ConnectionOpened)
    assert not observers.wants(ConnectionClosed)


def test_an_abandoned_handler_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """A drain that left a handler behind is logged louder than one that did not."""
    observer = LoggingObserver()
    with caplog.at_level(logging.INFO, "framework"):
        observer.drain_ended(DrainEnded(1, 0, 0))
        observer.drain_ended(DrainEnded(1, 0, 1))
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]


def test_a_raising_observer_is_detached(caplog: pytest.LogCaptureFixture) -> None:
    """An observer that raises is logged once and told no more; the others are told all the same."""

    class Bad(Observer):
        def overloaded(self, event: Overloaded) -> None:
            raise RuntimeError("out of order")

    observers, recorder = Observers(), Recorder()
    observers.attach(Bad())
    observers.attach(recorder)
    for _ in range(3):
        observers.tell(Overloaded(1))
    assert len(recorder.of(Overloaded)) == 3
    assert [record.exc_text for record in caplog.records if "out of order" in (record.exc_text or "")] != []
    assert len(caplog.records) == 1


def test_an_observer_that_fails_in_many_threads_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """However many threads meet the same failing observer at once, the log has it once, and nobody else leaves."""
    barrier = threading.Barrier(10)

    class Bad(Observer):
        def overloaded(self, event: Overloaded) -> None:
            barrier.wait(PATIENCE)
            raise RuntimeError("out of order")

    class AlsoBad(Observer):
        def recovered(self, event: Recovered) -> None:
            barrier.wait(PATIENCE)
            raise RuntimeError("no better")

    observers, recorder = Observers(), Recorder()
    for observer in (Bad(), AlsoBad(), recorder):
        observers.attach(observer)
    told: list[Event] = [Overloaded(1), Recovered(1)] * 5
    threads = [threading.Thread(target=observers.tell, args=(event,)) for event in told]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(caplog.records) == 2
    assert len(recorder.events) == 10
    observers.tell(Overloaded(1))
    assert len(recorder.events) == 11


def test_a_recorder_says_what_is_missing() -> None:
    """Waiting in vain for an event fails with what there was instead."""
    recorder = Recorder()
    recorder.overloaded(Overloaded(7))
    with pytest.raises(StuckError, match=r"2 of Overloaded expected, there are \[Overloaded\(open=7\)\]"):
        recorder.wait_for(Overloaded, 2, patience=0)
