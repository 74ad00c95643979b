"""``ForkingMixIn`` under ``ServiceMixIn``: a connection is open until its child has ended, and ends once."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from framework import (
    DatagramRequestHandler,
    ForkingMixIn,
    StreamRequestHandler,
    TCPServer,
    UnixDatagramServer,
    UnixStreamServer,
)
from framework.events import (
    CloseReason,
    ConnectionClosed,
    ConnectionOpened,
    HandlerFailed,
    Overloaded,
    Recovered,
)
from framework.lifecycle import DrainResult
from framework.observers import Observer
from framework.service import ServiceMixIn
from framework.tls import TLSMixIn
from framework.tls_connection import TLSConnection
from tests.framework.certificates import client_context, server_context
from tests.framework.spec import PATIENCE, serving

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


class Recorder(Observer):
    """Keeps the events of this process, and writes a letter for each into a pipe that children share."""

    def __init__(self) -> None:
        self.events: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._reader, self._writer = socket.socketpair()

    def connection_opened(self, event: ConnectionOpened) -> None:
        """Keep it."""
        self._keep(event, b"O")

    def connection_closed(self, event: ConnectionClosed) -> None:
        """Keep it."""
        self._keep(event, b"C")

    def handler_failed(self, event: HandlerFailed) -> None:
        """Keep it."""
        self._keep(event, b"F")

    def overloaded(self, event: Overloaded) -> None:
        """Keep it."""
        self._keep(event, b"L")

    def recovered(self, event: Recovered) -> None:
        """Keep it."""
        self._keep(event, b"R")

    def next(self, kind: type) -> object:
        """Return the next event of that kind, which has to come."""
        while not isinstance(event := self.events.get(timeout=PATIENCE), kind):
            pass
        return event

    def closed(self) -> CloseReason:
        """Return why the next connection closed."""
        event = self.next(ConnectionClosed)
        assert isinstance(event, ConnectionClosed)
        return event.reason

    def everywhere(self) -> str:
        """Return the letters that all processes wrote, sorted, and close the pipe."""
        self._writer.close()
        with self._reader, self._reader.makefile("rb") as letters:
            return "".join(sorted(letters.read().decode()))

    def close(self) -> None:
        """Give the pipe back."""
        self._writer.close()
        self._reader.close()

    def _keep(self, event: object, letter: bytes) -> None:
        self.events.put(event)
        self._writer.sendall(letter)


class Handler(StreamRequestHandler["Service"]):
    """Does what each line says."""

    def handle(self) -> None:
        """Obey until the end of the input."""
        for line in self.rfile:
            match line:
                case b"crash\n":
                    os.kill(os.getpid(), signal.SIGKILL)
                case b"exit\n":
                    os._exit(7)
                case b"fail\n":
                    raise ValueError("asked to")
                case b"hang\n":
                    self.wfile.write(line)
                    while True:
                        signal.pause()
                case b"drained?\n":
                    self.wfile.write(line)
                    while not self.server.draining:
                        pass
                    self.wfile.write(b"yes\n")
                    return
                case _:
                    self.wfile.write(line)


class Service(ServiceMixIn, ForkingMixIn, UnixStreamServer):
    """The server under test."""


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """Return a recorder that is attached to the service."""
    recorder = Recorder()
    yield recorder
    recorder.close()


@pytest.fixture
def service(folder: Path, recorder: Recorder) -> Iterator[Service]:
    """Serve."""
    service = Service(str(folder / "sock"), Handler)
    service.observe(recorder)
    with serving(service):
        yield service


def connect(service: Service) -> socket.socket:
    """Connect a client."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(PATIENCE)
    client.connect(service.server_address)
    return client


def ask(client: socket.socket, line: bytes) -> bytes:
    """Send a line and receive what comes back, which is nothing at the end."""
    client.sendall(line)
    return client.recv(1000)


def hang_up(client: socket.socket) -> None:
    """Close for all who hold a copy: the children are forked from this very process."""
    client.shutdown(socket.SHUT_RDWR)
    client.close()


def test_a_connection_is_open_until_its_child_ends(service: Service, recorder: Recorder) -> None:
    """The parent counts a connection while its child lives, although it holds no descriptor of it."""
    client = connect(service)
    assert ask(client, b"hello\n") == b"hello\n"
    assert len(service.info().connections) == 1
    hang_up(client)
    assert service.wait_for_connections(lambda count: count == 0, PATIENCE)
    assert recorder.closed() is CloseReason.PEER


def test_each_connection_closes_once(service: Service, recorder: Recorder) -> None:
    """Of all processes, the parent alone tells that a connection has closed; a child tells why it failed."""
    for line in (b"crash\n", b"exit\n", b"fail\n", b"bye\n"):
        client = connect(service)
        ask(client, line)
        hang_up(client)
        recorder.closed()
    service.shutdown()
    service.server_close()
    assert recorder.everywhere() == "CCCCFFFOOOO"


@pytest.mark.parametrize(("line", "how"), [(b"crash\n", "killed by signal 9"), (b"exit\n", "exited with 7")])
def test_a_crash_is_an_error(service: Service, recorder: Recorder, line: bytes, how: str) -> None:
    """A child that ends without a word costs its own connection, and is reported."""
    with connect(service) as client:
        assert ask(client, line) == b""
    failed = recorder.next(HandlerFailed)
    assert isinstance(failed, HandlerFailed)
    assert how in str(failed.error)
    assert recorder.closed() is CloseReason.ERROR


def test_a_raising_handler_is_an_error(service: Service, recorder: Recorder) -> None:
    """The child's reason reaches the parent."""
    with connect(service) as client:
        assert ask(client, b"fail\n") == b""
    assert recorder.closed() is CloseReason.ERROR


def test_max_children_pauses(folder: Path, recorder: Recorder) -> None:
    """At ``max_children`` further clients wait, the loop does not, and the next one follows a child's end."""

    class Small(Service):
        max_children = 2

    service = Small(str(folder / "sock"), Handler)
    service.observe(recorder)
    with serving(service):
        clients = [connect(service) for _ in range(3)]
        assert [ask(client, b"in\n") for client in clients[:2]] == [b"in\n"] * 2
        recorder.next(Overloaded)
        assert len(service.info().connections) == 2
        hang_up(clients[0])
        recorder.next(Recovered)
        assert ask(clients[2], b"in\n") == b"in\n"
        for client in clients[1:]:
            hang_up(client)


def test_shutdown_at_max_children(folder: Path) -> None:
    """A service whose children never end can be shut down and closed."""

    class Small(Service):
        max_children = 1
        drain_timeout = 0

    service = Small(str(folder / "sock"), Handler)
    with serving(service), connect(service) as client:
        assert ask(client, b"hang\n") == b"hang\n"
    assert not service.active_children


def test_idle_children_drain_at_once(service: Service, recorder: Recorder) -> None:
    """A child that waits for its next request meets the end of its input."""
    with connect(service) as client:
        assert ask(client, b"hello\n") == b"hello\n"
        assert service.drain(PATIENCE) == DrainResult(completed=1, forced=0, abandoned=0)
        assert client.recv(1) == b""
    assert recorder.closed() is CloseReason.DRAIN


def test_a_handler_sees_the_drain(service: Service) -> None:
    """``server.draining`` comes true in a child that is busy, and its reply is not lost."""
    with connect(service) as client:
        assert ask(client, b"drained?\n") == b"drained?\n"
        assert service.drain(PATIENCE) == DrainResult(completed=1, forced=0, abandoned=0)
        assert client.recv(100) == b"yes\n"


def test_stuck_children_are_killed(service: Service, recorder: Recorder) -> None:
    """At the deadline of a drain a child is killed, and counted as forced."""
    with connect(service) as client:
        assert ask(client, b"hang\n") == b"hang\n"
        assert service.drain(0) == DrainResult(completed=0, forced=1, abandoned=0)
        assert client.recv(1) == b""
    assert not service.active_children
    assert recorder.closed() is CloseReason.DRAIN


@pytest.mark.parametrize("pidfd", [True, False], ids=["pidfd", "polled"])
def test_close_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch, pidfd: bool) -> None:
    """``server_close()`` ends what does not end by itself, with pidfd_open(2) and without."""
    if not pidfd:
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    service = Service(str(folder / "sock"), Handler)
    service.drain_timeout = 0
    with connect(service) as client:
        service.handle_request()
        assert ask(client, b"hang\n") == b"hang\n"
        service.server_close()
        assert client.recv(1) == b""
    assert not service.active_children


def test_deadlines_hold_in_a_child(folder: Path, recorder: Recorder) -> None:
    """A child ends a connection that waits for too long, and the parent tells so."""

    class Hasty(Service):
        idle_timeout = 0.01

    service = Hasty(str(folder / "sock"), Handler)
    service.observe(recorder)
    with serving(service), connect(service) as client:
        assert client.recv(1) == b""
        assert recorder.closed() is CloseReason.TIMEOUT


@pytest.mark.parametrize("explicit", [False, True], ids=["implicit", "starttls"])
def test_a_child_that_hangs_in_its_handshake_is_ended(explicit: bool, recorder: Recorder) -> None:
    """A child that was forked while another thread held a lock of OpenSSL's ends with its handshake's deadline."""

    def hang(*_: object) -> None:
        threading.Event().wait()

    class StartTLS(StreamRequestHandler["Secure"]):
        def handle(self) -> None:
            assert isinstance(self.request, TLSConnection)
            self.request.start_tls(self.server.ssl_context, 0.05)

    class Secure(TLSMixIn, ForkingMixIn, TCPServer):
        ssl_context = server_context()
        implicit_tls = not explicit
        handshake_timeout = 0.05

    Secure.ssl_context.sni_callback = hang
    incoming, hello = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        client_context().wrap_bio(incoming, hello, server_hostname="localhost").do_handshake()
    service = Secure(("127.0.0.1", 0), StartTLS)
    service.observe(recorder)
    with serving(service), socket.create_connection(service.server_address, PATIENCE) as client:
        client.sendall(hello.read())
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(1) == b""
        assert recorder.closed() is CloseReason.HANDSHAKE


def test_a_closed_port_refuses() -> None:
    """Once the parent has closed the listener, no child keeps clients waiting in its backlog."""

    class Service(ServiceMixIn, ForkingMixIn, TCPServer):
        pass

    service = Service(("127.0.0.1", 0), Handler)  # type: ignore[arg-type] # its own server is the other
    with socket.create_connection(service.server_address) as client:
        client.settimeout(PATIENCE)
        service.handle_request()
        assert ask(client, b"hello\n") == b"hello\n"
        service.socket.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(service.server_address)
        service.drain_timeout = 0
        service.server_close()


def test_children_do_not_outlive_the_parent(folder: Path) -> None:
    """When the parent is killed, a child that waits for its next request ends."""
    service = Service(str(folder / "sock"), Handler)
    parent = os.fork()
    if parent == 0:
        service.serve_forever()
    with connect(service) as client:
        try:
            assert ask(client, b"hello\n") == b"hello\n"
        finally:
            os.kill(parent, signal.SIGKILL)
            os.waitpid(parent, 0)
        assert client.recv(1) == b""
    service.server_close()


def test_close_waits_for_datagrams(folder: Path) -> None:
    """A datagram's child is waited for, too."""

    class Late(DatagramRequestHandler):
        def handle(self) -> None:
            assert gate_reader.recv(1) == b"go"[:1]
            self.wfile.write(b"done")

    class Datagrams(ServiceMixIn, ForkingMixIn, UnixDatagramServer):
        pass

    gate_reader, gate = socket.socketpair()
    service = Datagrams(str(folder / "sock"), Late)
    with gate_reader, gate, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.bind(str(folder / "client"))
        client.sendto(b"x", service.server_address)
        service.handle_request()
        assert service.active_children
        closing = threading.Thread(target=service.server_close)
        closing.start()
        gate.sendall(b"g")
        closing.join(PATIENCE)
        assert client.recv(100) == b"done"
    assert not service.active_children
