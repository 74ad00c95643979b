"""Transactions: MULTI, EXEC, DISCARD, WATCH, UNWATCH."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servers.keyvalue import blocking, commands
from servers.keyvalue.blocking import Block
from servers.keyvalue.commands.table import command
from servers.keyvalue.protocol import NIL_ARRAY, CommandError, Reply, Request

if TYPE_CHECKING:
    from servers.keyvalue.client import Client

# Requests between MULTI and EXEC, and their octets: redis bounds them by client-query-buffer-limit, 1 GiB.
_MOST_REQUESTS = 1024 * 1024
_MOST_OCTETS = 1024 * 1024 * 1024


@command("multi", "noscript loading stale fast unqueued")
def multi(client: Client) -> Reply:
    """Starts a transaction."""
    if client.queue is not None:
        raise CommandError("ERR MULTI calls can not be nested")
    client.queue = []
    client.gate()
    return "OK"


def enqueue(client: Client, request: Request) -> Reply:
    """Keep a request for EXEC."""
    queue = client.queue
    if queue is not None:
        client.queued += sum(map(len, request))
        if len(queue) >= _MOST_REQUESTS or client.queued > _MOST_OCTETS:
            raise CommandError("ERR transaction is too large")
        queue.append(request)
    return "QUEUED"


@command("exec", "noscript loading stale skip_slowlog unqueued")
def exec_(client: Client) -> Reply:
    """Executes all commands in a transaction."""
    if client.queue is None:
        raise CommandError("ERR EXEC without MULTI")
    queue = client.queue
    try:
        if client.broken:
            raise CommandError("EXECABORT Transaction discarded because of previous errors.")
        if client.dirty or any(key in each.expires and key not in each for each, key in client.watching):
            return NIL_ARRAY
        client.running = True
        return [_run(client, request) for request in queue]
    finally:
        client.running = False
        _end(client)
        blocking.serve(client.engine)


def _run(client: Client, request: Request) -> Reply:
    try:
        return commands.execute(client, request)
    except Block as block:
        return block.otherwise  # nobody waits within a transaction: it would never end


@command("discard", "noscript loading stale fast unqueued")
def discard(client: Client) -> Reply:
    """Discards a transaction."""
    if client.queue is None:
        raise CommandError("ERR DISCARD without MULTI")
    _end(client)
    return "OK"


def _end(client: Client) -> None:
    client.queue, client.broken, client.queued = None, False, 0
    client.unwatch()
    client.gate()


@command("watch", "noscript loading stale fast unqueued", keys=(1, -1, 1))
def watch(client: Client, key: bytes, *keys: bytes) -> Reply:
    """Monitors changes to keys to determine the execution of a transaction."""
    if client.queue is not None:
        raise CommandError("ERR WATCH inside MULTI is not allowed")
    for each in (key, *keys):
        _ = each in client.db  # an expired one is removed now, which is no change any more
        client.watch(each)
    return "OK"


@command("unwatch", "noscript loading stale fast")
def unwatch(client: Client) -> Reply:
    """Forgets about watched keys of a transaction."""
    client.unwatch()
    return "OK"
