"""Sets: members, and what several sets have in common."""

from __future__ import annotations

import random
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from servers.keyvalue.arguments import SYNTAX, numbered, positive
from servers.keyvalue.commands.hashes import choose, drawn
from servers.keyvalue.commands.table import command
from servers.keyvalue.keyspace import SET
from servers.keyvalue.protocol import CommandError, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from servers.keyvalue.client import Client

_NONE: AbstractSet[bytes] = frozenset()


@command("sadd", "write denyoom fast", keys=1)
def sadd(client: Client, key: bytes, member: bytes, *members: bytes) -> Reply:
    """Adds one or more members to a set. Creates the key if it doesn't exist."""
    found = client.db.open(key, SET)
    before = len(found)
    found.update((member, *members))
    added = len(found) - before
    if added:
        client.db.changed(key)
    return added


@command("srem", "write fast", keys=1)
def srem(client: Client, key: bytes, member: bytes, *members: bytes) -> Reply:
    """Removes one or more members from a set. Deletes the set if the last member was removed."""
    found = client.db.typed(key, SET)
    if found is None:
        return 0
    before = len(found)
    found.difference_update((member, *members))
    gone = before - len(found)
    if gone:
        client.db.changed(key)
    return gone


@command("sismember", "readonly fast", keys=1)
def sismember(client: Client, key: bytes, member: bytes) -> Reply:
    """Determines whether a member belongs to a set."""
    return int(member in _members(client, key))


@command("smismember", "readonly fast", keys=1)
def smismember(client: Client, key: bytes, member: bytes, *members: bytes) -> Reply:
    """Determines whether multiple members belong to a set."""
    found = _members(client, key)
    return [int(each in found) for each in (member, *members)]


@command("scard", "readonly fast", keys=1)
def scard(client: Client, key: bytes) -> Reply:
    """Returns the number of members in a set."""
    return len(_members(client, key))


@command("smembers", "readonly sort_for_script", keys=1)
def smembers(client: Client, key: bytes) -> Reply:
    """Returns all members of a set."""
    return _members(client, key)


@command("smove", "write fast", keys=(1, 2, 1))
def smove(client: Client, source: bytes, destination: bytes, member: bytes) -> Reply:
    """Moves a member from one set to another."""
    found = client.db.typed(source, SET)
    if found is None:
        return 0
    target = client.db.typed(destination, SET)
    if member not in found:
        return 0
    if found is not target:
        found.remove(member)
        client.db.changed(source)
        client.db.open(destination, SET).add(member)
        client.db.changed(destination)
    return 1


@command("spop", "write random fast", keys=1)
def spop(client: Client, key: bytes, *count: bytes) -> Reply:
    """Returns one or more random members from a set after removing them. Deletes the set if the last was popped."""
    if len(count) > 1:
        raise CommandError(SYNTAX)
    number = positive(count[0]) if count else 1
    found = client.db.typed(key, SET)
    if found is None:
        return _NONE if count else None
    if number >= len(found):
        client.db.take(key)
        client.propagate(b"DEL", key)
        return found if count else next(iter(found))
    pool = client.db.pool(key, found)
    for end in range(len(pool), len(pool) - number, -1):
        place = random.randrange(end)  # noqa: S311 -- no secret
        pool[place], pool[end - 1] = pool[end - 1], pool[place]
    gone = pool[len(pool) - number :]
    if gone:
        client.engine.reserve([b"SREM", key, *gone])
        found.difference_update(gone)
        del pool[-number:]
        client.db.drawn(key, pool)
        client.propagate(b"SREM", key, *gone)
    return set(gone) if count else gone[0]


@command("srandmember", "readonly random", keys=1)
def srandmember(client: Client, key: bytes, *count: bytes) -> Reply:
    """Get one or multiple random members from a set."""
    if len(count) > 1:
        raise CommandError(SYNTAX)
    number = drawn(count[0], twofold=False) if count else 1
    found: set[bytes] | None = client.db.typed(key, SET)
    if found is None:
        return [] if count else None
    pool = client.db.pool(key, found)
    return choose(pool, number) if count else random.choice(pool)  # noqa: S311 -- no secret


# -- several sets ------------------------------------------------------------------------------------------------------


@command("sinter", "readonly sort_for_script", keys=(1, -1, 1))
def sinter(client: Client, key: bytes, *keys: bytes) -> Reply:
    """Returns the intersect of multiple sets."""
    return _intersect(_all(client, (key, *keys)))


@command("sunion", "readonly sort_for_script", keys=(1, -1, 1))
def sunion(client: Client, key: bytes, *keys: bytes) -> Reply:
    """Returns the union of multiple sets."""
    return _unite(_all(client, (key, *keys)))


@command("sdiff", "readonly sort_for_script", keys=(1, -1, 1))
def sdiff(client: Client, key: bytes, *keys: bytes) -> Reply:
    """Returns the difference of multiple sets."""
    return _subtract(_all(client, (key, *keys)))


@command("sinterstore", "write denyoom", keys=(1, -1, 1))
def sinterstore(client: Client, destination: bytes, key: bytes, *keys: bytes) -> Reply:
    """Stores the intersect of multiple sets in a key."""
    return _store(client, destination, _intersect, (key, *keys))


@command("sunionstore", "write denyoom", keys=(1, -1, 1))
def sunionstore(client: Client, destination: bytes, key: bytes, *keys: bytes) -> Reply:
    """Stores the union of multiple sets in a key."""
    return _store(client, destination, _unite, (key, *keys))


@command("sdiffstore", "write denyoom", keys=(1, -1, 1))
def sdiffstore(client: Client, destination: bytes, key: bytes, *keys: bytes) -> Reply:
    """Stores the difference of multiple sets in a key."""
    return _store(client, destination, _subtract, (key, *keys))


@command("sintercard", "readonly movablekeys", numbered=1)
def sintercard(client: Client, numkeys: bytes, key: bytes, *rest: bytes) -> Reply:
    """Returns the number of members of the intersect of multiple sets."""
    keys, options = numbered(numkeys, (key, *rest), "ERR Number of keys can't be greater than number of args")
    limit = limit_option(options)
    size = len(_intersect(_all(client, keys)))
    return min(size, limit) if limit else size


def limit_option(options: list[bytes]) -> int:
    """Return what ``LIMIT n`` says, if it is there; 0: no limit."""
    if not options:
        return 0
    if len(options) < 2 or options[0].upper() != b"LIMIT":  # noqa: PLR2004 -- the word and the number
        raise CommandError(SYNTAX)
    limit = positive(options[1], "ERR LIMIT can't be negative")
    return limit_option(options[2:]) or limit


def _members(client: Client, key: bytes) -> AbstractSet[bytes]:
    return client.db.typed(key, SET) or _NONE


def _all(client: Client, keys: Sequence[bytes]) -> list[AbstractSet[bytes]]:
    return [_members(client, key) for key in keys]


def _intersect(sets: list[AbstractSet[bytes]]) -> AbstractSet[bytes]:
    smallest, *others = sorted(sets, key=len)
    return set(smallest).intersection(*others)


def _unite(sets: list[AbstractSet[bytes]]) -> AbstractSet[bytes]:
    return set[bytes]().union(*sets)


def _subtract(sets: list[AbstractSet[bytes]]) -> AbstractSet[bytes]:
    return set(sets[0]).difference(*sets[1:])


def _store(
    client: Client,
    destination: bytes,
    combine: Callable[[list[AbstractSet[bytes]]], AbstractSet[bytes]],
    keys: Sequence[bytes],
) -> Reply:
    found = set(combine(_all(client, keys)))
    if found:
        client.db.remove(destination)
        client.db.set(destination, found)
    else:
        client.db.remove(destination)
    return len(found)
