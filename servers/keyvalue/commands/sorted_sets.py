"""Sorted sets: members and their scores, the lowest and the highest, and several of them combined."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from servers.keyvalue.arguments import SYNTAX, double, integer, numbered, positive, timeout
from servers.keyvalue.commands.hashes import choose
from servers.keyvalue.commands.lists import count_option, first_of
from servers.keyvalue.commands.sets import limit_option
from servers.keyvalue.commands.table import command
from servers.keyvalue.keyspace import WrongTypeError
from servers.keyvalue.protocol import CommandError, Reply, format_double
from servers.keyvalue.sortedset import SortedSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from servers.keyvalue.client import Client

_NOT_A_NUMBER = "ERR resulting score is not a number (NaN)"
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
    number = integer(options[0]) if options else 1
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
    *keys, seconds = arguments

    def pop(key: bytes) -> Reply:
        ((member, score),) = _take(client, key, 1, lowest=lowest)
        client.propagate(b"ZREM", key, member)
        return [key, member, score]

    return first_of(client, keys, SortedSet, pop, wait=timeout(seconds))


@command("zmpop", "write movablekeys", numbered=1)
def zmpop(client: Client, numkeys: bytes, key: bytes, where: bytes, *rest: bytes) -> Reply:
    """Returns the highest- or lowest-scoring members from one or more sorted sets after removing them."""
    return first_of(client, *_parse_mpop(client, numkeys, (key, where, *rest)))


@command("bzmpop", "write noscript blocking movablekeys", numbered=2)
def bzmpop(client: Client, timeout_: bytes, numkeys: bytes, key: bytes, where: bytes, *rest: bytes) -> Reply:
    """Removes and returns a member by score from one or more sorted sets. Blocks until there is one."""
    wait = timeout(timeout_)
    return first_of(client, *_parse_mpop(client, numkeys, (key, where, *rest)), wait=wait)


def _parse_mpop(
    client: Client, numkeys: bytes, rest: Sequence[bytes]
) -> tuple[list[bytes], type[SortedSet], Callable[[bytes], Reply]]:
    keys, options = numbered(numkeys, rest)
    if not options or (where := options[0].upper()) not in {b"MIN", b"MAX"}:
        raise CommandError(SYNTAX)
    number = count_option(options[1:])

    def pop(key: bytes) -> Reply:
        items = _take(client, key, number, lowest=where == b"MIN")
        client.propagate(b"ZPOPMIN" if where == b"MIN" else b"ZPOPMAX", key, b"%d" % len(items))
        return [key, [[member, score] for member, score in items]]

    return keys, SortedSet, pop


# -- several sorted sets -----------------------------------------------------------------------------------------------


@command("zunion", "readonly movablekeys", numbered=1)
def zunion(client: Client, numkeys: bytes, key: bytes, *rest: bytes) -> Reply:
    """Returns the union of multiple sorted sets."""
    return _combine(client, "zunion", numkeys, (key, *rest), _unite)


@command("zinter", "readonly movablekeys", numbered=1)
def zinter(client: Client, numkeys: bytes, key: bytes, *rest: bytes) -> Reply:
    """Returns the intersect of multiple sorted sets."""
    return _combine(client, "zinter", numkeys, (key, *rest), _intersect)


@command("zdiff", "readonly movablekeys", numbered=1)
def zdiff(client: Client, numkeys: bytes, key: bytes, *rest: bytes) -> Reply:
    """Returns the difference between multiple sorted sets."""
    return _combine(client, "zdiff", numkeys, (key, *rest), _subtract)


@command("zunionstore", "write denyoom movablekeys", keys=1, numbered=2)
def zunionstore(client: Client, destination: bytes, numkeys: bytes, key: bytes, *rest: bytes) -> Reply:
    """Stores the union of multiple sorted sets in a key."""
    return _combine_into(client, destination, "zunionstore", numkeys, (key, *rest), _unite)


@command("zinterstore", "write denyoom movablekeys", keys=1, numbered=2)
def zinterstore(client: Client, destination: bytes, numkeys: bytes, key: bytes, *rest: bytes) -> Reply:
    """Stores the intersect of multiple sorted sets in a key."""
    return _combine_into(client, destination, "zinterstore", numkeys, (key, *rest), _intersect)


@command("zdiffstore", "write denyoom movablekeys", keys=1, numbered=2)
def zdiffstore(client: Client, destination: bytes, numkeys: bytes, key: bytes, *rest: bytes) -> Reply:
    """Stores the difference of multiple sorted sets in a key."""
    return _combine_into(client, destination, "zdiffstore", numkeys, (key, *rest), _subtract)


@command("zintercard", "readonly movablekeys", numbered=1)
def zintercard(client: Client, numkeys: bytes, key: bytes, *rest: bytes) -> Reply:
    """Returns the number of members of the intersect of multiple sorted sets."""
    keys, options = _numbered(numkeys, (key, *rest), "zintercard")
    smallest, *others = sorted([_scores(client, each) for each in keys], key=len)
    limit = limit_option(options)
    size = len(set(smallest).intersection(*others))
    return min(size, limit) if limit else size


_Scores: TypeAlias = Mapping[bytes, float]
_Aggregate: TypeAlias = Callable[[float, float], float]
_Combination: TypeAlias = Callable[[list[_Scores], list[float], _Aggregate], dict[bytes, float]]


def _combine(client: Client, name: str, numkeys: bytes, rest: Sequence[bytes], how: _Combination) -> Reply:
    scores, with_scores = _combined(client, name, numkeys, rest, how, store=False)
    found = SortedSet(scores)
    items = list(found.slice(0, len(found)))
    return paired(client, items) if with_scores else [member for member, _ in items]


def _combine_into(
    client: Client, destination: bytes, name: str, numkeys: bytes, rest: Sequence[bytes], how: _Combination
) -> Reply:
    scores, _ = _combined(client, name, numkeys, rest, how, store=True)
    return store_scores(client, destination, scores)


def _combined(
    client: Client, name: str, numkeys: bytes, rest: Sequence[bytes], how: _Combination, *, store: bool
) -> tuple[dict[bytes, float], bool]:
    """Return the members of several sorted sets and their scores, and whether the scores are asked for."""
    keys, options = _numbered(numkeys, rest, name)
    sets = [_scores(client, each) for each in keys]
    weights, with_scores = [1.0] * len(keys), False
    aggregate: _Aggregate = _sum
    plain = how is _subtract
    while options:
        match options.pop(0).upper():
            case b"WITHSCORES" if not store:
                with_scores = True
            case b"WEIGHTS" if not plain and len(options) >= len(keys):
                weights = [double(each, "ERR weight value is not a float") for each in options[: len(keys)]]
                del options[: len(keys)]
            case b"AGGREGATE" if not plain and options and options[0].upper() in _AGGREGATES:
                aggregate = _AGGREGATES[options.pop(0).upper()]
            case _:
                raise CommandError(SYNTAX)
    return how(sets, weights, aggregate), with_scores


def store_scores(client: Client, destination: bytes, scores: dict[bytes, float]) -> int:
    """Replace a key by a sorted set, which has as many members as is returned."""
    client.db.remove(destination)
    if scores:
        client.db.set(destination, SortedSet(scores))
    return len(scores)


def _numbered(numkeys: bytes, rest: Sequence[bytes], name: str) -> tuple[list[bytes], list[bytes]]:
    if integer(numkeys) < 1:
        raise CommandError(f"ERR at least 1 input key is needed for '{name}' command")
    return numbered(numkeys, rest)


def _scores(client: Client, key: bytes) -> _Scores:
    """Return the scores of a sorted set, or of a set, where each is 1."""
    value = client.db.get(key)
    if isinstance(value, SortedSet):
        return value.scores
    if isinstance(value, set):
        return dict.fromkeys(value, 1.0)
    if value is None:
        return {}
    raise WrongTypeError


def _sum(first: float, second: float) -> float:
    total = first + second
    return 0.0 if math.isnan(total) else total  # inf - inf, which redis calls 0 here


_AGGREGATES: dict[bytes, _Aggregate] = {b"SUM": _sum, b"MIN": min, b"MAX": max}


def _weighted(score: float, weight: float) -> float:
    product = score * weight
    return 0.0 if math.isnan(product) else product  # inf * 0


def _unite(sets: list[_Scores], weights: list[float], aggregate: _Aggregate) -> dict[bytes, float]:
    total: dict[bytes, float] = {}
    for scores, weight in zip(sets, weights, strict=True):
        for member, score in scores.items():
            mine = _weighted(score, weight)
            total[member] = aggregate(total[member], mine) if member in total else mine
    return total


def _intersect(sets: list[_Scores], weights: list[float], aggregate: _Aggregate) -> dict[bytes, float]:
    smallest, *others = sorted(sets, key=len)
    common = set(smallest).intersection(*others)
    return _unite([{member: scores[member] for member in common} for scores in sets], weights, aggregate)


def _subtract(sets: list[_Scores], _weights: list[float], _aggregate: _Aggregate) -> dict[bytes, float]:
    gone = set[bytes]().union(*sets[1:])
    return {member: score for member, score in sets[0].items() if member not in gone}
