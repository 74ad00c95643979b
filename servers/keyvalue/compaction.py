"""Compaction: what start-up would do, done by another process and written down, so that start-up has less to do."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

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
    from servers.keyvalue.keyspace import Container, Keyspace

__all__ = ["compact"]

Effect: TypeAlias = tuple[int, Sequence[bytes]]

# Elements per effect, of which the parser reads up to 1024 words fast; octets of an effect and of a record, from which on
# the next one begins.
_ELEMENTS = 500
_EFFECT = 64 * 1024
_RECORD = 1024 * 1024
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
        sequence = 0
        for sequence, batch in enumerate(_batches(contents(engine.dataset)), 1):
            file.write(header.record(sequence, 0, body_of(batch)))
        file.write(header.record(sequence + 1, 0, b""))
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(target)
    folder.sync()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _batches(effects: Iterable[Effect]) -> Iterator[list[Effect]]:
    batch: list[Effect] = []
    size = 0
    for effect in effects:
        batch.append(effect)
        size += sum(map(len, effect[1]))
        if size >= _RECORD:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def contents(dataset: Dataset) -> Iterator[Effect]:
    """Yield effects that make the keys anew."""
    for keyspace in dataset.keyspaces:
        for effect in chain(_strings(keyspace), _others(keyspace)):
            yield keyspace.number, effect
        for key, when in keyspace.expires.items():
            yield keyspace.number, (b"PEXPIREAT", key, b"%d" % when)


def _strings(keyspace: Keyspace) -> Iterator[Sequence[bytes]]:
    """Make strings, many at a time, which is several times as fast to load."""
    effect, size = [b"MSET"], 0
    for key, value in keyspace.values.items():
        if isinstance(value, bytes):
            effect += (key, value)
            size += len(key) + len(value)
            if size >= _EFFECT or len(effect) > 2 * _ELEMENTS:
                yield effect
                effect, size = [b"MSET"], 0
    if size:
        yield effect


def _others(keyspace: Keyspace) -> Iterator[Sequence[bytes]]:
    for key, value in keyspace.values.items():
        if not isinstance(value, bytes):
            yield from _make(key, value)


def _make(key: bytes, value: Container) -> Iterator[Sequence[bytes]]:
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
