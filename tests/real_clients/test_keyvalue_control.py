"""The key-value store beside redis-server: the same commands to both, and the same octets from both."""

import random
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from framework import at
from framework.testing import running
from servers.keyvalue.commands.table import TABLE, Command
from servers.keyvalue.config import Config
from servers.keyvalue.engine import Engine
from servers.keyvalue.protocol import encode_request
from servers.keyvalue.server import KeyValueServer
from servers.keyvalue.stores.memory import MemoryStore
from tests.real_clients.redis_control import needs_redis, redis_server
from tests.servers.keyvalue.wire import Wire

pytestmark = needs_redis

KEYS = [kind + number for kind in (b"s", b"l", b"h", b"t", b"z") for number in (b"1", b"2")] + [b"none"]
OWN_KEYS = {
    "strings": b"s",
    "lists": b"l",
    "hashes": b"h",
    "sets": b"t",
    "sorted-sets": b"z",
    "zranges": b"z",
}
VALUES = b"|a|b|c|10|-5|3.5|1e3|abc|0|1|2|9223372036854775807|inf|-inf|nan|+1| 1|01|-0|\r\n|0.1".split(b"|")
NUMBERS = (
    b"0|1|2|3|-1|-2|5|100|-100|x|1.5|(1|[a|-|+|[c|(b|-inf|+inf|9223372036854775808|4611686018427387904".split(
        b"|"
    )
)
WORDS = (
    b"NX XX GT LT CH INCR WITHSCORES LIMIT COUNT REV BYSCORE BYLEX LEFT RIGHT MIN MAX GET KEEPTTL EXAT PXAT PERSIST "
    b"BEFORE AFTER REPLACE DB WEIGHTS AGGREGATE SUM ALPHA DESC ASC BY STORE RANK MAXLEN WITHVALUES # nosort s* h*->a"
).split()
# What tells of the server rather than the data, waits, is random, needs a certain order, or is over at some moment.
LEFT_OUT = [
    "time",
    "info",
    "command",
    "config",
    "save",
    "bgsave",
    "bgrewriteaof",
    "lastsave",
    "shutdown",
    "slowlog",
    "memory",
    "function",
    "client",
    "randomkey",
    "srandmember",
    "hrandfield",
    "zrandmember",
    "auth",
    "hello",
    "quit",
    "reset",
    "subscribe",
    "psubscribe",
    "unsubscribe",
    "punsubscribe",
    "publish",
    "pubsub",
    "object",
    "scan",
    "hscan",
    "sscan",
    "zscan",
    "blpop",
    "brpop",
    "blmove",
    "brpoplpush",
    "bzpopmin",
    "bzpopmax",
    "blmpop",
    "bzmpop",
    "swapdb",
    "select",
    "flushall",
    "flushdb",
    "exec",
    "move",
    "copy",
    "setex",
    "psetex",
    "expire",
    "pexpire",
]
# In RESP2 what is in no order comes as an array.
UNORDERED = {
    b"SMEMBERS",
    b"SINTER",
    b"SUNION",
    b"SDIFF",
    b"KEYS",
    b"HKEYS",
    b"HVALS",
    b"HGETALL",
    b"SORT",
    b"SORT_RO",
}
TIMES = {b"TTL", b"PTTL", b"EXPIRETIME", b"PEXPIRETIME"}
ROWS = [row for name, row in TABLE.items() if name.islower() and row.name not in LEFT_OUT]


# A case per line, with the escapes of Python: what a client sends.
WORDS_FILE = Path(__file__).with_name("keyvalue_words.txt")


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[Path, Path]]:
    """Run our server and the control."""
    with TemporaryDirectory(prefix="kv-") as name, ExitStack() as stack:
        folder = Path(name)
        config = Config({"databases": "16"})
        server = KeyValueServer(at(f"unix://{folder}/kv.sock"), Engine(MemoryStore(), config))
        stack.enter_context(running(server))
        yield folder / "kv.sock", stack.enter_context(redis_server(folder))


@pytest.fixture
def pair(both: tuple[Path, Path]) -> Iterator[tuple[Wire, Wire]]:
    """Connect to both, which hold nothing yet."""
    with Wire(both[0]) as ours, Wire(both[1]) as theirs:
        for each in (ours, theirs):
            each("FLUSHALL")
        yield ours, theirs


def request(row: Command, rng: random.Random) -> list[bytes]:
    """Return a request for a command, which makes more or less sense."""
    least = row.arity.start
    most = min(row.arity.stop - 1, least + 4)
    count = rng.randint(least, most) if rng.random() < 0.97 else rng.randint(1, least + 1)
    first, last, step = row.keys
    keys = range(first, (last if last >= 0 else count + last) + 1, step) if first else range(0)
    own = OWN_KEYS.get(row.group)
    words = [row.name.upper().encode()]
    for place in range(1, count):
        kind = rng.random()
        if place in keys or (row.numbered < place <= row.numbered + 2 and row.numbered and kind < 0.8):
            words.append(own + rng.choice([b"1", b"2"]) if own and rng.random() < 0.8 else rng.choice(KEYS))
        elif place == row.numbered:
            words.append(rng.choice([b"1", b"2", b"1", b"2", b"0", b"3"]))
        else:
            words.append(rng.choice(VALUES if kind < 0.35 else NUMBERS if kind < 0.75 else WORDS))
    return words


def alike(words: list[bytes], ours: Any, theirs: Any) -> bool:
    """Tell whether two replies are the same, but for what may differ."""
    if words[0] in TIMES and ours[:1] == theirs[:1] == b":":
        return abs(int(ours[1:]) - int(theirs[1:])) < 1000
    if words[0] == b"SPOP":
        return bool((ours == b"$-1\r\n") == (theirs == b"$-1\r\n"))
    if words[0] in UNORDERED and isinstance(ours, tuple) and isinstance(theirs, tuple):
        return bool(ours[0] == theirs[0] and sorted(ours[1], key=repr) == sorted(theirs[1], key=repr))
    return bool(ours == theirs)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_random_commands(pair: tuple[Wire, Wire], seed: int, version: int) -> None:
    """Thousands of random commands, right and wrong, get the very replies that redis-server gives."""
    rng = random.Random(seed)
    ours, theirs = pair
    assert ours("HELLO", version)[0] == theirs("HELLO", version)[0]
    different: dict[bytes, tuple[list[bytes], Any, Any]] = {}
    for _ in range(3000):
        words = request(rng.choice(ROWS), rng)
        got, wanted = ours(*words), theirs(*words)
        same = alike(words, got, wanted)
        if not same:
            different.setdefault(words[0], (words, got, wanted))
        if not same or words[0] == b"SPOP":  # from here on both are to hold the same again
            for each in pair:
                each("DEL", *KEYS)
    lines = [f"{words}\n    ours   {got}\n    theirs {wanted}" for words, got, wanted in different.values()]
    assert not lines, "\n".join(lines)


def all_said(path: Path, octets: bytes, end: bytes = b"") -> bytes:
    """Return all that a server says to these octets, up to its end or ``end``; without that, the client ends its output."""
    answer = b""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(path))
        with suppress(BrokenPipeError):
            client.sendall(octets)
            if not end:
                client.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):
            while not (end and answer.endswith(end)) and (more := client.recv(65536)):
                answer += more
    return answer


def said(path: Path, octets: bytes) -> bytes:
    """Return all that a server says to these octets, up to its end or, if there is none, to that of a command behind them."""
    answer = all_said(
        path, b"FLUSHALL\r\n" + octets + b"CLIENT REPLY ON\r\nRESET\r\nECHO end\r\n", b"$3\r\nend\r\n"
    )
    return re.sub(rb"(id\r\n:)\d+", rb"\1N", answer)


@pytest.mark.parametrize("octets", WORDS_FILE.read_text().splitlines())
def test_words(both: tuple[Path, Path], octets: str) -> None:
    """Malformed input and refused commands get the very words that redis-server has for them, or its silence."""
    case = octets.encode().decode("unicode_escape").encode("latin-1")
    ours, theirs = both
    assert said(ours, case) == said(theirs, case)


def test_words_for_strangers() -> None:
    """Before the password a request may be small only, whatever it comes with; with the password in front of it, it is one."""
    large = [
        [b"MSET", *[b"x"] * 9],
        [b"MSET", *[b"x"] * 10],
        [b"SET", b"a", b"x" * 16384],
        [b"SET", b"a", b"x" * 16385],
        [b"SET", b"a", *[b"x" * 16384] * 8],
    ]
    auth, ping = [b"AUTH", b"secret"], [b"PING"]
    cases = [
        encode_request(*before, words, ping)
        for words in large
        for before in ([], [ping], [auth], [ping, auth])
    ]
    cases += [b"*11\r\n", b"*2\r\n$16385\r\n", b"*99999999999\r\n", b"PING " + b"x " * 30 + b"\r\n"]
    with TemporaryDirectory(prefix="kv-") as name, ExitStack() as stack:
        folder = Path(name)
        config = Config({"databases": "16"}, sha256(b"secret").hexdigest())
        server = KeyValueServer(at(f"unix://{folder}/kv.sock"), Engine(MemoryStore(), config))
        stack.enter_context(running(server))
        theirs = stack.enter_context(redis_server(folder, "--requirepass", "secret"))
        for case in cases:
            assert all_said(folder / "kv.sock", case) == all_said(theirs, case)
