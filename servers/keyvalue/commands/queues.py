"""Lists as queues: from list to list, and the first of several, waiting if there is nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servers.keyvalue.arguments import SYNTAX, timeout
from servers.keyvalue.blocking import Block
from servers.keyvalue.commands.lists import lpush, rpush, take
from servers.keyvalue.commands.popping import pop_several, pop_waiting
from servers.keyvalue.commands.table import command
from servers.keyvalue.keyspace import LIST
from servers.keyvalue.protocol import CommandError, Reply

if TYPE_CHECKING:
    from servers.keyvalue.client import Client

_LEFT = {b"LEFT": True, b"RIGHT": False}


@command("lmove", "write denyoom", keys=(1, 2, 1))
def lmove(client: Client, source: bytes, destination: bytes, wherefrom: bytes, whereto: bytes) -> Reply:
    """Returns an element after popping it from one list and pushing it to another."""
    return _move(client, source, destination, _is_left(wherefrom), _is_left(whereto))


@command("rpoplpush", "write denyoom", keys=(1, 2, 1))
def rpoplpush(client: Client, source: bytes, destination: bytes) -> Reply:
    """Returns the last element of a list after removing and pushing it to another list."""
    return _move(client, source, destination, False, True)


@command("blmove", "write denyoom noscript blocking", keys=(1, 2, 1))
def blmove(
    client: Client, source: bytes, destination: bytes, wherefrom: bytes, whereto: bytes, timeout_: bytes
) -> Reply:
    """Pops an element from a list, pushes it to another list and returns it. Blocks until one is available."""
    return _move_waiting(client, source, destination, (_is_left(wherefrom), _is_left(whereto)), timeout_)


@command("brpoplpush", "write denyoom noscript blocking", keys=(1, 2, 1))
def brpoplpush(client: Client, source: bytes, destination: bytes, timeout_: bytes) -> Reply:
    """Pops an element from a list, pushes it to another list and returns it. Blocks until one is available."""
    return _move_waiting(client, source, destination, (False, True), timeout_)


def _move_waiting(
    client: Client, source: bytes, destination: bytes, ends: tuple[bool, bool], seconds: bytes
) -> Reply:
    wait = timeout(seconds)

    def attempt() -> Reply:
        moved = _move(client, source, destination, *ends)
        if moved is None:
            raise Block([source], wait, attempt, None)
        names = [b"LEFT" if left else b"RIGHT" for left in ends]
        client.propagate(b"LMOVE", source, destination, *names)
        return moved

    return attempt()


def _move(client: Client, source: bytes, destination: bytes, from_left: bool, to_left: bool) -> Reply:
    if client.db.typed(source, LIST) is None:
        return None
    client.db.typed(destination, LIST)
    (element,) = take(client, source, 1, left=from_left)
    (lpush if to_left else rpush)(client, destination, element)
    return element


def _is_left(end: bytes) -> bool:
    try:
        return _LEFT[end.upper()]
    except KeyError:
        raise CommandError(SYNTAX) from None


@command("blpop", "write noscript blocking", keys=(1, -2, 1))
def blpop(client: Client, key: bytes, timeout_: bytes, *rest: bytes) -> Reply:
    """Removes and returns the first element in a list. Blocks until an element is available otherwise."""
    return _pop_waiting(client, (key, timeout_, *rest), left=True)


@command("brpop", "write noscript blocking", keys=(1, -2, 1))
def brpop(client: Client, key: bytes, timeout_: bytes, *rest: bytes) -> Reply:
    """Removes and returns the last element in a list. Blocks until an element is available otherwise."""
    return _pop_waiting(client, (key, timeout_, *rest), left=False)


def _pop_waiting(client: Client, arguments: tuple[bytes, ...], *, left: bool) -> Reply:
    def pop(key: bytes) -> Reply:
        (element,) = take(client, key, 1, left=left)
        client.propagate(b"LPOP" if left else b"RPOP", key)
        return [key, element]

    return pop_waiting(client, arguments, LIST, pop)


@command("lmpop", "write movablekeys", numbered=1)
def lmpop(client: Client, numkeys: bytes, key: bytes, where: bytes, *rest: bytes) -> Reply:
    """Returns multiple elements from a list after removing them. Deletes the list if the last element was popped."""
    return pop_several(client, numkeys, (key, where, *rest), LIST, _LEFT, _pop_some)


@command("blmpop", "write noscript blocking movablekeys", numbered=2)
def blmpop(client: Client, timeout_: bytes, numkeys: bytes, key: bytes, where: bytes, *rest: bytes) -> Reply:
    """Pops elements from one of multiple lists. Blocks until an element is available otherwise."""
    wait = timeout(timeout_)
    return pop_several(client, numkeys, (key, where, *rest), LIST, _LEFT, _pop_some, wait)


def _pop_some(client: Client, key: bytes, left: bool, number: int) -> Reply:
    found = take(client, key, number, left=left)
    client.propagate(b"LPOP" if left else b"RPOP", key, b"%d" % len(found))
    return [key, found]
