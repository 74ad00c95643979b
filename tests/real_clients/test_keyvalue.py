"""People use the key-value store with the clients they already have: redis-cli, redis-benchmark, redis-py."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from framework import at
from framework.pytest_plugin import socket_folder
from framework.testing import running
from servers.keyvalue.config import Config
from servers.keyvalue.engine import Engine
from servers.keyvalue.server import KeyValueServer
from servers.keyvalue.stores.memory import MemoryStore

__all__ = ["socket_folder"]

Run = Callable[..., str]


@pytest.fixture
def path(socket_folder: Path) -> Iterator[Path]:
    """Serve, and return where."""
    path = socket_folder / "kv.sock"
    fixed = {"appendonly": "no", "databases": "16"}
    with running(KeyValueServer(at(f"unix://{path}"), Engine(MemoryStore(), Config(fixed)))):
        yield path


@pytest.fixture
def cli(path: Path) -> Run:
    """Run redis-cli, and return what it says."""
    if shutil.which("redis-cli") is None:
        pytest.skip("redis-cli is not installed")

    def run(*arguments: str, stdin: str = "") -> str:
        command = ["redis-cli", "-s", str(path), *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_redis_cli(cli: Run) -> None:
    """redis-cli shows values of all kinds, in RESP2, RESP3, JSON and CSV."""
    assert cli("SET", "greeting", "hello") == "OK\n"
    assert cli("--no-raw", "GET", "greeting") == '"hello"\n'
    cli("HSET", "h", "a", "1", "b", "2")
    assert cli("--no-raw", "-3", "HGETALL", "h").startswith('1# "a" => "1"\n')
    assert json.loads(cli("--json", "HGETALL", "h")) == {"a": "1", "b": "2"}
    assert cli("--csv", "HGETALL", "h") == '"a","1","b","2"\n'
    assert cli("-r", "3", "INCR", "n") == "1\n2\n3\n"
    assert cli("-x", "SET", "binary", stdin="a\nb") == "OK\n"
    assert cli(stdin="PING\nGET greeting\n") == "PONG\nhello\n"
    assert cli("-n", "3", "DBSIZE") == "0\n"


def test_redis_cli_pipe(cli: Run) -> None:
    """redis-cli --pipe loads thousands of keys, and gets as many replies."""
    said = cli("--pipe", stdin="".join(f"SET key{number} {number}\n" for number in range(5000)))
    assert "errors: 0, replies: 5000" in said
    assert cli("DBSIZE") == "5000\n"


def test_redis_cli_scans(cli: Run) -> None:
    """redis-cli finds all keys, the big ones, and those that take much memory."""
    cli(
        stdin="".join(f"SET key{number} {number}\n" for number in range(300))
        + "RPUSH list a b c\nSADD set a\n"
    )
    assert len(cli("--scan", "--pattern", "key*").split()) == 300
    assert "1 lists with 3 items" in cli("--bigkeys")
    assert "Sampled 302 keys" in cli("--memkeys")


def test_redis_benchmark(path: Path) -> None:
    """The full default run of redis-benchmark comes to its end without an error."""
    if shutil.which("redis-benchmark") is None:
        pytest.skip("redis-benchmark is not installed")
    command = ["redis-benchmark", "-s", str(path), "-n", "500", "-c", "10", "-P", "4", "--csv"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0
    assert "rror" not in done.stdout + done.stderr
    assert done.stdout.count("\n") > 18


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py(path: Path, protocol: int) -> None:
    """redis-py has its pipelines, transactions, scans, queues and messages."""
    pipe: Any  # each call returns it, and redis-py says that it may be the reply
    with redis.Redis(unix_socket_path=str(path), protocol=protocol, decode_responses=True) as client:
        with client.pipeline() as pipe:
            assert pipe.set("a", 1).incr("a").zadd("z", {"x": 1.5}).execute() == [True, 2, 1]
        with client.pipeline() as pipe:
            pipe.watch("a")
            pipe.multi()
            assert pipe.incrby("a", 5).execute() == [7]
        client.hset("h", mapping={"f": "v"})
        assert client.hgetall("h") == {"f": "v"}
        assert client.zrange("z", 0, -1, withscores=True)[0][1] == 1.5
        assert sorted(client.scan_iter()) == ["a", "h", "z"]
        client.rpush("q", "job")
        assert list(client.blpop("q", timeout=1) or ()) == ["q", "job"]
        with client.pubsub() as listener:
            listener.subscribe("news")
            listener.get_message(timeout=5)
            client.publish("news", "hello")
            message = listener.get_message(timeout=5)
        assert message is not None
        assert message["data"] == "hello"
