"""The testing kit, with the same eyes as its users."""

from __future__ import annotations

import doctest
import errno
import importlib
import os
import pkgutil
import socket
import subprocess
import sys
import threading
import tomllib
from pathlib import Path
from typing import Any

import pytest

import framework.testing
from framework import (
    BaseRequestHandler,
    DatagramRequestHandler,
    StreamRequestHandler,
    TCPServer,
    ThreadingMixIn,
    ThreadingTCPServer,
    UDPServer,
)
from framework.events import AcceptFailed, ConnectionClosed
from framework.service import ThreadingTCPService
from framework.testing import (
    PATIENCE,
    CloggedError,
    FakeClock,
    MemorySocket,
    Pause,
    Recorder,
    StuckError,
    bounded,
    check_server_model,
    client_of,
    dribbling,
    drive,
    drive_datagram,
    eventually,
    failing_accept,
    reset,
    running,
)

ROOT = Path(__file__).parents[2]
LOOPBACK = ("127.0.0.1", 0)
MODULES = [
    "framework.testing",
    *(f"framework.testing.{module.name}" for module in pkgutil.iter_modules(framework.testing.__path__)),
]


class Echo(StreamRequestHandler):
    """Sends every line back."""

    def handle(self) -> None:
        """Echo until the end of the input."""
        for line in self.rfile:
            self.wfile.write(line)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_are_true(name: str) -> None:
    """What the documentation shows is what happens."""
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_nothing_needs_pytest() -> None:
    """The kit can be imported where there is no pytest."""
    program = "import sys; sys.modules['pytest'] = None; import framework.testing"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=PATIENCE)


# -- in memory -----------------------------------------------------------------------------------------------------


def test_pieces_arrive_as_they_are() -> None:
    """A handler that receives by itself meets the script's pieces, and no more of one than it asks for."""

    class Receives(BaseRequestHandler[Any, Any, Any]):
        def handle(self) -> None:
            pieces: list[bytes] = []
            while piece := self.request.recv(3):
                pieces.append(piece)
            self.request.sendall(b"|".join(pieces))

    assert drive(Receives, [b"abcde", b"", b"f", b"gh"]) == b"abc|de|f|gh"


def test_a_scripted_failure_reaches_the_handler() -> None:
    """An exception in the script is raised where the handler receives, after what came before."""
    request = MemorySocket([b"one\n", ConnectionResetError("gone")])
    with pytest.raises(ConnectionResetError, match="gone"):
        drive(Echo, request)
    assert request.sent == b"one\n"


@pytest.mark.parametrize(("timeout", "error"), [(5.0, TimeoutError), (0.0, BlockingIOError)])
def test_silence_outlasts_a_timeout(timeout: float, error: type[OSError]) -> None:
    """A pause longer than the handler's timeout strikes it, and the clock shows the time that has passed."""
    clock = FakeClock(0)
    request = MemorySocket([Pause(12), b"late"], clock=clock)
    request.settimeout(timeout)
    with pytest.raises(error):
        request.recv(10)
    assert clock() == timeout
    request.setblocking(True)
    assert (request.recv(10), clock()) == (b"late", 12.0)


def test_a_handlers_timeout_is_kept() -> None:
    """``timeout`` of a handler works as on a socket."""
    with pytest.raises(TimeoutError):
        drive(type("Short", (Echo,), {"timeout": 1.0}), [b"half", Pause(2), b"\n"])


def test_a_slow_end_takes_little_at_a_time() -> None:
    """An end that takes three octets at once gets all that was sent, in order."""
    request = MemorySocket([b"hello world\n"], takes=3)
    assert drive(Echo, request) == b"hello world\n"
    assert request.sends == [b"hel", b"lo ", b"wor", b"ld\n"]


def test_a_clogged_end_takes_no_more() -> None:
    """A full end strikes a handler with a timeout by that, one without by a failure instead of a hang."""
    with pytest.raises(CloggedError, match="6 octets were taken"):
        drive(Echo, MemorySocket([b"hello world\n"], room=6))
    patient = MemorySocket([b"hello world\n"], room=6)
    with pytest.raises(TimeoutError):
        drive(type("Patient", (Echo,), {"timeout": 3.0}), patient)
    assert (patient.sent, patient.clock()) == (b"hello ", 1003.0)
    with pytest.raises(BlockingIOError):
        MemorySocket(room=0).send(b"x", socket.MSG_DONTWAIT)


def test_what_a_handler_did_to_its_socket() -> None:
    """Options, half-closes and closes can be looked at, and what follows them fails as on a socket."""

    class Does(StreamRequestHandler):
        disable_nagle_algorithm = True

        def handle(self) -> None:
            self.wfile.write(repr(self.request.getpeername()).encode())
            self.request.shutdown(socket.SHUT_WR)

    request = MemorySocket([b"unread"], address=("192.0.2.7", 1))
    assert drive(Does, request) == b"('192.0.2.7', 1)"
    assert request.options[socket.IPPROTO_TCP, socket.TCP_NODELAY]
    assert (request.shut, request.unread) == ({socket.SHUT_WR}, b"unread")
    with pytest.raises(BrokenPipeError):
        request.send(b"x")
    with request:
        assert request.recv(2, socket.MSG_PEEK) == request.recv(2) == b"un"
    with pytest.raises(OSError, match="Bad file") as raised:
        request.recv(1)
    assert raised.value.errno == errno.EBADF


def test_files_over_a_socket_in_memory() -> None:
    """Every kind of file that ``makefile()`` makes works in memory, too."""
    request = MemorySocket([b"one\ntwo\n"])
    with request.makefile("r", encoding="ascii") as text, request.makefile("wb") as out:
        assert text.readlines() == ["one\n", "two\n"]
        out.write(b"buffered")
        assert request.sent == b""
    assert request.sent == b"buffered"


def test_a_datagram_handler_in_memory() -> None:
    """A datagram goes in and those that were sent come out, with the server that was given."""

    class Asks(DatagramRequestHandler):
        def handle(self) -> None:
            self.wfile.write(self.packet + str(self.server).encode())

    assert drive_datagram(Asks, b"from ", server="here") == [b"from here"]


# -- servers -------------------------------------------------------------------------------------------------------


def test_running_ends_what_it_began() -> None:
    """When the block is left, also by an exception, the server is shut down and closed, and its thread gone."""
    server = ThreadingTCPServer(LOOPBACK, Echo)
    with pytest.raises(ZeroDivisionError), running(server):
        raise ZeroDivisionError
    assert server.fileno() == -1
    assert "serving" not in [thread.name for thread in threading.enumerate()]


def test_running_raises_what_serving_raised() -> None:
    """A loop that ends by an exception is the block's failure."""
    turned = threading.Event()

    class Breaks(TCPServer):
        def service_actions(self) -> None:
            turned.set()
            raise RuntimeError("broken")

    server = Breaks(LOOPBACK, BaseRequestHandler)
    with pytest.raises(RuntimeError, match="broken"), running(server), client_of(server):
        turned.wait(PATIENCE)


@pytest.mark.parametrize("what", ["shutdown", "server_close"])
def test_running_never_hangs(what: str) -> None:
    """A server that cannot be stopped or closed fails the block, in time."""
    release = threading.Event()
    server = ThreadingTCPServer(LOOPBACK, Echo)
    original = getattr(server, what)
    setattr(server, what, lambda: (release.wait(PATIENCE), original()))
    with pytest.raises(StuckError), running(server, poll_interval=0.01, patience=0.05):
        pass
    release.set()
    server.shutdown()
    server.server_close()


def test_waiting_in_vain() -> None:
    """What does not come to its end fails and says what it was."""
    release = threading.Event()
    with pytest.raises(StuckError, match=r"not returned after 0\.01 s"):
        bounded(release.wait, patience=0.01)
    release.set()
    with pytest.raises(StuckError, match="does not hold"):
        eventually(lambda: False, patience=0.01)
    with pytest.raises(ZeroDivisionError):
        bounded(lambda: 1 // 0)


def test_accept_fails_as_scripted(recorder: Recorder) -> None:
    """Scripted errors of accept come one by one, and then the client is served."""
    server = ThreadingTCPService(LOOPBACK, Echo)
    server.observe(recorder)
    error = OSError(errno.EMFILE, "no more")
    with running(server), failing_accept(server, error), client_of(server) as client:
        client.sendall(b"hello\n")
        assert client.recv(100) == b"hello\n"
    assert recorder.of(AcceptFailed) == [AcceptFailed(error)]


def test_clients_that_misbehave(serve: Any, connect: Any, recorder: Recorder) -> None:
    """A client resets, another dribbles until it is ended: both are seen by the server."""
    service = serve(type("Hurried", (ThreadingTCPService,), {"read_timeout": 0.1})(LOOPBACK, Echo))
    service.observe(recorder)
    reset(connect(service))
    recorder.wait_for(ConnectionClosed, 1)
    with dribbling(connect(service), b"slow", 0.01) as ended:
        assert ended.wait(PATIENCE)
    reasons = [event.reason.value for event in recorder.wait_for(ConnectionClosed, 2)]
    assert reasons == ["peer", "timeout"]


# -- the plugin ----------------------------------------------------------------------------------------------------

EXAMPLE = """
import socket
from framework import StreamRequestHandler, ThreadingTCPServer, ThreadingUnixStreamServer

class Echo(StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)

def test_echo(serve, connect, fake_clock, recorder, socket_folder):
    for server in (
        serve(ThreadingTCPServer(("127.0.0.1", 0), Echo)),
        serve(ThreadingUnixStreamServer(str(socket_folder / "sock"), Echo)),
    ):
        client = connect(server)
        client.sendall(b"hello\\n")
        assert client.recv(100) == b"hello\\n"
    fake_clock.advance(1)
    assert recorder.events == []
"""


def test_the_plugin_in_a_project_of_its_own(tmp_path: Path) -> None:
    """A user's test has the fixtures by their names, from the plugin alone."""
    (tmp_path / "test_example.py").write_text(EXAMPLE)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "framework.pytest_plugin",
        "-p",
        "no:cacheprovider",
        "-q",
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    result = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert "1 passed" in result.stdout, result.stdout + result.stderr


def test_the_plugin_is_registered() -> None:
    """Installed, the package brings its fixtures without being asked: by the entry point that pytest looks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"framework": "framework.pytest_plugin"}


# -- models --------------------------------------------------------------------------------------------------------


def test_a_users_model_is_checked() -> None:
    """A mix-in of one's own that keeps the contract passes, on streams and datagrams."""

    class Mine(ThreadingMixIn):
        daemon_threads = True

    check_server_model(lambda handler: type("Streams", (Mine, TCPServer), {})(LOOPBACK, handler))
    check_server_model(lambda handler: type("Datagrams", (Mine, UDPServer), {})(LOOPBACK, handler))


class Twice(ThreadingMixIn, TCPServer):
    """Closes each request twice."""

    def shutdown_request(self, request: Any) -> None:
        """End it, and once more."""
        super().shutdown_request(request)
        self.close_request(request)


class Forgets(ThreadingMixIn, TCPServer):
    """Serves what it refused."""

    def _handle_request_noblock(self) -> object:
        request = self.get_request()
        self.verify_request(*request)
        self.process_request(*request)
        return None


class Serial(TCPServer):
    """Serves one at a time, and says otherwise."""


@pytest.mark.parametrize(
    ("kind", "promise"),
    [
        (Twice, "more than once"),
        (Forgets, "refused connection stays open"),
        (Serial, "nothing came back for b'now\\\\n'"),
    ],
)
def test_a_broken_model_is_found_out(kind: type[Any], promise: str) -> None:
    """A model that breaks a promise fails with the promise in its message."""
    with pytest.raises(AssertionError, match=promise):
        check_server_model(
            lambda handler: kind(LOOPBACK, handler), connect=lambda server: client_of(server, timeout=0.5)
        )
