"""What an outbox promises those who send, and those who do not read."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from framework import Flusher, Outbox
from tests.framework.spec import PATIENCE


@pytest.fixture
def flusher() -> Iterator[Flusher]:
    """A flusher, ended after the test."""
    with Flusher() as flusher:
        yield flusher


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection with small buffers: the server's end, and the peer's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        theirs.settimeout(PATIENCE)
        yield ours, theirs


Pair = tuple[socket.socket, socket.socket]


def read(peer: socket.socket, size: int) -> bytes:
    """Read exactly ``size`` octets."""
    data = bytearray()
    while len(data) < size:
        data += peer.recv(65536)
    return bytes(data)


def threads() -> list[str]:
    """Return the names of the threads that run."""
    return [thread.name for thread in threading.enumerate()]


def test_put_sends_nothing(flusher: Flusher, pair: Pair) -> None:
    """What was put leaves with the flush, in one piece and in order."""
    outbox = Outbox(pair[0], flusher)
    outbox.put(b"one ")
    outbox.put(b"two")
    pair[1].setblocking(False)
    with pytest.raises(BlockingIOError):
        pair[1].recv(100)
    outbox.flush()
    assert pair[1].recv(100) == b"one two"
    assert outbox.size == 0


def test_no_thread_without_need(flusher: Flusher, pair: Pair) -> None:
    """A server whose clients read has no flusher thread."""
    outbox = Outbox(pair[0], flusher)
    outbox.put(b"hello")
    outbox.flush()
    assert outbox.close()
    assert "flusher" not in threads()


def test_the_flusher_sends_the_rest(flusher: Flusher, pair: Pair) -> None:
    """What the connection does not take at once follows as the peer reads, whole and in order."""
    outbox = Outbox(pair[0], flusher)
    lines = [b"%06d\n" % number for number in range(30_000)]
    for line in lines:
        outbox.put(line)
        outbox.flush()
    assert outbox.size > 0
    assert read(pair[1], 7 * 30_000) == b"".join(lines)
    assert outbox.close(PATIENCE)


def test_many_threads_one_outbox(flusher: Flusher, pair: Pair) -> None:
    """Threads that put and flush at the same time lose nothing, and each one's order is kept."""
    outbox = Outbox(pair[0], flusher, limit=1 << 30)

    def send(name: bytes) -> None:
        for number in range(5000):
            outbox.put(b"%s%06d\n" % (name, number))
            outbox.flush()

    senders = [threading.Thread(target=send, args=(bytes([name]),), daemon=True) for name in b"abcd"]
    for sender in senders:
        sender.start()
    received = read(pair[1], 4 * 5000 * 8).splitlines()
    for sender in senders:
        sender.join(PATIENCE)
    for name in b"abcd":
        assert [int(line[1:]) for line in received if line[0] == name] == list(range(5000))


def test_overflow_ends_the_connection(flusher: Flusher, pair: Pair) -> None:
    """A peer that does not read is given up at the limit: its handler's ``recv()`` ends, its queue is gone."""
    outbox = Outbox(pair[0], flusher, limit=10_000)
    ended = threading.Thread(target=pair[0].recv, args=(1,), daemon=True)
    ended.start()
    puts = 0
    while not outbox.overflowed:
        outbox.put(bytes(1000))
        outbox.flush()
        puts += 1
    ended.join(PATIENCE)
    assert not ended.is_alive()
    assert outbox.size == 0
    assert puts < 1000
    outbox.put(b"more")
    outbox.flush()
    assert outbox.size == 0
    assert not outbox.close()


def test_overflow_says_farewell(flusher: Flusher, pair: Pair) -> None:
    """A peer whose connection still has room learns why it is given up."""
    outbox = Outbox(pair[0], flusher, limit=10, farewell=b"too slow\r\n")
    outbox.put(b"more than ten octets")
    outbox.flush()
    assert pair[1].recv(100) == b"too slow\r\n"
    assert pair[1].recv(100) == b""


def test_overflow_of_a_full_connection(flusher: Flusher, pair: Pair) -> None:
    """An overflow that comes while the flusher waits for room is acted on by whoever flushes."""
    outbox = Outbox(pair[0], flusher, limit=1 << 20)
    outbox.put(bytes(500_000))
    outbox.flush()
    outbox.put(bytes(1_000_000))
    outbox.flush()
    assert outbox.overflowed
    assert pair[0].recv(1) == b""


def test_a_peer_that_has_gone(flusher: Flusher, pair: Pair) -> None:
    """Sending to a peer that has gone raises nothing and keeps nothing."""
    outbox = Outbox(pair[0], flusher)
    pair[1].close()
    for _ in range(3):
        outbox.put(b"hello")
        outbox.flush()
    assert outbox.size == 0


def test_close_waits_for_the_reader(flusher: Flusher, pair: Pair) -> None:
    """``close()`` returns when the peer has been sent everything."""
    outbox = Outbox(pair[0], flusher)
    outbox.put(bytes(200_000))
    reader = threading.Thread(target=read, args=(pair[1], 200_000), daemon=True)
    reader.start()
    assert outbox.close(PATIENCE)
    pair[0].shutdown(socket.SHUT_WR)
    reader.join(PATIENCE)
    assert not reader.is_alive()


def test_close_waits_for_a_send_elsewhere(flusher: Flusher, pair: Pair) -> None:
    """``close()`` does not take what another thread is sending just now for sent."""
    begun, go_on = threading.Event(), threading.Event()

    class Slow(socket.socket):
        def send(self, data: Any, flags: int = 0, /) -> int:
            begun.set()
            assert go_on.wait(PATIENCE)
            return super().send(data[:10], flags)

    with Slow(fileno=pair[0].detach()) as connection:
        outbox = Outbox(connection, flusher)
        outbox.put(bytes(1000))
        sender = threading.Thread(target=outbox.flush, daemon=True)
        sender.start()
        assert begun.wait(PATIENCE)
        release = threading.Timer(0.05, go_on.set)
        release.start()
        assert not outbox.close(0.01)  # and it is back only when nobody sends any more
        assert go_on.is_set()
        sender.join(PATIENCE)
        release.join(PATIENCE)


def test_close_tells_of_a_loss(flusher: Flusher, pair: Pair) -> None:
    """``close()`` tells that a peer that has gone was not sent everything."""
    outbox = Outbox(pair[0], flusher)
    pair[1].close()
    outbox.put(b"hello")
    assert not outbox.close(PATIENCE)


def test_close_gives_up(flusher: Flusher, pair: Pair) -> None:
    """``close()`` does not wait for a peer that never reads, and sends nothing afterwards."""
    outbox = Outbox(pair[0], flusher)
    outbox.put(bytes(200_000))
    assert not outbox.close(0.01)
    outbox.put(b"late")
    outbox.flush()
    assert outbox.size == 0


def test_descriptors_come_back_under_the_flusher(flusher: Flusher) -> None:
    """A connection that gets the descriptor of a clogged one that was closed is watched like any other."""
    for _ in range(50):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            outbox = Outbox(ours, flusher)
            outbox.put(bytes(1_000_000 // 5))
            outbox.flush()
            outbox.put(b"x" * 50_000)
            outbox.flush()
            theirs.settimeout(PATIENCE)
            assert len(read(theirs, 250_000)) == 250_000
            outbox.put(bytes(250_000))
            outbox.close(0)


def test_closing_the_flusher_ends_its_thread(pair: Pair) -> None:
    """The thread ends with the flusher, whatever is unsent."""
    with Flusher() as flusher:
        outbox = Outbox(pair[0], flusher)
        outbox.put(bytes(200_000))
        outbox.flush()
        assert "flusher" in threads()
    assert "flusher" not in threads()
    flusher.close()
