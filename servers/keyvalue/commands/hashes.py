"""Hashes: fields and their values under one key."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from servers.keyvalue.arguments import SYNTAX, decimal, decimal_text, integer
from servers.keyvalue.commands.table import command
from servers.keyvalue.keyspace import HASH
from servers.keyvalue.protocol import CommandError, Reply

if TYPE_CHECKING:
    from servers.keyvalue.client import Client

_MOST = 2**63 - 1
# Items drawn that may be the same, where redis knows no limit: the reply alone could fill the memory.
_DRAWS = 1024 * 1024


@command("hset", "write denyoom fast", keys=1)
def hset(client: Client, key: bytes, field: bytes, value: bytes, *pairs: bytes) -> Reply:
    """Creates or modifies the value of a field in a hash."""
    return _set(client, "hset", key, (field, value, *pairs))


@command("hmset", "write denyoom fast", keys=1)
def hmset(client: Client, key: bytes, field: bytes, value: bytes, *pairs: bytes) -> Reply:
    """Sets the values of multiple fields."""
    _set(client, "hmset", key, (field, value, *pairs))
    return "OK"


def _set(client: Client, name: str, key: bytes, pairs: tuple[bytes, ...]) -> int:
    if len(pairs) % 2:
        raise CommandError(f"ERR wrong number of arguments for '{name}' command")
    fields = client.db.open(key, HASH)
    before = len(fields)
    fields.update(zip(pairs[::2], pairs[1::2], strict=True))
    client.db.changed(key)
    return len(fields) - before


@command("hsetnx", "write denyoom fast", keys=1)
def hsetnx(client: Client, key: bytes, field: bytes, value: bytes) -> Reply:
    """Sets the value of a field in a hash only when the field doesn't exist."""
    if field in (client.db.typed(key, HASH) or ()):
        return 0
    return _set(client, "hsetnx", key, (field, value))


@command("hget", "readonly fast", keys=1)
def hget(client: Client, key: bytes, field: bytes) -> Reply:
    """Returns the value of a field in a hash."""
    fields = client.db.typed(key, HASH)
    return None if fields is None else fields.get(field)


@command("hmget", "readonly fast", keys=1)
def hmget(client: Client, key: bytes, field: bytes, *fields: bytes) -> Reply:
    """Returns the values of all given fields in a hash."""
    found = client.db.typed(key, HASH) or {}
    return [found.get(each) for each in (field, *fields)]


@command("hdel", "write fast", keys=1)
def hdel(client: Client, key: bytes, field: bytes, *fields: bytes) -> Reply:
    """Deletes one or more fields and their values from a hash. Deletes the hash if no fields remain."""
    found = client.db.typed(key, HASH)
    if found is None:
        return 0
    gone = sum([found.pop(each, None) is not None for each in (field, *fields)])
    if gone:
        client.db.changed(key)
    return gone


@command("hexists", "readonly fast", keys=1)
def hexists(client: Client, key: bytes, field: bytes) -> Reply:
    """Determines whether a field exists in a hash."""
    return int(field in (client.db.typed(key, HASH) or ()))


@command("hlen", "readonly fast", keys=1)
def hlen(client: Client, key: bytes) -> Reply:
    """Returns the number of fields in a hash."""
    return len(client.db.typed(key, HASH) or ())


@command("hstrlen", "readonly fast", keys=1)
def hstrlen(client: Client, key: bytes, field: bytes) -> Reply:
    """Returns the length of the value of a field."""
    return len((client.db.typed(key, HASH) or {}).get(field, b""))


@command("hkeys", "readonly sort_for_script", keys=1)
def hkeys(client: Client, key: bytes) -> Reply:
    """Returns all fields in a hash."""
    return list(client.db.typed(key, HASH) or ())


@command("hvals", "readonly sort_for_script", keys=1)
def hvals(client: Client, key: bytes) -> Reply:
    """Returns all values in a hash."""
    return list((client.db.typed(key, HASH) or {}).values())


@command("hgetall", "readonly random", keys=1)
def hgetall(client: Client, key: bytes) -> Reply:
    """Returns all fields and values in a hash."""
    return client.db.typed(key, HASH) or {}


@command("hincrby", "write denyoom fast", keys=1)
def hincrby(client: Client, key: bytes, field: bytes, increment: bytes) -> Reply:
    """Increments the integer value of a field in a hash by a number. Uses 0 if the field doesn't exist."""
    number = integer(increment)
    old = (client.db.typed(key, HASH) or {}).get(field, b"0")
    total = integer(old, "ERR hash value is not an integer") + number
    if not -_MOST - 1 <= total <= _MOST:
        raise CommandError("ERR increment or decrement would overflow")
    _set(client, "hincrby", key, (field, b"%d" % total))
    return total


@command("hincrbyfloat", "write denyoom fast", keys=1)
def hincrbyfloat(client: Client, key: bytes, field: bytes, increment: bytes) -> Reply:
    """Increments the floating point value of a field by a number. Uses 0 if the field doesn't exist."""
    number = decimal(increment)
    if not number.is_finite():
        raise CommandError("ERR value is NaN or Infinity")
    old = decimal((client.db.typed(key, HASH) or {}).get(field, b"0"), "ERR hash value is not a float")
    total = decimal_text(old, number)
    _set(client, "hincrbyfloat", key, (field, total))
    client.propagate(b"HSET", key, field, total)
    return total


@command("hrandfield", "readonly random", keys=1)
def hrandfield(client: Client, key: bytes, *options: bytes) -> Reply:
    """Returns one or more random fields from a hash."""
    number, with_values = 1, False
    if options:
        count, *words = options
        if [word.upper() for word in words] not in ([], [b"WITHVALUES"]):
            raise CommandError(SYNTAX)
        with_values = bool(words)
        number = drawn(count, twofold=with_values)
    fields = client.db.typed(key, HASH)
    if fields is None:
        return [] if options else None
    pool = client.db.pool(key, fields)
    if not options:
        return random.choice(pool)  # noqa: S311 -- no secret
    chosen = choose(pool, number)
    if not with_values:
        return chosen
    if client.resp3:
        return [[field, fields[field]] for field in chosen]
    return [each for field in chosen for each in (field, fields[field])]


def drawn(text: bytes, *, twofold: bool) -> int:
    """Return how many are to be drawn; negative: any of them any number of times.

    Args:
        text: the argument.
        twofold: whether each has something else with it, which halves what redis takes.
    """
    number = integer(text)
    if number < -_MOST:
        raise CommandError(f"ERR value is out of range, value must between {-_MOST} and {_MOST}")
    if twofold and abs(number) > _MOST // 2:
        raise CommandError("ERR value is out of range")
    return number


def choose(items: list[bytes], number: int) -> list[bytes]:
    """Return that many of the items, each once at most; if negative, any of them any number of times."""
    if number < -_DRAWS:
        raise CommandError("ERR value is out of range")
    if number < 0:
        return random.choices(items, k=-number)  # noqa: S311 -- no secret
    return [*items] if number >= len(items) else random.sample(items, number)
