"""A table of bounded size, in two generations: what nobody asks for goes first, with nothing written down per question.

When the younger generation is full it becomes the older, whose own end that is; what is asked for meanwhile moves back
into the younger. Any thread may use it: each step is one operation on a dictionary.
"""

from __future__ import annotations

from typing import Generic, TypeVar

__all__ = ["Generations"]

KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")


class Generations(Generic[KeyT, ValueT]):
    """A table.

    Args:
        limit: weight of each generation.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._weight = 0
        self._young: dict[KeyT, tuple[ValueT, int]] = {}
        self._old: dict[KeyT, tuple[ValueT, int]] = {}

    def get(self, key: KeyT) -> ValueT | None:
        """Return what is there, or ``None``."""
        found = self._young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is None:
                return None
            self.put(key, *found)
        return found[0]

    def put(self, key: KeyT, value: ValueT, weight: int = 1) -> None:
        """Put something there."""
        if self._weight >= self._limit:
            self._old, self._young, self._weight = self._young, {}, 0
        self._young[key] = (value, weight)
        # What is put there again is counted again: generations are shorter then, never longer.
        self._weight += weight

    def __len__(self) -> int:
        return len(self._young) + len(self._old)
