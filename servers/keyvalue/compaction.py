"""Compaction: what start-up would do, done by another process and written down, so that start-up has less to do."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from servers.keyvalue.config import Config
from servers.keyvalue.engine import Engine
from servers.keyvalue.protocol import format_double
from servers.keyvalue.replay import Replay
from servers.keyvalue.sortedset import SortedSet
from servers.keyvalue.stores.files import Folder
from servers.keyvalue.stores.memory import MemoryStore
from servers.keyvalue.stores.records import Header, body_of

if TYPE_CHECKING:
    from servers.keyvalue.dataset import Dataset
    from servers.keyvalue.keyspace import Value

__all__ = ["compact"]

# Elements per effect, and effects per record.
_ELEMENTS = 512
_EFFECTS = 256
# As many as a server may have.
_DATABASES = 64


def compact(path: Path, number: int) -> None:
    """Write the snapshot of a number: all that happened before the log of that number.

    The logs before it are not written any more, so it comes out the same whoever makes it, and how often.

    Raises:
        DamagedError: they cannot be read.
        OSError: it cannot be written.
    """
    os.nice(10)  # the server comes first
    folder = Folder(path)
    engine = Engine(MemoryStore(), Config({}), _DATABASES, clock=lambda: 0.0)
    apply = Replay(engine).apply
    for database, effect in folder.effects(before=number):
        apply(database, effect)
    following = folder.end[0].sequence if folder.end is not None else 1
    target = folder.snapshot(number)
    temporary = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    header = Header.new("snapshot", following)
    with open(temporary, "wb", opener=_private) as file:
        file.write(header.pack())
        effects = contents(engine.dataset)
        sequence = 1
        while batch := list(islice(effects, _EFFECTS)):
            file.write(header.record(sequence, 0, body_of(batch)))
            sequence += 1
        file.write(header.record(sequence, 0, b""))
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(target)
    folder.sync()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def contents(dataset: Dataset) -> Iterator[tuple[int, Sequence[bytes]]]:
    """Yield effects that make the keys anew."""
    for keyspace, key, value in dataset.contents():
        for effect in _make(key, value):
            yield keyspace.number, effect
        if (when := keyspace.expires.get(key)) is not None:
            yield keyspace.number, (b"PEXPIREAT", key, b"%d" % when)


def _make(key: bytes, value: Value) -> Iterator[Sequence[bytes]]:
    if isinstance(value, bytes):
        yield b"SET", key, value
        return
    name, step = b"SADD", 1
    elements: Iterator[bytes] = iter(value) if isinstance(value, deque | set) else iter(())
    if isinstance(value, deque):
        name = b"RPUSH"
    elif isinstance(value, dict):
        name, step = b"HSET", 2
        elements = (each for pair in value.items() for each in pair)
    elif isinstance(value, SortedSet):
        name, step = b"ZADD", 2
        elements = (each for member, score in value.scores.items() for each in (format_double(score), member))
    while some := list(islice(elements, _ELEMENTS * step)):
        yield name, key, *some
