"""The pool: who is parked, who is held, who waits; and the handler of one exchange, in every model."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from framework import (
    DatagramRequestHandler,
    ExchangeHandler,
    PoolUnixStreamService,
    StreamRequestHandler,
    ThreadPoolMixIn,
    UnixDatagramServer,
    workers,
)
from framework.connection import Phase
from framework.events import (
    CloseReason,
    ConnectionClosed,
    ConnectionOpened,
    HandlerFailed,
    Overloaded,
    Recovered,
    Saturated,
)
from framework.lifecycle import DrainResult
from framework.observers import Observer
from framework.testing import eventually
from tests.framework.spec import PATIENCE, STREAMS, Model, Transport, serving

SPEC_TRANSPORTS = STREAMS

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


class Talk(ExchangeHandler):
    """Answers each line; ``quit`` is the last one."""

    count = 0

    def handle_exchange(self) -> bool:
        """Answer by the line's number on this connection."""
        line = self.rfile.readline()
        self.count += 1
        self.wfile.write(b"%d %s" % (self.count, line))
        return line != b"quit\n"


class Echo(StreamRequestHandler):
    """Sends every line back, and keeps its thread meanwhile."""

    def handle(self) -> None:
        """Echo until the end of the input."""
        for line in self.rfile:
            self.wfile.write(line)


class Log(Observer):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.opened: list[int] = []
        self.closed: list[CloseReason] = []
        self.failures: list[str] = []
        self.edges: list[str] = []
        self.overload = threading.Event()
        self.recovery = threading.Event()
        self.saturation = threading.Event()

    def connection_opened(self, event: ConnectionOpened) -> None:
        """Count."""
        self.opened.append(event.open)

    def connection_closed(self, event: ConnectionClosed) -> None:
        """Keep the reason."""
        self.closed.append(event.reason)

    def handler_failed(self, event: HandlerFailed) -> None:
        """Keep the message."""
        self.failures.append(str(event.error))

    def overloaded(self, event: Overloaded) -> None:
        """Keep the edge."""
        self.edges.append("overloaded")
        self.overload.set()

    def recovered(self, event: Recovered) -> None:
        """Keep the edge."""
        self.edges.append("recovered")
        self.recovery.set()

    def saturated(self, event: Saturated) -> None:
        """Keep the edge."""
        self.edges.append(f"saturated {event.workers}")
        self.saturation.set()


class Pool(PoolUnixStreamService):
    """A pool of at most two."""

    min_threads = 1
    max_threads = 2


@contextlib.contextmanager
def client(server: PoolUnixStreamService) -> Iterator[socket.socket]:
    """Connect."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(server.server_address)
        yield connection


@pytest.fixture
def connect() -> Iterator[Callable[[PoolUnixStreamService], socket.socket]]:
    """Connect as many clients as a test wants, until its end."""
    with contextlib.ExitStack() as stack:
        yield lambda server: stack.enter_context(client(server))


def ask(connection: socket.socket, line: bytes) -> bytes:
    """Send a line and read the answering one."""
    connection.sendall(line)
    with connection.makefile("rb") as answers:
        return answers.readline()


def threads_of(server: object) -> list[threading.Thread]:
    """Return the threads of a pool."""
    prefix = type(server).__name__ + "-"
    return [thread for thread in threading.enumerate() if thread.name.startswith(prefix)]


def parked(server: PoolUnixStreamService, count: int) -> None:
    """Wait until that many connections are parked."""
    deadline = time.monotonic() + PATIENCE
    while [each.phase for each in server.info().connections] != [Phase.IDLE] * count:
        assert time.monotonic() < deadline


# -- the handler, in every model -----------------------------------------------------------------------------------


def test_exchanges_in_every_model(model: Model, transport: Transport, folder: Path) -> None:
    """The same handler serves exchange after exchange wherever it runs, and remembers the ones before."""
    server = model.on(transport)(transport.address(folder), Talk)
    with serving(server), transport.client(server.server_address) as connection:
        assert [ask(connection, b"a\n"), ask(connection, b"quit\n")] == [b"1 a\n", b"2 quit\n"]
        assert connection.recv(1) == b""


def test_a_pipeline_in_every_model(model: Model, transport: Transport, folder: Path) -> None:
    """Requests that came together are all answered, also the one whose end came later."""
    server = model.on(transport)(transport.address(folder), Talk)
    with (
        serving(server),
        transport.client(server.server_address) as connection,
        connection.makefile("rb") as answers,
    ):
        connection.sendall(b"a\nb\nc\nd")
        assert [answers.readline() for _ in range(3)] == [b"1 a\n", b"2 b\n", b"3 c\n"]
        connection.sendall(b"\nquit\nnever\n")
        assert answers.read() == b"4 d\n5 quit\n"


@pytest.mark.parametrize("size", [1, 100])
def test_rbufsize_in_every_model(model: Model, transport: Transport, folder: Path, size: int) -> None:
    """Whatever the size of the buffer, what was read ahead is served before the next wait."""

    class Small(Talk):
        rbufsize = size

    server = model.on(transport)(transport.address(folder), Small)
    with (
        serving(server),
        transport.client(server.server_address) as connection,
        connection.makefile("rb") as answers,
    ):
        connection.sendall(b"a\nb\nquit\n")
        assert answers.read() == b"1 a\n2 b\n3 quit\n"


def test_exchanges_need_a_buffer() -> None:
    """A handler without one is refused where it is written."""
    with pytest.raises(TypeError, match=r"Unbuffered\.rbufsize"):

        class Unbuffered(Talk):
            rbufsize = 0


def test_the_end_of_the_input_in_every_model(model: Model, transport: Transport, folder: Path) -> None:
    """No exchange begins at the end of the input, and the client still gets what was answered before."""
    server = model.on(transport)(transport.address(folder), Talk)
    with (
        serving(server),
        transport.client(server.server_address) as connection,
        connection.makefile("rb") as answers,
    ):
        connection.sendall(b"a\nb")
        connection.shutdown(socket.SHUT_WR)
        assert answers.read() == b"1 a\n2 b"


class Lines(Talk):
    """The same, served a whole line at a time."""

    def is_complete(self, data: bytes) -> bool:
        """A line is."""
        return b"\n" in data


def test_dribbled_requests_in_every_model(model: Model, transport: Transport, folder: Path) -> None:
    """A request that is looked at before it is served may come in any pieces, and several of them in one."""
    server = model.on(transport)(transport.address(folder), Lines)
    with (
        serving(server),
        transport.client(server.server_address, folder) as connection,
        connection.makefile("rb") as answers,
    ):
        for piece in (b"on", b"e", b"\ntw", b"o\nthree\nfo", b"ur\n"):
            connection.sendall(piece)
        assert [answers.readline() for _ in range(4)] == [b"1 one\n", b"2 two\n", b"3 three\n", b"4 four\n"]
        connection.sendall(b"qui")
        connection.sendall(b"t\n")
        assert answers.readline() == b"5 quit\n"
        assert answers.read() == b""


def test_the_end_within_a_request_in_every_model(model: Model, transport: Transport, folder: Path) -> None:
    """The end of the input within a request, and a line without end, are the handler's to meet."""
    server = model.on(transport)(transport.address(folder), Lines)
    with serving(server), transport.client(server.server_address, folder) as connection:
        connection.sendall(b"x" * 40_000)
        connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):  # a service has no patience with such a line
            while connection.recv(65536):
                pass


def test_hooks_in_every_model(model: Model, transport: Transport, folder: Path) -> None:
    """``setup()`` may greet before the client has spoken, and ``finish()`` says good-bye once."""

    class Polite(Talk):
        def setup(self) -> None:
            super().setup()
            self.wfile.write(b"hello\n")

        def finish(self) -> None:
            self.wfile.write(b"bye\n")
            super().finish()

    server = model.on(transport)(transport.address(folder), Polite)
    with (
        serving(server),
        transport.client(server.server_address) as connection,
        connection.makefile("rb") as answers,
    ):
        assert answers.readline() == b"hello\n"
        assert ask(connection, b"a\n") == b"1 a\n"
        connection.shutdown(socket.SHUT_WR)
        assert answers.read() == b"bye\n"


def test_a_buffered_wfile_in_every_model(model: Model, transport: Transport, folder: Path) -> None:
    """What an exchange wrote leaves at its end."""

    class Buffered(Talk):
        wbufsize = -1

    server = model.on(transport)(transport.address(folder), Buffered)
    with serving(server), transport.client(server.server_address) as connection:
        assert [ask(connection, b"a\n"), ask(connection, b"b\n")] == [b"1 a\n", b"2 b\n"]


# -- parked, held, waiting -----------------------------------------------------------------------------------------


def test_silent_clients_hold_no_worker(
    folder: Path, connect: Callable[[PoolUnixStreamService], socket.socket]
) -> None:
    """Two workers serve whoever speaks, among ten who never spoke and ten who have fallen silent."""
    with serving(server := Pool(str(folder / "sock"), Talk)):
        for _ in range(10):
            connect(server)
        kept = [connect(server) for _ in range(10)]
        for number in range(3):
            for each in kept:
                assert ask(each, b"x\n") == b"%d x\n" % (number + 1)
        parked(server, 20)
        assert len(threads_of(server)) <= 2


@pytest.mark.parametrize("cut", [False, True])
def test_dribbling_clients_hold_no_worker(folder: Path, cut: bool) -> None:
    """More clients that have each begun a request than there are workers keep nobody out, and have their deadline."""

    class Two(Pool):
        max_threads = 2
        read_timeout = 0.05 if cut else 3600.0

    server = Two(str(folder / "sock"), Lines)
    server.observe(log := Log())
    with contextlib.ExitStack() as stack, serving(server):
        slow = [stack.enter_context(client(server)) for _ in range(10)]
        for each in slow:
            each.sendall(b"beg")
        with client(server) as quick:
            for number in range(1, 4):
                assert ask(quick, b"now\n") == b"%d now\n" % number
        for each in slow:
            if cut:
                assert each.recv(100) in {b"1 beg", b""}
            else:
                assert ask(each, b"un\n") == b"1 begun\n"
        if cut:
            eventually(lambda: len(log.closed) == 11)
            assert log.closed.count(CloseReason.TIMEOUT) == 10


def test_a_timeout_of_the_handler_holds_no_worker(
    folder: Path, connect: Callable[[PoolUnixStreamService], socket.socket]
) -> None:
    """A handler's own ``timeout`` is for reads within an exchange: silent clients are parked all the same."""

    class Hurried(Talk):
        timeout = PATIENCE

    with serving(server := Pool(str(folder / "sock"), Hurried)):
        for _ in range(5):
            connect(server)
        assert ask(connect(server), b"x\n") == b"1 x\n"


def test_nothing_is_accepted_that_no_worker_can_take(folder: Path) -> None:
    """While every worker is held, further clients stay in the backlog; one that becomes free takes the next."""

    class One(Pool):
        max_threads = 1

    with (
        serving(server := One(str(folder / "sock"), Echo)),
        client(server) as first,
        client(server) as second,
    ):
        assert ask(first, b"first\n") == b"first\n"
        second.sendall(b"second\n")
        assert ask(first, b"first\n") == b"first\n"
        assert [each.number for each in server.info().connections] == [1]
        first.shutdown(socket.SHUT_WR)
        with second.makefile("rb") as answers:
            assert answers.readline() == b"second\n"


def test_a_busy_pool_says_so(folder: Path) -> None:
    """That all workers are busy and no more may be added is an event, once."""

    class One(Pool):
        max_threads = 1

    server = One(str(folder / "sock"), Echo)
    server.observe(log := Log())
    with serving(server), client(server):
        assert log.saturation.wait(PATIENCE)
    assert log.edges == ["saturated 1"]


def test_workers_grow_to_the_maximum_and_shrink(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Handlers that block get up to ``max_threads`` workers; later all but ``min_threads`` of them end."""
    monkeypatch.setattr(workers, "_IDLE_SECONDS", 0.01)
    together = threading.Barrier(4)
    ran: list[threading.Thread] = []

    class Blocks(ExchangeHandler):
        def handle_exchange(self) -> bool:
            ran.append(threading.current_thread())
            together.wait(PATIENCE)
            return False

    class Four(Pool):
        max_threads = 4

    with serving(server := Four(str(folder / "sock"), Blocks)), contextlib.ExitStack() as stack:
        clients = [stack.enter_context(client(server)) for _ in range(4)]
        for each in clients:
            each.sendall(b"x")
        for each in clients:
            assert each.recv(1) == b""
        assert len(set(ran)) == 4
        deadline = time.monotonic() + PATIENCE
        while sum(thread.is_alive() for thread in ran) > 1:
            ran[0].join(0.01)
            assert time.monotonic() < deadline
        with client(server) as last:  # one is left, and may start others
            last.sendall(b"x")
            together.abort()
            assert last.recv(1) == b""


def test_the_cap_is_never_exceeded(
    folder: Path, connect: Callable[[PoolUnixStreamService], socket.socket]
) -> None:
    """At ``max_connections`` the listener pauses, whichever worker accepted the last; a close lets one more in."""

    class Capped(PoolUnixStreamService):
        max_connections = 3

    server = Capped(str(folder / "sock"), Talk)
    server.observe(log := Log())
    with serving(server):
        clients = [connect(server) for _ in range(12)]
        assert log.overload.wait(PATIENCE)
        for each in clients:
            assert ask(each, b"quit\n") == b"1 quit\n"
            assert each.recv(1) == b""
        assert log.recovery.wait(PATIENCE)
    assert max(log.opened) <= 3
    assert log.edges[:2] == ["overloaded", "recovered"]
    assert len(log.closed) == 12


def test_refused_by_verify_request(folder: Path) -> None:
    """``verify_request()`` runs on a worker, and the listener is watched again after a refusal."""
    where: list[str] = []

    class Picky(Pool):
        def verify_request(self, request: Any, client_address: Any) -> bool:
            where.append(threading.current_thread().name)
            return len(where) > 3

    with serving(server := Picky(str(folder / "sock"), Talk)):
        for _ in range(3):
            with client(server) as refused:
                assert refused.recv(1) == b""
        with client(server) as served:
            assert ask(served, b"x\n") == b"1 x\n"
    assert all(name.startswith("Picky-") for name in where)


def test_suspend_and_resume(folder: Path) -> None:
    """A suspended pool goes on with those it has, and takes the others when it resumes."""
    with serving(server := Pool(str(folder / "sock"), Talk)), client(server) as kept:
        assert ask(kept, b"x\n") == b"1 x\n"
        server.suspend()
        assert ask(kept, b"x\n") == b"2 x\n"
        server.resume()
        with client(server) as new:
            assert ask(new, b"x\n") == b"1 x\n"


# -- deadlines, drain, shutdown ------------------------------------------------------------------------------------


def test_a_parked_connection_has_a_deadline(folder: Path) -> None:
    """Who says nothing for ``idle_timeout`` is closed by the ordinary way, parked freshly or between exchanges."""
    finished: list[int] = []

    class Counted(Talk):
        def finish(self) -> None:
            finished.append(self.count)
            super().finish()

    class Impatient(Pool):
        idle_timeout = 0.05

    server = Impatient(str(folder / "sock"), Counted)
    server.observe(log := Log())
    with serving(server), client(server) as fresh, client(server) as kept:
        assert ask(kept, b"x\n") == b"1 x\n"
        assert fresh.recv(1) == b""
        assert kept.recv(1) == b""
        assert server.wait_for_connections(lambda count: count == 0, PATIENCE)
    assert log.closed == [CloseReason.TIMEOUT] * 2
    assert sorted(finished) == [0, 1]


def test_a_drain_wakes_the_parked(
    folder: Path, connect: Callable[[PoolUnixStreamService], socket.socket]
) -> None:
    """A drain ends parked connections at once and once, each through its handler."""
    server = Pool(str(folder / "sock"), Talk)
    server.observe(log := Log())
    with serving(server):
        clients = [connect(server) for _ in range(10)]
        for each in clients[5:]:
            assert ask(each, b"x\n") == b"1 x\n"
        parked(server, 10)
        assert server.drain(PATIENCE) == DrainResult(completed=10, forced=0, abandoned=0)
        assert [each.recv(1) for each in clients] == [b""] * 10
    assert log.closed == [CloseReason.DRAIN] * 10


def test_a_drain_waits_for_the_exchange(folder: Path) -> None:
    """A drain lets the exchange that runs come to its end, and begins no further one, not even a pipelined one."""
    began, go_on = threading.Event(), threading.Event()

    class Slow(Talk):
        def handle_exchange(self) -> bool:
            began.set()
            assert go_on.wait(PATIENCE)
            return super().handle_exchange()

    class Tells(Log):
        def drain_began(self, event: object) -> None:
            go_on.set()

    server = Pool(str(folder / "sock"), Slow)
    server.observe(Tells())
    with serving(server), client(server) as connection, connection.makefile("rb") as answers:
        connection.sendall(b"a\n")
        assert began.wait(PATIENCE)
        assert server.drain(PATIENCE).abandoned == 0
        assert answers.read() in {b"1 a\n", b""}  # whether it was asked to end before or after it had read


def test_shutdown_goes_on_with_the_parked(folder: Path) -> None:
    """After ``shutdown()`` kept connections are still served; ``server_close()`` ends them and the workers."""
    server = Pool(str(folder / "sock"), Talk)
    loop = threading.Thread(target=server.serve_forever)
    loop.start()
    with client(server) as kept:
        assert ask(kept, b"x\n") == b"1 x\n"
        parked(server, 1)
        server.shutdown()
        loop.join(PATIENCE)
        assert [ask(kept, b"y\n"), ask(kept, b"z\n")] == [b"2 y\n", b"3 z\n"]
        again = threading.Thread(target=server.serve_forever)
        again.start()
        with client(server) as new:
            assert [ask(new, b"x\n"), ask(kept, b"x\n")] == [b"1 x\n", b"4 x\n"]
        server.shutdown()
        again.join(PATIENCE)
        server.server_close()
        assert kept.recv(1) == b""
    assert not threads_of(server)


def test_a_pool_leaves_nothing_behind(folder: Path) -> None:
    """Serving a client fifty times leaves no thread and no descriptor behind."""

    def held() -> set[object]:
        return {*(each.name for each in Path("/proc/self/fd").iterdir()), *threading.enumerate()}

    with Pool(str(folder / "sock"), Talk) as server:
        before = held()
        for _ in range(50):
            loop = threading.Thread(target=server.serve_forever)
            loop.start()
            with client(server) as connection:
                assert ask(connection, b"quit\n") == b"1 quit\n"
                assert connection.recv(1) == b""
            server.shutdown()
            loop.join(PATIENCE)
            server.wait_for_connections(lambda count: count == 0, PATIENCE)
            # The one that closed the connection may have been about to look up.
            for thread in threads_of(server):
                thread.join(PATIENCE)
            assert held() <= before  # what an earlier test has left may have gone


def test_a_stuck_handler_is_left_behind(folder: Path) -> None:
    """A handler that never comes back holds up neither ``shutdown()`` nor, beyond its drain, ``server_close()``."""
    began, go_on = threading.Event(), threading.Event()

    class Stuck(ExchangeHandler):
        def handle_exchange(self) -> bool:
            began.set()
            go_on.wait(PATIENCE)
            return False

    class Brief(Pool):
        drain_timeout = 0.01

    server = Brief(str(folder / "sock"), Stuck)
    with client(server) as connection:
        with serving(server):
            connection.sendall(b"x")
            assert began.wait(PATIENCE)
        left = threads_of(server)
        assert len(left) == 1
        go_on.set()
        left[0].join(PATIENCE)
        assert not left[0].is_alive()


# -- failures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exchange", [1, 2])
def test_a_failing_exchange_ends_its_connection(folder: Path, exchange: int) -> None:
    """An exchange that raises is reported once, its handler finished once, and nobody else notices."""
    finished: list[int] = []

    class Fails(Talk):
        def handle_exchange(self) -> bool:
            if super().handle_exchange() and self.count == exchange:
                raise ValueError("as asked")
            return True

        def finish(self) -> None:
            finished.append(self.count)
            super().finish()

    server = Pool(str(folder / "sock"), Fails)
    server.observe(log := Log())
    with serving(server):
        for _ in range(3):
            with client(server) as connection:
                for number in range(1, exchange + 1):
                    assert ask(connection, b"x\n") == b"%d x\n" % number
                assert connection.recv(1) == b""
        server.wait_for_connections(lambda count: count == 0, PATIENCE)
    assert log.failures == ["as asked"] * 3
    assert log.closed == [CloseReason.ERROR] * 3
    assert finished == [exchange] * 3


def test_a_failing_setup(folder: Path) -> None:
    """A handler whose ``setup()`` raises is not finished; its connection is closed and the failure reported."""

    class Fails(Talk):
        def setup(self) -> None:
            raise ValueError("not ready")

        def finish(self) -> None:
            raise AssertionError

    server = Pool(str(folder / "sock"), Fails)
    server.observe(log := Log())
    with serving(server), client(server) as connection:
        assert connection.recv(1) == b""
    assert log.failures == ["not ready"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_exits_is_replaced(folder: Path) -> None:
    """``sys.exit()`` in a handler ends the connection and its thread, as with a thread each; another takes over."""
    exiting: list[threading.Thread] = []

    class Exits(Talk):
        def handle_exchange(self) -> bool:
            if not super().handle_exchange():
                exiting.append(threading.current_thread())
                raise SystemExit
            return True

    with serving(server := Pool(str(folder / "sock"), Exits)):
        for _ in range(5):
            with client(server) as connection:
                assert ask(connection, b"x\n") == b"1 x\n"
                assert ask(connection, b"quit\n") == b"2 quit\n"
                assert connection.recv(1) == b""
    for thread in exiting:  # or its last words come to another test's ears
        thread.join(PATIENCE)


def test_threads_that_cannot_be_started(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Workers that cannot be started are tried again; it is logged once, and clients wait meanwhile."""
    start = threading.Thread.start
    refused: list[str] = []

    def reluctant(thread: threading.Thread) -> None:
        if thread.name.startswith("Pool-") and len(refused) < 2:
            refused.append(thread.name)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", reluctant)
    with serving(server := Pool(str(folder / "sock"), Talk)), client(server) as connection:
        assert ask(connection, b"x\n") == b"1 x\n"
    assert len(refused) == 2
    assert caplog.text.count("can't start new thread") == 1


@pytest.mark.parametrize(("least", "most"), [(0, 4), (5, 4)])
def test_impossible_limits(folder: Path, least: int, most: int) -> None:
    """A minimum of no worker, or above the maximum, is refused with both numbers."""
    with Pool(str(folder / "sock"), Talk) as server:
        server.min_threads, server.max_threads = least, most
        with pytest.raises(ValueError, match=f"{least}, {most}"):
            server.serve_forever()


# -- datagrams -----------------------------------------------------------------------------------------------------


def test_datagrams_run_side_by_side(folder: Path) -> None:
    """A datagram whose handler blocks holds up no other."""
    together = threading.Barrier(2)

    class Meets(DatagramRequestHandler):
        def handle(self) -> None:
            together.wait(PATIENCE)
            self.wfile.write(self.packet)

    class DatagramPool(ThreadPoolMixIn, UnixDatagramServer):
        max_threads = 2

    server = DatagramPool(str(folder / "sock"), Meets)
    with serving(server), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(PATIENCE)
        sender.bind(str(folder / "client"))
        for text in (b"one", b"two"):
            sender.sendto(text, server.server_address)
        assert {sender.recv(10), sender.recv(10)} == {b"one", b"two"}
