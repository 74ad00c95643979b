"""What a store holds, to be compared."""

from __future__ import annotations

from servers.keyvalue.engine import Engine
from servers.keyvalue.sortedset import SortedSet


def state(engine: Engine) -> list[tuple[dict[bytes, object], dict[bytes, int]]]:
    """Return all that the keyspaces hold."""
    return [
        (
            {
                key: value.scores if isinstance(value, SortedSet) else value
                for key, value in each.values.items()
            },
            each.expires,
        )
        for each in engine.dataset.keyspaces
    ]
