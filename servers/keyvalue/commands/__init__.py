"""What a client may ask for: one family of commands per file, and how one of them is run."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from servers.keyvalue import blocking
from servers.keyvalue.commands import (
    clients,
    connection,
    expiry,
    hashes,
    introspection,
    keys,
    lists,
    objects,
    pubsub,
    queues,
    scan,
    server,
    sets,
    sorted_sets,
    sorting,
    strings,
    transactions,
    zcombinations,
    zranges,
)
from servers.keyvalue.commands.table import Command, find
from servers.keyvalue.parser import Alike
from servers.keyvalue.protocol import CommandError, Reply, Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servers.keyvalue.client import Client

__all__ = [
    "clients",
    "connection",
    "execute",
    "execute_alike",
    "expiry",
    "hashes",
    "introspection",
    "keys",
    "lists",
    "objects",
    "pubsub",
    "queues",
    "scan",
    "server",
    "sets",
    "sorted_sets",
    "sorting",
    "strings",
    "transactions",
    "zcombinations",
    "zranges",
]


def execute(client: Client, request: Request) -> Reply:
    """Do what a request says, and return the reply, which may be a refusal."""
    row = client.table.get(request[0])
    try:
        if row is None or len(request) not in row.arity:
            row = find(client.table, request)
        if client.gated and (instead := _at_gate(client, row, request)) is not None:
            return instead
        dataset = client.dataset
        if not row.write:
            dataset.reading = True
            return row.run(client, *request[row.skip :])
        dataset.reading = False
        reply = row.run(client, *request[row.skip :]) if dataset.plain else _write(client, row, request)
        if dataset.ready and not client.running:
            blocking.serve(client.engine)
        return reply
    except CommandError as error:
        # What may not be queued breaks the transaction; what has run at once and failed does not.
        if client.queue is not None and (
            row is None or len(request) not in row.arity or "unqueued" not in row.flags
        ):
            client.broken = True
        client.engine.errors += 1
        return error


def execute_alike(client: Client, requests: Sequence[Request]) -> Sequence[Reply] | None:
    """Do at once what a batch of requests says that differ in their arguments only, where their command can do that.

    Returns:
        The replies; ``None``, and nothing was done, where the requests have to be run one by one.
    """
    alike = requests if isinstance(requests, Alike) else None
    name = requests[0][0] if alike is None else alike.columns[0][0]
    row = client.table.get(name)
    dataset = client.dataset
    if (
        row is None
        or row.many is None
        or (alike is None and requests[-1][0] != name)
        or client.gated
        or dataset.ledger is not None
        or (row.write and dataset.alert)
    ):
        return None
    # Without options, that is; and by columns, so that the work for one more is done in C.
    columns = _columns(requests) if alike is None else alike.columns
    if len(columns) != row.arity.start or columns[0].count(name) != len(requests):
        return None
    arguments = columns[1:]
    dataset.reading = not row.write
    if dataset.journal is None or not row.write:
        return row.many(client, *arguments)
    try:
        client.engine.store.reserve([*chain.from_iterable(columns)])
    except CommandError:
        return None  # there may be room for some of them
    replies = row.many(client, *arguments)
    if replies is not None:
        for request in requests:
            dataset.journal(client.db.number, request)
    return replies


def _columns(requests: Sequence[Request]) -> Sequence[Sequence[bytes]]:
    return [*zip(*requests, strict=True)] if len({*map(len, requests)}) == 1 else []


def _write(client: Client, row: Command, request: Request) -> Reply:
    """Run a command that may change data, with all that this takes: room, and a record of it."""
    engine = client.engine
    dataset = engine.dataset
    if dataset.ledger is not None and "denyoom" in row.flags:
        dataset.ledger.make_room(client)
    if dataset.journal is None:
        return row.run(client, *request[row.skip :])
    engine.store.reserve(request)
    before = dataset.changes
    try:
        return row.run(client, *request[row.skip :])
    finally:
        effects, dataset.effects = dataset.effects, None
        if effects is not None:
            for effect in effects:
                dataset.journal(client.db.number, effect)
        elif dataset.changes != before:
            dataset.journal(client.db.number, request)


def _at_gate(client: Client, row: Command, request: Request) -> Reply:
    """Hold back what may not run now; return what to answer instead, or None to let it pass."""
    if not client.authenticated and "stranger" not in row.flags:
        raise CommandError("NOAUTH Authentication required.")
    if client.queue is not None and "unqueued" not in row.flags:
        if "outside" in row.flags:
            raise CommandError("ERR Command not allowed inside a transaction")
        if client.running:
            return None
        return transactions.enqueue(client, request)
    if (client.subscriptions or client.patterns) and not client.resp3 and "listening" not in row.flags:
        allowed = "(P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
        raise CommandError(f"ERR Can't execute '{row.name}': only {allowed}")
    return None
