"""A connection's input as a file, what is held of its output, its phases, and the registry."""

from __future__ import annotations

import io
import os
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.connection import Connection, Phase
from framework.connections import Connections
from framework.events import CloseReason
from framework.reader import LineTooLongError, Reader
from framework.testing import PATIENCE, bounded


class Script:
    """Stands for a connection: hands out chunks as they are, or raises what stands among them."""

    def __init__(self, chunks: list[bytes | Exception], line_limit: int = 1 << 30) -> None:
        self.chunks = chunks[:]
        self.line_limit = line_limit
        self.phase = Phase.BUSY
        self.turns = 0
        self.begun: list[bool] = []

    def take(self, size: int) -> bytes:
        """Return a chunk, or as much as fits of it."""
        if not self.chunks:
            return b""
        chunk = self.chunks.pop(0)
        if isinstance(chunk, Exception):
            raise chunk
        if len(chunk) > size:
            self.chunks.insert(0, chunk[size:])
        return chunk[:size]

    def recv(self, size: int) -> bytes:
        """Receive the first of a request."""
        self.begun.append(False)
        return self.take(size)

    def recv_rest(self) -> bytes:
        """Receive more of it."""
        self.begun.append(True)
        return self.take(32768)


class Raw(io.RawIOBase):
    """The same as a raw file, for the original's reader."""

    def __init__(self, script: Script) -> None:
        self.script = script

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Receive once."""
        data = self.script.take(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def reader(*chunks: bytes | Exception, line_limit: int = 1 << 30) -> Reader:
    """Return a reader of these chunks."""
    return Reader(cast("Connection", Script(list(chunks), line_limit)))


chunks = st.lists(
    st.binary(min_size=1, max_size=12)
    | st.sampled_from([b"\n", b"\r\n", b"a line\n", b"x" * 100, b"no end", b"\n\n\n"]),
    max_size=12,
)
sizes = st.integers(min_value=0, max_value=40)
calls = st.lists(
    st.one_of(
        st.tuples(st.just("readline")),
        st.tuples(st.just("readline"), st.none() | st.just(-1) | sizes),
        st.tuples(st.just("read"), sizes),
        st.tuples(st.just("read")),
        st.tuples(st.just("read1"), sizes),
        st.tuples(st.just("read1")),
        st.tuples(st.just("peek")),
        st.tuples(st.just("next")),
        st.tuples(st.just("list")),
        st.tuples(st.just("readinto"), sizes),
        st.tuples(st.just("readinto1"), sizes),
        st.tuples(st.just("readlines")),
    ),
    max_size=12,
)


def call(file: Any, name: str, *arguments: Any) -> object:
    """Do one thing to a file, and return what came of it."""
    if name == "next":
        return next(iter(file), b"the end")
    if name == "list":
        return list(file)
    if name.startswith("readinto"):
        buffer = bytearray(arguments[0])
        return getattr(file, name)(buffer), bytes(buffer)
    return getattr(file, name)(*arguments)


@given(chunks, calls)
def test_a_reader_reads_as_the_original(chunks: list[bytes], calls: list[tuple[Any, ...]]) -> None:
    """Whatever is asked in whatever order, a ``Reader`` answers as ``io.BufferedReader`` over the same chunks."""
    ours = reader(*chunks)
    theirs = io.BufferedReader(Raw(Script(list(chunks))))
    for step in calls:
        assert call(ours, *step) == call(theirs, *step), step
    assert ours.read() == theirs.read()
    assert not ours.pending


@given(chunks, calls)
def test_pending_says_whether_anything_is_left(chunks: list[bytes], calls: list[tuple[Any, ...]]) -> None:
    """``pending`` is true exactly while something was received and not read: replies are held by it."""
    ours = reader(*chunks)
    script = cast("Script", ours._connection)
    read = 0
    for name, *arguments in calls:
        if name == "peek":
            ours.peek()
        else:
            answer = call(ours, name, *arguments)
            if name.startswith("readinto"):
                read += cast("tuple[int, bytes]", answer)[0]
            elif isinstance(answer, list):
                read += sum(map(len, answer))
            elif answer != b"the end":
                read += len(cast("bytes", answer))
        received = sum(map(len, chunks)) - sum(len(cast("bytes", chunk)) for chunk in script.chunks)
        assert ours.pending == (received > read)


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=8), st.integers(1, 12))
def test_no_line_is_longer_than_the_limit(chunks: list[bytes], limit: int) -> None:
    """Lines up to the limit are read as ever; the first longer one raises, however it arrives."""
    expected = io.BytesIO(b"".join(chunks)).readlines()
    ours = reader(*chunks, line_limit=limit)
    for line in expected:
        if len(line) > limit:
            with pytest.raises(LineTooLongError, match=f"more than {limit} octets"):
                ours.readline()
            break
        assert ours.readline() == line
    else:
        assert ours.readline() == b""


@pytest.mark.parametrize("how", ["readline", "read", "iteration"])
def test_a_timeout_in_mid_request_loses_nothing(how: str) -> None:
    """What was read before the handler's own timeout struck is there when it tries again."""
    ours = reader(b"one ", b"two ", TimeoutError("timed out"), b"three\n", b"next\n")
    attempt: dict[str, Any] = {
        "readline": ours.readline,
        "read": lambda: ours.read(14),
        "iteration": lambda: next(iter(ours)),
    }
    with pytest.raises(TimeoutError):
        attempt[how]()
    assert attempt[how]() == b"one two three\n"
    assert ours.readline() == b"next\n"


@pytest.mark.parametrize("how", ["readline", "readline(n)", "read"])
def test_a_whole_read_is_one_turn(how: str) -> None:
    """The deadline of a read begins with its first octet, and neither dribbling nor trying again renews it."""
    ours = reader(*[b"x"] * 10, TimeoutError("timed out"), *[b"y"] * 10, b"\n", b"a", b"b\n")
    script = cast("Script", ours._connection)
    read: dict[str, Any] = {
        "readline": ours.readline,
        "readline(n)": lambda: ours.readline(100),
        "read": lambda: ours.read(21),
    }
    with pytest.raises(TimeoutError):
        read[how]()
    read[how]()
    assert script.turns == 1
    assert script.begun == [False] + [True] * 21
    ours.readline()
    assert script.turns == 2


def test_a_closed_reader_reads_no_more() -> None:
    """Reading from a closed file is an error, as with any file, and what it held is gone."""
    ours = reader(b"one\ntwo\n")
    assert ours.readline() == b"one\n"
    ours.close()
    assert ours.closed
    assert not ours.pending
    for read in (ours.readline, ours.read1, ours.peek, ours.fileno, lambda: next(iter(ours))):
        with pytest.raises(ValueError, match="closed file"):
            read()


def test_a_negative_size_is_an_error() -> None:
    """As with the original, -1 means everything and anything below it nothing."""
    with pytest.raises(ValueError, match="non-negative"):
        reader(b"x").read(-2)


# -- the connection ------------------------------------------------------------------------------------------------


class Counted(Connection):
    """A connection that keeps what each of its sends sent."""

    __slots__ = ("sends",)

    def _write(self, data: Any, flags: int) -> None:
        self.sends = [*getattr(self, "sends", []), bytes(data)]
        super()._write(data, flags)


@pytest.fixture
def pair() -> Iterator[tuple[Counted, socket.socket]]:
    """Return a connection and its peer."""
    ours, theirs = socket.socketpair()
    connection = Counted(ours.family, ours.type, 0, ours.detach())
    connection.line_limit = 1000
    theirs.settimeout(PATIENCE)
    with connection, theirs:
        yield connection, theirs


Pair = tuple[Counted, socket.socket]


def test_replies_to_a_pipeline_leave_together(pair: Pair) -> None:
    """While pipelined input is left, replies are held; before the next wait for input they leave in one piece."""
    connection, peer = pair
    lines = connection.makefile("rb")
    peer.sendall(b"".join(b"%d\n" % number for number in range(16)))
    for _ in range(16):
        connection.sendall(lines.readline())
    assert connection.sends == [b"".join(b"%d\n" % number for number in range(16))]


def test_a_reply_to_one_request_leaves_at_once(pair: Pair) -> None:
    """Without pipelined input nothing is held."""
    connection, peer = pair
    lines = connection.makefile("rb")
    peer.sendall(b"one\n")
    connection.sendall(lines.readline())
    assert peer.recv(100) == b"one\n"
    assert not connection.holds


def hold(connection: Counted, peer: socket.socket, data: bytes = b"held ") -> None:
    """Bring a connection to hold ``data``, with one line left to read."""
    lines = connection.makefile("rb")
    peer.sendall(b"one\ntwo\n")
    assert lines.readline() == b"one\n"
    connection.sendall(data)
    assert connection.holds


@pytest.mark.parametrize(
    "call",
    [
        lambda connection: connection.send(b"then"),
        lambda connection: connection.send(b"then", socket.MSG_DONTWAIT),
        lambda connection: connection.sendall(b"then", socket.MSG_NOSIGNAL),
        lambda connection: connection.sendmsg([b"th", b"en"]),
        lambda connection: connection.sendfile(io.BytesIO(b"then")),
        lambda connection: connection.makefile("wb", 0).write(b"then"),
    ],
    ids=["send", "send at once", "sendall with flags", "sendmsg", "sendfile", "makefile"],
)
def test_whatever_else_sends_keeps_the_order(pair: Pair, call: Any) -> None:
    """What was held leaves before whatever another of the socket's methods sends."""
    connection, peer = pair
    hold(connection, peer)
    call(connection)
    assert not connection.holds
    connection.shutdown(socket.SHUT_WR)
    with peer.makefile("rb") as answers:
        assert answers.read() == b"held then"


@pytest.mark.parametrize(
    "call",
    [
        lambda connection: connection.shutdown(socket.SHUT_WR),
        lambda connection: connection.close(),
        lambda connection: socket.close(connection.detach()),
    ],
    ids=["shutdown", "close", "detach"],
)
def test_ending_sends_what_was_held(pair: Pair, call: Any) -> None:
    """However a handler ends its connection, what it has said arrives."""
    connection, peer = pair
    hold(connection, peer)
    call(connection)
    with peer.makefile("rb") as answers:
        assert answers.read() == b"held "


def test_waiting_for_input_sends_what_was_held(pair: Pair) -> None:
    """A handler that goes on to read by ``recv()`` keeps no reply back meanwhile."""
    connection, peer = pair
    hold(connection, peer)
    peer.sendall(b"more")
    assert connection.recv(100) == b"more"
    assert peer.recv(100) == b"held "


def test_what_is_held_is_bounded(pair: Pair) -> None:
    """At 64 KiB what is held leaves, whatever is left to read."""
    connection, peer = pair
    hold(connection, peer)
    received: list[bytes] = []
    sink = threading.Thread(
        target=lambda: received.extend(iter(lambda: peer.recv(1 << 20), b"")), daemon=True
    )
    sink.start()
    connection.sendall(b"x" * 65536)
    assert not connection.holds
    connection.close()
    sink.join(PATIENCE)
    assert b"".join(received) == b"held " + b"x" * 65536


def test_another_thread_is_not_held(pair: Pair) -> None:
    """What another thread sends leaves at once: nobody knows when the handler will read on."""
    connection, peer = pair
    connection.makefile("rb")
    peer.sendall(b"one\ntwo\n")
    assert connection._reader is not None
    connection._reader.readline()
    bounded(lambda: connection.sendall(b"news"))
    assert peer.recv(100) == b"news"
    assert not connection.holds


def test_pushing_sends_what_fits(pair: Pair) -> None:
    """``push()`` sends what was held as far as the peer takes it, and the rest stays, in order."""
    connection, peer = pair
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    expected = bytes(range(256)) * 200
    hold(connection, peer, expected[:30000])
    connection.sendall(expected[30000:])
    assert not connection.push()
    with pytest.raises(BlockingIOError):
        connection.send(b"too soon", socket.MSG_DONTWAIT)
    received = b""
    while len(received) < len(expected):
        received += peer.recv(1 << 20)
        connection.push()
    assert received == expected
    assert connection.push()


@pytest.mark.parametrize(
    "end",
    [
        lambda connection: connection.end_input(CloseReason.TIMEOUT),
        lambda connection: connection.cut(CloseReason.TIMEOUT),
        lambda connection: connection.shutdown(socket.SHUT_RDWR),
    ],
    ids=["end_input", "cut", "shutdown"],
)
def test_ending_hits_nobody_else(pair: Pair, monkeypatch: pytest.MonkeyPatch, end: Any) -> None:
    """Who is ended by another thread while it closes does not take along whoever has its descriptor's number next."""
    connection, _ = pair
    original, closing, closed = socket.socket.shutdown, threading.Event(), threading.Event()

    def late(sock: socket.socket, how: int, /) -> None:
        """Do in slow motion what the original does: it reads the number, and then calls the system."""
        number = sock.fileno()
        closing.set()
        closed.wait(0.2)
        other = socket.socket(fileno=number)
        try:
            original(other, how)
        finally:
            other.detach()

    def close() -> None:
        closing.wait(PATIENCE)
        connection.close()
        strangers.extend(socket.socketpair())
        closed.set()

    strangers: list[socket.socket] = []
    number = connection.fileno()
    monkeypatch.setattr(socket.socket, "shutdown", late)
    thread = threading.Thread(target=close)
    thread.start()
    end(connection)
    thread.join(PATIENCE)
    with strangers[0] as one, strangers[1] as other:
        assert number in {one.fileno(), other.fileno()}
        other.sendall(b"unharmed")
        assert one.recv(100) == b"unharmed"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_while_another_thread_pushes(pair: Pair) -> None:
    """A child that is forked while another connection's held replies leave can send its own."""
    connection, peer = pair
    pushing, go_on = threading.Event(), threading.Event()

    class Slow(Counted):
        def raw_send(self, data: Any, flags: int = 0, /) -> int:
            pushing.set()
            go_on.wait(PATIENCE)
            return len(data)

    ours, theirs = socket.socketpair()
    with theirs, Slow(ours.family, ours.type, 0, ours.detach()) as slow:
        slow.line_limit = 1000
        hold(slow, theirs)
        hold(connection, peer)
        thread = threading.Thread(target=slow.push)
        thread.start()
        assert pushing.wait(PATIENCE)
        child = os.fork()
        if child == 0:
            connection.release()
            os._exit(0)
        try:
            assert peer.recv(100) == b"held "
        finally:
            go_on.set()
            thread.join(PATIENCE)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def test_phases(pair: Pair) -> None:
    """A connection says what it waits for, and goes on saying so when its handler's own timeout struck."""
    connection, peer = pair
    phase: list[Phase] = []
    phase.append(connection.phase)
    connection.settimeout(0)
    for _ in range(2):
        with pytest.raises(BlockingIOError):
            connection.recv(1)
    phase.append(connection.phase)
    turns = connection.turns
    peer.sendall(b"xy")
    connection.recv(1)
    phase.append(connection.phase)
    assert connection.turns == turns == 1
    connection.recv_into(bytearray(1))
    assert connection.turns == 2
    with pytest.raises(BlockingIOError):
        connection.sendall(b"x" * 10_000_000)
    phase.append(connection.phase)
    assert phase == [Phase.OPENING, Phase.IDLE, Phase.BUSY, Phase.BUSY]


def test_writing_for_another_leaves_its_phase(pair: Pair) -> None:
    """A thread that writes on a connection whose handler waits for a request leaves it waiting for one."""
    connection, _ = pair
    connection.settimeout(0)
    with pytest.raises(BlockingIOError):
        connection.recv(1)
    connection.sendall(b"news")
    assert connection.phase is Phase.IDLE


def test_a_drained_connection_reads_no_more(pair: Pair) -> None:
    """After a drain began, what has come is read once, then the input ends, and the connection's end is the drain's."""
    connection, peer = pair
    peer.sendall(b"in time\n")
    connection.drained = True
    assert connection.recv(100) == b"in time\n"
    peer.sendall(b"too late\n")
    assert connection.recv(100) == b""
    assert connection.recv_into(bytearray(100)) == 0
    assert connection.reason is CloseReason.DRAIN


def test_dup_makes_another(pair: Pair) -> None:
    """A connection can be duplicated as any socket."""
    connection, peer = pair
    with connection.dup() as other:
        other.sendall(b"hello")
        assert peer.recv(100) == b"hello"


def test_a_closed_connection_is_freed_at_once(pair: Pair) -> None:
    """Connection and reader do not keep each other alive until the garbage is collected."""
    connection, _ = pair
    connection.makefile("rb")
    connection.close()
    assert connection._reader is None


# -- the registry --------------------------------------------------------------------------------------------------


def connected(group: bytes | None = None) -> Connection:
    """Return a connection of a group of peers."""
    ours, theirs = socket.socketpair()
    theirs.close()
    connection = Connection(ours.family, ours.type, 0, ours.detach())
    connection.group = group
    return connection


def test_the_registry_counts() -> None:
    """Connections are counted, also by groups of peers, and numbered from one."""
    registry = Connections()
    first, second, third = connected(b"a"), connected(b"a"), connected()
    for connection in (first, second, third):
        registry.add(connection)
    assert [connection.number for connection in registry] == [1, 2, 3]
    assert (len(registry), registry.of_group(b"a"), registry.of_group(None)) == (3, 2, 0)
    assert registry.remove(first) == 2
    assert first not in registry
    assert registry.of_group(b"a") == 1
    registry.remove(second)
    assert registry.of_group(b"a") == 0
    for connection in (first, second, third):
        connection.close()


def test_one_of_many_closes() -> None:
    """Of all threads that want to close a connection, one is told to."""
    registry = Connections()
    with connected() as connection:
        assert not registry.claim(connection)
        registry.add(connection)
        answers: list[bool] = []
        threads = [
            threading.Thread(target=lambda: answers.append(registry.claim(connection))) for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert sorted(answers) == [False] * 19 + [True]


def test_waiting_for_a_number_of_connections() -> None:
    """Whoever waits is woken by connections that come as by those that go, once they have been told of."""
    registry = Connections()
    with connected() as connection:
        assert not registry.wait_for(lambda count: count > 0, timeout=0)
        come = threading.Thread(target=lambda: bounded(lambda: registry.wait_for(lambda count: count == 1)))
        come.start()
        registry.add(connection)
        come.join(PATIENCE)
        assert not come.is_alive()
        registry.remove(connection, settled=False)
        assert not registry.wait_for(lambda count: count == 0, timeout=0)
        gone = threading.Thread(target=lambda: bounded(lambda: registry.wait_for(lambda count: count == 0)))
        gone.start()
        registry.settle()
        gone.join(PATIENCE)
        assert not gone.is_alive()
