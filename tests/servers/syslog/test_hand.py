import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from framework import at
from servers.syslog.hand import Hand, left_behind
from servers.syslog.outputs.file import FileOutput, Sync
from servers.syslog.outputs.writer import WhenFull, Writer
from servers.syslog.receiver import Datagram
from servers.syslog.record import Peer
from servers.syslog.server import DatagramSinkServer
from servers.syslog.sink import Sink
from tests.servers.syslog.conftest import now, record

SHARED = Path("/dev/shm")
ME = Peer(os.getpid(), os.geteuid(), os.getegid())
SENT = [Datagram(b"one", ME, False), Datagram(b"", ME, False), Datagram(b"x" * 100, ME, True)]


@pytest.fixture
def sock(folder: Path) -> Iterator[socket.socket]:
    """A socket that tells credentials, and to which messages were sent."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        sock.bind(str(folder / "log"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            for octets in (b"one", b"", b"x" * 200):
                client.sendto(octets, sock.getsockname())
        yield sock


def killed(what: Callable[[], object]) -> None:
    """Do something in a process that is killed right after it."""
    child = os.fork()
    if not child:
        try:
            what()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL


def in_hand(sock: socket.socket) -> Hand:
    """Receive what was sent."""
    hand = Hand(sock, 100, 8, unix=True)
    assert hand.receiver.receive(sock) == SENT
    return hand


def found(sock: socket.socket) -> list[list[Datagram]]:
    """Return what was left behind."""
    return [datagrams for _, datagrams in left_behind(sock)]


def test_what_was_in_hand_is_found(sock: socket.socket) -> None:
    """What a killed process had received is found once, with who sent it, what was cut, and where it was written to."""
    killed(lambda: in_hand(sock).begin("text", (7, 9)))
    places = [(hand.place("text"), hand.place("json"), datagrams) for hand, datagrams in left_behind(sock)]
    assert places == [((7, 9), None, SENT)]
    assert found(sock) == []


def test_what_is_written_is_let_go_of(sock: socket.socket) -> None:
    """What was written is not found, nor where."""

    def write() -> None:
        hand = in_hand(sock)
        hand.begin("text", (7, 9))
        hand.written()

    killed(write)
    assert [(hand.place("text"), datagrams) for hand, datagrams in left_behind(sock)] == [(None, [])]


def test_a_process_that_lives(sock: socket.socket) -> None:
    """What a process has in hand that lives is left to it, and nothing is left behind when it ends."""
    before = set(SHARED.iterdir())
    hand = in_hand(sock)
    assert found(sock) == []
    assert len(set(SHARED.iterdir()) - before) == 1
    hand.close()
    assert set(SHARED.iterdir()) <= before


def test_what_strangers_put_there(sock: socket.socket, folder: Path) -> None:
    """Files of others, links and rubbish are not taken for what was in hand."""
    before = set(SHARED.iterdir())
    killed(lambda: in_hand(sock))
    (path,) = set(SHARED.iterdir()) - before
    link, rubbish = path.with_name(f"{path.name}-link"), path.with_name(f"{path.name}-rubbish")
    try:
        (folder / "target").write_bytes(path.read_bytes())
        link.symlink_to(folder / "target")
        rubbish.write_bytes(b"x" * 10_000)
        if os.geteuid() == 0:
            os.chown(path, 65534, 65534)
            assert found(sock) == []
            os.chown(path, 0, 0)
        assert found(sock) == [SENT]
    finally:
        link.unlink()
        rubbish.unlink()


def test_without_shared_memory(sock: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where memory cannot be shared, the sink works all the same."""
    monkeypatch.setattr("servers.syslog.hand._FOLDER", Path("/nowhere"))
    in_hand(sock).close()


@pytest.mark.parametrize("written", range(3))
def test_a_killed_sink(folder: Path, sock: socket.socket, written: int) -> None:
    """However far a sink came that was killed while it wrote, the next one writes the rest, and nothing twice."""
    log = folder / "text"

    def output() -> FileOutput:
        return FileOutput(str(log), lambda record: record.message, Sync.NEVER)

    def write() -> None:
        first = output()
        first.write([record("before")])
        hand = in_hand(sock)
        hand.begin("text", first.place())
        first.write([record("one"), record("x" * 100)][:written])
        with log.open("a") as file:
            file.write("torn"[: 4 * (2 - written)])

    killed(write)
    with ExitStack() as stack:
        writer = Writer("text", output(), now, limit=1 << 20, when_full=WhenFull.BLOCK)
        sink = Sink({"text": writer}, now=now)
        stack.callback(sink.close, 5)
        server = DatagramSinkServer(at(f"fd://{os.dup(sock.fileno())}"), sink, 262144)
        stack.callback(server.server_close)
        server.recover()
        assert log.read_text().splitlines() == ["before", "one", "x" * 100]
