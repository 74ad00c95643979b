"""What a value is made of: OBJECT and MEMORY."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from servers.keyvalue.arguments import SYNTAX, integer
from servers.keyvalue.commands.table import command
from servers.keyvalue.keyspace import Value
from servers.keyvalue.memory import size_of
from servers.keyvalue.protocol import CommandError, Reply
from servers.keyvalue.sortedset import SortedSet

if TYPE_CHECKING:
    from servers.keyvalue.client import Client


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
        raise CommandError(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. "
            "Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust."
        )
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


@command("memory", "")
def memory(client: Client) -> Reply:
    """A container for memory diagnostics commands."""
    raise CommandError("ERR wrong number of arguments for 'memory' command")


@command("memory|usage", "readonly", keys=2)
def memory_usage(client: Client, key: bytes, *options: bytes) -> Reply:
    """Estimates the memory usage of a key."""
    samples = 5
    if options:
        if len(options) != 2 or options[0].upper() != b"SAMPLES":  # noqa: PLR2004 -- the word and the number
            raise CommandError(SYNTAX)
        samples = integer(options[1])
        if samples < 0:
            raise CommandError(SYNTAX)
    value = client.db.get(key)
    return None if value is None else size_of(key, value, samples)
