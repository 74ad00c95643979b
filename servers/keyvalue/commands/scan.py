"""SCAN, and the same for what is within one key: HSCAN, SSCAN, ZSCAN."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from servers.keyvalue.arguments import SYNTAX, integer
from servers.keyvalue.commands.keys import NAMES
from servers.keyvalue.commands.table import command
from servers.keyvalue.glob import matcher
from servers.keyvalue.keyspace import HASH, SET
from servers.keyvalue.protocol import CommandError, Reply, format_double
from servers.keyvalue.sortedset import SortedSet

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from servers.keyvalue.client import Client
    from servers.keyvalue.keyspace import Value

ValueT = TypeVar("ValueT", bound="Value")

# What one call may look at, however large a COUNT is asked for: some milliseconds.
_MOST = 65536


@command("scan", "readonly random")
def scan(client: Client, cursor: bytes, *options: bytes) -> Reply:
    """Iterates over the key names in the database."""
    kind = b""
    others: list[bytes] = []
    for option, value in zip(options[::2], options[1::2], strict=False):
        if option.upper() == b"TYPE":
            kind = value.lower()
        else:
            others += option, value
    if len(options) % 2:
        raise CommandError(SYNTAX)
    following, names = _next(client, cursor, others, client.db.values)
    found = [key for key in names if key in client.db]
    if kind:
        found = [key for key in found if NAMES[type(client.db.values[key])].encode() == kind]
    return [b"%d" % following, found]


@command("hscan", "readonly random", keys=1)
def hscan(client: Client, key: bytes, cursor: bytes, *options: bytes) -> Reply:
    """Iterates over fields and values of a hash."""
    fields = client.db.typed(key, HASH) or {}
    following, names = _next(client, cursor, options, fields)
    return [b"%d" % following, [each for name in names if name in fields for each in (name, fields[name])]]


@command("sscan", "readonly random", keys=1)
def sscan(client: Client, key: bytes, cursor: bytes, *options: bytes) -> Reply:
    """Iterates over members of a set."""
    members = client.db.typed(key, SET) or set()
    following, names = _next(client, cursor, options, members)
    return [b"%d" % following, [name for name in names if name in members]]


@command("zscan", "readonly random", keys=1)
def zscan(client: Client, key: bytes, cursor: bytes, *options: bytes) -> Reply:
    """Iterates over members and scores of a sorted set."""
    found = client.db.typed(key, SortedSet)
    scores = found.scores if found is not None else {}
    following, names = _next(client, cursor, options, scores)
    pairs = [each for name in names if name in scores for each in (name, format_double(scores[name]))]
    return [b"%d" % following, pairs]


def _next(
    client: Client, cursor: bytes, options: Sequence[bytes], items: Collection[bytes]
) -> tuple[int, list[bytes]]:
    """Return the next cursor, and the names that match."""
    count, pattern = 10, b""
    for option, value in zip(options[::2], options[1::2], strict=False):
        match option.upper():
            case b"COUNT":
                count = integer(value)
                if count < 1:
                    raise CommandError(SYNTAX)
            case b"MATCH":
                pattern = value
            case _:
                raise CommandError(SYNTAX)
    if len(options) % 2:
        raise CommandError(SYNTAX)
    if not cursor.isdigit() or len(cursor) > 20:  # noqa: PLR2004 -- 64 bits
        raise CommandError("ERR invalid cursor")
    following, names = client.engine.cursors.next(int(cursor), min(count, _MOST), items)
    if pattern and pattern != b"*":
        matches = matcher(pattern)
        return following, [name for name in names if matches(name)]
    return following, list(names)
