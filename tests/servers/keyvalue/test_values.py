"""Patterns, sorted sets, numbers, keys and their expiry: without a server."""

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.testing import FakeClock
from servers.keyvalue.arguments import decimal, decimal_text, double, window
from servers.keyvalue.dataset import Dataset
from servers.keyvalue.glob import matcher
from servers.keyvalue.keyspace import Value, WrongTypeError
from servers.keyvalue.protocol import CommandError
from servers.keyvalue.scan import Cursors, Samples
from servers.keyvalue.sortedset import Bounds, SortedSet

SCORES = st.floats(allow_nan=False)
MEMBERS = st.binary(max_size=3)


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
def test_patterns(pattern: str, name: str) -> None:
    """Stars and question marks mean what they mean in a shell."""
    assert bool(matcher(pattern.encode())(name.encode())) == fnmatch.fnmatchcase(name, pattern)


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        (b"h[ae]llo", b"hallo", b"hillo"),
        (b"h[^e]llo", b"hallo", b"hello"),
        (b"h[a-c]llo", b"hbllo", b"hdllo"),
        (b"h[c-a]llo", b"hbllo", b"hdllo"),
        (b"h\\*llo", b"h*llo", b"hello"),
        (b"h[\\]]", b"h]", b"h"),
        (b"[a", b"a", b"b"),
        (b"a\\", b"a\\", b"a"),
        (b"[^]", b"x", b"xx"),
        (b"*\n*", b"a\nb", b"ab"),
    ],
)
def test_pattern_classes(pattern: bytes, yes: bytes, no: bytes) -> None:
    """Classes, ranges and backslashes mean what they mean to redis."""
    assert matcher(pattern)(yes)
    assert not matcher(pattern)(no)


def test_pattern_that_invites_backtracking() -> None:
    """A pattern of many stars takes time in proportion to the name, not to a power of it."""
    assert not matcher(b"a*" * 30 + b"b")(b"a" * 5000)


@given(st.lists(st.tuples(MEMBERS, SCORES)), SCORES, SCORES, st.booleans(), st.booleans())
def test_sorted_set(
    pairs: list[tuple[bytes, float]], low: float, high: float, open_low: bool, open_high: bool
) -> None:
    """A sorted set is a dict in order, and its ranges are what a look at each member finds."""
    scores: dict[bytes, float] = {}
    ours = SortedSet()
    for member, score in pairs:
        ours.add(member, score)
        scores[member] = score
    order = sorted(scores.items(), key=lambda item: (item[1], item[0]))
    assert list(ours.slice(0, len(ours))) == order
    start, stop = ours.between_scores(Bounds(low, high, open_low, open_high))
    above = [s > low if open_low else s >= low for _, s in order]
    below = [s < high if open_high else s <= high for _, s in order]
    inside = [item for item, a, b in zip(order, above, below, strict=True) if a and b]
    assert list(ours.slice(start, max(start, stop))) == inside
    for rank, (member, _) in enumerate(order):
        assert ours.rank(member) == rank
    for member in list(scores):
        assert ours.discard(member)
    assert not len(ours)


def test_members_in_order_though_scores_differ() -> None:
    """A range by members looks at the members alone."""
    ours = SortedSet({b"a1": 1.0, b"a2": 2.0, b"a3": 3.0})
    assert ours.between_members(Bounds(b"a2", b"a3", open_high=True)) == (1, 2)


@given(st.integers(-12, 12), st.integers(-12, 12), st.integers(0, 10))
def test_windows(start: int, stop: int, size: int) -> None:
    """A range of places, both ends included and negative ones counted from the end, is a slice."""
    begin, end = window(start, stop, size)
    assert 0 <= begin <= end <= size
    low, high = start % size if -size <= start < 0 else max(0, start), stop + size if stop < 0 else stop
    assert list(range(begin, end)) == [place for place in range(size) if low <= place <= high]


@pytest.mark.parametrize(
    "text", [b"nan", b"1_0", b" 1", b"1 ", b"", b"0x10", b"1e", b"1" * 257, b"1e400", b"\xd9\xa1"]
)
def test_no_doubles(text: bytes) -> None:
    """What strtod(3) would not take to its end is no number."""
    with pytest.raises(CommandError, match="not a valid float"):
        double(text)


@pytest.mark.parametrize(
    ("first", "second", "total"),
    [
        (b"10.5", b"0.1", b"10.6"),
        (b"5.0e3", b"2.0e2", b"5200"),
        (b"0.1", b"0.2", b"0.3"),
        (b"1", b"-1", b"0"),
    ],
)
def test_decimals(first: bytes, second: bytes, total: bytes) -> None:
    """INCRBYFLOAT adds as people do."""
    assert decimal_text(decimal(first), decimal(second)) == total


def test_decimals_beyond_all_bounds() -> None:
    """INCRBYFLOAT refuses what is not finite."""
    with pytest.raises(CommandError, match="NaN or Infinity"):
        decimal_text(decimal(b"1"), decimal(b"inf"))


def test_expiry() -> None:
    """A key is gone at its time, whoever looks first: a reader or the sweep."""
    clock = FakeClock()
    dataset = Dataset(1, clock)
    (db,) = dataset.keyspaces
    for number in range(10):
        db.set(b"%d" % number, b"x")
        db.expire(b"%d" % number, dataset.now() + number * 1000)
    clock.advance(4)
    assert db.get(b"4") is None
    assert db.get(b"5") == b"x"
    assert dataset.expire_due(2) == 2
    assert dataset.expire_due(100) == 2
    assert len(db) == 5
    db.expire(b"5", None)
    clock.advance(100)
    assert dataset.expire_due(100) == 4
    assert db.get(b"5") == b"x"


def test_expiry_that_is_put_off() -> None:
    """A key whose time is put off again and again leaves no trail."""
    dataset = Dataset(1, FakeClock())
    (db,) = dataset.keyspaces
    db.set(b"session", b"x")
    for _ in range(5000):
        db.expire(b"session", dataset.now() + 10_000)
    assert len(db._deadlines) < 2000
    assert db.next_to_expire() == b"session"


def test_wrong_kind() -> None:
    """A value of another kind is refused."""
    (db,) = Dataset(1, FakeClock()).keyspaces
    db.set(b"a", b"string")
    with pytest.raises(WrongTypeError, match="WRONGTYPE"):
        db.typed(b"a", set)


def test_trash() -> None:
    """A huge value is out of sight at once, and freed a slice at a time."""
    dataset = Dataset(1, FakeClock())
    (db,) = dataset.keyspaces
    values: dict[bytes, Value] = {
        b"hash": {b"%d" % number: b"" for number in range(3000)},
        b"set": {b"%d" % number for number in range(3000)},
        b"zset": SortedSet({b"%d" % number: 1.0 for number in range(3000)}),
    }
    for key, value in values.items():
        db.set(key, value)
    assert db.remove(b"hash")
    db.clear()
    assert not len(db)
    slices = 0
    while dataset.trash:
        dataset.trash.free(1000)
        slices += 1
    assert slices >= 9


@given(st.sets(st.binary(max_size=2)), st.integers(1, 5))
def test_scan(names: set[bytes], count: int) -> None:
    """A scan returns every name that is there from its begin to its end, whatever comes and goes meanwhile."""
    cursors, found, cursor = Cursors(), set[bytes](), 0
    there = dict.fromkeys(names)
    while True:
        cursor, some = cursors.next(cursor, count, there)
        found.update(some)
        there[b"new%d" % len(there)] = None
        if not cursor:
            break
    assert found >= names


def test_scan_that_was_forgotten() -> None:
    """A scan whose names were given up begins anew."""
    cursors = Cursors()
    cursor, _ = cursors.next(0, 1, [b"a", b"b", b"c"])
    cursors._scans.clear()
    again, names = cursors.next(cursor, 1, [b"a", b"b", b"c"])
    assert again
    assert names == [b"a"]


def test_samples() -> None:
    """A random key is one that exists, even after nearly all have gone."""
    (db,) = Dataset(1, FakeClock()).keyspaces
    samples = Samples(db)
    assert samples.one() is None
    for number in range(1000):
        db.set(b"%d" % number, b"")
    assert samples.one() in db.values
    for number in range(999):
        db.remove(b"%d" % number)
    assert samples.one() == b"999"
