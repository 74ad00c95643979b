"""Complaints that users of the original made for years, each as a test; the tracker's number where there is one."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from framework import (
    BaseRequestHandler,
    BaseServer,
    DatagramRequestHandler,
    ForkingMixIn,
    StreamRequestHandler,
    TCPServer,
    ThreadingTCPServer,
    ThreadingUnixStreamServer,
    UnixDatagramServer,
    UnixStreamServer,
)
from tests.framework.spec import PATIENCE, serving

LOOPBACK = ("127.0.0.1", 0)


class Quiet(BaseRequestHandler):
    """Does nothing."""


class Echo(StreamRequestHandler):
    """Sends every line back."""

    def handle(self) -> None:
        """Echo until the end of the input."""
        for line in self.rfile:
            self.wfile.write(line)


def descriptors() -> set[str]:
    """Return the descriptors this process has open (proc(5))."""
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


def finish(thread: threading.Thread) -> None:
    """Join a thread that must end by itself."""
    thread.join(PATIENCE)
    assert not thread.is_alive()


# -- shutdown (python/cpython #88932, #85265) ----------------------------------------------------------------------


def test_shutdown_wakes_the_loop() -> None:
    """``shutdown()`` ends a loop that would otherwise never look at its flag."""
    with TCPServer(LOOPBACK, Quiet) as server:
        turns = threading.Event()
        server.service_actions = turns.set  # type: ignore[method-assign]
        thread = threading.Thread(target=server.serve_forever, args=(None,), daemon=True)
        thread.start()
        with socket.create_connection(server.server_address):
            assert turns.wait(PATIENCE)  # one turn was done: the loop waits again, or is about to
        server.shutdown()
        finish(thread)


def test_shutdown_before_serving_is_honoured() -> None:
    """A ``shutdown()`` that comes before the loop ends it at once, without a poll interval."""
    with TCPServer(LOOPBACK, Quiet) as server:
        stop = threading.Thread(target=server.shutdown, daemon=True)
        stop.start()
        while not vars(server)["_BaseServer__shutdown_request"]:
            pass  # the flag is set before shutdown() waits
        server.serve_forever(None)
        finish(stop)


def test_shutdown_from_many_threads() -> None:
    """Any number of threads may shut the same server down."""
    with TCPServer(LOOPBACK, Quiet) as server:
        loop = threading.Thread(target=server.serve_forever, args=(None,), daemon=True)
        loop.start()
        stops = [threading.Thread(target=server.shutdown, daemon=True) for _ in range(20)]
        for stop in stops:
            stop.start()
        for thread in (*stops, loop):
            finish(thread)


def test_flag_set_by_hand_is_polled() -> None:
    """A handler that sets the flag itself, with no call to wake anyone, still ends the loop."""

    class Stops(BaseRequestHandler):
        def handle(self) -> None:
            self.server._BaseServer__shutdown_request = True  # type: ignore[attr-defined]

    with TCPServer(LOOPBACK, Stops) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        with socket.create_connection(server.server_address):
            finish(thread)


def test_shutdown_after_close() -> None:
    """A server that was closed under its loop neither breaks the loop nor hangs ``shutdown()``."""
    server = TCPServer(LOOPBACK, Quiet)
    turns = threading.Semaphore(0)
    server.service_actions = turns.release  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    assert turns.acquire(timeout=PATIENCE)
    server.server_close()
    for _ in range(3):
        assert turns.acquire(timeout=PATIENCE)
    server.shutdown()
    finish(thread)


def test_serving_leaves_no_descriptors() -> None:
    """Serving and shutting down a hundred times leaves no descriptor and no thread behind."""
    with TCPServer(LOOPBACK, Quiet) as server:
        # A thread of an earlier test may still be on its way out: what was there may go, and nothing may come.
        before, threads = descriptors(), set(threading.enumerate())
        for _ in range(100):
            loop = threading.Thread(target=server.serve_forever, args=(None,), daemon=True)
            loop.start()
            server.shutdown()
            finish(loop)
        assert descriptors() <= before
        assert set(threading.enumerate()) <= threads


# -- accept errors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_lack_of_descriptors_does_not_spin(number: int) -> None:
    """While the system is out of descriptors, the loop tries again ten times a second, not as fast as it can."""
    attempts: list[float] = []

    class Starved(ThreadingTCPServer):
        def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
            attempts.append(time.monotonic())
            if len(attempts) <= 3:
                raise OSError(number, os.strerror(number))
            return super().get_request()

    with (
        serving(server := Starved(LOOPBACK, Echo)),
        socket.create_connection(server.server_address) as client,
    ):
        client.settimeout(PATIENCE)
        client.sendall(b"still there\n")
        assert client.recv(100) == b"still there\n"
    # Lower bounds only: a busy machine makes the gaps longer, never shorter.
    assert all(later - earlier > 0.09 for earlier, later in itertools.pairwise(attempts[:4]))


def test_shutdown_ends_the_pause() -> None:
    """``shutdown()`` does not wait for descriptors to come back."""
    failed = threading.Event()

    class Starved(TCPServer):
        def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
            failed.set()
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with serving(server := Starved(LOOPBACK, Quiet)), socket.create_connection(server.server_address):
        assert failed.wait(PATIENCE)


def test_no_descriptors_for_the_waker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that gets no socket pair serves all the same, and is shut down within the poll interval."""

    def refuse(*_: object) -> tuple[socket.socket, socket.socket]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(socket, "socketpair", refuse)
    server = ThreadingTCPServer(LOOPBACK, Echo)
    with serving(server, 0.01), socket.create_connection(server.server_address) as client:
        client.settimeout(PATIENCE)
        client.sendall(b"hello\n")
        assert client.recv(100) == b"hello\n"


# -- threads (#81374, #75416) --------------------------------------------------------------------------------------


def test_finished_threads_are_forgotten(folder: Path) -> None:
    """After a thousand requests a server remembers a handful of threads."""
    server = ThreadingUnixStreamServer(str(folder / "sock"), Quiet)
    with serving(server):
        for _ in range(1000):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(server.server_address)
                assert client.recv(1) == b""
        assert len(vars(server)["_threads"]) < 50


def test_a_thread_costs_two_looks(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Starting a thread looks at two older ones at most, however many are running."""
    looks = 0
    is_alive = threading.Thread.is_alive

    def counted(thread: threading.Thread) -> bool:
        nonlocal looks
        looks += 1
        return is_alive(thread)

    release = threading.Event()

    class Waits(BaseRequestHandler):
        def handle(self) -> None:
            release.wait(PATIENCE)

    server = ThreadingUnixStreamServer(str(folder / "sock"), Waits)
    monkeypatch.setattr(threading.Thread, "is_alive", counted)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        try:
            for _ in range(100):
                server.process_request(theirs.dup(), "")
            assert looks <= 200
        finally:
            release.set()
            server.server_close()


def test_failed_thread_start(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """A thread that cannot be started costs its own request, and closing the server still works."""

    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    server = ThreadingTCPServer(LOOPBACK, Echo)
    server.timeout = PATIENCE
    with socket.create_connection(server.server_address) as client:
        client.settimeout(PATIENCE)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", fail)
            server.handle_request()
        assert client.recv(1) == b""
    server.server_close()
    assert "can't start new thread" in capfd.readouterr().err


def test_close_from_a_request_thread(folder: Path) -> None:
    """A request may close its own server: it waits for all other threads but not for itself."""
    closed = threading.Event()

    class Closes(BaseRequestHandler):
        def handle(self) -> None:
            self.server.server_close()
            closed.set()

    server = ThreadingUnixStreamServer(str(folder / "sock"), Closes)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(server.server_address)
        server.handle_request()
        assert closed.wait(PATIENCE)


# -- processes (bpo-1540386) ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def another_child() -> Iterator[int]:
    """Fork a child that has ended, and that is nobody's but this test's to collect."""
    pid = os.fork()
    if pid == 0:
        os._exit(72)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    try:
        yield pid
    finally:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 72


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("pidfd", [True, False], ids=["pidfd", "polled"])
def test_children_of_others_are_left_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, pidfd: bool
) -> None:
    """A server at ``max_children`` waits for one of its own children, not for any of the program's."""

    class Forking(ForkingMixIn, UnixStreamServer):
        max_children = 2

    if not pidfd:
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    with another_child(), serving(server := Forking(str(folder / "sock"), Echo)):
        for _ in range(10):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(PATIENCE)
                client.connect(server.server_address)
                client.sendall(b"hello\n")
                assert client.recv(100) == b"hello\n"
                client.shutdown(socket.SHUT_RDWR)


def test_children_collected_by_the_program(folder: Path) -> None:
    """A child that the program itself has waited for is no child to wait for any more."""

    class Forking(ForkingMixIn, UnixStreamServer):
        pass

    with Forking(str(folder / "sock"), Quiet) as server, socket.socket(socket.AF_UNIX) as client:
        client.connect(server.server_address)
        server.handle_request()
        assert server.active_children
        os.waitpid(next(iter(server.active_children)), 0)
    assert not server.active_children


# -- datagrams (#152024) -------------------------------------------------------------------------------------------


def test_datagram_without_a_return_address(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A datagram from an unbound Unix socket, as every syslog client sends, is served without a reply."""
    packets: list[bytes] = []

    class Sink(DatagramRequestHandler):
        def handle(self) -> None:
            packets.append(self.packet)

    with (
        UnixDatagramServer(str(folder / "log"), Sink) as server,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client,
    ):
        client.sendto(b"<13>hello", server.server_address)
        server.handle_request()
    assert packets == [b"<13>hello"]
    assert capfd.readouterr().err == ""


# -- sockets -------------------------------------------------------------------------------------------------------


def test_failed_bind_leaks_nothing() -> None:
    """A thousand servers that cannot bind leave no descriptor behind."""
    with TCPServer(LOOPBACK, Quiet) as taken:
        before = descriptors()
        for _ in range(1000):
            with pytest.raises(OSError, match="in use"):
                TCPServer(taken.server_address, Quiet)
        assert descriptors() <= before


def test_reuse_port_on_a_unix_socket(folder: Path) -> None:
    """``allow_reuse_port`` means nothing on a Unix socket and does no harm, on kernels that refuse it too."""

    class Shared(UnixStreamServer):
        allow_reuse_port = True

    with Shared(str(folder / "sock"), Quiet) as server:
        assert server.fileno() > 0


def test_base_server_opens_nothing() -> None:
    """A bare ``BaseServer`` has no socket and no descriptor: subclasses bring their own."""
    before = descriptors()
    server: BaseServer[Any, Any] = BaseServer("anything", Quiet)
    assert descriptors() <= before
    assert sorted(vars(server)) == [
        "RequestHandlerClass",
        "_BaseServer__is_shut_down",
        "_BaseServer__shutdown_request",
        "server_address",
    ]
