"""Keys of whatever kind: their existence, names and expiry."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from servers.keyvalue.arguments import SYNTAX, expiry, integer
from servers.keyvalue.commands.table import command
from servers.keyvalue.glob import matcher
from servers.keyvalue.keyspace import Value
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
            client.engine.pause()
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


# -- expiry --------------------------------------------------------------------------------------------------------


@command("expire", "write fast", keys=1)
def expire(client: Client, key: bytes, seconds: bytes, *condition: bytes) -> Reply:
    """Sets the expiration time of a key in seconds."""
    return _expire(client, key, seconds, condition, "expire", seconds=True)


@command("pexpire", "write fast", keys=1)
def pexpire(client: Client, key: bytes, milliseconds: bytes, *condition: bytes) -> Reply:
    """Sets the expiration time of a key in milliseconds."""
    return _expire(client, key, milliseconds, condition, "pexpire", seconds=False)


@command("expireat", "write fast", keys=1)
def expireat(client: Client, key: bytes, unix_time_seconds: bytes, *condition: bytes) -> Reply:
    """Sets the expiration time of a key to a Unix timestamp."""
    return _expire(client, key, unix_time_seconds, condition, "expireat", seconds=True, absolute=True)


@command("pexpireat", "write fast", keys=1)
def pexpireat(client: Client, key: bytes, unix_time_milliseconds: bytes, *condition: bytes) -> Reply:
    """Sets the expiration time of a key to a Unix milliseconds timestamp."""
    return _expire(client, key, unix_time_milliseconds, condition, "pexpireat", seconds=False, absolute=True)


def _expire(
    client: Client,
    key: bytes,
    time: bytes,
    options: tuple[bytes, ...],
    name: str,
    *,
    seconds: bool,
    absolute: bool = False,
) -> Reply:
    now = client.engine.dataset.now()
    conditions = _conditions(options)
    when = expiry(time, now, seconds=seconds, absolute=absolute, command=name)
    db = client.db
    if key not in db:
        return 0
    before = db.expires.get(key)
    # Without one a key lives for ever, which is longer than any.
    if (
        ("NX" in conditions and before is not None)
        or ("XX" in conditions and before is None)
        or ("GT" in conditions and (before is None or when <= before))
        or ("LT" in conditions and before is not None and when >= before)
    ):
        return 0
    if when <= now:
        db.remove(key)
        client.propagate(b"DEL", key)
    else:
        db.expire(key, when)
        client.propagate(b"PEXPIREAT", key, b"%d" % when)
    return 1


def _conditions(options: tuple[bytes, ...]) -> set[str]:
    conditions = {option.upper().decode("latin-1") for option in options}
    for option, condition in zip(options, [option.upper() for option in options], strict=True):
        if condition not in {b"NX", b"XX", b"GT", b"LT"}:
            raise CommandError(f"ERR Unsupported option {option.decode('utf-8', 'surrogateescape')}")
    if "NX" in conditions and len(conditions) > 1:
        raise CommandError("ERR NX and XX, GT or LT options at the same time are not compatible")
    if {"GT", "LT"} <= conditions:
        raise CommandError("ERR GT and LT options at the same time are not compatible")
    return conditions


@command("persist", "write fast", keys=1)
def persist(client: Client, key: bytes) -> Reply:
    """Removes the expiration time of a key."""
    if key not in client.db or key not in client.db.expires:
        return 0
    client.db.expire(key, None)
    return 1


@command("ttl", "readonly fast", keys=1)
def ttl(client: Client, key: bytes) -> Reply:
    """Returns the expiration time in seconds of a key."""
    left = _left(client, key)
    return left if left < 0 else (left + 500) // 1000


@command("pttl", "readonly fast", keys=1)
def pttl(client: Client, key: bytes) -> Reply:
    """Returns the expiration time in milliseconds of a key."""
    return _left(client, key)


def _left(client: Client, key: bytes) -> int:
    when = _when(client.db, key)
    return when if when < 0 else max(0, when - client.engine.dataset.now())


@command("expiretime", "readonly fast", keys=1)
def expiretime(client: Client, key: bytes) -> Reply:
    """Returns the expiration time of a key as a Unix timestamp."""
    when = _when(client.db, key)
    return when if when < 0 else (when + 500) // 1000


@command("pexpiretime", "readonly fast", keys=1)
def pexpiretime(client: Client, key: bytes) -> Reply:
    """Returns the expiration time of a key as a Unix milliseconds timestamp."""
    return _when(client.db, key)


def _when(db: Keyspace, key: bytes) -> int:
    """Return when a key expires; -2: there is none, -1: never."""
    return db.expires.get(key, -1) if key in db else -2


# -- what a value is made of ---------------------------------------------------------------------------------------


@command("object", "")
def object_(client: Client) -> Reply:
    """A container for object introspection commands."""
    raise CommandError("ERR wrong number of arguments for 'object' command")


@command("object|encoding", "readonly", keys=2)
def object_encoding(client: Client, key: bytes) -> Reply:
    """Returns the internal encoding of a Redis object."""
    value = client.db.get(key)
    return None if value is None else encoding(value)


@command("object|refcount", "readonly", keys=2)
def object_refcount(client: Client, key: bytes) -> Reply:
    """Returns the reference count of a value of a key."""
    return None if client.db.get(key) is None else 1


@command("object|idletime", "readonly", keys=2)
def object_idletime(client: Client, key: bytes) -> Reply:
    """Returns the time since the last access to a Redis object."""
    ledger = client.engine.dataset.ledger
    idle = 0.0 if ledger is None else ledger.idle(client.db, key)
    return None if client.db.get(key) is None else int(idle)


@command("object|freq", "readonly", keys=2)
def object_freq(client: Client, key: bytes) -> Reply:
    """Returns the logarithmic access frequency counter of a Redis object."""
    ledger = client.engine.dataset.ledger
    if client.db.get(key) is None:
        return None
    if ledger is None or not ledger.counts_uses:
        raise CommandError("ERR An LFU maxmemory policy is not selected, access frequency not tracked.")
    return ledger.frequency(client.db, key)


def encoding(value: Value) -> bytes:
    """Return how redis would hold a value: programs look at it, though here nothing depends on it."""
    small = 128
    if isinstance(value, bytes):
        if len(value) <= 20 and value.lstrip(b"-").isdigit() and str(int(value)).encode() == value:  # noqa: PLR2004 -- 64 bits
            return b"int"
        return b"embstr" if len(value) <= 44 else b"raw"  # noqa: PLR2004 -- one allocation of 64 octets
    if isinstance(value, deque):
        return b"quicklist"
    members = value.scores if isinstance(value, SortedSet) else value
    if isinstance(value, set) and len(value) <= 512 and all(each.lstrip(b"-").isdigit() for each in value):  # noqa: PLR2004
        return b"intset"
    if isinstance(value, set) or len(members) > small or max(map(len, members)) > small // 2:
        return b"skiplist" if isinstance(value, SortedSet) else b"hashtable"
    return b"listpack"
