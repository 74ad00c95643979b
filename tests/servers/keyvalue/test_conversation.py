"""Conversations over a socket, under each concurrency model: pipelines, transactions, waiting, messages, ends."""

import socket

import pytest

from framework.testing import FakeClock, eventually
from servers.keyvalue import protocol
from servers.keyvalue.protocol import encode_request
from servers.keyvalue.server import KeyValueMixIn
from tests.servers.keyvalue.conftest import Serve, Served
from tests.servers.keyvalue.wire import Wire

pytestmark = pytest.mark.usefixtures("model")


def blocked(served: Served, count: int = 1) -> None:
    """Wait until so many clients wait for a key."""
    eventually(lambda: served.engine.blocked == count)


# -- pipelines -----------------------------------------------------------------------------------------------------


def test_pipeline_cut_at_every_octet(client: Wire) -> None:
    """A pipeline may come in any two pieces."""
    data = b"".join(encode_request(words) for words in ([b"SET", b"k", b"v\r\n"], [b"GET", b"k"], [b"PING"]))
    for cut in range(1, len(data)):
        client.raw(data[:cut])
        client.raw(data[cut:])
        assert [client.reply() for _ in range(3)] == [b"+OK\r\n", b"$3\r\nv\r\n\r\n", b"+PONG\r\n"]


def test_replies_larger_than_anybody_wants_to_keep(client: Wire) -> None:
    """A short pipeline may ask for more than is sent at a time, and gets all of it in order."""
    client("SET", "big", b"x" * 700_000)
    client.raw(encode_request([b"GET", b"big"]) * 20 + encode_request([b"PING"]))
    assert all(len(client.reply()) == 700_011 for _ in range(20))
    assert client.reply() == b"+PONG\r\n"


def test_malformed_input_ends_the_connection(client: Wire) -> None:
    """What came before is answered, then the error is told, then that was it."""
    client.raw(b"PING\r\n*1\r\nPING\r\n")
    assert client.rest() == b"+PONG\r\n-ERR Protocol error: expected '$', got 'P'\r\n"


def test_quit(client: Wire) -> None:
    """QUIT is answered, and nothing after it."""
    client.raw(b"QUIT\r\nPING\r\n")
    assert client.rest() == b"+OK\r\n"


def test_unknown_commands(client: Wire) -> None:
    """Commands that do not exist, and hostile names of them, are refused in one line."""
    assert client("NOPE", "a", "b") == b"-ERR unknown command 'NOPE', with args beginning with: 'a' 'b' \r\n"
    assert client(b"X\r\n+OK").startswith(b"-ERR unknown command 'X  +OK', with")
    assert len(client("x" * 10_000, "y" * 10_000)) < 500
    assert client("CLIENT", "NOPE") == b"-ERR unknown subcommand 'NOPE'. Try CLIENT HELP.\r\n"
    assert client("GET") == b"-ERR wrong number of arguments for 'get' command\r\n"
    assert client("gEt", "nothing") == b"$-1\r\n"


def test_replies_switched_off(client: Wire) -> None:
    """CLIENT REPLY OFF and SKIP silence what they should, and no more."""
    client.send("CLIENT", "REPLY", "OFF")
    client.send("PING")
    assert client("CLIENT", "REPLY", "ON") == b"+OK\r\n"
    client.send("CLIENT", "REPLY", "SKIP")
    client.send("SET", "a", 1)
    assert client("GET", "a") == b"$1\r\n1\r\n"


# -- transactions --------------------------------------------------------------------------------------------------


def test_transaction(client: Wire) -> None:
    """What is queued runs at once; what fails in it does not undo the rest."""
    assert client("MULTI") == b"+OK\r\n"
    assert client("SET", "a", "x") == b"+QUEUED\r\n"
    assert client("INCR", "a") == b"+QUEUED\r\n"
    assert client("BLPOP", "nothing", 0) == b"+QUEUED\r\n"
    assert client("EXEC") == (
        b"*3\r\n",
        [b"+OK\r\n", b"-ERR value is not an integer or out of range\r\n", b"*-1\r\n"],
    )


def test_transaction_with_a_mistake(client: Wire) -> None:
    """What cannot even be queued spoils all of it."""
    client("MULTI")
    assert client("SET", "a").startswith(b"-ERR wrong number")
    assert client("MULTI") == b"-ERR MULTI calls can not be nested\r\n"
    assert client("SAVE") == b"-ERR Command not allowed inside a transaction\r\n"
    assert client("EXEC") == b"-EXECABORT Transaction discarded because of previous errors.\r\n"
    assert client("EXEC") == b"-ERR EXEC without MULTI\r\n"
    assert client("DISCARD") == b"-ERR DISCARD without MULTI\r\n"


@pytest.mark.parametrize(
    "change", ["SET a 2", "DEL a", "EXPIRE a 100", "RENAME a b", "FLUSHALL", "SWAPDB 0 1"]
)
def test_watch(served: Served, change: str) -> None:
    """A transaction does not run when another has changed what it watches, however."""
    client, other = served.connect(), served.connect()
    client("SET", "a", 1)
    client("WATCH", "a")
    other(*change.split())
    client("MULTI")
    client("PING")
    assert client("EXEC") == b"*-1\r\n"
    client("MULTI")
    assert client("EXEC") == (b"*0\r\n", [])


def test_watch_of_what_expires(served: Served, fake_clock: FakeClock) -> None:
    """That a watched key has expired is a change."""
    client = served.connect()
    client("SET", "a", 1, "EX", 10)
    client("WATCH", "a")
    fake_clock.advance(11)
    client("MULTI")
    assert client("EXEC") == b"*-1\r\n"


# -- waiting for a key -----------------------------------------------------------------------------------------------


def test_first_come_first_served(served: Served) -> None:
    """Who has waited longest is served first, and before anybody else can take what is there."""
    first, second, pusher = (served.connect() for _ in range(3))
    first.send("BLPOP", "list", 0)
    blocked(served)
    second.send("BRPOP", "other", "list", 0)
    blocked(served, 2)
    pusher.raw(
        encode_request([b"RPUSH", b"list", b"a", b"b", b"c"])
        + encode_request([b"LRANGE", b"list", b"0", b"-1"])
    )
    assert pusher.reply() == b":3\r\n"
    assert pusher.reply() == (b"*1\r\n", [b"$1\r\nb\r\n"])
    assert first.reply() == (b"*2\r\n", [b"$4\r\nlist\r\n", b"$1\r\na\r\n"])
    assert second.reply() == (b"*2\r\n", [b"$4\r\nlist\r\n", b"$1\r\nc\r\n"])


def test_served_after_a_transaction(served: Served) -> None:
    """Nobody is served in the middle of a transaction."""
    waiting, other = served.connect(), served.connect()
    waiting.send("BLPOP", "list", 0)
    blocked(served)
    other("MULTI")
    other("RPUSH", "list", "a")
    other("LPOP", "list")
    assert other("EXEC")[1] == [b":1\r\n", b"$1\r\na\r\n"]
    other("RPUSH", "list", "b")
    assert waiting.reply()[1][1] == b"$1\r\nb\r\n"


def test_chain_of_waiters(served: Served) -> None:
    """What one who waited moves to another list serves who waits there."""
    mover, popper, pusher = (served.connect() for _ in range(3))
    mover.send("BLMOVE", "a", "b", "LEFT", "RIGHT", 0)
    blocked(served)
    popper.send("BLPOP", "b", 0)
    blocked(served, 2)
    pusher("RPUSH", "a", "x")
    assert mover.reply() == b"$1\r\nx\r\n"
    assert popper.reply()[1] == [b"$1\r\nb\r\n", b"$1\r\nx\r\n"]


def test_time_is_up(client: Wire) -> None:
    """Who has waited for long enough is told that there is nothing."""
    assert client("BLPOP", "list", "0.01") == b"*-1\r\n"
    assert client("BLMOVE", "a", "b", "LEFT", "LEFT", "0.01") == b"$-1\r\n"
    assert client("BZPOPMIN", "z", "0.01") == b"*-1\r\n"
    assert client("BLPOP", "list", "-1") == b"-ERR timeout is negative\r\n"
    assert client("BLPOP", "list", "x") == b"-ERR timeout is not a float or out of range\r\n"


def test_pipelined_behind_a_wait(served: Served) -> None:
    """What a client sends while it waits is done after the wait."""
    waiting, other = served.connect(), served.connect()
    waiting.raw(encode_request([b"BLPOP", b"list", b"0"]) + encode_request([b"PING"]))
    blocked(served)
    waiting.raw(encode_request([b"ECHO", b"later"]))
    other("RPUSH", "list", "a")
    assert waiting.reply()[1][1] == b"$1\r\na\r\n"
    assert waiting.reply() == b"+PONG\r\n"
    assert waiting.reply() == b"$5\r\nlater\r\n"


def test_who_hangs_up_takes_nothing(served: Served) -> None:
    """An element is not lost to a client that has gone."""
    waiting, other = served.connect(), served.connect()
    waiting.send("BLPOP", "list", 0)
    blocked(served)
    waiting.socket.shutdown(socket.SHUT_RDWR)
    blocked(served, 0)
    other("RPUSH", "list", "a")
    assert other("LLEN", "list") == b":1\r\n"


def test_unblock(served: Served) -> None:
    """Another client can end a wait, as if time were up or by an error."""
    waiting, other = served.connect(), served.connect()
    number = int(waiting("CLIENT", "ID")[1:])
    for how, reply in ((), b"*-1\r\n"), (("ERROR",), b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"):
        waiting.send("BLPOP", "list", 0)
        blocked(served)
        assert other("CLIENT", "UNBLOCK", number, *how) == b":1\r\n"
        assert waiting.reply() == reply
    assert other("CLIENT", "UNBLOCK", number) == b":0\r\n"


# -- messages ------------------------------------------------------------------------------------------------------


def test_messages(served: Served) -> None:
    """Who has subscribed to a channel or a pattern gets what is published, in RESP2 and out of band in RESP3."""
    old, new, other = (served.connect() for _ in range(3))
    new("HELLO", 3)
    old.send("SUBSCRIBE", "news", "sport")
    assert old.reply() == (b"*3\r\n", [b"$9\r\nsubscribe\r\n", b"$4\r\nnews\r\n", b":1\r\n"])
    assert old.reply()[1][2] == b":2\r\n"
    new.send("PSUBSCRIBE", "n*")
    assert new.reply()[0] == b">3\r\n"
    assert other("PUBLISH", "news", "hello") == b":2\r\n"
    assert old.reply() == (b"*3\r\n", [b"$7\r\nmessage\r\n", b"$4\r\nnews\r\n", b"$5\r\nhello\r\n"])
    assert new.reply() == (
        b">4\r\n",
        [b"$8\r\npmessage\r\n", b"$2\r\nn*\r\n", b"$4\r\nnews\r\n", b"$5\r\nhello\r\n"],
    )
    assert new("PING") == b"+PONG\r\n"
    assert old("PING") == (b"*2\r\n", [b"$4\r\npong\r\n", b"$0\r\n\r\n"])
    assert old("GET", "a").startswith(b"-ERR Can't execute 'get': only (P|S)SUBSCRIBE")
    old.send("UNSUBSCRIBE")
    assert [old.reply()[1][2], old.reply()[1][2]] == [b":1\r\n", b":0\r\n"]
    assert old("GET", "a") == b"$-1\r\n"
    assert other("PUBSUB", "CHANNELS") == (b"*0\r\n", [])
    assert other("PUBSUB", "NUMPAT") == b":1\r\n"


def test_messages_to_oneself_are_in_order(client: Wire) -> None:
    """A message to oneself comes between the replies to what was sent before and after."""
    client("HELLO", 3)
    client.send("SUBSCRIBE", "me")
    client.reply()
    client.raw(b"ECHO a\r\nPUBLISH me x\r\nECHO b\r\n")
    assert [client.reply()[0:1] for _ in range(4)] == [b"$", (b">3\r\n",), b":", b"$"]


def test_subscriber_that_does_not_read(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A subscriber that does not read is cut off, and holds up nobody."""
    monkeypatch.setattr("servers.keyvalue.handler._UNREAD", 100_000)
    slow, other = served.connect(), served.connect()
    slow.send("SUBSCRIBE", "news")
    slow.reply()
    eventually(lambda: other("PUBLISH", "news", b"x" * 60_000) == b":0\r\n")
    assert other("CLIENT", "LIST").count(b"id=") == 1


# -- ends ------------------------------------------------------------------------------------------------------------


def test_kill(served: Served) -> None:
    """A client can be ended by another, also while it waits."""
    victim, other = served.connect(), served.connect()
    number = int(victim("CLIENT", "ID")[1:])
    victim.send("BLPOP", "list", 0)
    blocked(served)
    assert other("CLIENT", "KILL", "ID", number) == b":1\r\n"
    assert victim.rest() == b""
    assert other("CLIENT", "KILL", "1.2.3.4:5") == b"-ERR No such client\r\n"


def test_drain_ends_those_who_wait(serve: Serve, model: type[KeyValueMixIn]) -> None:
    """A server that ends does not wait for clients that wait."""
    served = serve()
    waiting, idle = served.connect(), served.connect()
    assert idle("PING") == b"+PONG\r\n"
    waiting.send("BLPOP", "list", 0)
    blocked(served)
    assert not served.server.drain(10).abandoned
    assert waiting.rest() == b""
    assert idle.rest() == b""


def test_shutdown(served: Served) -> None:
    """SHUTDOWN ends the server."""
    client = served.connect()
    client.send("SHUTDOWN", "NOSAVE")
    assert client.rest() == b""


def test_keys_lets_others_have_their_turn(served: Served) -> None:
    """KEYS over many keys is interrupted for others, and finds what was there all along."""
    client = served.connect()
    for start in range(0, 10_000, 1000):
        client("MSET", *(word for number in range(start, start + 1000) for word in (f"k{number}", "")))
    pauses = 0
    pause = served.engine.pause

    def counted(seconds: float) -> None:
        nonlocal pauses
        pauses += 1
        pause(seconds)

    served.engine.pause = counted
    assert len(client("KEYS", "*")[1]) == 10_000
    assert pauses == 2


def test_nothing_is_recorded_where_nothing_is_kept(served: Served) -> None:
    """Without a store the effects of commands pile up nowhere."""
    client = served.connect()
    client("SET", "a", 1, "EX", 100)
    client("EXPIRE", "a", 50)
    assert served.engine.dataset.effects is None


def test_mistakes_that_break_no_transaction(client: Wire) -> None:
    """What is refused though it is never queued does not break the transaction; what cannot be queued does."""
    for words in (["MULTI"], ["WATCH", "a"]):
        client("MULTI")
        client("SET", "a", 1)
        assert client(*words).startswith(b"-ERR")
        assert client("EXEC") == (b"*1\r\n", [b"+OK\r\n"])
    client("MULTI")
    assert client("WATCH").startswith(b"-ERR wrong number")
    assert client("EXEC").startswith(b"-EXECABORT")


def test_reply_larger_than_memory(client: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply that would hold a large value a thousand times is refused, and the conversation goes on."""
    monkeypatch.setattr(protocol, "_LARGEST", 1_000_000)
    client("SET", "a", b"x" * 10_000)
    assert client("MGET", *["a"] * 1000).startswith(b"-ERR the reply is larger than")
    client("MULTI")
    for _ in range(200):
        client("GET", "a")
    assert client("EXEC").startswith(b"-ERR the reply is larger than")
    assert len(client("MGET", "a", "a")[1]) == 2


def test_extreme_counts(client: Wire) -> None:
    """Ranks and counts at the ends of what a number may be find nothing, and end nothing."""
    client("RPUSH", "l", "a")
    client("SADD", "s", "a")
    least, most = -(2**63), 2**63 - 1
    assert client("LPOS", "l", "a", "RANK", least) == b"$-1\r\n"
    assert client("LPOS", "l", "a", "COUNT", most, "MAXLEN", most) == (b"*1\r\n", [b":0\r\n"])
    assert client("SRANDMEMBER", "s", most) == (b"*1\r\n", [b"$1\r\na\r\n"])
    assert client("SRANDMEMBER", "s", -most) == b"-ERR value is out of range\r\n"
    assert client("SRANDMEMBER", "s", least).startswith(b"-ERR value is out of range, value must between")
    assert client("SPOP", "s", most) == (b"*1\r\n", [b"$1\r\na\r\n"])


# -- chance --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, 2000])
def test_any_member_may_be_drawn(client: Wire, size: int) -> None:
    """SPOP and SRANDMEMBER draw any member, each once, also of a set that changes in between."""
    members = {b"%d" % number for number in range(size)}
    client("SADD", "s", *members)
    first = {client("SRANDMEMBER", "s") for _ in range(200)}
    assert len(first) > size // 40 + 5  # 200 draws out of 10 meet fewer than six once in 10**40 times
    drawn = set(client("SPOP", "s", 3)[1]) | {client("SPOP", "s")}
    assert len(drawn) == 4
    client("SADD", "s", "late")
    client("SREM", "s", *sorted(members)[: size // 2])
    left = set(client("SMEMBERS", "s")[1])
    assert set(client("SRANDMEMBER", "s", size)[1]) == left
    assert {client("SPOP", "s") for _ in left} == left
    assert client("EXISTS", "s") == b":0\r\n"


def test_drawing_again_lists_nothing(served: Served, client: Wire) -> None:
    """A large set that is drawn from time and again is listed once, as long as nothing else changes it."""
    client("SADD", "s", *range(5000))
    db = served.engine.dataset.keyspaces[0]
    client("SRANDMEMBER", "s")
    pool = db.pool(b"s", ())
    assert len(pool) == 5000
    client("SPOP", "s", 10)
    assert db.pool(b"s", ()) is pool
    client("SADD", "s", "another")
    client("SRANDMEMBER", "s")
    assert len(db.pool(b"s", ())) == 4991
    client("RENAME", "s", "other")
    assert db.pool(b"s", ()) == []
