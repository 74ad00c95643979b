"""Keys of whatever kind: their existence, names and expiry."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from servers.keyvalue.arguments import SYNTAX, integer
from servers.keyvalue.commands.table import command
from servers.keyvalue.glob import matcher
from servers.keyvalue.protocol import CommandError, Reply
from servers.keyvalue.sortedset import SortedSet

if TYPE_CHECKING:
    from servers.keyvalue.client import Client
    from servers.keyvalue.keyspace import Keyspace

NAMES: dict[type, str] = {
    bytes: "string",
    deque: "list",
    dict: "hash",
    set: "set",
    SortedSet: "zset",
}
NO_SUCH_KEY = "ERR no such key"
# Keys looked at by KEYS before others get their turn: about a millisecond.
_SLICE = 4096


@command("del", "write", keys=(1, -1, 1))
def del_(client: Client, key: bytes, *keys: bytes) -> Reply:
    """Deletes one or more keys."""
    return sum([client.db.remove(each) for each in (key, *keys)])


@command("unlink", "write fast", keys=(1, -1, 1))
def unlink(client: Client, key: bytes, *keys: bytes) -> Reply:
    """Asynchronously deletes one or more keys."""
    return del_(client, key, *keys)


@command("exists", "readonly fast", keys=(1, -1, 1))
def exists(client: Client, key: bytes, *keys: bytes) -> Reply:
    """Determines whether one or more keys exist."""
    return sum([each in client.db for each in (key, *keys)])


@command("touch", "readonly fast", keys=(1, -1, 1))
def touch(client: Client, key: bytes, *keys: bytes) -> Reply:
    """Returns the number of existing keys out of those specified after updating the time they were last accessed."""
    return sum([client.db.get(each) is not None for each in (key, *keys)])


@command("type", "readonly fast", keys=1)
def type_(client: Client, key: bytes) -> Reply:
    """Determines the type of value stored at a key."""
    return NAMES.get(type(client.db.get(key)), "none")


@command("dbsize", "readonly fast")
def dbsize(client: Client) -> Reply:
    """Returns the number of keys in the database."""
    return len(client.db)


@command("keys", "readonly sort_for_script")
def keys_(client: Client, pattern: bytes) -> Reply:
    """Returns all key names that match a pattern."""
    db, now = client.db, client.engine.dataset.now()
    matches, expires = matcher(pattern), db.expires
    names, found = list(db.values), list[bytes]()
    for start in range(0, len(names), _SLICE):
        found += [each for each in names[start : start + _SLICE] if matches(each)]
        if not client.running and start + _SLICE < len(names):
            client.engine.pause(0)
    return [each for each in found if expires.get(each, now + 1) > now]


@command("randomkey", "readonly")
def randomkey(client: Client) -> Reply:
    """Returns a random key name from the database."""
    return client.engine.samples(client.db).one()


@command("rename", "write", keys=(1, 2, 1))
def rename(client: Client, key: bytes, newkey: bytes) -> Reply:
    """Renames a key and overwrites the destination."""
    _move(client.db, key, client.db, newkey)
    return "OK"


@command("renamenx", "write fast", keys=(1, 2, 1))
def renamenx(client: Client, key: bytes, newkey: bytes) -> Reply:
    """Renames a key only when the target key name doesn't exist."""
    if key not in client.db:
        raise CommandError(NO_SUCH_KEY)
    if newkey in client.db:
        return 0
    _move(client.db, key, client.db, newkey)
    return 1


def _move(db: Keyspace, key: bytes, target: Keyspace, newkey: bytes) -> None:
    if key not in db:
        raise CommandError(NO_SUCH_KEY)
    if db is target and key == newkey:
        return
    when = db.expires.get(key)
    value = db.take(key)
    target.remove(newkey)
    target.set(newkey, value)
    if when is not None:
        target.expire(newkey, when)


@command("move", "write fast", keys=1)
def move(client: Client, key: bytes, db: bytes) -> Reply:
    """Moves a key to another database."""
    target = keyspace(client, db)
    if target is client.db:
        raise CommandError("ERR source and destination objects are the same")
    if key not in client.db or key in target:
        return 0
    _move(client.db, key, target, key)
    return 1


@command("copy", "write denyoom", keys=(1, 2, 1))
def copy(client: Client, source: bytes, destination: bytes, *options: bytes) -> Reply:
    """Copies the value of a key to a new key."""
    target, replace = client.db, False
    words = iter(options)
    for word in words:
        match word.upper():
            case b"REPLACE":
                replace = True
            case b"DB" if (number := next(words, None)) is not None:
                target = keyspace(client, number)
            case _:
                raise CommandError(SYNTAX)
    if target is client.db and source == destination:
        raise CommandError("ERR source and destination objects are the same")
    value = client.db.get(source)
    if value is None or (destination in target and not replace):
        return 0
    target.remove(destination)
    target.set(destination, value if isinstance(value, bytes) else value.copy())
    if (when := client.db.expires.get(source)) is not None:
        target.expire(destination, when)
    return 1


def keyspace(client: Client, number: bytes) -> Keyspace:
    """Return a database by its number."""
    index = integer(number)
    if not -(2**31) <= index < 2**31:
        raise CommandError("ERR value is out of range, value must between -2147483648 and 2147483647")
    keyspaces = client.engine.dataset.keyspaces
    if not 0 <= index < len(keyspaces):
        raise CommandError("ERR DB index is out of range")
    return keyspaces[index]


@command("swapdb", "write fast")
def swapdb(client: Client, index1: bytes, index2: bytes) -> Reply:
    """Swaps two databases."""
    first, second = (
        integer(index, f"ERR invalid {place} DB index")
        for index, place in ((index1, "first"), (index2, "second"))
    )
    keyspaces = client.engine.dataset.keyspaces
    if not (0 <= first < len(keyspaces) and 0 <= second < len(keyspaces)):
        raise CommandError("ERR DB index is out of range")
    if first != second:
        keyspaces[first].swap(keyspaces[second])
    return "OK"


@command("flushdb", "write")
def flushdb(client: Client, *mode: bytes) -> Reply:
    """Remove all keys from the current database."""
    _check_mode(mode)
    client.db.clear()
    return "OK"


@command("flushall", "write")
def flushall(client: Client, *mode: bytes) -> Reply:
    """Removes all keys from all databases."""
    _check_mode(mode)
    for each in client.engine.dataset.keyspaces:
        each.clear()
    return "OK"


def _check_mode(mode: tuple[bytes, ...]) -> None:
    # Either way the keys are gone at once, and their memory is freed little by little.
    if len(mode) > 1 or (mode and mode[0].upper() not in {b"SYNC", b"ASYNC"}):
        raise CommandError(SYNTAX)
