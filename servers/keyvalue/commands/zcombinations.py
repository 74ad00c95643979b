"""Several sorted sets: their union, their intersection, their difference."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from servers.keyvalue.arguments import SYNTAX, double, integer, numbered
from servers.keyvalue.commands.sets import limit_option
from servers.keyvalue.commands.sorted_sets import paired
from servers.keyvalue.commands.table import command
from servers.keyvalue.keyspace import WrongTypeError
from servers.keyvalue.protocol import CommandError, Reply
from servers.keyvalue.sortedset import SortedSet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servers.keyvalue.client import Client


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
