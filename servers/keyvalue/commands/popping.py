"""Popping from the first of several keys that has something, or waiting until one has: of lists and sorted sets alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from servers.keyvalue.arguments import SYNTAX, integer, numbered, timeout
from servers.keyvalue.blocking import Block
from servers.keyvalue.protocol import NIL_ARRAY, CommandError, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from servers.keyvalue.client import Client

EndT = TypeVar("EndT")

_AT_ONCE = -1.0


def pop_waiting(
    client: Client, arguments: tuple[bytes, ...], kind: type, pop: Callable[[bytes], Reply]
) -> Reply:
    """Do what BLPOP and its like do, whose arguments are keys and a timeout."""
    *keys, seconds = arguments
    return _first_of(client, keys, kind, pop, timeout(seconds))


def pop_several(
    client: Client,
    numkeys: bytes,
    rest: Sequence[bytes],
    kind: type,
    ends: Mapping[bytes, EndT],
    pop: Callable[[Client, bytes, EndT, int], Reply],
    wait: float | None = _AT_ONCE,
) -> Reply:
    """Do what LMPOP and its like do, whose arguments are keys, one of two ends, and how many.

    Args:
        client: whose command it is.
        numkeys: how many keys.
        rest: these, and what follows.
        kind: of value that is popped from.
        ends: by their names.
        pop: called with a key, the end and how many.
        wait: seconds; ``None``: for ever; left out: not at all.
    """
    keys, options = numbered(numkeys, rest)
    end = ends.get(options[0].upper()) if options else None
    if end is None:
        raise CommandError(SYNTAX)
    number = _count_option(options[1:])
    return _first_of(client, keys, kind, lambda key: pop(client, key, end, number), wait)


def _count_option(options: list[bytes]) -> int:
    """Return what ``COUNT n`` says, if it is there."""
    if not options:
        return 1
    if len(options) != 2 or options[0].upper() != b"COUNT":  # noqa: PLR2004 -- the word and the number
        raise CommandError(SYNTAX)
    number = integer(options[1], "ERR count should be greater than 0")
    if number < 1:
        raise CommandError("ERR count should be greater than 0")
    return number


def _first_of(
    client: Client,
    keys: list[bytes],
    kind: type,
    pop: Callable[[bytes], Reply],
    wait: float | None,
) -> Reply:
    def attempt() -> Reply:
        for key in keys:
            if client.db.typed(key, kind) is not None:
                return pop(key)
        if wait == _AT_ONCE:
            return NIL_ARRAY
        raise Block(keys, wait, attempt)

    return attempt()
