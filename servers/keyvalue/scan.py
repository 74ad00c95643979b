"""Cursors of SCAN and its kin, and random keys.

A Python dict cannot be entered in its middle. So a scan takes the names that are there when it begins, and its cursor is
a place among them: what was there from begin to end is returned, as SCAN promises. Whose names were given up, since too
many scans were left unfinished, begins anew, at which some keys come a second time, as SCAN allows.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from servers.keyvalue.keyspace import Keyspace

__all__ = ["Cursors", "Samples"]

# Names that unfinished scans may hold: 8 octets each.
_MOST_NAMES = 16 * 1024 * 1024
# A cursor is a place and, in its lowest bits, a scan's number.
_BITS = 20


class Cursors:
    """The scans that are under way."""

    def __init__(self) -> None:
        self._scans: OrderedDict[int, Sequence[bytes]] = OrderedDict()
        self._held = 0
        self._last = 0

    def next(self, cursor: int, count: int, items: Iterable[bytes]) -> tuple[int, Sequence[bytes]]:
        """Return the cursor to go on with, 0 at the end, and up to ``count`` names.

        Args:
            cursor: 0 to begin.
            count: how many names.
            items: all there are; taken when the scan begins.
        """
        number, place = cursor % (1 << _BITS), cursor >> _BITS
        names = self._scans.get(number) if cursor else None
        if names is None:
            names, place = list(items), 0
            if len(names) <= count:
                return 0, names
            number = self._begin(names)
        self._scans.move_to_end(number)
        end = place + count
        found = names[place:end]
        if end >= len(names):
            self._held -= len(self._scans.pop(number))
            return 0, found
        return end << _BITS | number, found

    def _begin(self, names: Sequence[bytes]) -> int:
        while self._scans and (self._held + len(names) > _MOST_NAMES or len(self._scans) >= 1 << (_BITS - 1)):
            self._held -= len(self._scans.popitem(last=False)[1])
        self._last = (self._last + 1) % (1 << _BITS)
        while self._last in self._scans or not self._last:
            self._last = (self._last + 1) % (1 << _BITS)
        self._scans[self._last] = names
        self._held += len(names)
        return self._last


class Samples:
    """Random keys of one keyspace: for RANDOMKEY, and for eviction."""

    def __init__(self, keyspace: Keyspace) -> None:
        self._keyspace = keyspace
        self._names: list[bytes] = []

    def one(self) -> bytes | None:
        """Return a key that exists, any of them; None if there is none."""
        while self._keyspace.values:
            # Taken anew as soon as the names are no good any more: most of them gone, or as many new ones missing.
            if not len(self._names) // 2 <= len(self._keyspace) <= 2 * len(self._names):
                self._names = list(self._keyspace.values)
            for _ in range(64):
                key = random.choice(self._names)  # noqa: S311 -- no secret
                if key in self._keyspace:
                    return key
            self._names = list(self._keyspace.values)
        return None
