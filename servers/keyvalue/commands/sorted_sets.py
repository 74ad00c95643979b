"""Sorted sets: members and their scores, the lowest and the highest, and several of them combined."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

from servers.keyvalue.arguments import SYNTAX, double, positive, timeout
from servers.keyvalue.commands.hashes import choose, drawn
from servers.keyvalue.commands.popping import pop_several, pop_waiting
from servers.keyvalue.commands.table import command
from servers.keyvalue.protocol import CommandError, Reply, format_double
from servers.keyvalue.sortedset import SortedSet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from servers.keyvalue.client import Client

_NOT_A_NUMBER = "ERR resulting score is not a number (NaN)"
_LOWEST = {b"MIN": True, b"MAX": False}
_FLAGS = {b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR"}


@command("zadd", "write denyoom fast", keys=1)
def zadd(client: Client, key: bytes, score: bytes, member: bytes, *rest: bytes) -> Reply:
    """Adds one or more members to a sorted set, or updates their scores. Creates the key if it doesn't exist."""
    flags, words = _split_flags(score, member, *rest)
    increment = b"INCR" in flags
    scores = [double(each) for each in words[::2]]
    found = client.db.typed(key, SortedSet)
    added = updated = 0
    reached: float | None = None
    for number, each in zip(scores, words[1::2], strict=True):
        old = None if found is None else found.scores.get(each)
        new = number + old if increment and old is not None else number
        if math.isnan(new):
            raise CommandError(_NOT_A_NUMBER)
        if not _wanted(flags, old, new):
            continue
        if found is None:
            found = client.db.open(key, SortedSet)
        found.add(each, new)
        reached = new
        added += old is None
        updated += old is not None and old != new
    if added or updated:
        client.db.changed(key)
    if increment:
        return reached
    return added + updated if b"CH" in flags else added


def _split_flags(*arguments: bytes) -> tuple[set[bytes], list[bytes]]:
    """Return the flags of ZADD, and what follows them."""
    words, flags = list(arguments), set[bytes]()
    while words and words[0].upper() in _FLAGS:
        flags.add(words.pop(0).upper())
    if not words or len(words) % 2:
        raise CommandError(SYNTAX)
    if {b"NX", b"XX"} <= flags:
        raise CommandError("ERR XX and NX options at the same time are not compatible")
    if len(flags & {b"NX", b"GT", b"LT"}) > 1:
        raise CommandError("ERR GT, LT, and/or NX options at the same time are not compatible")
    if b"INCR" in flags and len(words) > 2:  # noqa: PLR2004 -- one score, one member
        raise CommandError("ERR INCR option supports a single increment-element pair")
    return flags, words


def _wanted(flags: set[bytes], old: float | None, new: float) -> bool:
    if old is None:
        return b"XX" not in flags
    return not (b"NX" in flags or (b"GT" in flags and new <= old) or (b"LT" in flags and new >= old))


@command("zincrby", "write denyoom fast", keys=1)
def zincrby(client: Client, key: bytes, increment: bytes, member: bytes) -> Reply:
    """Increments the score of a member in a sorted set."""
    return zadd(client, key, b"INCR", increment, member)


@command("zrem", "write fast", keys=1)
def zrem(client: Client, key: bytes, member: bytes, *members: bytes) -> Reply:
    """Removes one or more members from a sorted set. Deletes the sorted set if all members were removed."""
    found = client.db.typed(key, SortedSet)
    if found is None:
        return 0
    gone = sum([found.discard(each) for each in (member, *members)])
    if gone:
        client.db.changed(key)
    return gone


@command("zcard", "readonly fast", keys=1)
def zcard(client: Client, key: bytes) -> Reply:
    """Returns the number of members in a sorted set."""
    return len(client.db.typed(key, SortedSet) or ())


@command("zscore", "readonly fast", keys=1)
def zscore(client: Client, key: bytes, member: bytes) -> Reply:
    """Returns the score of a member in a sorted set."""
    found = client.db.typed(key, SortedSet)
    return None if found is None else found.scores.get(member)


@command("zmscore", "readonly fast", keys=1)
def zmscore(client: Client, key: bytes, member: bytes, *members: bytes) -> Reply:
    """Returns the score of one or more members in a sorted set."""
    found = client.db.typed(key, SortedSet)
    return [None if found is None else found.scores.get(each) for each in (member, *members)]


@command("zrank", "readonly fast", keys=1)
def zrank(client: Client, key: bytes, member: bytes) -> Reply:
    """Returns the index of a member in a sorted set ordered by ascending scores."""
    found = client.db.typed(key, SortedSet)
    return None if found is None else found.rank(member)


@command("zrevrank", "readonly fast", keys=1)
def zrevrank(client: Client, key: bytes, member: bytes) -> Reply:
    """Returns the index of a member in a sorted set ordered by descending scores."""
    found = client.db.typed(key, SortedSet)
    rank = None if found is None else found.rank(member)
    return None if found is None or rank is None else len(found) - 1 - rank


@command("zrandmember", "readonly random", keys=1)
def zrandmember(client: Client, key: bytes, *options: bytes) -> Reply:
    """Returns one or more random members from a sorted set."""
    if len(options) > 2 or (len(options) == 2 and options[1].upper() != b"WITHSCORES"):  # noqa: PLR2004 -- both
        raise CommandError(SYNTAX)
    number = drawn(options[0], twofold=len(options) > 1) if options else 1
    found = client.db.typed(key, SortedSet)
    if found is None:
        return [] if options else None
    if not options:
        place = random.randrange(len(found))  # noqa: S311 -- no secret
        return next(found.slice(place, place + 1))[0]
    chosen = choose(list(found.scores), number)
    if len(options) == 1:
        return chosen
    return paired(client, [(member, found.scores[member]) for member in chosen])


def paired(client: Client, items: Iterable[tuple[bytes, float]]) -> Reply:
    """Return members with their scores, as the client's version of the protocol has them."""
    if client.resp3:
        return [[member, score] for member, score in items]
    return [each for member, score in items for each in (member, format_double(score))]


# -- the lowest and the highest ----------------------------------------------------------------------------------------


@command("zpopmin", "write fast", keys=1)
def zpopmin(client: Client, key: bytes, *count: bytes) -> Reply:
    """Returns the lowest-scoring members from a sorted set after removing them."""
    return _pop(client, key, count, lowest=True)


@command("zpopmax", "write fast", keys=1)
def zpopmax(client: Client, key: bytes, *count: bytes) -> Reply:
    """Returns the highest-scoring members from a sorted set after removing them."""
    return _pop(client, key, count, lowest=False)


def _pop(client: Client, key: bytes, count: tuple[bytes, ...], *, lowest: bool) -> Reply:
    if len(count) > 1:
        raise CommandError(SYNTAX)
    number = positive(count[0]) if count else 1
    if client.db.typed(key, SortedSet) is None:
        return []
    items = _take(client, key, number, lowest=lowest)
    # Without a count RESP3 has one flat pair.
    return [*items[0]] if client.resp3 and not count else paired(client, items)


def _take(client: Client, key: bytes, number: int, *, lowest: bool) -> list[tuple[bytes, float]]:
    found = client.db.open(key, SortedSet)
    items = [found.pop(0 if lowest else -1) for _ in range(min(number, len(found)))]
    if items:
        client.db.changed(key)
    return items


@command("bzpopmin", "write noscript blocking fast", keys=(1, -2, 1))
def bzpopmin(client: Client, key: bytes, timeout_: bytes, *rest: bytes) -> Reply:
    """Removes and returns the member with the lowest score from one or more sorted sets. Blocks until there is one."""
    return _pop_waiting(client, (key, timeout_, *rest), lowest=True)


@command("bzpopmax", "write noscript blocking fast", keys=(1, -2, 1))
def bzpopmax(client: Client, key: bytes, timeout_: bytes, *rest: bytes) -> Reply:
    """Removes and returns the member with the highest score from one or more sorted sets. Blocks until there is one."""
    return _pop_waiting(client, (key, timeout_, *rest), lowest=False)


def _pop_waiting(client: Client, arguments: tuple[bytes, ...], *, lowest: bool) -> Reply:
    def pop(key: bytes) -> Reply:
        ((member, score),) = _take(client, key, 1, lowest=lowest)
        client.propagate(b"ZREM", key, member)
        return [key, member, score]

    return pop_waiting(client, arguments, SortedSet, pop)


@command("zmpop", "write movablekeys", numbered=1)
def zmpop(client: Client, numkeys: bytes, key: bytes, where: bytes, *rest: bytes) -> Reply:
    """Returns the highest- or lowest-scoring members from one or more sorted sets after removing them."""
    return pop_several(client, numkeys, (key, where, *rest), SortedSet, _LOWEST, _pop_some)


@command("bzmpop", "write noscript blocking movablekeys", numbered=2)
def bzmpop(client: Client, timeout_: bytes, numkeys: bytes, key: bytes, where: bytes, *rest: bytes) -> Reply:
    """Removes and returns a member by score from one or more sorted sets. Blocks until there is one."""
    wait = timeout(timeout_)
    return pop_several(client, numkeys, (key, where, *rest), SortedSet, _LOWEST, _pop_some, wait)


def _pop_some(client: Client, key: bytes, lowest: bool, number: int) -> Reply:
    items = _take(client, key, number, lowest=lowest)
    client.propagate(b"ZPOPMIN" if lowest else b"ZPOPMAX", key, b"%d" % len(items))
    return [key, [[member, score] for member, score in items]]
