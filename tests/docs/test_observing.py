"""The page on observing has every event, and the level at which it is logged."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from framework import ConnectionLoggingObserver, Observer
from framework.events import CloseReason, Event

PAGE = (Path(__file__).parents[2] / "docs" / "observing.md").read_text("utf-8")
ROWS = re.findall(r"^\| `(\w+)` \| `(\w+)` \| [^|]+ \| ([^|]+) \|$", PAGE, re.MULTILINE)


def test_every_event_has_its_row() -> None:
    """No event is missing, and each has the method by which it is told."""
    assert sorted(name for name, _, _ in ROWS) == sorted({kind.__name__ for kind in Event.__subclasses__()})
    methods = [name for name in vars(Observer) if not name.startswith("_")]
    assert sorted(method for _, method, _ in ROWS) == sorted(methods)
    for name, method, _ in ROWS:
        assert method == re.sub(r"(?<=.)([A-Z])", r"_\1", name).lower()


def test_every_event_has_its_level() -> None:
    """The levels are those that the methods of the logging observers name."""
    for _, method, told in ROWS:
        documented = getattr(ConnectionLoggingObserver, method).__doc__ or ""
        levels = [name for name in logging.getLevelNamesMapping() if re.search(rf"\b{name}\b", documented)]
        assert sorted(levels) == sorted(re.findall(r"\b[A-Z]{4,}\b", told)), method


def test_every_reason_is_told() -> None:
    """Each reason for which a connection ends is named."""
    for reason in CloseReason:
        assert f"`{reason.name}`" in PAGE
