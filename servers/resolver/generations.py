"""A table of bounded size, in two generations: what nobody asks for goes first, with nothing written down per question.

When the younger generation is full it becomes the older, whose own end that is; what is asked for meanwhile moves back
into the younger. Any thread may use it: each step is one operation on a dictionary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Generations"]

KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")


class Generations(Generic[KeyT, ValueT]):
    """A table.

    Args:
        limit: weight of each generation.
        weigh: tells the weight of a value; by default each weighs 1.
    """

    def __init__(self, limit: int, weigh: Callable[[ValueT], int] = lambda _: 1) -> None:
        self._limit = limit
        self._weigh = weigh
        self._weight = 0
        self._young: dict[KeyT, ValueT] = {}
        self._old: dict[KeyT, ValueT] = {}

    def get(self, key: KeyT) -> ValueT | None:
        """Return what is there, or ``None``."""
        found = self._young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: KeyT, value: ValueT) -> None:
        """Put something there."""
        if self._weight >= self._limit:
            self._old, self._young, self._weight = self._young, {}, 0
        self._young[key] = value
        # What is put there again is counted again: generations are shorter then, never longer.
        self._weight += self._weigh(value)

    def __len__(self) -> int:
        return len(self._young) + len(self._old)
