"""Waiting that ends: what takes longer than its ``patience`` raises ``StuckError``."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["PATIENCE", "StuckError", "bounded", "eventually"]

PATIENCE = 20.0
"""Seconds after which what should have happened counts as never: nothing that works comes near it."""

T = TypeVar("T")


class StuckError(AssertionError):
    """Something did not come to its end in time."""


def bounded(function: Callable[[], T], patience: float = PATIENCE) -> T:
    """Call ``function`` in a thread of its own, and return what it returns or raise what it raises.

    Raises:
        StuckError: it has not returned within ``patience`` seconds; its thread is left behind.

    >>> bounded(lambda: 6 * 7)
    42
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def call() -> None:
        try:
            results.append(function())
        except BaseException as error:  # the caller's to meet, whatever it is
            errors.append(error)

    thread = threading.Thread(target=call, name=f"bounded {function!r}", daemon=True)
    thread.start()
    thread.join(patience)
    if errors:
        raise errors[0]
    if not results:
        raise StuckError(f"{function!r} has not returned after {patience} s")
    return results[0]


def eventually(condition: Callable[[], object], patience: float = PATIENCE) -> None:
    """Wait for something that nothing tells, looking a thousand times a second.

    Raises:
        StuckError: ``condition()`` is still false after ``patience`` seconds.
    """
    end, pause = time.monotonic() + patience, threading.Event()
    while not condition():
        if time.monotonic() > end:
            raise StuckError(f"{condition!r} does not hold after {patience} s")
        pause.wait(0.001)
