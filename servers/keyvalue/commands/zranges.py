"""Ranges of sorted sets: by rank, by score, by the members themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from servers.keyvalue.arguments import SYNTAX, integer, lex_bounds, score_bounds, window
from servers.keyvalue.commands.sorted_sets import paired
from servers.keyvalue.commands.table import command
from servers.keyvalue.commands.zcombinations import store_scores
from servers.keyvalue.protocol import CommandError, Reply
from servers.keyvalue.sortedset import SortedSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from servers.keyvalue.client import Client


@dataclass(slots=True)
class _Range:
    """What a range command asks for."""

    by: bytes = b"RANK"
    reverse: bool = False
    with_scores: bool = False
    limit: tuple[int, int] | None = None

    def parse(self, options: Iterable[bytes], allowed: Sequence[bytes]) -> _Range:
        """Read the options, of which not every command has all."""
        words = iter(options)
        for word in words:
            option = word.upper()
            if option not in allowed:
                raise CommandError(SYNTAX)
            match option:
                case b"BYSCORE" | b"BYLEX":
                    self.by = option[2:]
                case b"REV":
                    self.reverse = True
                case b"WITHSCORES":
                    self.with_scores = True
                case _:
                    offset, count = next(words, None), next(words, None)
                    if offset is None or count is None:
                        raise CommandError(SYNTAX)
                    self.limit = integer(offset), integer(count)
        if self.limit is not None and self.by == b"RANK":
            raise CommandError(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"
            )
        if self.with_scores and self.by == b"LEX":
            raise CommandError("ERR syntax error, WITHSCORES not supported in combination with BYLEX")
        return self

    def of(self, client: Client, key: bytes, start: bytes, stop: bytes) -> list[tuple[bytes, float]]:
        """Return the members within, and their scores."""
        if self.by == b"RANK":
            first, last = integer(start), integer(stop)
            found = client.db.typed(key, SortedSet)
            if found is None:
                return []
            begin, end = window(first, last, len(found))
            if self.reverse:
                begin, end = len(found) - end, len(found) - begin
        else:
            low, high = (stop, start) if self.reverse else (start, stop)
            begin, end, found = _places(client, key, self.by, low, high)
            if found is None:
                return []
            begin, end = self._limited(begin, end)
        return list(found.slice(begin, end, reverse=self.reverse))

    def _limited(self, begin: int, end: int) -> tuple[int, int]:
        if self.limit is None:
            return begin, end
        offset, count = self.limit
        if offset < 0:
            return begin, begin
        size = end - begin - offset
        size = max(0, size if count < 0 else min(size, count))
        return (
            (end - offset - size, end - offset) if self.reverse else (begin + offset, begin + offset + size)
        )


def _places(
    client: Client, key: bytes, by: bytes, low: bytes, high: bytes
) -> tuple[int, int, SortedSet | None]:
    """Return from which place to before which one a range by score or member goes, and in what."""
    bounds = score_bounds(low, high) if by == b"SCORE" else lex_bounds(low, high)
    found = client.db.typed(key, SortedSet)
    if found is None or bounds is None:
        return 0, 0, None
    start, stop = found.between_scores(bounds) if by == b"SCORE" else found.between_members(bounds)
    return start, max(start, stop), found


def _reply(client: Client, items: list[tuple[bytes, float]], *, with_scores: bool) -> Reply:
    return paired(client, items) if with_scores else [member for member, _ in items]


_ALL = (b"BYSCORE", b"BYLEX", b"REV", b"WITHSCORES", b"LIMIT")
# Of a command whose name says the rest.
_FIXED = (b"WITHSCORES", b"LIMIT")


@command("zrange", "readonly", keys=1)
def zrange(client: Client, key: bytes, start: bytes, stop: bytes, *options: bytes) -> Reply:
    """Returns members in a sorted set within a range of indexes."""
    wanted = _Range().parse(options, _ALL)
    return _reply(client, wanted.of(client, key, start, stop), with_scores=wanted.with_scores)


@command("zrangestore", "write denyoom", keys=(1, 2, 1))
def zrangestore(client: Client, dst: bytes, src: bytes, start: bytes, stop: bytes, *options: bytes) -> Reply:
    """Stores a range of members from sorted set in a key."""
    wanted = _Range().parse(options, (b"BYSCORE", b"BYLEX", b"REV", b"LIMIT"))
    return store_scores(client, dst, dict(wanted.of(client, src, start, stop)))


@command("zrevrange", "readonly", keys=1)
def zrevrange(client: Client, key: bytes, start: bytes, stop: bytes, *options: bytes) -> Reply:
    """Returns members in a sorted set within a range of indexes in reverse order."""
    wanted = _Range(reverse=True).parse(options, _FIXED)
    return _reply(client, wanted.of(client, key, start, stop), with_scores=wanted.with_scores)


@command("zrangebyscore", "readonly", keys=1)
def zrangebyscore(client: Client, key: bytes, low: bytes, high: bytes, *options: bytes) -> Reply:
    """Returns members in a sorted set within a range of scores."""
    wanted = _Range(b"SCORE").parse(options, _FIXED)
    return _reply(client, wanted.of(client, key, low, high), with_scores=wanted.with_scores)


@command("zrevrangebyscore", "readonly", keys=1)
def zrevrangebyscore(client: Client, key: bytes, high: bytes, low: bytes, *options: bytes) -> Reply:
    """Returns members in a sorted set within a range of scores in reverse order."""
    wanted = _Range(b"SCORE", reverse=True).parse(options, _FIXED)
    return _reply(client, wanted.of(client, key, high, low), with_scores=wanted.with_scores)


@command("zrangebylex", "readonly", keys=1)
def zrangebylex(client: Client, key: bytes, low: bytes, high: bytes, *options: bytes) -> Reply:
    """Returns members in a sorted set within a lexicographical range."""
    wanted = _Range(b"LEX").parse(options, _FIXED)
    return _reply(client, wanted.of(client, key, low, high), with_scores=False)


@command("zrevrangebylex", "readonly", keys=1)
def zrevrangebylex(client: Client, key: bytes, high: bytes, low: bytes, *options: bytes) -> Reply:
    """Returns members in a sorted set within a lexicographical range in reverse order."""
    wanted = _Range(b"LEX", reverse=True).parse(options, _FIXED)
    return _reply(client, wanted.of(client, key, high, low), with_scores=False)


@command("zcount", "readonly fast", keys=1)
def zcount(client: Client, key: bytes, low: bytes, high: bytes) -> Reply:
    """Returns the count of members in a sorted set that have scores within a range."""
    start, stop, _ = _places(client, key, b"SCORE", low, high)
    return stop - start


@command("zlexcount", "readonly fast", keys=1)
def zlexcount(client: Client, key: bytes, low: bytes, high: bytes) -> Reply:
    """Returns the number of members in a sorted set within a lexicographical range."""
    start, stop, _ = _places(client, key, b"LEX", low, high)
    return stop - start


@command("zremrangebyrank", "write", keys=1)
def zremrangebyrank(client: Client, key: bytes, start: bytes, stop: bytes) -> Reply:
    """Removes members in a sorted set within a range of indexes. Deletes the sorted set if all were removed."""
    return _remove(client, key, _Range().of(client, key, start, stop))


@command("zremrangebyscore", "write", keys=1)
def zremrangebyscore(client: Client, key: bytes, low: bytes, high: bytes) -> Reply:
    """Removes members in a sorted set within a range of scores. Deletes the sorted set if all were removed."""
    return _remove(client, key, _Range(b"SCORE").of(client, key, low, high))


@command("zremrangebylex", "write", keys=1)
def zremrangebylex(client: Client, key: bytes, low: bytes, high: bytes) -> Reply:
    """Removes members in a sorted set within a lexicographical range. Deletes the sorted set if all were removed."""
    return _remove(client, key, _Range(b"LEX").of(client, key, low, high))


def _remove(client: Client, key: bytes, items: list[tuple[bytes, float]]) -> Reply:
    if items:
        found = client.db.open(key, SortedSet)
        for member, _ in items:
            found.discard(member)
        client.db.changed(key)
    return len(items)
