"""What a service adds to a server: suspending, draining, caps, deadlines, accepting, events."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from framework import (
    BaseRequestHandler,
    DatagramRequestHandler,
    StreamRequestHandler,
    TCPServer,
    ThreadingMixIn,
    UDPServer,
    UnixDatagramServer,
    deadlines,
    lingering,
)
from framework.accept_errors import _OF_ONE_CONNECTION
from framework.connection import Connection, Phase
from framework.events import (
    AcceptFailed,
    CloseReason,
    ConnectionClosed,
    ConnectionOpened,
    DatagramTruncated,
    DrainBegan,
    DrainEnded,
    Event,
    HandlerFailed,
    Overloaded,
    Recovered,
    Rejected,
    RejectReason,
)
from framework.lifecycle import DrainResult
from framework.observers import Observer
from framework.peers import group_of
from framework.service import ServiceMixIn, TCPService, ThreadingTCPService, ThreadingUnixStreamService
from framework.testing import (
    PATIENCE,
    Recorder,
    StuckError,
    bounded,
    client_of,
    dribbling,
    eventually,
    failing_accept,
    reset,
    running,
)

LOOPBACK = ("127.0.0.1", 0)


class Echo(StreamRequestHandler):
    """Sends every line back."""

    def handle(self) -> None:
        """Echo until the end of the input."""
        for line in self.rfile:
            self.wfile.write(line)


class Turns(ServiceMixIn, ThreadingMixIn, TCPServer):
    """A service whose turns can be waited for."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.turns = threading.Semaphore(0)

    def service_actions(self) -> None:
        """Count."""
        super().service_actions()
        self.turns.release()

    def turn(self) -> None:
        """Wait until a turn has been made from beginning to end."""
        while self.turns.acquire(blocking=False):
            pass
        for _ in range(2):
            assert self.turns.acquire(timeout=PATIENCE)


def quick(base: type[Any] = ThreadingTCPService, /, **settings: Any) -> type[Any]:
    """Return a service class with these settings."""
    return type("Quick", (base,), settings)


@contextlib.contextmanager
def watched(server: Any) -> Generator[tuple[Any, Recorder]]:
    """Run a service, and record what it tells."""
    recorder = Recorder()
    server.observe(recorder)
    with running(server):
        yield server, recorder


def ask(client: socket.socket, line: bytes) -> bytes:
    """Send a line and receive the answer, which is short."""
    client.sendall(line)
    return client.recv(1000)


def is_in(server: Any, phase: Phase) -> bool:
    """Tell whether a connection is in that phase."""
    return any(each.phase is phase for each in server.info().connections)


def meets_end(client: socket.socket) -> bool:
    """Wait for the connection to end, cleanly or not, and tell that it did."""
    try:
        while client.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


# -- suspending ----------------------------------------------------------------------------------------------------


def test_suspended_clients_wait_in_the_backlog() -> None:
    """While a server is suspended clients can connect but are not served; those it serves go on."""
    with watched(Turns(LOOPBACK, Echo)) as (server, recorder), client_of(server) as old:
        assert ask(old, b"one\n") == b"one\n"
        server.suspend()
        server.turn()  # the loop may be on its way into accept() still
        with client_of(server) as new:
            new.sendall(b"early\n")
            server.turn()
            assert ask(old, b"two\n") == b"two\n"
            assert len(recorder.of(ConnectionOpened)) == 1
            server.resume()
            assert new.recv(100) == b"early\n"


def test_nobody_is_accepted_after_suspend_returned() -> None:
    """A loop that was about to accept looks again: who connects after ``suspend()`` waits."""

    class Late(Turns):
        def _handle_request_noblock(self) -> None:
            if not recorder.events:
                self.suspend()  # between the loop's wait and its accept()
            super()._handle_request_noblock()

    recorder = Recorder()
    server = Late(LOOPBACK, Echo)
    server.observe(recorder)
    with running(server), client_of(server) as client:
        client.sendall(b"hello\n")
        server.turn()
        assert recorder.events == []
        recorder.events.append(Overloaded(0))
        server.resume()
        assert client.recv(100) == b"hello\n"


def test_shutdown_in_a_signal_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler on the thread that serves may shut the server down, and the loop does not wait for its tick."""
    monkeypatch.setattr(deadlines, "TICK", 3600.0)
    with TCPService(LOOPBACK, BaseRequestHandler) as server:
        before = signal.signal(signal.SIGUSR1, lambda *_: server.shutdown())
        main = threading.get_ident()
        ready = threading.Event()
        server.service_actions = ready.set  # type: ignore[method-assign]

        def interrupt() -> None:
            with client_of(server):
                assert ready.wait(PATIENCE)
            signal.pthread_kill(main, signal.SIGUSR1)

        helper = threading.Thread(target=interrupt)
        helper.start()
        try:
            server.serve_forever()
        finally:
            signal.signal(signal.SIGUSR1, before)
            helper.join(PATIENCE)


# -- draining ------------------------------------------------------------------------------------------------------


class Works(StreamRequestHandler["Site"]):
    """Does what each line asks for."""

    def handle(self) -> None:
        """Answer until the end of the input."""
        for line in self.rfile:
            if line == b"work\n":
                self.server.begun.release()
                assert self.server.finish.wait(PATIENCE)
                self.wfile.write(b"draining\n" if self.server.draining else b"done\n")
            elif line == b"stick\n":
                self.server.begun.release()
                self.server.unstick.wait(PATIENCE)
            else:
                self.wfile.write(line)


class Site(ServiceMixIn, ThreadingMixIn, TCPServer):
    """A service whose requests take as long as they are told to."""

    drain_timeout = 0.2

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.begun = threading.Semaphore(0)
        self.finish = threading.Event()
        self.unstick = threading.Event()


@contextlib.contextmanager
def clients(server: Any, count: int) -> Iterator[list[socket.socket]]:
    """Connect several clients."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(client_of(server)) for _ in range(count)]


def test_a_drain_tells_what_became_of_each() -> None:
    """Idle connections end at once, busy ones complete, those that dawdle are forced, stuck handlers abandoned."""
    with (
        watched(Site(LOOPBACK, Works)) as (server, recorder),
        clients(server, 4) as (idle, busy, dawdling, stuck),
    ):
        for client in (idle, busy, dawdling, stuck):
            assert ask(client, b"hello\n") == b"hello\n"
        dawdling.sendall(b"half a li")
        busy.sendall(b"work\n")
        stuck.sendall(b"stick\n")
        for _ in range(2):
            assert server.begun.acquire(timeout=PATIENCE)
        eventually(lambda: is_in(server, Phase.READING))
        results: list[DrainResult] = []
        thread = threading.Thread(target=lambda: results.append(server.drain(1.0)))
        thread.start()
        assert idle.recv(100) == b""
        server.finish.set()
        assert busy.recv(100) == b"draining\n"
        assert busy.recv(100) == b""
        assert meets_end(dawdling)
        thread.join(PATIENCE)
        assert results == [DrainResult(completed=2, forced=1, abandoned=1)]
        assert recorder.of(DrainBegan) == [DrainBegan(4, 1.0)]
        assert recorder.of(DrainEnded) == [DrainEnded(2, 1, 1)]
        assert {event.reason for event in recorder.of(ConnectionClosed)} == {CloseReason.DRAIN}
        server.unstick.set()
        recorder.wait_for(ConnectionClosed, 4)


def test_a_drain_of_nobody() -> None:
    """With no connection open, a drain is over at once."""
    with running(Site(LOOPBACK, Works)) as server:
        assert bounded(lambda: server.drain(3600)) == DrainResult(0, 0, 0)


def test_draining_takes_no_new_clients() -> None:
    """Who connects to a draining server is not served by it."""
    with watched(Turns(LOOPBACK, Echo)) as (server, recorder):
        server.drain()
        with client_of(server):
            server.turn()
            assert recorder.of(ConnectionOpened) == []


@pytest.mark.parametrize("daemon", [True, False], ids=["daemon", "joined"])
def test_closing_leaves_a_stuck_handler_behind(daemon: bool) -> None:
    """``server_close()`` returns although a handler is stuck, also one whose thread would be waited for."""
    server = quick(Site, daemon_threads=daemon)(LOOPBACK, Works)
    recorder = Recorder()
    server.observe(recorder)
    with running(server), client_of(server) as client:
        client.sendall(b"stick\n")
        assert server.begun.acquire(timeout=PATIENCE)
    assert recorder.of(DrainEnded) == [DrainEnded(0, 0, 1)]
    server.unstick.set()
    recorder.wait_for(ConnectionClosed)


def test_closing_completes_what_runs() -> None:
    """``server_close()`` lets the requests that run see that it drains, and waits for them."""
    server = quick(Site, drain_timeout=PATIENCE)(LOOPBACK, Works)
    recorder = Recorder()
    server.observe(recorder)
    with running(server), client_of(server) as client:
        client.sendall(b"work\n")
        assert server.begun.acquire(timeout=PATIENCE)
        server.shutdown()
        closer = threading.Thread(target=server.server_close)
        closer.start()
        recorder.wait_for(DrainBegan)
        assert closer.is_alive()
        server.finish.set()
        assert client.recv(100) == b"draining\n"
        closer.join(PATIENCE)
        assert not closer.is_alive()
        # All has been told of by now.
        assert recorder.of(DrainEnded) == [DrainEnded(1, 0, 0)]
        assert len(recorder.of(ConnectionClosed)) == 1


def test_a_handler_may_close_its_server() -> None:
    """A handler that closes its own server waits for itself no longer than the drain takes."""
    closed = threading.Event()

    class Closes(BaseRequestHandler):
        def handle(self) -> None:
            self.server.server_close()
            closed.set()

    with running(quick(drain_timeout=0.05)(LOOPBACK, Closes)) as server, client_of(server):
        assert closed.wait(PATIENCE)


def test_waiting_for_connections() -> None:
    """``wait_for_connections()`` returns when clients have come, and when they have gone."""
    with running(ThreadingTCPService(LOOPBACK, Echo)) as server:
        assert not server.wait_for_connections(lambda count: count > 0, timeout=0)
        with clients(server, 3):
            assert server.wait_for_connections(lambda count: count == 3, PATIENCE)
        assert server.wait_for_connections(lambda count: count == 0, PATIENCE)


def test_info() -> None:
    """``info()`` is the service at this moment: its state, and who is connected, since when, doing what."""
    with running(ThreadingTCPService(LOOPBACK, Echo)) as server, client_of(server) as client:
        ask(client, b"hello\n")
        eventually(lambda: is_in(server, Phase.IDLE))
        (connection,) = server.info().connections
        assert (connection.number, connection.address) == (1, client.getsockname())
        assert connection.seconds > 0
        assert server.info().state is server.state


# -- caps ----------------------------------------------------------------------------------------------------------


def test_the_cap_pauses_the_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the cap clients wait in the backlog, told once; the first that leaves lets the next in at once, told once."""
    monkeypatch.setattr(deadlines, "TICK", 3600.0)
    settings = {"max_connections": 2, "idle_timeout": None, "read_timeout": None, "write_timeout": None}
    with watched(quick(**settings)(LOOPBACK, Echo)) as (server, recorder), clients(server, 4) as four:
        for client in four[:2]:
            assert ask(client, b"in\n") == b"in\n"
        assert recorder.wait_for(Overloaded) == [Overloaded(2)]
        for client in four[2:]:
            client.sendall(b"wait\n")
        for done, next_ in zip(four[:2], four[2:], strict=True):
            done.close()
            assert next_.recv(100) == b"wait\n"
        for client in four[2:]:
            client.close()
        server.wait_for_connections(lambda count: count == 0, PATIENCE)
        with client_of(server) as last:
            assert ask(last, b"free\n") == b"free\n"
        edges = [type(event) for event in recorder.events if isinstance(event, Overloaded | Recovered)]
        assert edges == [Overloaded, Recovered] * (len(edges) // 2)


def test_the_cap_is_never_exceeded() -> None:
    """However many come at once, no more than the cap are open."""
    with watched(quick(max_connections=3)(LOOPBACK, Echo)) as (server, recorder), clients(server, 20) as many:
        for client in many:
            client.sendall(b"x\n")
            client.shutdown(socket.SHUT_WR)
        for client in many:
            assert client.recv(100) == b"x\n"
        recorder.wait_for(ConnectionClosed, 20)
        assert max(event.open for event in recorder.of(ConnectionOpened)) <= 3


def test_a_peer_may_have_so_many_connections() -> None:
    """Beyond the cap per peer a connection is closed, told as refused, and the others stay."""
    with (
        watched(quick(max_connections_per_peer=2)(LOOPBACK, Echo)) as (server, recorder),
        clients(server, 2) as (first, second),
    ):
        assert [ask(client, b"in\n") for client in (first, second)] == [b"in\n"] * 2
        with client_of(server) as third:
            assert meets_end(third)
        assert [event.reason for event in recorder.wait_for(Rejected)] == [RejectReason.PEER_LIMIT]
        assert [event.reason for event in recorder.wait_for(ConnectionClosed)] == [CloseReason.REFUSED]
        first.close()
        assert server.wait_for_connections(lambda count: count == 1, PATIENCE)
        with client_of(server) as fourth:
            assert ask(fourth, b"in\n") == b"in\n"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:0:0:2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
    ],
)
def test_what_counts_as_one_peer(one: str, other: str, same: bool) -> None:
    """One peer is an IPv4 address, mapped or not, or a /64 of IPv6."""

    def group(host: str) -> bytes | None:
        return group_of(socket.AF_INET6 if ":" in host else socket.AF_INET, (host, 1))

    assert (group(one) == group(other)) == same


def test_clients_of_a_unix_socket_are_not_one_peer(folder: Path) -> None:
    """Whoever may open the path has no address, so the cap per peer does not hold for it."""
    server = quick(ThreadingUnixStreamService, max_connections_per_peer=1)(str(folder / "sock"), Echo)
    with running(server), clients(server, 3) as three:
        assert [ask(client, b"in\n") for client in three] == [b"in\n"] * 3


# -- deadlines -----------------------------------------------------------------------------------------------------


def test_a_silent_client_is_ended() -> None:
    """A client that says nothing meets the end after ``idle_timeout``, not before, however often it spoke before."""
    with (
        watched(quick(idle_timeout=0.2)(LOOPBACK, Echo)) as (server, recorder),
        client_of(server) as client,
    ):
        for _ in range(3):
            assert ask(client, b"hello\n") == b"hello\n"
        before = time.monotonic()
        assert meets_end(client)
        assert time.monotonic() - before > 0.15
        assert [event.reason for event in recorder.wait_for(ConnectionClosed)] == [CloseReason.TIMEOUT]
        assert recorder.of(HandlerFailed) == []


def test_a_handlers_own_timeouts_do_not_renew_the_idle_one() -> None:
    """A handler that wakes up now and then to look around keeps no silent client alive."""
    sights = threading.Semaphore(0)

    class Looks(StreamRequestHandler):
        timeout = 0.01

        def handle(self) -> None:
            while True:
                try:
                    if not self.request.recv(100):
                        return
                except TimeoutError:
                    sights.release()

    with watched(quick(idle_timeout=0.3)(LOOPBACK, Looks)) as (server, recorder), client_of(server) as client:
        assert meets_end(client)
        assert sights.acquire(blocking=False)
        assert [event.reason for event in recorder.wait_for(ConnectionClosed)] == [CloseReason.TIMEOUT]


@pytest.mark.parametrize("how", ["readline", "read(n)", "iteration"])
def test_a_dribbling_client_is_ended(how: str) -> None:
    """The deadline of a read is that of the whole: an octet now and then renews nothing."""

    class Reads(StreamRequestHandler):
        def handle(self) -> None:
            if how == "readline":
                self.rfile.readline()
            elif how == "iteration":
                list(self.rfile)
            else:
                self.rfile.read(1_000_000)

    with (
        watched(quick(idle_timeout=3600, read_timeout=0.2)(LOOPBACK, Reads)) as (server, recorder),
        client_of(server) as client,
        dribbling(client, b"x", 0.01) as ended,
    ):
        assert [event.reason for event in recorder.wait_for(ConnectionClosed)] == [CloseReason.TIMEOUT]
        assert ended.wait(PATIENCE)


def test_a_read_has_all_its_time() -> None:
    """The deadline of a read begins with its first octet, however long the client was silent before."""
    server = quick(Turns, idle_timeout=3600, read_timeout=0.5)(LOOPBACK, Echo)
    with running(server), client_of(server) as client:
        eventually(lambda: any(each.seconds > 0.6 for each in server.info().connections))
        client.sendall(b"hel")
        eventually(lambda: is_in(server, Phase.READING))
        server.turn()  # a sweep has seen it reading
        assert ask(client, b"lo\n") == b"hello\n"


@pytest.mark.parametrize("how", ["sendall", "send"])
def test_a_client_that_does_not_read_is_ended(how: str) -> None:
    """A reply that the client does not take is given up after ``write_timeout``, and so is its connection."""

    class Floods(StreamRequestHandler):
        wbufsize = 0 if how == "sendall" else 65536  # a buffered file sends by send()

        def handle(self) -> None:
            while True:
                self.wfile.write(b"x" * 100_000)

    with watched(quick(write_timeout=0.2)(LOOPBACK, Floods)) as (server, recorder), client_of(server):
        assert [event.reason for event in recorder.wait_for(ConnectionClosed)] == [CloseReason.TIMEOUT]
        assert recorder.of(HandlerFailed) == []


def test_a_slow_reader_is_served() -> None:
    """A client that takes each piece within the deadline gets its reply, however long the whole of it takes."""
    size = 3_000_000

    class Floods(StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"x" * size)

    with running(quick(write_timeout=1.0)(LOOPBACK, Floods)) as server, client_of(server) as client:
        received, pause, begun = 0, threading.Event(), time.monotonic()
        while received < size:
            received += len(client.recv(60_000))
            pause.wait(0.03)
        assert client.recv(1) == b""
        assert time.monotonic() - begun > 1.0


def test_no_connection_lives_for_ever() -> None:
    """``lifetime`` ends a connection, however busy."""
    with watched(quick(lifetime=0.2)(LOOPBACK, Echo)) as (server, recorder), client_of(server) as client:
        with contextlib.suppress(ConnectionError):
            while ask(client, b"still there\n"):
                pass
        assert [event.reason for event in recorder.wait_for(ConnectionClosed)] == [CloseReason.TIMEOUT]


def test_a_handler_that_computes_is_left_alone() -> None:
    """No deadline holds for a handler that neither reads nor writes."""
    done = threading.Event()

    class Computes(StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            assert done.wait(PATIENCE)
            self.wfile.write(b"42\n")

    deadlines = {"idle_timeout": 0.1, "read_timeout": 0.1, "write_timeout": 0.1}
    with running(quick(**deadlines)(LOOPBACK, Computes)) as server, client_of(server) as client:
        client.sendall(b"what is it?\n")
        eventually(lambda: any(each.seconds > 0.5 for each in server.info().connections))
        done.set()
        assert client.recv(100) == b"42\n"


def test_a_line_that_is_too_long() -> None:
    """A line over the limit ends its connection by that reason, the replies before it arrive, and nothing has failed."""
    with watched(quick(line_limit=100)(LOOPBACK, Echo)) as (server, recorder), client_of(server) as client:
        client.sendall(b"fine\n" + b"x" * 99 + b"\n" + b"x" * 20_000)
        with client.makefile("rb") as answers:
            assert answers.read() == b"fine\n" + b"x" * 99 + b"\n"
        client.close()
        assert [event.reason for event in recorder.wait_for(ConnectionClosed)] == [CloseReason.LIMIT]
        assert recorder.of(HandlerFailed) == []


# -- accepting -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", sorted(_OF_ONE_CONNECTION))
def test_errors_of_one_connection(number: int) -> None:
    """An error of accept(2) that is one connection's own is nobody else's: the next is accepted at once, untold."""
    with watched(ThreadingTCPService(LOOPBACK, Echo)) as (server, recorder):
        errors = [OSError(number, os.strerror(number)) for _ in range(3)]
        with failing_accept(server, *errors), client_of(server) as client:
            assert ask(client, b"hello\n") == b"hello\n"
        assert recorder.of(AcceptFailed) == []


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EBADF])
def test_errors_that_last(number: int) -> None:
    """While accept(2) cannot succeed the listener rests, 100 ms at a time, told once per edge; then clients are served."""
    error = OSError(number, os.strerror(number))
    calls: list[float] = []

    class Times(ServiceMixIn, ThreadingMixIn, TCPServer):
        def get_request(self) -> tuple[Any, Any]:
            calls.append(time.monotonic())
            if 1 < len(calls) < 5 or len(calls) == 7:
                raise error
            return super().get_request()

    with watched(Times(LOOPBACK, Echo)) as (server, recorder):
        for number_ in range(2):
            with client_of(server) as client:
                assert ask(client, b"hello\n") == b"hello\n"
            recorder.wait_for(ConnectionClosed, number_ + 1)
        assert recorder.of(AcceptFailed) == [AcceptFailed(error)] * len(recorder.of(AcceptFailed))
        assert 1 <= len(recorder.of(AcceptFailed)) <= 2
    failed = calls[1:5]
    assert all(later - earlier > 0.09 for earlier, later in itertools.pairwise(failed))


def test_an_error_nobody_knows_is_told_and_no_pause() -> None:
    """Whatever a program's own ``get_request()`` raises is told once, and the next client does not wait for it."""
    with watched(ThreadingTCPService(LOOPBACK, Echo)) as (server, recorder):
        errors = [OSError("no handshake"), ValueError("no header")]
        with failing_accept(server, *errors), client_of(server) as client:
            assert ask(client, b"hello\n") == b"hello\n"
        assert recorder.of(AcceptFailed) == [AcceptFailed(errors[0])]


def test_out_of_descriptors() -> None:
    """With no descriptor left a service goes on serving those it has, says so once, and recovers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    fillers: list[int] = []
    with (
        watched(ThreadingTCPService(LOOPBACK, Echo)) as (server, recorder),
        client_of(server) as old,
        socket.socket() as new,
    ):
        new.settimeout(PATIENCE)
        assert ask(old, b"one\n") == b"one\n"
        highest = max(int(entry.name) for entry in Path("/proc/self/fd").iterdir())
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 8, hard))
        try:
            with contextlib.suppress(OSError):
                while True:
                    fillers.append(os.dup(0))
            new.connect(server.server_address)
            (failed,) = recorder.wait_for(AcceptFailed)
            assert isinstance(failed.error, OSError)
            assert failed.error.errno == errno.EMFILE
            assert ask(old, b"two\n") == b"two\n"
        finally:
            for filler in fillers:
                os.close(filler)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert ask(new, b"here\n") == b"here\n"
        assert len(recorder.of(AcceptFailed)) == 1


def test_a_burst_is_bounded() -> None:
    """A turn accepts as many as ``accept_burst`` says, and the next turn the rest."""
    with running(quick(Turns, accept_burst=2)(LOOPBACK, Echo)) as server, clients(server, 7) as seven:
        assert [ask(client, b"in\n") for client in seven] == [b"in\n"] * 7


@pytest.mark.parametrize("kind", [UDPServer, UnixDatagramServer])
def test_truncation_is_seen(kind: type[Any], folder: Path) -> None:
    """Of a datagram that is too long the handler gets the beginning, and observers that there was more."""

    class Upper(DatagramRequestHandler):
        def handle(self) -> None:
            self.wfile.write(self.packet.upper())

    address = LOOPBACK if kind is UDPServer else str(folder / "server")
    server = type("Datagrams", (ServiceMixIn, kind), {"max_packet_size": 5})(address, Upper)
    with watched(server) as (_, recorder), socket.socket(server.address_family, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.bind(LOOPBACK if kind is UDPServer else str(folder / "client"))
        for text in (b"abcdefgh", b"abcde", b"abc"):
            client.sendto(text, server.socket.getsockname())
            assert client.recv(100) == text[:5].upper()
        assert recorder.of(DatagramTruncated) == [DatagramTruncated(client.getsockname(), 5)]


# -- closing -------------------------------------------------------------------------------------------------------


class Long(StreamRequestHandler):
    """Reads one line and sends a long reply."""

    def handle(self) -> None:
        """Leave unread whatever else there is."""
        self.rfile.readline()
        self.wfile.write(b"x" * 300_000)


def test_lingering_is_bounded_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that neither reads on nor closes is waited for no longer than that."""
    monkeypatch.setattr(lingering, "_SECONDS", 0.05)
    with watched(ThreadingTCPService(LOOPBACK, Long)) as (server, recorder), client_of(server) as client:
        client.sendall(b"go\n" + b"y" * 60_000)
        with client.makefile("rb") as answers:
            answers.read(300_000)
            recorder.wait_for(ConnectionClosed)


def test_lingering_is_bounded_in_octets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that goes on sending is listened to no further than that."""
    monkeypatch.setattr(lingering, "_SECONDS", 3600.0)
    with watched(ThreadingTCPService(LOOPBACK, Long)) as (server, recorder), client_of(server) as client:
        client.sendall(b"go\n")

        def flood() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client.sendall(b"y" * 65536)

        threading.Thread(target=flood, daemon=True).start()
        recorder.wait_for(ConnectionClosed)


def test_nobody_lingers_on_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused client that keeps talking holds up nobody."""
    monkeypatch.setattr(lingering, "_SECONDS", 3600.0)

    class Picky(ServiceMixIn, ThreadingMixIn, TCPServer):
        def verify_request(self, request: socket.socket, client_address: tuple[str, int]) -> bool:
            if not self.refused:
                self.refused = True
                request.recv(1, socket.MSG_PEEK)  # so that there is something unread
                request.sendall(b"not you\n")
                return False
            return True

        refused = False

    with watched(Picky(LOOPBACK, Echo)) as (server, recorder), client_of(server) as first:
        first.sendall(b"x" * 1000)
        assert first.recv(100) == b"not you\n"
        with client_of(server) as second:
            assert ask(second, b"hello\n") == b"hello\n"
        assert recorder.of(Rejected) == [Rejected(first.getsockname(), RejectReason.VERIFY)]


class Fails(StreamRequestHandler):
    """Raises where its server says."""

    server: Any

    def setup(self) -> None:
        """Prepare."""
        self.fail("setup")
        super().setup()

    def handle(self) -> None:
        """Read a line and answer it."""
        self.rfile.readline()
        self.wfile.write(b"fine\n")
        self.fail("handle")

    def finish(self) -> None:
        """Clean up."""
        super().finish()
        self.fail("finish")

    def fail(self, where: str) -> None:
        """Do what is to go wrong here, if anything."""
        wrong: Callable[[Any], object] | None = self.server.wrong.get(where)
        if wrong is not None:
            wrong(self)


def throw(error: type[BaseException]) -> Callable[[Any], object]:
    """Return something that raises."""

    def throws(*_: Any) -> object:
        raise error("on purpose")

    return throws


def twice(handler: Any) -> None:
    """End the request before the framework does, and as often as it likes."""
    handler.server.shutdown_request(handler.request)
    handler.server.shutdown_request(handler.request)


WRONG: dict[str, tuple[str, Callable[[Any], object]]] = {
    "verify raises": ("verify_request", throw(ValueError)),
    "verify refuses": ("verify_request", lambda *_: False),
    "process raises": ("process_request", throw(RuntimeError)),
    "setup raises": ("setup", throw(ValueError)),
    "handle raises": ("handle", throw(ValueError)),
    "finish raises": ("finish", throw(ValueError)),
    "handle raises OSError": ("handle", throw(OSError)),
    "handle hangs up": ("handle", throw(ConnectionResetError)),
    "handle closes": ("handle", lambda handler: handler.request.close()),
    "handle detaches": ("handle", lambda handler: socket.close(handler.request.detach())),
    "handle shuts down": ("handle", lambda handler: handler.request.shutdown(socket.SHUT_RDWR)),
    "handle ends its request twice": ("handle", twice),
    "close raises": ("close_request", throw(OSError)),
    "handle_error raises": ("handle_error", throw(ValueError)),
    "nothing": ("", throw(ValueError)),
}
HOOKS = ("verify_request", "process_request", "close_request", "handle_error")


@pytest.fixture
def threads_may_raise(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a thread raises is not the test's failure; wait for the threads, so that it is no later test's either."""
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    before = threading.active_count()
    yield
    eventually(lambda: threading.active_count() <= before)


@pytest.mark.usefixtures("threads_may_raise")
@pytest.mark.parametrize("outcome", WRONG)
@pytest.mark.parametrize("client_resets", [False, True], ids=["", "reset"])
def test_one_close_per_open(outcome: str, client_resets: bool) -> None:
    """Whatever goes wrong at whatever stage, each connection that was opened is closed once, in fact and as told."""
    where, wrong = WRONG[outcome]
    server = quick()(LOOPBACK, Fails)
    server.wrong = {where: wrong}
    if where == "handle_error":
        server.wrong["handle"] = throw(ValueError)
    if where in HOOKS:
        hook = getattr(server, where)

        def then(*arguments: Any) -> object:
            if where == "close_request":
                hook(*arguments)
            return wrong(*arguments)

        setattr(server, where, then)
    recorder = Recorder()
    server.observe(recorder)
    with running(server):
        for number in range(1, 4):
            with client_of(server) as client:
                with contextlib.suppress(OSError):
                    client.sendall(b"go\n")
                if client_resets:
                    reset(client)
                else:
                    assert meets_end(client)
            recorder.wait_for(ConnectionClosed, number)
    assert [event.number for event in recorder.of(ConnectionOpened)] == [1, 2, 3]
    assert sorted(event.number for event in recorder.of(ConnectionClosed)) == [1, 2, 3]
    assert server.info().connections == ()
    assert recorder.of(ConnectionClosed)[-1].open == 0


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
@pytest.mark.usefixtures("threads_may_raise")
def test_one_close_when_a_handler_exits(error: type[BaseException]) -> None:
    """A handler that exits ends its thread and its connection, in a thread and inline, where it ends the loop too."""
    for base in (ThreadingTCPService, TCPService):
        server = quick(base)(LOOPBACK, Fails)
        server.wrong = {"handle": throw(error)}
        recorder = Recorder()
        server.observe(recorder)
        outcome = pytest.raises(error) if base is TCPService else contextlib.nullcontext()
        with outcome, running(server), client_of(server) as client:
            client.sendall(b"go\n")
            assert meets_end(client)
            recorder.wait_for(ConnectionClosed)
        assert len(recorder.of(ConnectionClosed)) == len(recorder.of(ConnectionOpened)) == 1


def test_one_close_when_no_thread_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that cannot be started costs its own connection, told as failed and closed, and no other."""
    with watched(ThreadingTCPService(LOOPBACK, Echo)) as (server, recorder):
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", throw(RuntimeError))
            with client_of(server) as client:
                assert meets_end(client)
        (failed,) = recorder.wait_for(HandlerFailed)
        assert isinstance(failed.error, RuntimeError)
        assert [event.reason for event in recorder.wait_for(ConnectionClosed)] == [CloseReason.ERROR]
        with client_of(server) as client:
            assert ask(client, b"hello\n") == b"hello\n"


def test_clients_that_reset_at_every_point() -> None:
    """Clients that reset before, during and after their requests end quietly: no failure, and one close each."""
    with watched(ThreadingTCPService(LOOPBACK, Long)) as (server, recorder):
        for number, (sent, read) in enumerate(
            [(b"", 0), (b"g", 0), (b"go\n", 0), (b"go\n", 1), (b"go\nmore", 300_000)]
        ):
            with client_of(server) as client:
                client.sendall(sent)
                if read:
                    with client.makefile("rb") as answers:
                        answers.read(read)
                reset(client)
            recorder.wait_for(ConnectionClosed, number + 1)
        assert recorder.of(HandlerFailed) == []
        assert {event.reason for event in recorder.of(ConnectionClosed)} <= {
            CloseReason.PEER,
            CloseReason.LOCAL,
        }


# -- events --------------------------------------------------------------------------------------------------------


def test_a_raising_observer_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """An observer that raises is logged once and told no more, and clients notice nothing."""

    class Bad(Observer):
        def connection_opened(self, event: ConnectionOpened) -> None:
            raise RuntimeError("out of order")

    with watched(ThreadingTCPService(LOOPBACK, Echo)) as (server, recorder):
        server.observe(Bad())
        for _ in range(3):
            with client_of(server) as client:
                assert ask(client, b"hello\n") == b"hello\n"
        recorder.wait_for(ConnectionClosed, 3)
    assert len([record for record in caplog.records if record.exc_info]) == 1


def test_events_nobody_wants_are_never_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody observes costs no object: of a whole life not one event is made."""
    for kind in Event.__subclasses__():
        monkeypatch.setattr(kind, "__init__", throw(AssertionError))
    settings = {"observers": (), "max_connections": 1, "line_limit": 10}
    with running(quick(**settings)(LOOPBACK, Echo)) as server:
        with failing_accept(server, OSError(errno.EMFILE, "no more")), client_of(server) as client:
            assert ask(client, b"hello\n") == b"hello\n"
        with client_of(server) as client:
            client.sendall(b"x" * 100)
            assert meets_end(client)


def test_a_failing_handler_is_an_event_inside_its_except_block() -> None:
    """``HandlerFailed`` is told where the exception is handled, so that an observer may log its traceback."""
    seen: list[BaseException | None] = []

    class Looks(Observer):
        def handler_failed(self, event: HandlerFailed) -> None:
            seen.append(event.error.__traceback__ and event.error)

    with watched(
        ThreadingTCPService(LOOPBACK, type("Bad", (BaseRequestHandler,), {"handle": throw(ValueError)}))
    ) as (
        server,
        recorder,
    ):
        server.observe(Looks())
        with client_of(server) as client:
            assert meets_end(client)
        recorder.wait_for(ConnectionClosed)
        assert [str(error) for error in seen] == ["on purpose"]
        assert recorder.of(ConnectionClosed)[0].reason is CloseReason.ERROR
        server.unobserve(recorder)


# -- coalescing ----------------------------------------------------------------------------------------------------

SENDS: list[bytes] = []


class Counted(Connection):
    """A connection that tells what each of its sends sent."""

    __slots__ = ()

    def _write(self, data: Any, flags: int) -> None:
        SENDS.append(bytes(data))
        super()._write(data, flags)


@pytest.fixture
def sends() -> list[bytes]:
    """What was sent, one item per send."""
    SENDS.clear()
    return SENDS


@pytest.mark.parametrize("base", [TCPService, ThreadingTCPService])
def test_a_pipeline_is_answered_by_one_send(base: type[Any], sends: list[bytes]) -> None:
    """Sixteen lines that arrive together come back together, from a handler that knows nothing of that."""
    lines = b"".join(b"line %d\n" % number for number in range(16))
    with (
        running(quick(base, _connection_class=Counted)(LOOPBACK, Echo)) as server,
        client_of(server) as client,
    ):
        client.sendall(lines)
        received = b""
        while len(received) < len(lines):
            received += client.recv(10_000)
        assert received == lines
        assert sends == [lines]


def test_every_way_to_send_keeps_the_order() -> None:
    """What a handler sends by ``wfile`` and by its request arrives in the order in which it was said."""

    class Mixes(StreamRequestHandler):
        def handle(self) -> None:
            for _ in self.rfile:
                self.wfile.write(b"1")
                self.request.sendall(b"2")
                self.request.send(b"3")
                self.wfile.write(b"4")
                self.request.sendmsg([b"5"])
                self.wfile.write(b"6\n")

    with running(ThreadingTCPService(LOOPBACK, Mixes)) as server, client_of(server) as client:
        client.sendall(b"a\nb\nc\nd\n")
        client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as answers:
            assert answers.read() == b"123456\n" * 4


@pytest.mark.parametrize("ending", ["returns", "raises", "closes"])
def test_nothing_is_held_when_the_handler_ends(ending: str) -> None:
    """A handler that leaves with input unread leaves no reply unsent, whatever way it leaves."""

    class Leaves(StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(self.rfile.readline())
            if ending == "raises":
                raise ConnectionAbortedError("enough")
            if ending == "closes":
                self.request.close()

    with running(ThreadingTCPService(LOOPBACK, Leaves)) as server, client_of(server) as client:
        client.sendall(b"one\ntwo\nthree\n")
        assert client.recv(100) == b"one\n"


def test_nothing_is_held_for_long() -> None:
    """A handler that goes on to something long with input unread keeps its reply back for a tick at most."""
    done = threading.Event()

    class Thinks(StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(self.rfile.readline())
            assert done.wait(PATIENCE)

    with running(quick(idle_timeout=0.1)(LOOPBACK, Thinks)) as server, client_of(server) as client:
        client.sendall(b"one\ntwo\n")
        assert client.recv(100) == b"one\n"
        done.set()


# -- many ----------------------------------------------------------------------------------------------------------


def test_slow_clients_keep_nobody_waiting() -> None:
    """While a hundred clients dawdle in mid-request others are served, until the deadline ends the hundred."""
    with (
        watched(quick(read_timeout=1.0)(LOOPBACK, Echo)) as (server, recorder),
        clients(server, 100) as slow,
    ):
        for client in slow:
            client.sendall(b"GET / HT")
        for _ in range(20):
            with client_of(server) as client:
                assert ask(client, b"hello\n") == b"hello\n"
        for client in slow:
            assert meets_end(client)
        closed = recorder.wait_for(ConnectionClosed, 120)
        assert [event.reason for event in closed].count(CloseReason.TIMEOUT) == 100


def test_stuck_is_told() -> None:
    """A block that cannot be left in time fails instead of hanging."""
    with pytest.raises(StuckError):
        bounded(lambda: threading.Event().wait(), patience=0.01)
