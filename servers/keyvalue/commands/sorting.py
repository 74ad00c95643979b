"""SORT and SORT_RO: the elements of a list, a set or a sorted set, in an order of the client's choice."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from servers.keyvalue.arguments import SYNTAX, double, integer
from servers.keyvalue.commands.table import command
from servers.keyvalue.keyspace import WrongTypeError
from servers.keyvalue.protocol import CommandError, Reply
from servers.keyvalue.sortedset import SortedSet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servers.keyvalue.client import Client

_NOT_A_DOUBLE = "ERR One or more scores can't be converted into double"


@command("sort", "write denyoom movablekeys", keys=1)
def sort(client: Client, key: bytes, *options: bytes) -> Reply:
    """Sorts the elements in a list, a set, or a sorted set, optionally storing the result."""
    found, destination = _sort(client, key, options)
    if destination is None:
        return found
    stored = deque(each or b"" for each in found)
    client.engine.reserve([b"RPUSH", destination, *stored])
    client.db.remove(destination)
    client.propagate(b"DEL", destination)
    if stored:
        client.db.set(destination, stored)
        client.propagate(b"RPUSH", destination, *stored)
    return len(stored)


@command("sort_ro", "readonly movablekeys", keys=1)
def sort_ro(client: Client, key: bytes, *options: bytes) -> Reply:
    """Returns the sorted elements of a list, a set, or a sorted set."""
    found, destination = _sort(client, key, options)
    if destination is not None:
        raise CommandError(SYNTAX)
    return found


@dataclass(slots=True)
class _Order:
    """What SORT is asked for."""

    by: bytes | None = None
    limit: tuple[int, int] | None = None
    patterns: list[bytes] = field(default_factory=list[bytes])
    destination: bytes | None = None
    alpha: bool = False
    reverse: bool = False

    @classmethod
    def parse(cls, options: Sequence[bytes]) -> _Order:
        """Read the options."""
        order, words = cls(), list(options)
        while words:
            match words.pop(0).upper():
                case b"ASC" | b"DESC" as direction:
                    order.reverse = direction == b"DESC"
                case b"ALPHA":
                    order.alpha = True
                case b"LIMIT" if len(words) > 1:
                    order.limit = integer(words.pop(0)), integer(words.pop(0))
                case b"STORE" if words:
                    order.destination = words.pop(0)
                case b"BY" if words:
                    order.by = words.pop(0)
                case b"GET" if words:
                    order.patterns.append(words.pop(0))
                case _:
                    raise CommandError(SYNTAX)
        return order


def _sort(client: Client, key: bytes, options: Sequence[bytes]) -> tuple[list[bytes | None], bytes | None]:
    """Return the sorted elements, and where to store them if that is asked for."""
    order = _Order.parse(options)
    items = _elements(client, key, reverse=order.reverse)
    # A pattern without a star is the same for all: a way to ask for no order.
    if order.by is None or b"*" in order.by:
        items = _ordered(client, items, order.by, alpha=order.alpha, reverse=order.reverse)
    elif order.destination is not None and isinstance(client.db.get(key), set):
        items.sort()
    if order.limit is not None:
        offset, count = max(0, order.limit[0]), order.limit[1]
        items = items[offset:] if count < 0 else items[offset : offset + count]
    if not order.patterns:
        return list(items), order.destination
    found = [_look_up(client, pattern, item) for item in items for pattern in order.patterns]
    return found, order.destination


def _elements(client: Client, key: bytes, *, reverse: bool) -> list[bytes]:
    value = client.db.get(key)
    if value is None:
        return []
    if isinstance(value, SortedSet):
        return [member for member, _ in value.slice(0, len(value), reverse=reverse)]
    if isinstance(value, deque | set):
        return list(value)
    raise WrongTypeError


def _ordered(
    client: Client, items: list[bytes], by: bytes | None, *, alpha: bool, reverse: bool
) -> list[bytes]:
    weights = {item: item if by is None else _look_up(client, by, item) for item in items}
    if alpha:
        # What has no weight comes first; equal weights are told apart by the elements themselves.
        texts = {item: (weight is not None, weight or b"") for item, weight in weights.items()}
        return sorted(items, key=lambda item: (texts[item], item), reverse=reverse)
    numbers = {item: double(weight or b"0", _NOT_A_DOUBLE) for item, weight in weights.items()}
    return sorted(items, key=lambda item: (numbers[item], item), reverse=reverse)


def _look_up(client: Client, pattern: bytes, item: bytes) -> bytes | None:
    """Return what a pattern like ``weight_*`` or ``object_*->field`` means for an element."""
    if pattern == b"#":
        return item
    before, star, after = pattern.partition(b"*")
    if not star:
        return None
    end, arrow, field = after.partition(b"->")
    if not arrow or not field:
        value = client.db.get(before + item + after)
        return value if isinstance(value, bytes) else None
    found = client.db.get(before + item + end)
    return found.get(field) if isinstance(found, dict) else None
