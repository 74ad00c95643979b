"""``Watchdog``: tells which code holds a hub, on which everybody else waits meanwhile.

A thread looks at the hub twice per ``limit``. When it finds the same turn twice, it takes the stack of the hub's
thread (``sys._current_frames()``, documented for uses like this) and names the handler's function and line. The
hub itself pays nothing for it.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from framework.events import HubHeld

if TYPE_CHECKING:
    from types import FrameType

    from framework.hub import Hub

__all__ = ["Watchdog"]

_FRAMEWORK = str(Path(__file__).parent)


class Watchdog:
    """Watches one hub, until it is told to stop.

    Args:
        hub: the one to watch.
        limit: seconds that a turn may take.
        happened: called once for each turn that takes longer, on the watchdog's thread.
    """

    def __init__(self, hub: Hub, limit: float, happened: Callable[..., None]) -> None:
        self._hub = hub
        self._limit = limit
        self._happened = happened
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        hub, turn, since, told = self._hub, -1, 0.0, -1
        while not self._stopped.wait(self._limit / 2):
            now = time.monotonic()
            if hub.waiting or hub.turn != turn:
                turn, since = hub.turn, now
            elif now - since >= self._limit / 2 and told != turn:
                told = turn
                self._happened(HubHeld, now - since + self._limit / 2, _where(hub.thread))


def _where(thread: int) -> str:
    """Return the outermost function that is not the framework's, which is the handler's, and the line it is at."""
    frame: FrameType | None = sys._current_frames().get(thread)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    found = "the framework"
    while frame is not None:
        code = frame.f_code
        if not code.co_filename.startswith(_FRAMEWORK):
            found = f"{code.co_qualname} ({code.co_filename}:{frame.f_lineno})"
        elif found != "the framework":
            break  # what called the handler
        frame = frame.f_back
    return found
