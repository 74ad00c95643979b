"""Pipelines of requests that are alike, which run at once; and replies that wait for the disk."""

import random
import socket
import threading
from pathlib import Path

import pytest

from framework.greenlets import at_turn_end
from servers.keyvalue.protocol import encode_request
from tests.servers.keyvalue.conftest import Serve, Served
from tests.servers.keyvalue.state import state
from tests.servers.keyvalue.wire import Wire

Words = list[bytes]


def batch_of(chance: random.Random) -> list[Words]:
    """Return a pipeline; mostly of requests that are alike, so that they may run at once."""
    keys = [b"k%d" % chance.randrange(8) for _ in range(chance.randrange(4, 40))]
    batch = (
        [[b"GET", key] for key in keys]
        if chance.random() < 0.5
        else [[b"SET", key, b"%d" % place] for place, key in enumerate(keys)]
    )
    match chance.randrange(8):
        case 0:
            batch[chance.randrange(len(batch))] = [b"GET", b"k0", b"too much"]
        case 1:
            batch[chance.randrange(len(batch))] = [b"INCR", b"k1"]
        case 2:
            batch = [[batch[0][0].lower(), *words[1:]] for words in batch]
        case 3 if len(batch[0]) == 3:
            batch = [[*words, b"KEEPTTL"] for words in batch]
        case _:
            pass
    return batch


def between(chance: random.Random) -> list[Words]:
    """Return what changes the way in which such a pipeline has to be run."""
    choices: list[list[Words]] = [
        [],
        [],
        [[b"EXPIREAT", b"k2", b"99999999999"], [b"PEXPIREAT", b"k3", b"1"]],
        [[b"DEL", b"k4"], [b"RPUSH", b"k4", b"a", b"b"]],
        [[b"WATCH", b"k6"]],
        [[b"UNWATCH"]],
        [[b"MULTI"]],
        [[b"EXEC"]],
        [[b"CLIENT", b"REPLY", b"SKIP"], [b"PING"]],
        [[b"SELECT", b"%d" % chance.randrange(2)]],
        [[b"HELLO", b"%d" % chance.randrange(2, 4)]],
    ]
    return chance.choice(choices)


def counted(client: Wire) -> set[bytes]:
    """Return what the server has counted of commands."""
    return {
        line
        for line in client("INFO", "stats").split(b"\r\n")
        if line.startswith((b"keyspace_", b"total_commands", b"total_error", b"expired_keys"))
    }


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kept", ["memory", "log", "ledger"])
def test_at_once_and_one_by_one(serve: Serve, tmp_path: Path, kept: str, seed: int) -> None:
    """A pipeline comes to the same as its requests one by one: in replies, in data, in what is counted and what is kept."""

    def start(name: str) -> Served:
        changes = {"max_memory": "1gb", "max_memory_policy": "allkeys-lru"} if kept == "ledger" else {}
        return serve(store=f"log:{tmp_path / name}?fsync=no" if kept == "log" else "memory:", **changes)

    piped, single = start("piped"), start("single")
    pipe, one = piped.connect(), single.connect()
    chance = random.Random(seed)
    for _ in range(120):
        for words in between(chance):
            # Read by the next PING: some of them are answered nothing.
            for client in (pipe, one):
                client.raw(encode_request(words))
        batch = batch_of(chance)
        pipe.raw(encode_request(*batch))
        for words in batch:
            one.raw(encode_request(words))
        mark = b"%d" % chance.randrange(10**9)
        for client in (pipe, one):
            client.raw(encode_request([b"ECHO", mark]))
        found = [_until(client, mark) for client in (pipe, one)]
        assert found[0] == found[1]
        assert state(piped.engine) == state(single.engine)
    for client in (pipe, one):
        client("DISCARD")
        client("HELLO", 2)
    assert counted(pipe) == counted(one)
    if kept == "log":
        before = state(piped.engine)
        piped.stack.close()
        piped.server.shutdown()
        piped.server.server_close()
        assert state(serve(store=f"log:{tmp_path / 'piped'}").engine) == before


def _until(client: Wire, mark: bytes) -> list[object]:
    """Return replies up to the echo of a mark, which within MULTI is only queued."""
    found: list[object] = []
    while True:
        found.append(client.reply())
        if found[-1] == b"$%d\r\n%b\r\n" % (len(mark), mark):
            return found
        if found[-1] == b"+QUEUED\r\n":
            client.raw(b"PING " + mark + b"\r\nEXEC\r\nECHO " + mark + b"\r\n")


def test_slow_ones_of_a_pipeline_are_logged(served: Served) -> None:
    """With a limit of nothing, each request of a pipeline is in the slow log."""
    client = served.connect()
    client("CONFIG", "SET", "slowlog-log-slower-than", 0)
    client("SLOWLOG", "RESET")
    client.raw(encode_request(*([b"SET", b"k%d" % number, b"v"] for number in range(20))))
    assert [client.reply() for _ in range(20)] == [b"+OK\r\n"] * 20
    entries = client("SLOWLOG", "GET", -1)[1]
    assert [entry[1][3][1][1] for entry in entries[:20]] == [
        b"$%d\r\nk%d\r\n" % (len(b"k%d" % number), number) for number in reversed(range(20))
    ]


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize(
    ("last", "reply"),
    [
        (b"", b""),
        (b"QUIT\r\n", b"+OK\r\n"),
        (b"*1\r\nPING\r\n", b"-ERR Protocol error: expected '$', got 'P'\r\n"),
        (b"BLPOP a 0\r\n", b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
    ],
)
def test_the_last_reply_comes_before_the_end(serve: Serve, tmp_path: Path, last: bytes, reply: bytes) -> None:
    """Who goes right after a command still gets the reply, which waits for the disk, and before that to what followed."""
    client = serve(store=f"log:{tmp_path}").connect()
    client.raw(b"SET a 1\r\nGET a\r\n" + last)
    client.socket.shutdown(socket.SHUT_WR)
    assert client.rest() == b"+OK\r\n$1\r\n1\r\n" + reply


def test_replies_keep_their_order_whoever_commits(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where somebody else has committed meanwhile, what waits for a commit still comes before what need not wait."""
    served = serve(store=f"log:{tmp_path}")
    client = served.connect()
    monkeypatch.setattr("servers.keyvalue.concurrency._PATIENCE", 1.0)
    keep = served.engine.store.append

    def append_and_commit(database: int, effect: Words) -> None:
        keep(database, effect)
        at_turn_end(served.engine.store.commit)  # as another hub would

    monkeypatch.setattr(served.engine.dataset, "journal", append_and_commit)
    client.raw(b"SET a 1\r\n")
    for _ in range(200):
        client.raw(b"PING\r\n")
    assert [client.reply() for _ in range(201)] == [b"+OK\r\n", *[b"+PONG\r\n"] * 200]


def test_a_commit_is_not_put_off_for_ever(serve: Serve, tmp_path: Path) -> None:
    """A client that sends all the time does not keep the others from being answered."""
    served = serve(store=f"log:{tmp_path}")
    flood, client = served.connect(), served.connect()
    flood.socket.settimeout(0.1)
    answered = threading.Event()

    def go_on() -> None:
        flood("SET", "a", 1)
        while not answered.is_set():
            try:
                flood.socket.send(b"PING\r\n" * 100)
            except TimeoutError:
                flood.socket.recv(1_000_000)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        assert all(client("SET", "b", number) == b"+OK\r\n" for number in range(20))
    finally:
        answered.set()
        thread.join()


def test_replies_that_nobody_reads_are_waited_for(serve: Serve, tmp_path: Path) -> None:
    """Replies that wait for the disk are more than the peer takes at once; no more is read until it has taken them."""
    client = serve(store=f"log:{tmp_path}").connect()
    client("SET", "big", b"x" * 900_000)
    for number in range(5):
        client.raw(encode_request([b"SET", b"n", b"%d" % number], [b"GET", b"big"]))
    for _ in range(5):
        assert client.reply() == b"+OK\r\n"
        assert len(client.reply()) == 900_011
