"""``SortedSet``: members in the order of their scores, and of their octets where scores are equal."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from sortedcontainers import SortedList

__all__ = ["Bounds", "SortedSet"]


class Bounds(NamedTuple):
    """From where to where, in one kind of order; ``None``: unbounded."""

    low: float | bytes | None
    high: float | bytes | None
    open_low: bool = False
    open_high: bool = False


class SortedSet:
    """A dict for the scores, a list for the order."""

    __slots__ = ("_order", "scores")

    def __init__(self, scores: Mapping[bytes, float] | None = None) -> None:
        self.scores: dict[bytes, float] = dict(scores or {})
        self._order: SortedList[tuple[float, bytes]] = SortedList(
            (score, member) for member, score in self.scores.items()
        )

    def __len__(self) -> int:
        return len(self.scores)

    def copy(self) -> SortedSet:
        """Return another with the same members."""
        return SortedSet(self.scores)

    def add(self, member: bytes, score: float) -> None:
        """Add a member, or change its score."""
        before = self.scores.get(member)
        if before is not None:
            if before == score:
                return
            self._order.remove((before, member))
        self.scores[member] = score
        self._order.add((score, member))

    def discard(self, member: bytes) -> bool:
        """Remove a member; tell whether it was there."""
        score = self.scores.pop(member, None)
        if score is None:
            return False
        self._order.remove((score, member))
        return True

    def pop(self, index: int = -1) -> tuple[bytes, float]:
        """Remove and return the member at a place, by default the last."""
        score, member = self._order.pop(index)
        del self.scores[member]
        return member, score

    def rank(self, member: bytes) -> int | None:
        """Return the place of a member, counted from 0."""
        score = self.scores.get(member)
        return None if score is None else self._order.index((score, member))

    def slice(self, start: int, stop: int, *, reverse: bool = False) -> Iterator[tuple[bytes, float]]:
        """Yield what is from place ``start`` up to before ``stop``, places always counted from the low end."""
        for score, member in self._order.islice(start, stop, reverse):
            yield member, score

    def between_scores(self, bounds: Bounds) -> tuple[int, int]:
        """Return the places from where to before where the scores are within ``bounds``."""
        low = -math.inf if bounds.low is None else float(bounds.low)
        high = math.inf if bounds.high is None else float(bounds.high)
        return self._place(low, after=bounds.open_low), self._place(high, after=not bounds.open_high)

    def between_members(self, bounds: Bounds) -> tuple[int, int]:
        """Return the places from where to before where the members are within ``bounds``, if all scores are equal."""
        # By the members alone, as redis looks for them where scores differ.
        start, stop = 0, len(self)
        if isinstance(bounds.low, bytes):
            find = bisect_right if bounds.open_low else bisect_left
            start = find(self._order, bounds.low, key=_member)
        if isinstance(bounds.high, bytes):
            find = bisect_left if bounds.open_high else bisect_right
            stop = find(self._order, bounds.high, key=_member)
        return start, stop

    def _place(self, score: float, *, after: bool) -> int:
        """Return where the members of a score begin, or with ``after`` where they have ended."""
        # A tuple of one is before all tuples of two that begin with the same.
        if not after:
            return self._order.bisect_left((score,))  # type: ignore[arg-type]
        if score == math.inf:
            return len(self)
        return self._order.bisect_left((math.nextafter(score, math.inf),))  # type: ignore[arg-type]


def _member(item: tuple[float, bytes]) -> bytes:
    return item[1]
