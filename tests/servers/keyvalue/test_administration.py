"""What an operator and curious clients see: passwords, limits, CONFIG, INFO, COMMAND, memory."""

import hashlib
import os

import pytest

from framework.testing import FakeClock, eventually
from servers.keyvalue.commands.table import TABLE, without
from servers.keyvalue.settings import Settings
from shared.settings import SettingsError
from tests.servers.keyvalue.conftest import Serve, Served
from tests.servers.keyvalue.wire import Wire

PASSWORD = hashlib.sha256(b"secret").hexdigest()


def test_password(serve: Serve) -> None:
    """Without the password nothing works but giving it, and little may be sent."""
    served = serve(password_sha256=PASSWORD)
    client = served.connect()
    assert client("GET", "a") == b"-NOAUTH Authentication required.\r\n"
    assert client("NOPE").startswith(b"-ERR unknown command")
    assert client("HELLO", 3).startswith(
        b"-NOAUTH HELLO must be called with the client already authenticated"
    )
    assert client("AUTH", "wrong").startswith(b"-WRONGPASS ")
    assert client("AUTH", "somebody", "secret").startswith(b"-WRONGPASS ")
    assert client("AUTH", "secret") == b"+OK\r\n"
    assert client("GET", "a") == b"$-1\r\n"
    assert served.connect()("HELLO", 3, "AUTH", "default", "secret")[0] == b"%7\r\n"
    assert client("RESET") == b"+RESET\r\n"
    assert client("GET", "a").startswith(b"-NOAUTH")
    assert b"secret" not in repr(client("AUTH", "secret")).encode() + b"".join(
        client("CONFIG", "GET", "*")[1]
    )
    stranger = served.connect()
    stranger.raw(b"*11\r\n")
    assert stranger.rest() == b"-ERR Protocol error: unauthenticated multibulk length\r\n"


def test_password_while_it_runs(served: Served) -> None:
    """CONFIG SET requirepass holds for who comes later."""
    client = served.connect()
    assert client("AUTH", "x").startswith(b"-ERR AUTH <password> called without any password configured")
    client("CONFIG", "SET", "requirepass", "secret")
    assert client("GET", "a") == b"$-1\r\n"
    assert served.connect()("GET", "a").startswith(b"-NOAUTH")


def test_who_may_connect(serve: Serve) -> None:
    """On a Unix socket the kernel says who is there, and only who is allowed gets in."""
    assert serve(allow_uid=(os.geteuid(),)).connect()("PING") == b"+PONG\r\n"
    assert serve(allow_gid=(os.getegid(),)).connect()("PING") == b"+PONG\r\n"
    refused = serve(allow_uid=(os.geteuid() + 1,)).connect()
    try:
        refused.raw(b"PING\r\n")
        answer = refused.rest()
    except OSError:
        answer = b""
    assert answer == b""


def test_disabled_commands(serve: Serve) -> None:
    """What is switched off is not there."""
    client = serve(disable=("flushall", "CONFIG|SET")).connect()
    assert client("FLUSHALL").startswith(b"-ERR unknown command 'FLUSHALL'")
    assert client("CONFIG", "SET", "maxmemory", 1).startswith(b"-ERR unknown subcommand")
    assert client("CONFIG", "GET", "databases")[0] == b"*2\r\n"
    assert client("COMMAND", "INFO", "flushall") == (b"*1\r\n", [b"$-1\r\n"])
    with pytest.raises(SettingsError, match="there is no such command"):
        Settings(disable=("nope",))
    with pytest.raises(KeyError):
        without(["config|nope"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"store": "redis:"}, "write memory: or log:FOLDER"),
        ({"bind": ("tcp://127.0.0.1:0",), "allow_uid": (0,)}, "set --password-sha256"),
        ({"max_memory": "much"}, "a number, and k"),
        ({"max_memory_policy": "some"}, "give one of"),
        ({"password_sha256": "secret"}, "64 hexadecimal digits"),
        ({"databases": 65}, "from 1 to 64"),
    ],
)
def test_settings_of_no_use(changes: dict[str, object], message: str) -> None:
    """A setting that cannot be used is refused at the start, with the fix."""
    with pytest.raises(SettingsError, match=message) as error:
        Settings(**changes)  # type: ignore[arg-type]
    assert "secret" not in str(error.value)


def test_config(client: Wire) -> None:
    """CONFIG GET takes patterns, and SET changes all or nothing."""
    assert client("CONFIG", "GET", "maxmemory")[1] == [b"$9\r\nmaxmemory\r\n", b"$1\r\n0\r\n"]
    assert client("CONFIG", "SET", "maxmemory", "1mb", "maxmemory-samples", "7") == b"+OK\r\n"
    assert client("CONFIG", "GET", "maxmemory*")[0] == b"*6\r\n"
    wrong = client("CONFIG", "SET", "maxmemory-samples", "8", "maxmemory", "x")
    assert (
        wrong
        == b"-ERR CONFIG SET failed (possibly related to argument 'maxmemory') - argument must be a memory value\r\n"
    )
    assert client("CONFIG", "GET", "maxmemory-samples")[1][1] == b"$1\r\n7\r\n"
    assert client("CONFIG", "SET", "nope", 1).startswith(b"-ERR Unknown option")
    assert b"immutable" in client("CONFIG", "SET", "databases", 1)
    assert client("CONFIG", "SET", "appendonly", "no", "appendfsync", "always") == b"+OK\r\n"
    assert b"can't set immutable config" in client("CONFIG", "SET", "appendonly", "yes")


def test_limits_from_config(served: Served) -> None:
    """What a string may have is said by CONFIG, and holds for the next request."""
    client = served.connect()
    client("CONFIG", "SET", "proto-max-bulk-len", 1000)
    client.raw(b"*1\r\n$1001\r\n")
    assert client.rest() == b"-ERR Protocol error: invalid bulk length\r\n"


@pytest.mark.parametrize(
    "policy", ["allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-ttl"]
)
def test_eviction(served: Served, fake_clock: FakeClock, policy: str) -> None:
    """When memory is short some keys are given up for others, and those in use are not."""
    client = served.connect()
    client("CONFIG", "SET", "maxmemory", "100kb", "maxmemory-policy", policy, "maxmemory-samples", 20)
    for number in range(400):
        fake_clock.advance(1)
        assert client("SET", f"k{number}", b"x" * 500, "EX", 10_000 + number) == b"+OK\r\n"
        if not policy.endswith(("random", "ttl")):
            assert client("GET", "k0") != b"$-1\r\n"
    assert served.engine.dataset.evicted > 200
    ledger = served.engine.dataset.ledger
    assert ledger is not None
    assert ledger.total <= 103_000  # room is made before a command, which may need a key's more
    client("FLUSHALL")
    assert ledger.total == 0


def test_out_of_memory(client: Wire) -> None:
    """With nothing to give up, commands that take memory are refused, and those that free it are not."""
    client("SET", "a", b"x" * 5000)
    client("CONFIG", "SET", "maxmemory", 4000)
    assert client("SET", "b", 1) == b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"
    assert client("DEL", "a") == b":1\r\n"
    assert client("SET", "b", 1) == b"+OK\r\n"


def test_reading_what_is_not_there_costs_no_memory(served: Served) -> None:
    """With maxmemory set, a look at keys that do not exist leaves nothing behind."""
    client = served.connect()
    client("CONFIG", "SET", "maxmemory", "1mb", "maxmemory-policy", "allkeys-lru")
    for number in range(100):
        client("GET", f"nothing{number}")
    ledger = served.engine.dataset.ledger
    assert ledger is not None
    assert not ledger._uses[served.engine.dataset.keyspaces[0]]


def test_expired_keys_go_by_themselves(served: Served, fake_clock: FakeClock) -> None:
    """Keys whose time has come are removed though nobody looks at them."""
    client = served.connect()
    for number in range(50):
        client("SET", f"k{number}", 1, "EX", 10)
    fake_clock.advance(11)
    eventually(lambda: not served.engine.dataset.keyspaces[0].values)


def test_slowlog(client: Wire) -> None:
    """What takes long is remembered, the latest first, cut to what can be shown."""
    client("CONFIG", "SET", "slowlog-log-slower-than", 0, "slowlog-max-len", 2)
    client("SET", "a", b"x" * 1000)
    client("GET", "a")
    newest, older = client("SLOWLOG", "GET")[1]
    assert newest[1][3][1] == [b"$3\r\nGET\r\n", b"$1\r\na\r\n"]
    assert older[1][3][1][2].startswith(b"$131\r\nxxx")
    client("SLOWLOG", "RESET")


def test_info(client: Wire) -> None:
    """INFO has what clients look for."""
    client("SET", "a", 1, "EX", 100)
    text = client("INFO").decode()
    for field in [
        "redis_version:7.0.15",
        "redis_mode:standalone",
        "process_id:",
        "arch_bits:64",
        "connected_clients:1",
        "blocked_clients:0",
        "used_memory:",
        "role:master",
        "rdb_bgsave_in_progress:0",
        "aof_enabled:0",
        "cluster_enabled:0",
        "loading:0",
        "db0:keys=1,expires=1",
    ]:
        assert f"\r\n{field}" in text
    assert "# Memory" not in client("INFO", "server").decode()


def test_hits_and_misses(client: Wire) -> None:
    """INFO counts what commands that read found and did not find, and nothing that others look for."""
    client("SET", "a", 1)
    client("INCR", "a")
    client("INCR", "new")
    client("MGET", "a", "none", "a")
    client("EXISTS", "a", "none")
    client("HGET", "none", "field")
    text = client("INFO", "stats")
    assert b"keyspace_hits:3\r\n" in text
    assert b"keyspace_misses:3\r\n" in text
    client("CONFIG", "RESETSTAT")
    assert b"keyspace_hits:0\r\n" in client("INFO", "stats")


def test_client_list(served: Served) -> None:
    """CLIENT LIST shows who is there and what they do, and no name of a client breaks its lines."""
    client, other = served.connect(), served.connect()
    other("CLIENT", "SETNAME", "other")
    assert (
        client("CLIENT", "SETNAME", "a b")
        == b"-ERR Client names cannot contain spaces, newlines or special characters.\r\n"
    )
    other.send(b"PING\r\nid=1", "x", "y")
    other.reply()
    lines = client("CLIENT", "LIST").decode().split("\r\n", 1)[1].strip().split("\n")
    assert len(lines) == 2
    assert " name=other " in lines[1]
    assert " cmd=unknown " in lines[1]


def test_table() -> None:
    """Every command has a summary, and every key position is one of its words."""
    for row in TABLE.values():
        assert row.summary
        first, last, step = row.keys
        assert (first == 0) or (1 <= first < row.arity.start + 1 and step > 0 and (last >= first or last < 0))


def test_commands_about_commands(client: Wire) -> None:
    """COMMAND tells of the table what redis-cli and cluster clients ask."""
    count = int(client("COMMAND", "COUNT")[1:])
    assert len(client("COMMAND")[1]) == count
    assert len(client("COMMAND", "DOCS")[1]) == 2 * count
    assert client("COMMAND", "GETKEYS", "ZUNIONSTORE", "d", 2, "a", "b")[1] == [
        b"$1\r\nd\r\n",
        b"$1\r\na\r\n",
        b"$1\r\nb\r\n",
    ]
    assert client("COMMAND", "GETKEYS", "PING", "x") == b"-ERR The command has no key arguments\r\n"
    assert b"$6\r\nlpushx\r\n" in client("COMMAND", "LIST", "FILTERBY", "PATTERN", "lp*")[1]
