"""COMMAND: what clients can ask about commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servers.keyvalue.arguments import SYNTAX
from servers.keyvalue.commands.documentation import categories, describe, document
from servers.keyvalue.commands.table import Command, command, find
from servers.keyvalue.glob import matcher
from servers.keyvalue.protocol import CommandError, Reply

if TYPE_CHECKING:
    from servers.keyvalue.client import Client

_NEEDS_KEYS = "ERR The command has no key arguments"


@command("command", "random loading stale")
def command_(client: Client) -> Reply:
    """Returns detailed information about all commands."""
    return [describe(row) for row in _rows(client)]


@command("command|count", "loading stale")
def command_count(client: Client) -> Reply:
    """Returns a count of commands."""
    return len(_rows(client))


@command("command|info", "random loading stale")
def command_info(client: Client, *names: bytes) -> Reply:
    """Returns information about one, multiple or all commands."""
    if not names:
        return command_(client)
    found = [_named(client, name) for name in names]
    return [None if row is None else describe(row) for row in found]


@command("command|docs", "random loading stale")
def command_docs(client: Client, *names: bytes) -> Reply:
    """Returns documentary information about one, multiple or all commands."""
    found = [_named(client, name) for name in names] if names else _rows(client)
    return {row.name.encode(): document(row) for row in found if row is not None}


@command("command|list", "random loading stale")
def command_list(client: Client, *filters: bytes) -> Reply:
    """Returns a list of command names."""
    names = [row.name.encode() for row in _rows(client)]
    match [word.upper() if place < 2 else word for place, word in enumerate(filters)]:  # noqa: PLR2004 -- FILTERBY, kind
        case []:
            return names
        case [b"FILTERBY", b"PATTERN", pattern]:
            return [name for name in names if matcher(pattern.lower())(name)]
        case [b"FILTERBY", b"ACLCAT", category]:
            wanted = category.decode("latin-1").lower()
            return [row.name.encode() for row in _rows(client) if wanted in categories(row)]
        case [b"FILTERBY", b"MODULE", _]:
            return []
        case _:
            raise CommandError(SYNTAX)


@command("command|getkeys", "loading stale")
def command_getkeys(client: Client, name: bytes, argument: bytes, *rest: bytes) -> Reply:
    """Extracts the key names from an arbitrary command."""
    request = [name, argument, *rest]
    try:
        row = find(client.table, request)
    except CommandError as error:
        number = "wrong number" in str(error)
        what = "number of arguments specified for command" if number else "command specified"
        raise CommandError(f"ERR Invalid {what}") from None
    keys = row.keys_of(request)
    if not keys:
        raise CommandError(_NEEDS_KEYS)
    return keys


def _rows(client: Client) -> list[Command]:
    return [row for name, row in client.table.items() if name.islower()]


def _named(client: Client, name: bytes) -> Command | None:
    parent, _, own = name.lower().partition(b"|")
    row = client.table.get(parent)
    return row.subcommands.get(own.upper()) if row is not None and own else row
