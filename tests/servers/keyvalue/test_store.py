"""The log: what is kept comes back, a torn end is cut, and damage is refused."""

import errno
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework import at
from framework.testing import running
from servers.keyvalue.compaction import compact
from servers.keyvalue.config import Config
from servers.keyvalue.engine import Engine
from servers.keyvalue.maintenance import check
from servers.keyvalue.protocol import CommandError, encode_request
from servers.keyvalue.server import KeyValueServer
from servers.keyvalue.stores.files import Folder, StoreError, StoreTakenError
from servers.keyvalue.stores.log import LogStore
from servers.keyvalue.stores.opening import check_url
from servers.keyvalue.stores.records import DamagedError, File, Header, body_of, effects_of
from tests.servers.keyvalue.conftest import Serve
from tests.servers.keyvalue.program import program
from tests.servers.keyvalue.state import state
from tests.servers.keyvalue.wire import Wire

EFFECTS = st.lists(
    st.tuples(st.integers(0, 20), st.lists(st.binary(max_size=20), min_size=1, max_size=4)), max_size=5
)


def append(store: LogStore, value: bytes) -> int:
    """Append an effect, and return the mark behind it."""
    store.reserve([b"SET", b"k", value])
    store.append(0, [b"SET", b"k", value])
    return store.appended


def log_of(folder: Path, *values: bytes, fsync: str = "always") -> Path:
    """Make a log with a record for each value of the key ``k``, and return its path."""
    store = LogStore(folder, fsync)
    store.load(lambda _database, _effect: None)
    for value in values:
        append(store, value)
        store.commit()
    store.close()
    return folder / "00000001.log"


def kept(folder: Path) -> list[bytes]:
    """Return what a store finds in a folder, the last word of each effect; it is opened for writing, as servers do."""
    found: list[bytes] = []
    store = LogStore(folder)
    try:
        store.load(lambda _database, effect: found.append(effect[-1]))
    finally:
        store.close()
    return found


@given(EFFECTS)
def test_bodies(effects: list[tuple[int, list[bytes]]]) -> None:
    """Effects come out of a record as they went in, in their databases."""
    mine = [(database, effect) for database, effect in effects if effect[0] != b"SELECT"]
    assert list(effects_of(body_of(mine))) == mine


def test_kept(tmp_path: Path) -> None:
    """What was committed is there, after any number of starts."""
    log_of(tmp_path, b"a", b"b")
    log_of(tmp_path, b"c")
    assert kept(tmp_path) == [b"a", b"b", b"c"]


@pytest.mark.parametrize("cut", range(1, 70, 7))
def test_torn_end(tmp_path: Path, caplog: pytest.LogCaptureFixture, cut: int) -> None:
    """A record that was not finished is cut off with a warning, and the next one is written in its place."""
    path = log_of(tmp_path, b"a", b"b", b"c")
    path.write_bytes(path.read_bytes()[:-cut])
    with caplog.at_level(logging.WARNING):
        assert kept(tmp_path) == ([b"a", b"b"] if cut < 60 else [b"a"])
    assert "never finished" in caplog.text
    log_of(tmp_path, b"d")
    assert kept(tmp_path)[-2:] == [b"b" if cut < 60 else b"a", b"d"]


@pytest.mark.parametrize("tail", [b"\0" * 5000, b"\0" * 10 + b"noise" * 100, b"\xb6kv\n" * 50])
def test_tails(tmp_path: Path, tail: bytes) -> None:
    """Zeros behind the last record are room, and noise is an end that was not finished."""
    path = log_of(tmp_path, b"a", b"b")
    path.write_bytes(path.read_bytes() + tail)
    assert kept(tmp_path) == [b"a", b"b"]


def test_any_flipped_bit(tmp_path: Path) -> None:
    """No bit can be flipped before the last record that was synced without the store refusing to open."""
    path = log_of(tmp_path, b"a", b"b", b"c")
    whole = path.read_bytes()
    last = len(whole) // 4 * 3 - 10
    for place in range(last):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        with pytest.raises(DamagedError, match=r"00000001\.log: octets"):
            kept(tmp_path)
    assert path.read_bytes()[last:] == whole[last:]


def test_damage_to_what_was_never_synced(tmp_path: Path) -> None:
    """Where nobody was promised anything yet, later parts may have reached the disk and earlier ones not."""
    path = log_of(tmp_path, b"a", b"b", b"c", fsync="no")
    whole = path.read_bytes()
    middle = whole.index(b"b\r\n")
    path.write_bytes(whole[:middle] + b"\0" + whole[middle + 1 :])
    assert kept(tmp_path) == [b"a"]


def test_value_that_looks_like_a_record(tmp_path: Path) -> None:
    """No client can make damage, or a record, out of a value."""
    forged = Header.new("log", 1).record(99, 98, b"x")
    path = log_of(tmp_path, b"a", forged * 3)
    assert kept(tmp_path) == [b"a", forged * 3]
    path.write_bytes(path.read_bytes()[:-5])
    assert kept(tmp_path) == [b"a"]


def test_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``check`` tells what is there; where damage is, it names the place and cuts only there, keeping all it cuts."""
    path = log_of(tmp_path, b"a", b"b", b"c")
    whole = path.read_bytes()
    assert check([str(tmp_path)]) == 0
    assert "3 effects: a server would start" in capsys.readouterr().out
    place = whole.index(b"b\r\n")
    path.write_bytes(whole[:place] + b"X" + whole[place + 1 :])
    assert check([str(tmp_path)]) == 1
    start = File(str(path), whole)
    begin = [record.start for record in start.records()][1]
    assert f"--cut-at {begin}" in capsys.readouterr().err
    assert check([str(tmp_path), "--cut-at", "1"]) == 1
    assert check([str(tmp_path), "--cut-at", str(begin)]) == 0
    assert kept(tmp_path) == [b"a"]
    assert len((tmp_path / f"00000001.log.cut-{begin}").read_bytes()) == len(whole)
    assert check([str(tmp_path / "nothing")]) == 1


def test_second_server(tmp_path: Path) -> None:
    """A folder has one server at a time."""
    log_of(tmp_path, b"a")
    engine = Engine(LogStore(tmp_path), Config({}))
    second = LogStore(tmp_path)
    with pytest.raises(StoreTakenError, match="in use by another server: stop it"):
        Engine(second, Config({}))
    second.close()
    engine.store.close()
    assert kept(tmp_path) == [b"a"]


def test_socket_in_the_same_folder(socket_folder: Path) -> None:
    """The socket may be in the store's folder."""
    path = socket_folder / "kv.sock"
    with program(path, "--store", f"log:{socket_folder}"), Wire(path) as client:
        assert client("SET", "a", 1) == b"+OK\r\n"


def test_no_folder(tmp_path: Path) -> None:
    """Where there is no folder, and none can be made, the message says what to do."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="name a folder to write to"):
        LogStore(tmp_path / "file")


@pytest.mark.parametrize(
    "url", ["", "memory:x", "log:", "log:/a?fsync=never", "log:/a?x=1", "redis://localhost"]
)
def test_no_urls(url: str) -> None:
    """What is no store's URL is refused with what to write instead."""
    assert "write" in check_url(url)


def test_compaction(tmp_path: Path, serve: Serve) -> None:
    """A snapshot made by another process holds the same, and the logs before it are not needed any more."""
    served = serve(store=f"log:{tmp_path}")
    client = served.connect()
    client("SET", "string", b"\x00\r\n", "PXAT", 2_000_000_000_000)
    client("RPUSH", "list", *range(2000))
    client("HSET", "hash", *range(2000))
    client("SADD", "set", *range(2000))
    client("ZADD", "zset", "0.1", "a", "inf", "b", -3, "c")
    client("SELECT", 9)
    client("SET", "string", "other")
    pause, pauses = served.engine.pause, list[float]()

    def noted(seconds: float) -> None:
        pauses.append(seconds)
        pause(seconds)

    served.engine.pause = noted
    assert client("SAVE") == b"+OK\r\n"
    assert pauses
    assert min(pauses) > 0  # no turn after the other, at the cost of everybody
    client("SET", "later", 1)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["00000002.log", "00000002.snapshot", "lock"]
    before = state(served.engine)
    served.stack.close()
    served.server.shutdown()
    served.server.server_close()
    assert state(serve(store=f"log:{tmp_path}").engine) == before


def test_damaged_snapshot(tmp_path: Path) -> None:
    """A snapshot that is not whole is refused, wherever it ends."""
    log_of(tmp_path, b"a")
    folder = Folder(tmp_path)
    descriptor = folder.create(folder.log(2), Header.new("log", 2))
    os.close(descriptor)
    folder.close()
    compact(tmp_path, 2)
    (tmp_path / "00000001.log").unlink()
    assert kept(tmp_path) == [b"a"]
    path = tmp_path / "00000002.snapshot"
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(DamagedError, match="snapshot"):
            kept(tmp_path)
    path.unlink()
    with pytest.raises((StoreError, DamagedError)):
        kept(tmp_path)


def test_effects_rather_than_commands(serve: Serve, tmp_path: Path) -> None:
    """What would come out otherwise when it is done again is kept as what it came to."""
    served = serve(store=f"log:{tmp_path}")
    client = served.connect()
    client("SADD", "set", *range(10))
    popped = client("SPOP", "set", 5)[1]
    client("SET", "f", "0.1")
    client("INCRBYFLOAT", "f", "0.2")
    client("SET", "t", 1, "EX", 100)
    client("EXPIRE", "f", 50)
    client("GETEX", "t", "EX", 200)
    client("RPUSH", "l", "a", "b")
    client("BLPOP", "l", 0)
    client("SORT", "set", "STORE", "sorted")
    client("SET", "gone", 1, "PXAT", 1)
    client("GET", "gone")
    before = state(served.engine)
    served.stack.close()
    served.server.shutdown()
    served.server.server_close()
    assert state(serve(store=f"log:{tmp_path}").engine) == before
    assert len(popped) == 5


def test_no_room(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk commands that write are refused and change nothing, reading goes on, and writing resumes."""
    served = serve(store=f"log:{tmp_path}")
    client = served.connect()
    client("SET", "a", 1)
    full = True
    fallocate = os.posix_fallocate

    def no_room(descriptor: int, offset: int, length: int) -> None:
        if full:
            raise OSError(28, "No space left on device")
        fallocate(descriptor, offset, length)

    monkeypatch.setattr("os.posix_fallocate", no_room)
    refused = client("SET", "a", b"x" * 9_000_000)
    assert refused == b"-MISCONF Errors writing to the AOF file: No space left on device\r\n"
    assert client("GET", "a") == b"$1\r\n1\r\n"
    assert b"aof_last_write_status:err" in client("INFO", "persistence")
    assert client("SET", "b", 1) == b"+OK\r\n"  # which still fits
    full = False
    assert client("SET", "a", b"x" * 9_000_000) == b"+OK\r\n"
    assert b"aof_last_write_status:ok" in client("INFO", "persistence")


def test_write_that_finds_no_room(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: object
) -> None:
    """What a write finds no room for though there was some is undone and refused, for good; then writing goes on."""
    served = serve(store=f"log:{tmp_path}", max_memory="1gb", max_memory_policy="allkeys-lru")
    client, watcher = served.connect(), served.connect()
    client("RPUSH", "list", 1, 2)
    watcher("WATCH", "list")
    write, full = os.pwrite, True

    def half(descriptor: int, data: memoryview, offset: int) -> int:
        if full and offset > 200:
            raise OSError(28, "No space left on device")
        return write(descriptor, data[: len(data) // 2 or 1] if full else data, offset)

    monkeypatch.setattr("os.pwrite", half)
    refused = b"-MISCONF Errors writing to the AOF file: No space left on device\r\n"
    client.raw(encode_request([b"RPUSH", b"list", b"x" * 1000]) + encode_request([b"LLEN", b"list"]))
    assert [client.reply(), client.reply()] == [refused, refused]
    assert client("LRANGE", "list", 0, -1)[1] == [b"$1\r\n1\r\n", b"$1\r\n2\r\n"]
    watcher("MULTI")
    watcher("LLEN", "list")
    assert watcher("EXEC") == b"*-1\r\n"
    full = False
    assert client("RPUSH", "list", 3) == b":3\r\n"
    before = state(served.engine)
    served.stack.close()
    served.server.shutdown()
    served.server.server_close()
    monkeypatch.undo()
    assert state(serve(store=f"log:{tmp_path}").engine) == before


def test_lost_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks late, when others have written since, still learns that what it has done found no room."""
    store = LogStore(tmp_path)
    engine = Engine(store, Config({}))
    first = append(store, b"1")
    with monkeypatch.context() as patch:
        patch.setattr("os.pwrite", _over_quota)
        with pytest.raises(CommandError, match="MISCONF"):
            store.commit()
    read_meanwhile = store.appended
    assert read_meanwhile > store.committed
    engine.recover()
    assert store.committed == first
    second = append(store, b"2")
    store.commit()
    assert [store.refusal(each) is not None for each in (first, read_meanwhile, second)] == [
        True,
        True,
        False,
    ]
    assert str(store.refusal(first)).endswith("AOF file: Disk quota exceeded")
    store.close()
    assert kept(tmp_path) == [b"2"]


def _over_quota(*_: object) -> int:
    raise OSError(errno.EDQUOT, "Disk quota exceeded")


def _fail_to_sync(server: KeyValueServer, path: Path, begin: Callable[[], None]) -> None:
    with running(server), Wire(path) as client:
        assert client("SET", "a", 1) == b"+OK\r\n"
        begin()
        client.send("SET", "a", 2)
        assert client.rest() == b""


def test_sync_that_fails(tmp_path: Path, socket_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fails ends the server, and nobody was told that it had worked."""
    path = socket_folder / "kv.sock"
    server = KeyValueServer(at(f"unix://{path}"), Engine(LogStore(tmp_path), Config({})))

    def fails(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        _fail_to_sync(server, path, lambda: monkeypatch.setattr("os.fdatasync", fails))
    monkeypatch.undo()
    assert kept(tmp_path)[0] == b"1"


def test_replay_for_fewer_databases(tmp_path: Path) -> None:
    """A log that needs more databases than there are is refused, with the fix."""
    store = LogStore(tmp_path)
    engine = Engine(store, Config({}), 16)
    engine.store.append(15, [b"SET", b"a", b"1"])
    store.close()
    with pytest.raises(CommandError, match="start with at least 16"):
        Engine(LogStore(tmp_path), Config({}), 4)


def test_program_refuses_a_damaged_folder(tmp_path: Path) -> None:
    """The program does not start on a damaged folder; it names file and octets, and how to look at it."""
    path = log_of(tmp_path, b"a", b"b")
    whole = path.read_bytes()
    place = whole.index(b"a\r\n")
    path.write_bytes(whole[:place] + b"X" + whole[place + 1 :])
    command = [
        sys.executable,
        "-m",
        "servers.keyvalue",
        "--bind",
        f"unix:{tmp_path}/s",
        "--store",
        f"log:{tmp_path}",
    ]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 2
    assert "00000001.log: octets 28 to" in ended.stderr
    assert "servers.keyvalue check" in ended.stderr
    assert not (tmp_path / "s").exists()
