"""When keys go: in a while, or at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servers.keyvalue.arguments import expiry
from servers.keyvalue.commands.table import command
from servers.keyvalue.protocol import CommandError, Reply

if TYPE_CHECKING:
    from servers.keyvalue.client import Client
    from servers.keyvalue.keyspace import Keyspace


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
