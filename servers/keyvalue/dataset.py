"""``Dataset``: all keyspaces, and what the command that runs has done to them; ``Trash``: what is gone, and not freed yet."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from servers.keyvalue.keyspace import HUGE, Keyspace, Value

if TYPE_CHECKING:
    from servers.keyvalue.memory import Ledger

__all__ = ["Dataset"]


class Trash:
    """Values that are gone, freed a slice at a time: a million elements at once would hold everybody up."""

    def __init__(self) -> None:
        self._values: deque[Value | dict[bytes, Value]] = deque()

    def __bool__(self) -> bool:
        return bool(self._values)

    def add(self, value: Value | dict[bytes, Value]) -> None:
        """Take what nothing else refers to any more."""
        self._values.append(value)

    def free(self, most: int) -> None:
        """Free up to ``most`` elements."""
        while self._values and most > 0:
            value = self._values[0]
            for _ in range(0 if isinstance(value, bytes) else min(most, len(value))):
                most -= 1
                if isinstance(value, dict):
                    self._free_one(value.popitem()[1])
                elif not isinstance(value, bytes):
                    value.pop()
            if isinstance(value, bytes) or not value:
                self._values.popleft()

    def _free_one(self, value: Value) -> None:
        if type(value) is not bytes and len(value) > HUGE:
            self._values.append(value)


class Dataset:
    """All keyspaces, and what one turn has done to them.

    Args:
        databases: how many keyspaces.
        clock: tells the time in seconds since the epoch.
        journal: called with each keyspace and each effect that a store must keep; ``None``: nobody keeps them.
    """

    def __init__(
        self,
        databases: int,
        clock: Callable[[], float],
        journal: Callable[[int, Sequence[bytes]], None] | None = None,
    ) -> None:
        self.clock = clock
        self.keyspaces = [Keyspace(number, self) for number in range(databases)]
        self.journal = journal
        self.changes = 0
        """Counts them: a command that has not raised it has changed nothing."""
        self.effects: list[Sequence[bytes]] | None = None
        """What to record instead of the command that runs, where doing that again might come out otherwise."""
        self.ready: dict[tuple[Keyspace, bytes], None] = {}
        """Keys that somebody waits for and that have a value now, in the order in which they got it."""
        self.trash = Trash()
        self.ledger: Ledger | None = None
        self.plain = True
        """Whether commands that write need nothing else: there is neither a store nor a ledger."""
        self.alert = False
        """Whether anybody wants to know of changed keys: who watches, who waits, or the ledger."""
        self.expired = self.evicted = self.hits = self.misses = 0
        self.reading = False
        """Whether the command that runs only reads: then what it looks for counts as a hit or a miss."""

    def now(self) -> int:
        """Return the time in milliseconds since the epoch."""
        return int(self.clock() * 1000)

    def record(self, keyspace: Keyspace, effect: Sequence[bytes]) -> None:
        """Have the store keep an effect."""
        if self.journal is not None:
            self.journal(keyspace.number, effect)

    def look_out(self) -> None:
        """Find out anew whether anybody wants to know of changed keys, or of all that writes."""
        self.plain = self.ledger is None and self.journal is None
        self.alert = self.ledger is not None or any(each.watched or each.waiters for each in self.keyspaces)

    def expire_due(self, most: int) -> int:
        """Remove up to ``most`` keys whose time has come; return how many these were."""
        gone = 0
        for keyspace in self.keyspaces:
            gone += keyspace.expire_due(most - gone)
        return gone

    def contents(self) -> Iterable[tuple[Keyspace, bytes, Value]]:
        """Return all keys with their values."""
        return itertools.chain.from_iterable(
            ((keyspace, key, value) for key, value in keyspace.values.items()) for keyspace in self.keyspaces
        )
