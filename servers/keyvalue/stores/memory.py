"""``MemoryStore``: keeps nothing. What is in memory is all there is."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from servers.keyvalue.stores import Apply

__all__ = ["MemoryStore"]


class MemoryStore:
    """The store of ``memory:``.

    Args:
        clock: tells the time in seconds since the epoch.
    """

    durable = full = saving = ahead = False
    appended = committed = 0
    save_worked = True

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.saved = clock()
        self.changes_at_save = 0

    def load(self, apply: Apply) -> None:
        """Bring nothing back."""

    def reload(self, apply: Apply) -> None:
        """Bring nothing back."""

    def reserve(self, request: Sequence[bytes]) -> None:
        """Need no room."""

    def append(self, database: int, effect: Sequence[bytes]) -> None:
        """Keep nothing."""

    def commit(self) -> None:
        """Return at once."""

    def refusal(self, _mark: int, /) -> None:
        """Lose nothing for want of room."""

    def save(self, changes: int) -> None:
        """Take note of the wish: clients wait for LASTSAVE to change."""
        self.saved, self.changes_at_save = self._clock(), changes

    def tick(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
