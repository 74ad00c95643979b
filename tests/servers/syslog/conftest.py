"""What the sink's tests have in common."""

import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from framework import at
from framework.testing import PATIENCE, running
from servers.syslog.limits import PeerLimits
from servers.syslog.outputs import Place
from servers.syslog.outputs.writer import WhenFull, Writer
from servers.syslog.protocol import parse
from servers.syslog.record import NOBODY, Peer, Record
from servers.syslog.routes import Route
from servers.syslog.server import DatagramSinkServer, StreamSinkServer
from servers.syslog.sink import Sink

NOW = datetime(2026, 11, 22, 15, 30, tzinfo=UTC)


def now() -> datetime:
    """Tell the time."""
    return NOW


def record(message: str = "m", severity: int = 5, peer: Peer = NOBODY) -> Record:
    """Make a record."""
    return parse(f"<{8 + severity}>{message}".encode(), peer, NOW)


class Memory:
    """An output that keeps records, unless it is told to fail or to stand still."""

    def __init__(self, *, prompt: bool = True) -> None:
        self.prompt = prompt
        self.records: list[Record] = []
        self.failures: list[OSError] = []
        self.reopened = 0
        self.closed = False
        self.free = threading.Event()
        """Whether it may write."""
        self.free.set()
        self.entered = threading.Event()
        """Whether it was ever asked to."""
        self._left: list[Record] = []

    def write(self, records: Sequence[Record]) -> None:
        """Keep records."""
        self.entered.set()
        assert self.free.wait(PATIENCE)
        self._left += records
        if self.failures:
            raise self.failures.pop(0)
        self.records += self._left
        self._left.clear()

    def place(self) -> Place:
        """Return how many there are."""
        return 0, len(self.records)

    def since(self, place: Place) -> int:
        """Return how many have come since."""
        return len(self.records) - place[1]

    def reopen(self) -> None:
        """Count it."""
        self.reopened += 1

    def close(self) -> None:
        """Take note."""
        self.closed = True

    @property
    def messages(self) -> list[str]:
        """What was said."""
        return [each.message for each in self.records]


class Running:
    """A sink with its output and its servers."""

    def __init__(
        self, stack: ExitStack, routes: Sequence[Route] = (), limits: PeerLimits | None = None
    ) -> None:
        self._stack = stack
        self.output = Memory()
        self.writer = Writer("memory", self.output, now, limit=1 << 24, when_full=WhenFull.BLOCK)
        self.sink = Sink({"memory": self.writer}, routes, limits, now)
        stack.callback(self.sink.close, PATIENCE)

    def serve(self, url: str, *, peeks: bool = False, size: int = 262144) -> Any:
        """Serve at an address."""
        server: Any
        if url.startswith(("unixgram:", "udp:", "fd:")):
            server = DatagramSinkServer(at(url), self.sink, size, peeks=peeks)
        else:
            server = StreamSinkServer(at(url), self.sink, size)
        return self._stack.enter_context(running(server))

    def client(self, server: Any) -> socket.socket:
        """Connect to a server."""
        client = socket.socket(server.socket.family, server.socket.type)
        self._stack.callback(client.close)
        client.settimeout(PATIENCE)
        client.connect(server.server_address)
        return client


@pytest.fixture
def folder() -> Iterator[Path]:
    """A new folder whose name leaves room for a socket in it."""
    path = Path(tempfile.mkdtemp(prefix="sl-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def run() -> Iterator[Running]:
    """A sink to which servers can be added."""
    with ExitStack() as stack:
        yield Running(stack)
