"""``Keyspace``: keys, their values, when they expire, and who has to know when they change.

Values are plain Python: ``bytes`` for a string, ``deque`` for a list, ``dict`` for a hash, ``set``, and ``SortedSet``.
Whoever changes a value in place says so by ``changed()``. No bytes of the protocol, no sockets; the clock is handed in.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar, cast

from servers.keyvalue.protocol import CommandError
from servers.keyvalue.sortedset import SortedSet

if TYPE_CHECKING:
    from servers.keyvalue.blocking import Waiter
    from servers.keyvalue.dataset import Dataset

__all__ = ["HASH", "HUGE", "LIST", "SET", "Keyspace", "Value", "WrongTypeError"]

Value: TypeAlias = bytes | deque[bytes] | dict[bytes, bytes] | set[bytes] | SortedSet
Container: TypeAlias = deque[bytes] | dict[bytes, bytes] | set[bytes] | SortedSet

# What ``typed()`` and ``open()`` are asked for, with what is in them: a bare ``dict`` says nothing of that.
LIST: type[deque[bytes]] = deque
HASH: type[dict[bytes, bytes]] = dict
SET: type[set[bytes]] = set

ValueT = TypeVar("ValueT", bound=Value)
ContainerT = TypeVar("ContainerT", bound=Container)

_STRINGS: Final = {bytes, type(None)}

# Elements from which on a value is freed in slices. Below, it takes less than 10 us.
HUGE = 512
# Keys whose elements are kept in a list to draw from, at 8 octets an element.
_POOLS = 16


class WrongTypeError(CommandError):
    """A key holds another kind of value than a command is for."""

    def __init__(self) -> None:
        super().__init__("WRONGTYPE Operation against a key holding the wrong kind of value")


class Keyspace:
    """The keys of one database.

    Args:
        number: its own, from 0.
        dataset: what it is a part of.
    """

    def __init__(self, number: int, dataset: Dataset) -> None:
        self.number = number
        self.values: dict[bytes, Value] = {}
        self.expires: dict[bytes, int] = {}
        """When, in milliseconds since the epoch, a key is to go."""
        self.watched: dict[bytes, set[Watcher]] = {}
        self.waiters: dict[bytes, dict[Waiter, None]] = {}
        self._pools: dict[bytes, list[bytes]] = {}
        self._dataset = dataset
        self._deadlines: list[
            tuple[int, bytes]
        ] = []  # a heap; what is no longer true stays in it until it is met

    def __len__(self) -> int:
        return len(self.values)

    # -- reading -----------------------------------------------------------------------------------------------

    def get(self, key: bytes) -> Value | None:
        """Return the value of a key, unless it has expired by now."""
        if self.expires and key in self.expires:
            self._expire_if_due(key)
        value = self.values.get(key)
        dataset = self._dataset
        if dataset.reading:
            if value is None:
                dataset.misses += 1
            else:
                dataset.hits += 1
        if value is not None and dataset.ledger is not None:
            dataset.ledger.used(self, key)
        return value

    def strings(self, keys: Sequence[bytes], most: int) -> list[bytes | None] | None:
        """Return the strings at several keys; nothing, if one is no string or all are longer than ``most`` together."""
        if self.expires:
            for key in self.expires.keys() & {*keys}:
                self._expire_if_due(key)
        values = [*map(self.values.get, keys)]
        if not {*map(type, values)} <= _STRINGS:
            return None
        strings = cast("list[bytes | None]", values)
        missing = strings.count(None)
        if sum(map(len, filter(None, strings) if missing else cast("list[bytes]", strings))) > most:
            return None
        dataset = self._dataset
        dataset.misses += missing
        dataset.hits += len(strings) - missing
        return strings

    def typed(self, key: bytes, kind: type[ValueT]) -> ValueT | None:
        """Return the value of a key, which must be of one kind.

        Raises:
            WrongTypeError: it is of another.
        """
        value = self.get(key)
        if value is None or type(value) is kind:
            return value
        raise WrongTypeError

    def __contains__(self, key: bytes) -> bool:
        if self.expires and key in self.expires:
            self._expire_if_due(key)
        found = key in self.values
        if self._dataset.reading:
            self._dataset.hits += found
            self._dataset.misses += not found
        return found

    def pool(self, key: bytes, elements: Collection[bytes]) -> list[bytes]:
        """Return the elements of a set or a hash in a list of which any may be drawn; made once until the key changes."""
        pool = self._pools.get(key)
        if pool is None:
            pool = list(elements)
            if len(pool) > HUGE:
                self._pools[key] = pool
                if len(self._pools) > _POOLS:
                    del self._pools[next(iter(self._pools))]
        return pool

    def drawn(self, key: bytes, pool: list[bytes]) -> None:
        """Take note that elements were removed, both from a value and from its pool."""
        self.changed(key)
        if len(pool) > HUGE:
            self._pools[key] = pool

    # -- changing ----------------------------------------------------------------------------------------------

    def set(self, key: bytes, value: Value) -> None:
        """Give a key a value, for good: it loses the time it would have expired at."""
        if self.expires:
            self.expires.pop(key, None)
        if self._pools:
            self._pools.pop(key, None)
        # As put() does; but this is what every SET passes through.
        dataset = self._dataset
        self.values[key] = value
        dataset.changes += 1
        if dataset.alert:
            self._tell(key)

    def set_many(self, keys: Sequence[bytes], values: Sequence[Value]) -> None:
        """Give several keys their values, one after the other, for good."""
        dataset = self._dataset
        if self._pools or dataset.alert:
            for key, value in zip(keys, values, strict=True):
                self.set(key, value)
            return
        if self.expires:
            for key in self.expires.keys() & {*keys}:
                del self.expires[key]
        self.values.update(zip(keys, values, strict=True))
        dataset.changes += len(keys)

    def put(self, key: bytes, value: Value) -> None:
        """Give a key another value; when it expires stays as it is."""
        dataset = self._dataset
        self.values[key] = value
        dataset.changes += 1
        if dataset.alert:
            self._tell(key)

    def open(self, key: bytes, kind: type[ContainerT]) -> ContainerT:
        """Return the container at a key, which is made if there is none; call ``changed()`` once it has elements."""
        value = self.typed(key, kind)
        if value is None:
            value = self.values[key] = kind()
        return value

    def changed(self, key: bytes) -> None:
        """Take note that a container was changed in place; without elements it is gone."""
        if not self.values[key]:
            del self.values[key]
            self.expires.pop(key, None)
        if self._pools:
            self._pools.pop(key, None)
        self._dataset.changes += 1
        if self._dataset.alert:
            self._tell(key)

    def remove(self, key: bytes) -> bool:
        """Remove a key; tell whether it was there."""
        if key not in self:
            return False
        self._discard(key)
        return True

    def take(self, key: bytes) -> Value:
        """Remove a key that is there, and return its value, which lives on."""
        value = self.values.pop(key)
        if self.expires:
            self.expires.pop(key, None)
        if self._pools:
            self._pools.pop(key, None)
        self._dataset.changes += 1
        if self._dataset.alert:
            self._tell(key)
        return value

    def expire(self, key: bytes, when: int | None) -> None:
        """Let a key go at a time, or never."""
        if when is None:
            self.expires.pop(key, None)
        else:
            self.expires[key] = when
            heapq.heappush(self._deadlines, (when, key))
            if len(self._deadlines) > 2 * len(self.expires) + HUGE:
                self._deadlines = [(when, key) for key, when in self.expires.items()]
                heapq.heapify(self._deadlines)
        self._dataset.changes += 1
        if self._dataset.alert:
            self._tell(key)

    def clear(self) -> None:
        """Remove all keys."""
        dataset = self._dataset
        dataset.changes += len(self.values)
        gone, self.values, self.expires, self._deadlines = self.values, {}, {}, []
        self._pools.clear()
        if dataset.alert:
            for key in [key for key in self.watched if key in gone]:
                self._tell(key)
            if dataset.ledger is not None:
                dataset.ledger.forget_all(self)
        dataset.trash.add(gone)

    def swap(self, other: Keyspace) -> None:
        """Exchange all keys with another keyspace; clients stay where they are."""
        touched = {*self.watched, *other.watched, *self.waiters, *other.waiters}
        self.values, other.values = other.values, self.values
        self.expires, other.expires = other.expires, self.expires
        self._deadlines, other._deadlines = other._deadlines, self._deadlines
        self._pools, other._pools = other._pools, self._pools
        self._dataset.changes += 1
        if self._dataset.ledger is not None:
            self._dataset.ledger.swap(self, other)
        for key in touched:
            self._tell(key)
            other._tell(key)

    # -- expiry ------------------------------------------------------------------------------------------------

    def expire_due(self, most: int) -> int:
        """Remove up to ``most`` of the keys whose time has come; return how many these were."""
        now, gone = self._dataset.now(), 0
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= now and gone < most:
            when, key = heapq.heappop(deadlines)
            if self.expires.get(key) == when:
                self._expire(key)
                gone += 1
        return gone

    def next_to_expire(self) -> bytes | None:
        """Return the key that expires first, if any does."""
        while self._deadlines and self.expires.get(self._deadlines[0][1]) != self._deadlines[0][0]:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][1] if self._deadlines else None

    def _expire_if_due(self, key: bytes) -> None:
        if self.expires[key] <= self._dataset.now():
            self._expire(key)

    def _expire(self, key: bytes) -> None:
        self._dataset.expired += 1
        self._dataset.record(self, [b"DEL", key])
        changes = self._dataset.changes
        self._discard(key)
        # Already recorded: the command that found it expired has not changed anything so far.
        self._dataset.changes = changes

    # -- inside ------------------------------------------------------------------------------------------------

    def _discard(self, key: bytes) -> None:
        value = self.take(key)
        if type(value) is not bytes and len(value) > HUGE:
            self._dataset.trash.add(value)

    def _tell(self, key: bytes) -> None:
        """Tell those who look out for a key that it is another one now."""
        for watcher in self.watched.get(key, ()):
            watcher.dirty = True
        if key in self.waiters and key in self.values:
            self._dataset.ready[self, key] = None
        if self._dataset.ledger is not None:
            self._dataset.ledger.changed(self, key)


class Watcher:
    """Who has to know whether watched keys have changed."""

    dirty = False
