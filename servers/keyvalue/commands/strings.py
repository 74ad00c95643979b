"""Strings: GET and SET in all their forms, counters, ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servers.keyvalue.arguments import SYNTAX, decimal, decimal_text, expiry, integer
from servers.keyvalue.commands.table import command
from servers.keyvalue.keyspace import WrongTypeError
from servers.keyvalue.protocol import CommandError, Reply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servers.keyvalue.client import Client

# Redis' proto-max-bulk-len: what could not come as one argument is not to be made out of several either.
_LONGEST = 512 * 1024 * 1024
_FAR = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
_MOST = 2**63 - 1
# Octets that several GETs may come to at once: about what is sent at a time.
_MANY = 1024 * 1024
_TIMES = (b"EX", b"PX", b"EXAT", b"PXAT")


def _get_many(client: Client, keys: Sequence[bytes]) -> Sequence[Reply] | None:
    return client.db.strings(keys, _MANY)


@command("get", "readonly fast", keys=1, many=_get_many)
def get(client: Client, key: bytes) -> Reply:
    """Returns the string value of a key."""
    value = client.db.get(key)
    if value is None or type(value) is bytes:
        return value
    raise WrongTypeError


def _set_many(client: Client, keys: Sequence[bytes], values: Sequence[bytes]) -> Sequence[Reply]:
    client.db.set_many(keys, values)
    return ["OK"] * len(keys)


@command("set", "write denyoom", keys=1, many=_set_many)
def set_(client: Client, key: bytes, value: bytes, *options: bytes) -> Reply:
    """Sets the string value of a key, ignoring its type. The key is created if it doesn't exist."""
    if not options:
        client.db.set(key, value)
        return "OK"
    condition, want_old, keep, when = _set_options(client, options)
    db = client.db
    old = db.typed(key, bytes) if want_old else db.get(key)
    reply: Reply = old if want_old and isinstance(old, bytes) else None
    if condition and (old is None) is (condition == b"XX"):
        return reply
    if keep:
        db.put(key, value)
    else:
        db.set(key, value)
    if when is not None:
        db.expire(key, when)
        client.propagate(b"SET", key, value, b"PXAT", b"%d" % when)
    return reply if want_old else "OK"


def _set_options(client: Client, options: tuple[bytes, ...]) -> tuple[bytes, bool, bool, int | None]:
    """Return NX or XX, whether the old value is asked for, whether the expiry stays, and the new one."""
    condition, want_old, keep = b"", False, False
    when: tuple[bytes, bytes | None] | None = None
    words = iter(options)
    for word in words:
        option = word.upper()
        if option in {b"NX", b"XX"} and not condition:
            condition = option
        elif option == b"GET":
            want_old = True
        elif option == b"KEEPTTL" and when is None:
            keep = True
        elif option in _TIMES and when is None and not keep:
            when = option, next(words, None)
        else:
            raise CommandError(SYNTAX)
        if when is not None and when[1] is None:
            raise CommandError(SYNTAX)
    return condition, want_old, keep, None if when is None else _when(client, *when, "set")


def _when(client: Client, option: bytes, number: bytes | None, name: str) -> int:
    if number is None:
        raise CommandError(SYNTAX)
    absolute = option.endswith(b"AT")
    if integer(number) <= 0:
        raise CommandError(f"ERR invalid expire time in '{name}' command")
    now = client.engine.dataset.now()
    return expiry(number, now, seconds=option.startswith(b"EX"), absolute=absolute, command=name)


@command("setnx", "write denyoom fast", keys=1)
def setnx(client: Client, key: bytes, value: bytes) -> Reply:
    """Set the string value of a key only when the key doesn't exist."""
    if key in client.db:
        return 0
    client.db.set(key, value)
    return 1


@command("setex", "write denyoom", keys=1)
def setex(client: Client, key: bytes, seconds: bytes, value: bytes) -> Reply:
    """Sets the string value and expiration time of a key. Creates the key if it doesn't exist."""
    return _set_expiring(client, key, value, _when(client, b"EX", seconds, "setex"))


@command("psetex", "write denyoom", keys=1)
def psetex(client: Client, key: bytes, milliseconds: bytes, value: bytes) -> Reply:
    """Sets both string value and expiration time in milliseconds of a key. The key is created if it doesn't exist."""
    return _set_expiring(client, key, value, _when(client, b"PX", milliseconds, "psetex"))


def _set_expiring(client: Client, key: bytes, value: bytes, when: int) -> Reply:
    client.db.set(key, value)
    client.db.expire(key, when)
    client.propagate(b"SET", key, value, b"PXAT", b"%d" % when)
    return "OK"


@command("getset", "write denyoom fast", keys=1)
def getset(client: Client, key: bytes, value: bytes) -> Reply:
    """Returns the previous string value of a key after setting it to a new value."""
    old = client.db.typed(key, bytes)
    client.db.set(key, value)
    return old


@command("getdel", "write fast", keys=1)
def getdel(client: Client, key: bytes) -> Reply:
    """Returns the string value of a key after deleting the key."""
    old = client.db.typed(key, bytes)
    client.db.remove(key)
    return old


@command("getex", "write fast", keys=1)
def getex(client: Client, key: bytes, *options: bytes) -> Reply:
    """Returns the string value of a key after setting its expiration time."""
    words = [option.upper() for option in options]
    timed = len(words) == 2 and words[0] in _TIMES  # noqa: PLR2004 -- which, and when
    if not timed and words not in ([], [b"PERSIST"]):
        raise CommandError(SYNTAX)
    value = client.db.typed(key, bytes)
    if not timed:
        if words and value is not None and key in client.db.expires:
            client.db.expire(key, None)
            client.propagate(b"PERSIST", key)
        return value
    when = _when(client, words[0], words[1], "getex")
    if value is not None:
        if when <= client.engine.dataset.now():
            client.db.remove(key)
            client.propagate(b"DEL", key)
        else:
            client.db.expire(key, when)
            client.propagate(b"PEXPIREAT", key, b"%d" % when)
    return value


@command("mget", "readonly fast", keys=(1, -1, 1))
def mget(client: Client, key: bytes, *keys: bytes) -> Reply:
    """Atomically returns the string values of one or more keys."""
    values = [client.db.get(each) for each in (key, *keys)]
    return [value if type(value) is bytes else None for value in values]


@command("mset", "write denyoom", keys=(1, -1, 2))
def mset(client: Client, key: bytes, value: bytes, *pairs: bytes) -> Reply:
    """Atomically creates or modifies the string values of one or more keys."""
    client.db.set_many(*_pairs("mset", key, value, *pairs))
    return "OK"


@command("msetnx", "write denyoom", keys=(1, -1, 2))
def msetnx(client: Client, key: bytes, value: bytes, *pairs: bytes) -> Reply:
    """Atomically modifies the string values of one or more keys only when all keys don't exist."""
    keys, values = _pairs("msetnx", key, value, *pairs)
    if any(each in client.db for each in keys):
        return 0
    client.db.set_many(keys, values)
    return 1


def _pairs(name: str, *arguments: bytes) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """Return the keys and the values of arguments that alternate."""
    if len(arguments) % 2:
        raise CommandError(f"ERR wrong number of arguments for '{name}' command")
    return arguments[::2], arguments[1::2]


@command("append", "write denyoom fast", keys=1)
def append(client: Client, key: bytes, value: bytes) -> Reply:
    """Appends a string to the value of a key. Creates the key if it doesn't exist."""
    old = client.db.typed(key, bytes) or b""
    if len(old) + len(value) > _LONGEST:
        raise CommandError(_FAR)
    client.db.put(key, old + value)
    return len(old) + len(value)


@command("strlen", "readonly fast", keys=1)
def strlen(client: Client, key: bytes) -> Reply:
    """Returns the length of a string value."""
    return len(client.db.typed(key, bytes) or b"")


@command("getrange", "readonly", keys=1)
def getrange(client: Client, key: bytes, start: bytes, end: bytes) -> Reply:
    """Returns a substring of the string stored at a key."""
    first, last = integer(start), integer(end)
    value = client.db.typed(key, bytes) or b""
    size = len(value)
    if first < 0 and last < 0 and first > last:
        return b""
    first = max(0, first + size if first < 0 else first)
    last = max(0, last + size if last < 0 else last)
    return value[first : last + 1]


@command("substr", "readonly", keys=1)
def substr(client: Client, key: bytes, start: bytes, end: bytes) -> Reply:
    """Returns a substring from a string value."""
    return getrange(client, key, start, end)


@command("setrange", "write denyoom", keys=1)
def setrange(client: Client, key: bytes, offset: bytes, value: bytes) -> Reply:
    """Overwrites a part of a string value with another by an offset. Creates the key if it doesn't exist."""
    at = integer(offset)
    if at < 0:
        raise CommandError("ERR offset is out of range")
    old = client.db.typed(key, bytes) or b""
    if not value:
        return len(old)
    if at + len(value) > _LONGEST:
        raise CommandError(_FAR)
    new = old[:at].ljust(at, b"\0") + value + old[at + len(value) :]
    client.db.put(key, new)
    return len(new)


@command("incr", "write denyoom fast", keys=1)
def incr(client: Client, key: bytes) -> Reply:
    """Increments the integer value of a key by one. Uses 0 as initial value if the key doesn't exist."""
    return _add(client, key, 1)


@command("decr", "write denyoom fast", keys=1)
def decr(client: Client, key: bytes) -> Reply:
    """Decrements the integer value of a key by one. Uses 0 as initial value if the key doesn't exist."""
    return _add(client, key, -1)


@command("incrby", "write denyoom fast", keys=1)
def incrby(client: Client, key: bytes, increment: bytes) -> Reply:
    """Increments the integer value of a key by a number. Uses 0 as initial value if the key doesn't exist."""
    return _add(client, key, integer(increment))


@command("decrby", "write denyoom fast", keys=1)
def decrby(client: Client, key: bytes, decrement: bytes) -> Reply:
    """Decrements a number from the integer value of a key. Uses 0 as initial value if the key doesn't exist."""
    number = integer(decrement)
    if number == -_MOST - 1:
        raise CommandError("ERR decrement would overflow")
    return _add(client, key, -number)


def _text(client: Client, key: bytes) -> bytes:
    """Return what a key counts from."""
    value = client.db.typed(key, bytes)
    return b"0" if value is None else value


def _add(client: Client, key: bytes, number: int) -> int:
    total = integer(_text(client, key)) + number
    if not -_MOST - 1 <= total <= _MOST:
        raise CommandError("ERR increment or decrement would overflow")
    client.db.put(key, b"%d" % total)
    return total


@command("incrbyfloat", "write denyoom fast", keys=1)
def incrbyfloat(client: Client, key: bytes, increment: bytes) -> Reply:
    """Increment the floating point value of a key by a number. Uses 0 as initial value if the key doesn't exist."""
    old = decimal(_text(client, key))
    total = decimal_text(old, decimal(increment))
    client.db.put(key, total)
    client.propagate(b"SET", key, total, b"KEEPTTL")
    return total
