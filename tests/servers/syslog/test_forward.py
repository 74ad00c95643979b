import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from framework.testing import PATIENCE, bounded, eventually
from servers.syslog.framing import Frames
from servers.syslog.outputs.forward import ForwardOutput, connector
from servers.syslog.outputs.spool import Spool
from servers.syslog.protocol import parse
from servers.syslog.record import NOBODY
from tests.framework.certificates import client_context, server_context
from tests.servers.syslog.conftest import NOW, record


class Collector:
    """A collector that takes one connection at a time, and can refuse to read."""

    def __init__(self) -> None:
        self.listen(0)
        self.port: int = self.listener.getsockname()[1]

    def listen(self, port: int) -> None:
        """Begin to listen."""
        self.listener = socket.create_server(("127.0.0.1", port))
        self.listener.settimeout(PATIENCE)

    def close(self) -> None:
        """Listen no more."""
        self.listener.close()

    def accept(self, tls: ssl.SSLContext | None = None) -> socket.socket:
        """Take a connection."""
        connection, _ = self.listener.accept()
        connection.settimeout(PATIENCE)
        return connection if tls is None else tls.wrap_socket(connection, server_side=True)

    def read(self, connection: socket.socket, count: int) -> list[str]:
        """Read so many messages, and what comes with them."""
        frames = Frames(65536)
        found: list[str] = []
        while len(found) < count:
            octets = connection.recv(65536)
            assert octets
            found += [parse(frame, NOBODY, NOW).message for frame, _ in frames.feed(octets)]
        return found


class Bench:
    """A collector, and outputs that forward to it."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder
        self.collector = Collector()
        stack.callback(self.collector.close)
        self.now = 0.0
        self.looks = 0
        """How often somebody looked at the clock."""

    def clock(self) -> float:
        """Tell the time."""
        self.looks += 1
        return self.now

    def output(self, tls: ssl.SSLContext | None = None) -> ForwardOutput:
        """Start forwarding."""
        connect = connector("localhost" if tls else "127.0.0.1", self.collector.port, tls)
        spool = Spool(self._folder, 1 << 24)
        return ForwardOutput("collector", connect, spool, "here", clock=self.clock)


@pytest.fixture
def bench(folder: Path) -> Iterator[Bench]:
    """A bench for one test."""
    with ExitStack() as stack:
        yield Bench(stack, folder)


def said(start: int, end: int) -> list[str]:
    """Return what is said in these tests."""
    return [f"message {number}" for number in range(start, end)]


def close(output: ForwardOutput, connection: socket.socket) -> None:
    """Close the output while the collector reads to the end."""
    closing = threading.Thread(target=output.close)
    closing.start()
    while connection.recv(65536):
        pass
    if isinstance(connection, ssl.SSLSocket):
        connection.unwrap()
    connection.close()
    bounded(closing.join, PATIENCE)


def test_what_was_written_since(bench: Bench) -> None:
    """A new process finds how much the one before it had put into the spool from some place on."""
    bench.collector.close()
    output = bench.output()
    output.write([record("before")])
    place = output.place()
    output.write([record(str(number)) for number in range(5)])
    output.close()
    assert bench.output().since(place) == 5


def test_in_order(bench: Bench) -> None:
    """Messages arrive in order, as RFC 5424 has them, with who and when filled in."""
    output = bench.output()
    connection = bench.collector.accept()
    output.write([record(text) for text in said(0, 100)])
    output.write([record(text) for text in said(100, 200)])
    assert bench.collector.read(connection, 200) == said(0, 200)
    output.write([record("last")])
    assert connection.recv(1000) == b"49 <13>1 2026-11-22T15:30:00+00:00 here - - - - last"
    close(output, connection)
    assert (output.sent, output.repeated) == (201, 0)


def test_a_collector_that_dies(bench: Bench) -> None:
    """What was not known to have arrived when a connection broke is sent again over the next, and counted."""
    output = bench.output()
    connection = bench.collector.accept()
    output.write([record(text) for text in said(0, 10)])
    assert bench.collector.read(connection, 10) == said(0, 10)
    eventually(lambda: output.sent == 10)
    connection.close()
    connection = bench.collector.accept()
    output.write([record(text) for text in said(10, 20)])
    assert bench.collector.read(connection, 20) == said(0, 20)
    assert output.repeated == 10
    close(output, connection)


def test_what_has_settled_is_not_sent_again(bench: Bench) -> None:
    """What was sent long enough before a connection broke has arrived."""
    output = bench.output()
    connection = bench.collector.accept()
    output.write([record(text) for text in said(0, 10)])
    assert bench.collector.read(connection, 10) == said(0, 10)
    eventually(lambda: output.sent == 10)
    bench.now += 60
    eventually(lambda: not output._under_way)
    connection.close()
    connection = bench.collector.accept()
    output.write([record(text) for text in said(10, 20)])
    assert bench.collector.read(connection, 10) == said(10, 20)
    assert output.repeated == 0
    close(output, connection)


def test_what_the_network_holds_does_not_settle(bench: Bench) -> None:
    """Octets that the collector's host has not acknowledged have not arrived, however long ago they were sent."""
    bench.collector.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    output = bench.output()
    connection = bench.collector.accept()
    output.write([record(f"{number}{'x' * 1000}") for number in range(60)])
    eventually(lambda: output.sent == 60)
    bench.now += 60
    looks = bench.looks
    eventually(lambda: bench.looks >= looks + 3)
    assert output._under_way
    connection.close()
    connection = bench.collector.accept()
    assert len(bench.collector.read(connection, 60)) == 60
    assert output.repeated == 60
    close(output, connection)


def test_a_restart(bench: Bench) -> None:
    """A collector that reads to the end has everything; one that was not there gets it in the program's next life."""
    output = bench.output()
    connection = bench.collector.accept()
    output.write([record(text) for text in said(0, 10)])
    assert bench.collector.read(connection, 10) == said(0, 10)
    close(output, connection)
    bench.collector.listener.close()
    output = bench.output()
    output.write([record(text) for text in said(10, 20)])
    output.close()
    bench.collector.listen(bench.collector.port)
    output = bench.output()
    connection = bench.collector.accept()
    assert bench.collector.read(connection, 10) == said(10, 20)
    close(output, connection)


def test_tls(bench: Bench) -> None:
    """Over TLS, messages arrive likewise, and only at a collector whose certificate is good."""
    output = bench.output(client_context())
    connection = bench.collector.accept(server_context())
    output.write([record(text) for text in said(0, 10)])
    assert bench.collector.read(connection, 10) == said(0, 10)
    close(output, connection)
    assert not output._under_way
