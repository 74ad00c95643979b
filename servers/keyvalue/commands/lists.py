"""Lists: both ends, what is between, and waiting for elements to come."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from servers.keyvalue.arguments import SYNTAX, integer, positive, window
from servers.keyvalue.commands.keys import NO_SUCH_KEY
from servers.keyvalue.commands.table import command
from servers.keyvalue.keyspace import LIST
from servers.keyvalue.protocol import NIL_ARRAY, CommandError, Reply

if TYPE_CHECKING:
    from servers.keyvalue.client import Client


@command("lpush", "write denyoom fast", keys=1)
def lpush(client: Client, key: bytes, element: bytes, *elements: bytes) -> Reply:
    """Prepends one or more elements to a list. Creates the key if it doesn't exist."""
    items = client.db.open(key, LIST)
    items.extendleft((element, *elements))
    size = len(items)
    client.db.changed(key)
    return size


@command("rpush", "write denyoom fast", keys=1)
def rpush(client: Client, key: bytes, element: bytes, *elements: bytes) -> Reply:
    """Appends one or more elements to a list. Creates the key if it doesn't exist."""
    items = client.db.open(key, LIST)
    items.extend((element, *elements))
    size = len(items)
    client.db.changed(key)
    return size


@command("lpushx", "write denyoom fast", keys=1)
def lpushx(client: Client, key: bytes, element: bytes, *elements: bytes) -> Reply:
    """Prepends one or more elements to a list only when the list exists."""
    return 0 if client.db.typed(key, LIST) is None else lpush(client, key, element, *elements)


@command("rpushx", "write denyoom fast", keys=1)
def rpushx(client: Client, key: bytes, element: bytes, *elements: bytes) -> Reply:
    """Appends an element to a list only when the list exists."""
    return 0 if client.db.typed(key, LIST) is None else rpush(client, key, element, *elements)


@command("lpop", "write fast", keys=1)
def lpop(client: Client, key: bytes, *count: bytes) -> Reply:
    """Returns the first elements in a list after removing it. Deletes the list if the last element was popped."""
    return _pop(client, "lpop", key, count, left=True)


@command("rpop", "write fast", keys=1)
def rpop(client: Client, key: bytes, *count: bytes) -> Reply:
    """Returns and removes the last elements of a list. Deletes the list if the last element was popped."""
    return _pop(client, "rpop", key, count, left=False)


def _pop(client: Client, name: str, key: bytes, count: tuple[bytes, ...], *, left: bool) -> Reply:
    if len(count) > 1:
        raise CommandError(f"ERR wrong number of arguments for '{name}' command")
    number = positive(count[0]) if count else 1
    if client.db.typed(key, LIST) is None:
        return NIL_ARRAY if count else None
    found = take(client, key, number, left=left)
    return found if count else found[0]


def take(client: Client, key: bytes, number: int, *, left: bool) -> list[bytes]:
    """Remove up to so many elements from one end of a list that is there, and return them."""
    items = client.db.open(key, LIST)
    pop = items.popleft if left else items.pop
    found = [pop() for _ in range(min(number, len(items)))]
    if found:
        client.db.changed(key)
    return found


@command("llen", "readonly fast", keys=1)
def llen(client: Client, key: bytes) -> Reply:
    """Returns the length of a list."""
    return len(client.db.typed(key, LIST) or ())


@command("lrange", "readonly", keys=1)
def lrange(client: Client, key: bytes, start: bytes, stop: bytes) -> Reply:
    """Returns a range of elements from a list."""
    first, last = integer(start), integer(stop)
    items: deque[bytes] = client.db.typed(key, LIST) or deque()
    return between(items, *window(first, last, len(items)))


def between(items: deque[bytes], start: int, stop: int) -> list[bytes]:
    """Return a part of a deque, from the end that is nearer to it."""
    size = len(items)
    if start > size - stop:
        return list(islice(reversed(items), size - stop, size - start))[::-1]
    return list(islice(items, start, stop))


@command("lindex", "readonly", keys=1)
def lindex(client: Client, key: bytes, index: bytes) -> Reply:
    """Returns an element from a list by its index."""
    items = client.db.typed(key, LIST)
    if items is None:
        return None
    place = integer(index)
    return items[place] if -len(items) <= place < len(items) else None


@command("lset", "write denyoom", keys=1)
def lset(client: Client, key: bytes, index: bytes, element: bytes) -> Reply:
    """Sets the value of an element in a list by its index."""
    items = client.db.typed(key, LIST)
    if items is None:
        raise CommandError(NO_SUCH_KEY)
    place = integer(index)
    if not -len(items) <= place < len(items):
        raise CommandError("ERR index out of range")
    items[place] = element
    client.db.changed(key)
    return "OK"


@command("linsert", "write denyoom", keys=1)
def linsert(client: Client, key: bytes, where: bytes, pivot: bytes, element: bytes) -> Reply:
    """Inserts an element before or after another element in a list."""
    if where.upper() not in {b"BEFORE", b"AFTER"}:
        raise CommandError(SYNTAX)
    items = client.db.typed(key, LIST)
    if items is None:
        return 0
    try:
        place = items.index(pivot)
    except ValueError:
        return -1
    items.insert(place + (where.upper() == b"AFTER"), element)
    client.db.changed(key)
    return len(items)


@command("lrem", "write", keys=1)
def lrem(client: Client, key: bytes, count: bytes, element: bytes) -> Reply:
    """Removes elements from a list. Deletes the list if the last element was removed."""
    number = integer(count)
    items = client.db.typed(key, LIST)
    if items is None:
        return 0
    left = abs(number) or len(items)
    kept: deque[bytes] = deque()
    for item in items if number >= 0 else reversed(items):
        if left and item == element:
            left -= 1
        elif number >= 0:
            kept.append(item)
        else:
            kept.appendleft(item)
    gone = len(items) - len(kept)
    if gone:
        client.db.values[key] = kept
        client.db.changed(key)
    return gone


@command("ltrim", "write", keys=1)
def ltrim(client: Client, key: bytes, start: bytes, stop: bytes) -> Reply:
    """Removes elements from both ends of a list. Deletes the list if all elements were trimmed."""
    first, last = integer(start), integer(stop)
    items = client.db.typed(key, LIST)
    if items is not None:
        first, last = window(first, last, len(items))
        if first == last:
            client.db.remove(key)
        elif last - first < len(items):
            for _ in range(len(items) - last):
                items.pop()
            for _ in range(first):
                items.popleft()
            client.db.changed(key)
    return "OK"


@command("lpos", "readonly", keys=1)
def lpos(client: Client, key: bytes, element: bytes, *options: bytes) -> Reply:
    """Returns the index of matching elements in a list."""
    rank, count, limit = 1, None, 0
    for option, value in zip(options[::2], options[1::2], strict=False):
        match option.upper():
            case b"RANK":
                rank = integer(value)
                if rank == 0:
                    raise CommandError(
                        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use "
                        "negative to start from the end of the list"
                    )
            case b"COUNT":
                count = positive(value, "ERR COUNT can't be negative")
            case b"MAXLEN":
                limit = positive(value, "ERR MAXLEN can't be negative")
            case _:
                raise CommandError(SYNTAX)
    if len(options) % 2:
        raise CommandError(SYNTAX)
    items: deque[bytes] = client.db.typed(key, LIST) or deque()
    size = len(items)
    skipped = min(abs(rank) - 1, size)
    order = (
        enumerate(items)
        if rank > 0
        else ((size - 1 - place, item) for place, item in enumerate(reversed(items)))
    )
    matches = (place for place, item in islice(order, min(limit, size) or None) if item == element)
    found = list(islice(matches, skipped, skipped + (1 if count is None else min(count or size, size))))
    if count is None:
        return found[0] if found else None
    return found
