"""Complaints of many years that only a service may cure, since the cure would change the letter; each as a test."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from framework import (
    BaseRequestHandler,
    DatagramRequestHandler,
    StreamRequestHandler,
    TCPServer,
    ThreadingMixIn,
    UnixDatagramServer,
)
from framework.events import ConnectionClosed, ConnectionOpened
from framework.service import ServiceMixIn, TCPService, ThreadingTCPService, ThreadingUnixStreamService
from framework.testing import PATIENCE, Recorder, bounded, client_of, dribbling, reset, running

LOOPBACK = ("127.0.0.1", 0)


class Echo(StreamRequestHandler):
    """Sends every line back."""

    def handle(self) -> None:
        """Echo until the end of the input."""
        for line in self.rfile:
            self.wfile.write(line)


def test_shutdown_waits_for_no_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """``shutdown()`` ends an idle service whose next tick is an hour away."""
    monkeypatch.setattr("framework.deadlines.TICK", 3600.0)
    settings = {"idle_timeout": None, "read_timeout": None, "write_timeout": None}
    server = type("Sleepy", (TCPService,), settings)(LOOPBACK, Echo)
    with running(server):
        bounded(server.shutdown)


def test_shutdown_of_what_never_served() -> None:
    """``shutdown()`` of a service that never served returns."""
    with TCPService(LOOPBACK, Echo) as server:
        bounded(server.shutdown)


def test_threads_have_a_bound() -> None:
    """However many clients connect, there are no more threads than the cap on connections allows."""
    running_now = threading.Semaphore(3)

    class Counts(StreamRequestHandler):
        def handle(self) -> None:
            assert running_now.acquire(blocking=False)
            self.rfile.readline()
            running_now.release()

    server = type("Capped", (ThreadingTCPService,), {"max_connections": 3})(LOOPBACK, Counts)
    recorder = Recorder()
    server.observe(recorder)
    with running(server):
        address = server.socket.getsockname()
        clients = [socket.create_connection(address) for _ in range(30)]
        for client in clients:
            client.sendall(b"go\n")
        closed = recorder.wait_for(ConnectionClosed, 30)
        for client in clients:
            client.close()
    assert {event.reason.value for event in closed} == {"local"}


def test_no_silent_spin_without_descriptors() -> None:
    """Out of descriptors, accept(2) is tried ten times a second and not three hundred thousand times."""
    attempts: list[float] = []
    enough = threading.Event()

    class Starved(ServiceMixIn, ThreadingMixIn, TCPServer):
        def get_request(self) -> tuple[Any, Any]:
            attempts.append(time.monotonic())
            if len(attempts) == 4:
                enough.set()
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with running(Starved(LOOPBACK, Echo)) as server, client_of(server):
        assert enough.wait(PATIENCE)
    assert all(later - earlier > 0.09 for earlier, later in itertools.pairwise(attempts))


def test_slowloris() -> None:
    """Octets that dribble in renew no deadline, as a timeout of each ``recv()`` would let them."""
    settings = {"read_timeout": 0.2, "idle_timeout": 3600}
    with (
        running(type("Hurried", (ThreadingTCPService,), settings)(LOOPBACK, Echo)) as server,
        client_of(server) as client,
        dribbling(client, b"x", 0.01) as ended,
    ):
        assert ended.wait(PATIENCE)


def test_backlog(folder: Path) -> None:
    """A hundred clients that come at once can all connect before the first is accepted."""
    server = ThreadingUnixStreamService(str(folder / "sock"), Echo)
    clients = [socket.socket(socket.AF_UNIX) for _ in range(100)]
    for client in clients:
        client.setblocking(False)  # where the backlog is full, connect(2) says EAGAIN at once (unix(7))
        client.connect(server.server_address)
    with running(server):
        for client in clients:
            client.settimeout(PATIENCE)
            client.sendall(b"hello\n")
            assert client.recv(100) == b"hello\n"
            client.close()


def test_a_long_reply_arrives_whole_although_input_is_unread() -> None:
    """300 kB arrive, and then a clean end, although the handler left input unread, which resets a connection."""

    class Ignores(StreamRequestHandler):
        def handle(self) -> None:
            self.rfile.readline()
            self.wfile.write(b"x" * 300_000)

    with running(ThreadingTCPService(LOOPBACK, Ignores)) as server, client_of(server) as client:
        # At once: what only comes when the server has closed, nobody can swallow.
        client.sendall(b"go\n" + b"y" * 50_000)
        received = 0
        while data := client.recv(10_000):
            received += len(data)
        assert received == 300_000


def test_a_client_that_hangs_up_leaves_no_traceback(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A reset in mid-reply is the client's business: nothing on stderr, nothing in the log."""

    class Floods(StreamRequestHandler):
        def handle(self) -> None:
            while True:
                self.wfile.write(b"x" * 100_000)

    recorder = Recorder()
    server = ThreadingTCPService(LOOPBACK, Floods)
    server.observe(recorder)
    with running(server), client_of(server) as client:
        client.recv(1)
        reset(client)
        recorder.wait_for(ConnectionClosed)
    assert capfd.readouterr().err == ""
    assert caplog.records == []


def test_an_address_can_be_bound_again_at_once() -> None:
    """A service binds the port of its predecessor although connections of that one linger in TIME_WAIT."""
    with running(ThreadingTCPService(LOOPBACK, BaseRequestHandler)) as server:
        address = server.server_address
        with client_of(server) as client:
            assert client.recv(1) == b""  # the server closes first, and so is the one that lingers
    with ThreadingTCPService(address, Echo) as successor:
        assert successor.server_address == address


def test_a_failed_thread_start_does_not_break_the_close(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service whose threads cannot be started closes as any other, with nothing left open."""

    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    server = type("Joined", (ThreadingTCPService,), {"daemon_threads": False})(LOOPBACK, Echo)
    recorder = Recorder()
    server.observe(recorder)
    with contextlib.ExitStack() as stack:
        stack.enter_context(running(server))
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", fail)
            assert stack.enter_context(client_of(server)).recv(1) == b""
    assert len(recorder.of(ConnectionOpened)) == len(recorder.of(ConnectionClosed)) == 1


def test_a_datagram_from_nobody(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A datagram without a return address, as every syslog client sends, is served, and the next one too."""
    packets: list[bytes] = []
    arrived = threading.Semaphore(0)

    class Sink(DatagramRequestHandler):
        def handle(self) -> None:
            packets.append(self.packet)
            arrived.release()

    server = type("Sinks", (ServiceMixIn, UnixDatagramServer), {})(str(folder / "log"), Sink)
    with running(server), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        for text in (b"<13>one", b"<13>two"):
            client.sendto(text, server.server_address)
            assert arrived.acquire(timeout=PATIENCE)
    assert packets == [b"<13>one", b"<13>two"]
    assert caplog.records == []


def test_the_contract_of_the_hooks() -> None:
    """Each hook of a request runs once, in this order, on the loop or in the worker, as the documentation says."""
    calls: list[tuple[str, int]] = []

    class Notes(ServiceMixIn, ThreadingMixIn, TCPServer):
        def get_request(self) -> tuple[Any, Any]:
            request = super().get_request()
            note("get_request")
            return request

        def verify_request(self, request: Any, client_address: Any) -> bool:
            note("verify_request")
            return super().verify_request(request, client_address)

        def process_request(self, request: Any, client_address: Any) -> None:
            note("process_request")
            super().process_request(request, client_address)

        def finish_request(self, request: Any, client_address: Any) -> None:
            note("finish_request")
            super().finish_request(request, client_address)

        def shutdown_request(self, request: Any) -> None:
            note("shutdown_request")
            super().shutdown_request(request)

        def close_request(self, request: Any) -> None:
            note("close_request")
            super().close_request(request)

        def handle_error(self, request: Any, client_address: Any) -> None:
            note("handle_error")
            super().handle_error(request, client_address)

    def note(hook: str) -> None:
        calls.append((hook, threading.get_ident()))

    class Fails(StreamRequestHandler):
        def handle(self) -> None:
            raise ConnectionAbortedError

    recorder = Recorder()
    server = Notes(LOOPBACK, Fails)
    server.observe(recorder)
    with running(server), client_of(server) as client:
        assert client.recv(1) == b""
        recorder.wait_for(ConnectionClosed)
    assert [hook for hook, _ in calls] == [
        "get_request",
        "verify_request",
        "process_request",
        "finish_request",
        "handle_error",
        "shutdown_request",
        "close_request",
    ]
    threads = [thread for _, thread in calls]
    assert len(set(threads[:3])) == len(set(threads[3:])) == 1
    assert threads[0] != threads[3]
