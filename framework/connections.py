"""``Connections``: the registry of who is open."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from framework.connection import Connection

__all__ = ["Connections"]


class Connections:
    """The registry of the open connections."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._open: dict[Connection, None] = {}
        self._unclaimed: dict[Connection, object] = {}
        self._groups: dict[bytes, int] = {}
        self._leaving = 0
        self._waiters = 0
        self._number = 0

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Connection]:
        with self._changed:
            return iter(list(self._open))

    def __contains__(self, connection: object) -> bool:
        return connection in self._open

    def add(self, connection: Connection) -> None:
        """Take in a connection that was just accepted."""
        with self._changed:
            self._number += 1
            connection.number = self._number
            connection.opened = time.monotonic()
            self._open[connection] = None
            self._unclaimed[connection] = None
            if connection.group is not None:
                self._groups[connection.group] = self._groups.get(connection.group, 0) + 1
            if self._waiters:
                self._changed.notify_all()

    def claim(self, connection: Connection) -> bool:
        """Tell whether the caller is the first to close a connection that is open: whoever is told so closes it."""
        # No lock, for which the loop and all workers would queue: pop() happens once for each key.
        if self._unclaimed.pop(connection, self) is self:
            return False
        connection.closing = True
        return True

    def remove(self, connection: Connection, *, settled: bool = True) -> int:
        """Take out a connection, and return how many are left; unless ``settled``, it counts until ``settle()``."""
        with self._changed:
            del self._open[connection]
            self._unclaimed.pop(connection, None)
            if not settled:
                self._leaving += 1
            elif self._waiters:
                self._changed.notify_all()
            group = connection.group
            if group is not None:
                self._groups[group] -= 1
                if not self._groups[group]:
                    del self._groups[group]
            return len(self._open)

    def settle(self) -> None:
        """Let a connection that was removed count no more for ``wait_for()``: it has been told of."""
        with self._changed:
            self._leaving -= 1
            if self._waiters:
                self._changed.notify_all()

    def poke(self) -> None:
        """Let whoever waits look again."""
        with self._changed:
            if self._waiters:
                self._changed.notify_all()

    def of_group(self, group: bytes | None) -> int:
        """Return how many connections are open from one group of peers."""
        return 0 if group is None else self._groups.get(group, 0)

    def wait_for(self, predicate: Callable[[int], bool], timeout: float | None = None) -> bool:
        """Wait until ``predicate`` holds for the number of open connections, for ``timeout`` seconds at most.

        Returns:
            Whether it holds.
        """
        with self._changed:
            self._waiters += 1
            try:
                return self._changed.wait_for(lambda: predicate(len(self._open) + self._leaving), timeout)
            finally:
                self._waiters -= 1
