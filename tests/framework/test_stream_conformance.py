"""What every model owes every stream transport."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from framework import BaseRequestHandler, StreamRequestHandler
from tests.framework.spec import PATIENCE, STREAMS, Model, Transport, serving

SPEC_TRANSPORTS = STREAMS

# The loop runs in a thread here, as in most programs; CPython 3.12 and later warn of forking from such.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


class Echo(StreamRequestHandler):
    """Sends every line back."""

    def handle(self) -> None:
        """Echo until the end of the input."""
        for line in self.rfile:
            self.wfile.write(line)


class Whereabouts(StreamRequestHandler):
    """Tells where it runs, and for whom."""

    def handle(self) -> None:
        """Answer each line by process, thread and client address."""
        for _ in self.rfile:
            self.wfile.write(f"{os.getpid()} {threading.get_ident()} {self.client_address!r}\n".encode())


class Fails(StreamRequestHandler):
    """Raises when asked to."""

    def handle(self) -> None:
        """Answer one line, or raise."""
        if self.rfile.readline() == b"fail\n":
            raise ValueError("asked to")
        self.wfile.write(b"fine\n")


def ask(client: socket.socket, line: bytes) -> bytes:
    """Send a line and read the answering one."""
    client.sendall(line)
    with client.makefile("rb") as answers:
        return answers.readline()


def test_lines_come_back(model: Model, transport: Transport, folder: Path) -> None:
    """An unmodified stream handler answers line by line."""
    server = model.on(transport)(transport.address(folder), Echo)
    with serving(server), transport.client(server.server_address) as client:
        assert [ask(client, b"one\n"), ask(client, b"two\n")] == [b"one\n", b"two\n"]


def test_many_clients_in_turn(model: Model, transport: Transport, folder: Path) -> None:
    """A server serves one client after the other, more of them than it may have children."""
    server = model.on(transport)(transport.address(folder), Echo)
    with serving(server):
        for number in range(50):
            with transport.client(server.server_address) as client:
                assert ask(client, b"%d\n" % number) == b"%d\n" % number


def test_a_megabyte_both_ways(model: Model, transport: Transport, folder: Path) -> None:
    """More than any buffer holds comes back whole and in order."""
    lines = [b"%07d" % number * 9 + b"\n" for number in range(16384)]
    server = model.on(transport)(transport.address(folder), Echo)
    with serving(server), transport.client(server.server_address) as client:
        sender = threading.Thread(target=client.sendall, args=(b"".join(lines),))
        sender.start()
        with client.makefile("rb") as answers:
            assert [answers.readline() for _ in lines] == lines
        sender.join(PATIENCE)


def test_the_request_runs_where_the_model_says(model: Model, transport: Transport, folder: Path) -> None:
    """Inline runs on the loop, a thread in the same process, a child in its own."""
    server = model.on(transport)(transport.address(folder), Whereabouts)
    with serving(server) as loop, transport.client(server.server_address) as client:
        process, thread, _ = ask(client, b"where\n").split(b" ", 2)
        assert (int(process) == os.getpid()) == ("process" not in model.where)
        assert (int(thread) == loop.ident) == (
            "thread" not in model.where
        )  # fork keeps the thread that forked


def test_the_handler_knows_its_client(model: Model, transport: Transport, folder: Path) -> None:
    """``client_address`` is the client's own name for itself."""
    server = model.on(transport)(transport.address(folder), Whereabouts)
    with serving(server), transport.client(server.server_address) as client:
        assert ask(client, b"who\n").split(b" ", 2)[2] == repr(client.getsockname()).encode() + b"\n"


def test_a_failing_handler_harms_nobody_else(
    model: Model,
    transport: Transport,
    folder: Path,
    capfd: pytest.CaptureFixture[str],
    log_on_stderr: None,
) -> None:
    """A handler's exception is reported, ends its own connection, and the server goes on."""
    server = model.on(transport)(transport.address(folder), Fails)
    with serving(server):
        with transport.client(server.server_address) as client:
            assert ask(client, b"fail\n") == b""
        with transport.client(server.server_address) as client:
            assert ask(client, b"go\n") == b"fine\n"
    assert "ValueError: asked to" in capfd.readouterr().err


def test_handle_request_times_out(model: Model, transport: Transport, folder: Path) -> None:
    """``handle_request()`` calls ``handle_timeout()`` once when no request comes in time."""
    timeouts: list[None] = []
    with model.on(transport)(transport.address(folder), Echo) as server:
        server.timeout = 0.01
        server.handle_timeout = lambda: timeouts.append(None)  # type: ignore[method-assign]
        server.handle_request()
    assert timeouts == [None]


def test_close_waits_for_the_running(model: Model, transport: Transport, folder: Path) -> None:
    """``server_close()`` returns when the last request has ended, not before."""
    server = model.on(transport)(transport.address(folder), Echo)
    with transport.client(server.server_address) as client:
        with serving(server):
            assert ask(client, b"in\n") == b"in\n"
            # From here on the handler runs only until it meets the end of its input.
            client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as answers:
            assert answers.read() == b""
    assert not getattr(server, "_threads", None) or not getattr(server, "active_children", None)


def test_the_address_is_free_after_close(model: Model, transport: Transport, folder: Path) -> None:
    """A closed server's address can be bound again, once a Unix path was removed, which a service does itself."""
    kind = model.on(transport)
    with kind(transport.address(folder), Echo) as first:
        address = first.server_address
    if transport.unix:
        Path(address).unlink(missing_ok=True)
    with kind(address, Echo) as second:
        assert second.server_address == address


def test_a_bare_handler_gets_the_connection(model: Model, transport: Transport, folder: Path) -> None:
    """A ``BaseRequestHandler`` is handed the connected socket itself, blocking."""

    class Bare(BaseRequestHandler[Any, socket.socket, Any]):
        def handle(self) -> None:
            self.request.sendall(f"{self.request.gettimeout()}\n".encode())

    server = model.on(transport)(transport.address(folder), Bare)
    server.socket.settimeout(PATIENCE)
    with serving(server), transport.client(server.server_address) as client, client.makefile("rb") as answers:
        assert answers.read() == b"None\n"
