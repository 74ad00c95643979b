"""Requests of every kind to the key-value store's commands, and octets of every kind to its parsers.

Nothing raises but refusals, every answer is one whole reply of either protocol, a refusal changes nothing, and what is
recorded comes to the same when it is done again.

``FUZZ_REQUESTS=1000000`` is the long run, ``FUZZ_SEED`` another one.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any

import pytest

from servers.keyvalue.accelerator import FastParser
from servers.keyvalue.blocking import Block
from servers.keyvalue.client import Client
from servers.keyvalue.commands import execute
from servers.keyvalue.commands.table import TABLE, Command
from servers.keyvalue.config import Config
from servers.keyvalue.engine import Engine
from servers.keyvalue.parser import Limits, Parser
from servers.keyvalue.protocol import CommandError, encode, encode_request
from servers.keyvalue.replay import Replay
from servers.keyvalue.sortedset import SortedSet
from servers.keyvalue.stores.memory import MemoryStore
from tests.servers.keyvalue.state import state

if TYPE_CHECKING:
    from collections.abc import Sequence

    from servers.keyvalue.protocol import Request

REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "20000"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))

KEYS = [b"a", b"b", b"c", b"d", b"{e}", b"", b"\r\n\xff"]
NUMBERS = (
    b"0 1 -1 2 10 -10 1.5 inf -inf nan +1 1e400 9223372036854775807 -9223372036854775808 0x10 1_0".split()
)
WORDS = [
    *b"NX XX GT LT CH INCR GET KEEPTTL EX PX EXAT PXAT PERSIST LEFT RIGHT BEFORE AFTER MIN MAX COUNT LIMIT".split(),
    *b"WITHSCORES WITHVALUES BYSCORE BYLEX REV WEIGHTS AGGREGATE SUM STORE BY GET DESC ALPHA MATCH TYPE".split(),
    *b"REPLACE DB SKIPME YES NO ID ADDR ON OFF SKIP SETNAME AUTH DEFAULT ASYNC SYNC ( [a (b - + * # $ *->f".split(),
    *b"maxmemory slowlog-max-len save string zset".split(),
    b"x" * 300,
]
# These end the server, and need one.
NOT_HERE = {"shutdown"}
ROWS = [
    each
    for name, row in TABLE.items()
    if name.islower()
    for each in (row, *row.subcommands.values())
    if each.name not in NOT_HERE
]


class Outbox:
    """Takes what a client is pushed."""

    size = 0

    def put(self, data: bytes) -> None:
        """Take one message."""
        assert _end(data, 0) == len(data)


def _nobody() -> Any:
    return Outbox()


def _request(chance: random.Random) -> Request:
    row: Command = chance.choice(ROWS)
    size = chance.randint(row.arity.start, min(row.arity.stop - 1, row.arity.start + 5))
    if chance.random() < 0.02:
        size = chance.randrange(8)
    words = row.name.upper().encode().split(b"|")
    while len(words) < size:
        kind = chance.random()
        words.append(chance.choice(KEYS if kind < 0.45 else NUMBERS if kind < 0.7 else WORDS))
    if row.numbered and len(words) > row.numbered and chance.random() < 0.8:
        words[row.numbered] = chance.choice([b"1", b"2"])
    return words


def _end(data: bytes, at: int) -> int:
    """Return where the reply ends that begins at ``at``."""
    line = data.index(b"\r\n", at)
    kind, text = data[at : at + 1], data[at + 1 : line]
    assert kind in b"+-:$*_,=%~>"
    assert b"\n" not in text
    at = line + 2
    if kind in b"$=":
        if text == b"-1":
            return at
        at += int(text)
        assert data[at : at + 2] == b"\r\n"
        return at + 2
    if kind in b"*%~>":
        for _ in range(int(text) * (2 if kind == b"%" else 1)):
            at = _end(data, at)
    return at


def _check(engine: Engine) -> None:
    """Assert that no container is empty, that what expires is there, and that two orders of one thing agree."""
    for keyspace in engine.dataset.keyspaces:
        assert keyspace.expires.keys() <= keyspace.values.keys()
        for value in keyspace.values.values():
            assert isinstance(value, bytes) or value
            if isinstance(value, SortedSet):
                ordered = [(score, member) for member, score in value.slice(0, len(value))]
                assert ordered == sorted((score, member) for member, score in value.scores.items())


@pytest.mark.timeout(3600)
def test_requests() -> None:
    """Whatever three clients ask for, each gets whole replies, and the record of it comes to the same data."""
    chance = random.Random(SEED)
    now = iter(range(10**9))
    engine = Engine(MemoryStore(), Config({}), clock=lambda: 1.5e9 + next(now) / 1000)
    log: list[tuple[int, list[bytes]]] = []

    def keep(database: int, effect: Sequence[bytes]) -> None:
        log.append((database, list(effect)))

    engine.dataset.journal = keep
    engine.dataset.look_out()
    clients = [Client(engine, f"{name}:0", "", _nobody) for name in "abc"]
    for number in range(REQUESTS):
        client = chance.choice(clients)
        request = _request(chance)
        changes, queued = engine.dataset.changes, client.queue is not None
        client.replies = None if chance.random() < 0.5 else []
        try:
            reply = execute(client, request)
        except Block:
            assert not queued
            continue
        data = encode(reply, client.version)
        at = 0
        while at < len(data):
            at = _end(data, at)
        assert isinstance(reply, list) or at or client.silent or not data
        if isinstance(reply, CommandError):
            assert engine.dataset.changes == changes, request
        client.closing = client.silent = False
        client.authenticated = True
        engine.config.set([(b"requirepass", b""), (b"maxmemory", b"0")])
        if number % 500 == 0:
            _check(engine)
    _check(engine)
    again = Engine(MemoryStore(), Config({}), clock=lambda: 0.0)
    replay = Replay(again)
    for database, effect in log:
        replay.apply(database, effect)
    assert state(again) == state(engine)


def _noise(chance: random.Random) -> bytes:
    data = b"".join(encode_request(_request(chance)) for _ in range(chance.randrange(1, 40)))
    for _ in range(chance.randrange(4)):
        place = chance.randrange(len(data) + 1)
        data = (
            data[:place]
            + chance.choice([b"\r\n", b"*", b"$-1", b"\n", b"0", b"9" * 20, b"\xff", b""])
            + data[place + chance.randrange(3) :]
        )
    return data


def _parse(parser: Parser, pieces: list[bytes]) -> tuple[list[Request], str]:
    requests: list[Request] = []
    for piece in pieces:
        if parser.error is None:
            requests += parser.feed(piece)
    return requests, str(parser.error)


@pytest.mark.timeout(3600)
def test_octets() -> None:
    """Both parsers see the same requests and the same mistake, however the octets are cut, and keep no more than came."""
    chance = random.Random(SEED)
    limits = Limits(bulk=1000, arguments=50, query=10_000)
    for _ in range(REQUESTS // 20):
        data = _noise(chance)
        cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(4)))
        pieces = [data[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        whole = _parse(Parser(lambda: limits), [data])
        assert _parse(Parser(lambda: limits), pieces) == whole, data
        assert _parse(FastParser(lambda: limits), pieces) == whole, data
        assert all(requests for requests in whole[0])
