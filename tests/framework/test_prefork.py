"""``PreforkMixIn``: workers that are replaced when they crash, hang, have served enough, or are to be renewed."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from framework import (
    DatagramRequestHandler,
    ForkingMixIn,
    PreforkMixIn,
    StreamRequestHandler,
    TCPServer,
    ThreadingMixIn,
    ThreadPoolMixIn,
    UDPServer,
    UnixStreamServer,
)
from framework.addresses import at
from framework.events import WorkerExited, WorkerExitReason, WorkerStarted
from framework.lifecycle import DrainResult, ServerStateError
from framework.observers import Observer
from framework.service import ServiceMixIn
from framework.testing import eventually
from framework.worker_process import Worker
from tests.framework.load import Load, Target
from tests.framework.spec import PATIENCE, serving

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

LOOPBACK = ("127.0.0.1", 0)
SPENT, RESTARTED = WorkerExitReason.SPENT, WorkerExitReason.RESTARTED


class Workers(Observer):
    """Keeps what happens to the workers, with the time."""

    def __init__(self) -> None:
        self.started: queue.SimpleQueue[WorkerStarted] = queue.SimpleQueue()
        self.exited: queue.SimpleQueue[WorkerExited] = queue.SimpleQueue()
        self.alive: set[int] = set()
        self.moments: list[float] = []

    def worker_started(self, event: WorkerStarted) -> None:
        """Keep it."""
        self.alive.add(event.pid)
        self.moments.append(time.monotonic())
        self.started.put(event)

    def worker_exited(self, event: WorkerExited) -> None:
        """Keep it."""
        self.alive.discard(event.pid)
        self.exited.put(event)

    def next_started(self) -> int:
        """Return the next new worker."""
        return self.started.get(timeout=PATIENCE).pid

    def next_exited(self) -> WorkerExited:
        """Return the next exit."""
        return self.exited.get(timeout=PATIENCE)


class Handler(StreamRequestHandler[Any]):
    """Does what each line says."""

    def handle(self) -> None:
        """Obey until the end of the input."""
        for line in self.rfile:
            match line:
                case b"exit\n":
                    os._exit(3)
                case b"loop\n":
                    self.wfile.write(line)
                    while True:
                        pass
                case b"shutdown\n":
                    self.server.shutdown()
                case b"signals\n":
                    ours = [
                        str(number) for number in signal.valid_signals() if signal.getsignal(number) is fail
                    ]
                    self.wfile.write(" ".join(ours).encode() + b"\n")
                case _:
                    self.wfile.write(f"{os.getpid()}\n".encode())


class Whoami(DatagramRequestHandler):
    """Answers by its process."""

    def handle(self) -> None:
        """Answer."""
        self.wfile.write(f"{os.getpid()}".encode())


class Inline(PreforkMixIn, UnixStreamServer):
    """Requests run on the loops of one worker."""

    workers = 1
    drain_timeout = 5


class Threads(PreforkMixIn, ServiceMixIn, ThreadingMixIn, TCPServer):
    """Requests run in threads of two workers; the bases are spelt out, which is allowed."""

    workers = 2
    drain_timeout = 5


def fail(*_: object) -> None:
    """Stand for a signal handler that was meant for the parent."""
    raise AssertionError


@pytest.fixture
def workers() -> Workers:
    """Return an observer to attach."""
    return Workers()


class Client(socket.socket):
    """A client that hangs up for all who hold a copy: workers are forked from this very process."""

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)
        self.close()


def connect(address: Any) -> Client:
    """Connect a client."""
    client = Client(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    client.settimeout(PATIENCE)
    client.connect(address)
    return client


def ask(client: socket.socket, line: bytes = b"who\n") -> bytes:
    """Send a line and receive what comes back, which is nothing at the end."""
    client.sendall(line)
    return client.recv(1000)


def gone(pid: int) -> bool:
    """Tell whether there is no such process, not even a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


# -- serving -------------------------------------------------------------------------------------------------------


def test_the_workers_serve(workers: Workers) -> None:
    """Requests run in the workers alone, and none of these is left after ``shutdown()``."""
    server = Threads(LOOPBACK, Handler)
    server.observe(workers)
    with serving(server):
        pids = {workers.next_started() for _ in range(2)}
        with connect(server.server_address) as client:
            assert int(ask(client)) in pids - {os.getpid()}
    assert all(map(gone, pids))
    exits = [workers.next_exited() for _ in pids]
    assert {(each.reason, each.status) for each in exits} == {(WorkerExitReason.STOPPED, 0)}


def test_a_worker_for_each_processor(workers: Workers) -> None:
    """By default there are as many workers as the program may use processors."""

    class Default(PreforkMixIn, TCPServer):
        pass

    server = Default(LOOPBACK, Handler)
    server.observe(workers)
    with serving(server):
        for _ in os.sched_getaffinity(0):
            workers.next_started()
    assert workers.started.empty()


def test_handle_request_is_refused() -> None:
    """There is no way to handle one request in a worker, and the error says what to call."""
    with Threads(LOOPBACK, Handler) as server, pytest.raises(NotImplementedError, match="serve_forever"):
        server.handle_request()


def test_restarting_what_does_not_serve() -> None:
    """Workers can be replaced while there are some."""
    with Threads(LOOPBACK, Handler) as server, pytest.raises(ServerStateError, match="is bound"):
        server.restart_workers()


def test_settings_that_make_no_sense(folder: Path) -> None:
    """No workers, or a port for each of them where there are no ports, is a clear error."""
    with Inline(str(folder / "sock"), Handler) as server:
        server.workers = 0
        with pytest.raises(ValueError, match="at least 1"):
            server.serve_forever()
        server.workers = 1
        server.socket_per_worker = True
        with pytest.raises(ValueError, match="SO_REUSEPORT"):
            server.serve_forever()


def test_suspend_and_resume(folder: Path) -> None:
    """Suspended workers take nobody, and what connected meanwhile is served on resumption."""
    server = Inline(str(folder / "sock"), Handler)
    with serving(server):
        with connect(server.server_address) as client:
            assert ask(client)
        server.suspend()
        assert server.state.value == "suspended"
        server.resume()
        with connect(server.server_address) as client:
            assert ask(client)


@pytest.mark.parametrize("mixin", ["greenlets", "children", "pool"])
def test_other_models_inside(folder: Path, mixin: str) -> None:
    """Greenlets, children and pools run inside each worker."""
    if mixin == "greenlets":
        pytest.importorskip("greenlet")
        from framework.greenlets import GreenletMixIn

        class Server(PreforkMixIn, GreenletMixIn, UnixStreamServer):  # pyright: ignore[reportRedeclaration]
            workers = 2
    elif mixin == "pool":

        class Server(PreforkMixIn, ThreadPoolMixIn, UnixStreamServer):  # type: ignore[no-redef]
            workers = 2
    else:

        class Server(PreforkMixIn, ForkingMixIn, UnixStreamServer):  # type: ignore[no-redef]
            workers = 2

    server = Server(str(folder / "sock"), Handler)
    with serving(server), connect(server.server_address) as one, connect(server.server_address) as other:
        assert ask(one)
        assert ask(other)
        assert ask(one)
        assert server.drain(PATIENCE) == DrainResult(completed=2, forced=0, abandoned=0)


# -- sockets -------------------------------------------------------------------------------------------------------


class Datagrams(PreforkMixIn, UDPServer):
    """Each worker has a socket of its own."""

    workers = 2


@pytest.mark.parametrize("kind", ["stream", "datagram"])
def test_a_socket_for_each(kind: str, workers: Workers) -> None:
    """With port 0 too, the system spreads peers over all workers, none of which is left out."""
    if kind == "stream":
        server: Any = Threads(LOOPBACK, Handler)
        server.socket_per_worker = True
    else:
        server = Datagrams(LOOPBACK, Whoami)
    server.observe(workers)
    with serving(server):
        missing = {workers.next_started() for _ in range(2)}
        while missing:  # each new client falls to either with the same chance
            with socket.socket(socket.AF_INET, server.socket_type) as client:
                client.settimeout(PATIENCE)
                client.connect(server.server_address)
                missing.discard(int(ask(client)))


def test_a_socket_for_each_beside_one_that_was_given(workers: Workers) -> None:
    """Where the first socket was passed to the program, the others are bound beside it."""

    class Service(PreforkMixIn, UDPServer):
        workers = 3

    given = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    given.bind(LOOPBACK)
    address = given.getsockname()
    server = Service(at(f"fd://{given.detach()}"), Whoami)
    server.observe(workers)
    with serving(server):
        started = {workers.next_started() for _ in range(3)}
        assert {sock.getsockname() for sock in server.listening()} == {address}
        assert len({sock.fileno() for sock in server.listening()}) == 3
        answered: set[int] = set()
        while answered != started:  # as the system spreads senders
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(PATIENCE)
                client.connect(address)
                answered.add(int(ask(client)))


def test_the_parent_tells_of_its_workers(workers: Workers) -> None:
    """``info()`` names each worker, its place, and how many connections it has."""
    server = Threads(LOOPBACK, Handler)
    server.observe(workers)
    with serving(server):
        pids = [workers.next_started() for _ in range(2)]
        with connect(server.server_address) as client:
            serves = int(ask(client))
            eventually(lambda: sum(worker.connections for worker in server.info().workers) == 1)
            told = server.info().workers
            assert [(worker.pid, worker.slot) for worker in told] == [(pids[0], 0), (pids[1], 1)]
            assert [worker.pid for worker in told if worker.connections] == [serves]
            assert all(worker.seconds > 0 for worker in told)
    assert server.info().workers == ()


def test_the_port_is_not_shared_with_strangers() -> None:
    """A server that is started twice is told so, although its workers share the port."""
    server = Datagrams(LOOPBACK, Whoami)
    with serving(server), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.connect(server.server_address)
        assert ask(client)
        with pytest.raises(OSError, match="in use") as caught:
            Datagrams(server.server_address, Whoami)
        assert caught.value.errno == errno.EADDRINUSE


# -- replacement -----------------------------------------------------------------------------------------------------


def test_a_crashed_worker_is_replaced(folder: Path, workers: Workers) -> None:
    """A worker that dies costs its own clients, and the next ones are served."""
    server = Inline(str(folder / "sock"), Handler)
    server.observe(workers)
    with serving(server):
        with connect(server.server_address) as client:
            assert ask(client, b"exit\n") == b""
        exited = workers.next_exited()
        assert (exited.reason, exited.status) == (WorkerExitReason.CRASHED, 3)
        with connect(server.server_address) as client:
            assert int(ask(client)) != exited.pid


def test_a_failing_worker_is_tried_ever_later(folder: Path, workers: Workers) -> None:
    """Workers that fail at once are started again after 100 ms, then 200 ms."""

    class Fails(Inline):
        def setup_worker(self) -> None:
            raise OSError("no database")

    server = Fails(str(folder / "sock"), Handler)
    server.observe(workers)
    with serving(server):
        for _ in range(3):
            assert workers.next_exited().status == 1
    gaps = [later - earlier for earlier, later in itertools.pairwise(workers.moments[:3])]
    assert gaps[0] > 0.09
    assert gaps[1] > 0.19


def test_a_stuck_worker_is_replaced(folder: Path, workers: Workers) -> None:
    """A worker whose loop is stuck in a busy handler is killed, and the next clients are served."""

    class Impatient(Inline):
        heartbeat_timeout = 2  # longer than a busy machine keeps a worker from beating

    server = Impatient(str(folder / "sock"), Handler)
    server.observe(workers)
    with serving(server):
        with connect(server.server_address) as client:
            assert ask(client, b"loop\n") == b"loop\n"
            assert client.recv(1) == b""
        exited = workers.next_exited()
        assert (exited.reason, exited.status) == (WorkerExitReason.HUNG, -signal.SIGKILL)
        with connect(server.server_address) as client:
            assert int(ask(client)) != exited.pid


def test_an_idle_worker_is_left_alone(folder: Path, workers: Workers) -> None:
    """A loop that has nothing to do beats all the same."""
    server = Inline(str(folder / "sock"), Handler)
    server.observe(workers)
    with serving(server):
        pid = workers.next_started()
        supervisor: Any = vars(server)["_PreforkMixIn__supervisor"]
        eventually(lambda: [each.beats > 3 for each in supervisor.workers] == [True])
        assert workers.exited.empty()
        with connect(server.server_address) as client:
            assert int(ask(client)) == pid


def test_a_terminated_worker_is_replaced(folder: Path, workers: Workers) -> None:
    """SIGTERM to a worker makes it leave once another has taken over; SIGINT and SIGHUP do nothing to it."""
    server = Inline(str(folder / "sock"), Handler)
    server.observe(workers)
    with serving(server):
        with connect(server.server_address) as client:
            pid = int(ask(client))
            for number in (signal.SIGINT, signal.SIGHUP):
                os.kill(pid, number)
            assert int(ask(client)) == pid
        os.kill(pid, signal.SIGTERM)
        exited = workers.next_exited()
        assert (exited.pid, exited.reason, exited.status) == (pid, SPENT, 0)
        with connect(server.server_address) as client:
            assert int(ask(client)) != pid


def test_a_handler_ends_its_worker(folder: Path, workers: Workers) -> None:
    """``shutdown()`` in a worker is about that worker."""
    server = Inline(str(folder / "sock"), Handler)
    server.observe(workers)
    with serving(server):
        with connect(server.server_address) as client:
            pid = int(ask(client, b"shutdown\nwho\n"))
        exited = workers.next_exited()
        assert (exited.pid, exited.reason) == (pid, SPENT)


# -- under load ------------------------------------------------------------------------------------------------------


@pytest.fixture
def loaded(workers: Workers) -> Iterator[tuple[Threads, Load]]:
    """Serve, with a load that has begun."""
    server = Threads(LOOPBACK, Handler)
    server.observe(workers)
    with serving(server), Load([Target(server.server_address)] * 4) as load:
        load.more(20)
        yield server, load


def test_killing_a_worker_under_load(loaded: tuple[Threads, Load], workers: Workers) -> None:
    """``kill -9`` of a worker refuses nobody, and loses no more than what that worker had in hand."""
    _, load = loaded
    for _ in range(3):
        os.kill(next(iter(workers.alive)), signal.SIGKILL)
        exited = workers.next_exited()
        assert (exited.reason, exited.status) == (WorkerExitReason.CRASHED, -signal.SIGKILL)
        load.more(50)
    assert load.counts["refused"] == 0
    assert load.counts["lost"] <= 3 * 4


def test_rolling_restart_under_load(loaded: tuple[Threads, Load], workers: Workers) -> None:
    """A restart replaces all workers one at a time, refuses nobody and loses nothing."""
    server, load = loaded
    first = set(workers.alive)
    for _ in range(2):
        server.restart_workers()
        assert [workers.next_exited().reason for _ in range(2)] == [RESTARTED] * 2
        load.more(50)
    assert not first & workers.alive
    assert load.lost_nobody(), load.counts


def test_max_requests_under_load(workers: Workers) -> None:
    """Workers that have served their share are replaced, which refuses nobody and loses nothing."""

    class Frail(Threads):
        max_requests = 50

    server = Frail(LOOPBACK, Handler)
    server.observe(workers)
    with serving(server), Load([Target(server.server_address)] * 4) as load:
        assert {workers.next_exited().reason for _ in range(4)} == {SPENT}
        load.more(20)
    assert load.lost_nobody(), load.counts


def test_max_requests_of_a_single_worker(folder: Path, workers: Workers) -> None:
    """A worker goes on until its successor has taken over, so even one alone refuses nobody."""

    class Frail(Inline):
        max_requests = 5

    server = Frail(str(folder / "sock"), Handler)
    server.observe(workers)
    with serving(server):
        pids: set[int] = set()
        while len(pids) < 4:
            with connect(server.server_address) as client:
                pids.add(int(ask(client)))


def test_datagrams_survive_a_restart(workers: Workers) -> None:
    """A datagram that waits for a worker is read by the one that replaces it."""
    server = Datagrams(LOOPBACK, Whoami)
    server.observe(workers)
    with serving(server), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.connect(server.server_address)
        first = {workers.next_started() for _ in range(2)}
        assert int(ask(client)) in first
        server.restart_workers()
        exits = 0
        while exits < 2 or int(ask(client)) in first:
            assert ask(client)
            exits += not workers.exited.empty() and workers.next_exited().reason is RESTARTED


# -- the end ---------------------------------------------------------------------------------------------------------


def test_drain_counts_over_all_workers() -> None:
    """Connections that wait for a request complete, whichever worker they are in."""
    server = Threads(LOOPBACK, Handler)
    with serving(server):
        clients = [connect(server.server_address) for _ in range(6)]
        assert all(ask(client) for client in clients)
        assert server.drain(PATIENCE) == DrainResult(completed=6, forced=0, abandoned=0)
        assert [client.recv(1) for client in clients] == [b""] * 6
        for client in clients:
            client.close()


def test_drain_ends_what_does_not_end(workers: Workers) -> None:
    """A handler in a busy loop is ended with its worker, and counted as forced."""
    server = Threads(LOOPBACK, Handler)
    server.observe(workers)
    with serving(server), connect(server.server_address) as client:
        assert ask(client, b"loop\n") == b"loop\n"
        assert server.drain(0) == DrainResult(completed=0, forced=1, abandoned=0)
    assert not workers.alive


def test_close_without_shutdown(workers: Workers) -> None:
    """``server_close()`` alone leaves no worker either."""
    server = Threads(LOOPBACK, Handler)
    server.observe(workers)
    with serving(server):
        workers.next_started()
        server.server_close()
        assert not workers.alive


def test_workers_do_not_outlive_the_parent(folder: Path) -> None:
    """When the parent is killed, its workers come to an end."""
    server = Inline(str(folder / "sock"), Handler)
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:
        server.serve_forever()
    os.close(writer)
    with connect(server.server_address) as client:
        try:
            assert ask(client)
        finally:
            os.kill(parent, signal.SIGKILL)
            os.waitpid(parent, 0)
        assert client.recv(1) == b""
    assert os.read(reader, 1) == b""  # every process that held the other end has ended
    os.close(reader)
    server.server_close()


def test_a_parent_that_ends_with_something_unread() -> None:
    """A parent that is killed before it has read its worker's words is missed like any other."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        worker = Worker(0, theirs)
        worker.ask_to_be_replaced()
        ours.close()
        assert worker.next_order() is None


def test_the_parents_signal_handlers_stay_the_parents(folder: Path) -> None:
    """No handler that the program installed runs in a worker, and the parent's are left as they are."""
    server = Inline(str(folder / "sock"), Handler)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    try:
        for number in before:
            signal.signal(number, fail)
        with serving(server), connect(server.server_address) as client:
            assert ask(client, b"signals\n") == b"\n"
        assert all(signal.getsignal(number) is fail for number in before)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_what_is_buffered_is_written_once(folder: Path) -> None:
    """What the parent had not flushed yet does not come out of the workers again."""
    output = folder / "output"
    program = os.fork()
    if program == 0:
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT), 1)
        with open(1, "w", closefd=False) as sys.stdout:
            server = Inline(str(folder / "sock"), Handler)
            print("once")
            threading.Timer(0, server.shutdown).start()
            server.serve_forever()
        os._exit(0)
    os.waitpid(program, 0)
    assert output.read_text() == "once\n"
