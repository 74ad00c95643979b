"""What COMMAND says of a row of the table."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from servers.keyvalue.protocol import Reply

if TYPE_CHECKING:
    from collections.abc import Iterable

    from servers.keyvalue.commands.table import Command

# Flags that only this server knows.
_OWN = {"stranger", "listening", "unqueued", "outside", "random", "sort_for_script"}
# The groups of redis' own documentation, after which redis-cli and others arrange their help.
_GROUPS = {
    "strings": "string",
    "hashes": "hash",
    "lists": "list",
    "queues": "list",
    "sets": "set",
    "sorted-sets": "sorted-set",
    "zcombinations": "sorted-set",
    "zranges": "sorted-set",
    "keys": "generic",
    "expiry": "generic",
    "objects": "generic",
    "scan": "generic",
    "sorting": "generic",
    "clients": "connection",
    "introspection": "server",
}


def describe(row: Command) -> Reply:
    """Return a row as COMMAND INFO has it."""
    first, last, step = row.keys
    return [
        row.name.encode(),
        row.redis_arity,
        _flags(row),
        first,
        last,
        step if first else 0,
        [f"@{category}" for category in categories(row)],
        [],
        [],
        [describe(each) for each in row.subcommands.values()],
    ]


def document(row: Command) -> dict[bytes, Reply]:
    """Return a row as COMMAND DOCS has it."""
    entry: dict[bytes, Reply] = {
        b"summary": row.summary.partition("\n")[0].encode(),
        b"group": _group(row).encode(),
        b"arguments": [_argument(row, place, each) for place, each in _parameters(row)],
    }
    if row.subcommands:
        entry[b"subcommands"] = {each.name.encode(): document(each) for each in row.subcommands.values()}
    return entry


def _parameters(row: Command) -> Iterable[tuple[int, inspect.Parameter]]:
    """Return the parameters after the client, each with its place among the words of a request."""
    return enumerate(list(inspect.signature(row.run).parameters.values())[1:], row.skip)


def _argument(row: Command, place: int, parameter: inspect.Parameter) -> Reply:
    # What redis-cli makes its hints of. The options behind a star have a syntax of their own, and are one word here.
    many = parameter.kind is parameter.VAR_POSITIONAL
    entry: dict[bytes, Reply] = {
        b"name": parameter.name.strip("_").encode(),
        b"type": b"key" if place == row.keys[0] else b"string",
    }
    if many:
        entry[b"flags"] = ["optional", "multiple"]
    return entry


def _flags(row: Command) -> list[str]:
    return sorted(row.flags - _OWN)


def _group(row: Command) -> str:
    return _GROUPS.get(row.group, row.group)


def categories(row: Command) -> list[str]:
    """Return the categories of redis' access lists that a command belongs to."""
    group = _group(row).replace("-", "")
    families = {"generic": "keyspace", "server": "admin", "transactions": "transaction"}
    found = {families.get(group, group), "fast" if "fast" in row.flags else "slow"}
    found |= {"read"} if "readonly" in row.flags else set()
    found |= {flag for flag in ("write", "admin", "blocking", "pubsub") if flag in row.flags}
    found |= {"dangerous"} if "admin" in row.flags else set()
    return sorted(found)
