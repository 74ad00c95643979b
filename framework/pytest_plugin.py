"""Fixtures out of the testing kit, for whoever has both this package and pytest: nothing to import or register.

::

    def test_echo(serve, connect):
        server = serve(ThreadingTCPServer(("127.0.0.1", 0), Echo))
        client = connect(server)
        client.sendall(b"hello")
        assert client.recv(100) == b"hello"
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from framework.server import BaseServer
from framework.testing import FakeClock, Recorder, client_of, running

__all__ = ["connect", "fake_clock", "recorder", "serve", "socket_folder"]

ServerT = TypeVar("ServerT", bound=BaseServer[Any, Any])


@pytest.fixture
def serve() -> Generator[Callable[[ServerT], ServerT]]:
    """Serve any number of servers until the test ends, which shuts them down and closes them."""
    with contextlib.ExitStack() as stack:
        yield lambda server: stack.enter_context(running(server))


@pytest.fixture
def connect(serve: object) -> Generator[Callable[[BaseServer[Any, Any]], socket.socket]]:  # noqa: ARG001 -- for the order
    """Connect any number of clients to servers; they are closed, before the servers, when the test ends."""
    with contextlib.ExitStack() as stack:
        yield lambda server: stack.enter_context(client_of(server))


@pytest.fixture
def recorder() -> Recorder:
    """Return an observer that keeps what it is told: ``server.observe(recorder)``."""
    return Recorder()


@pytest.fixture
def fake_clock() -> FakeClock:
    """Return a clock that stands until it is told to go on."""
    return FakeClock()


@pytest.fixture
def socket_folder() -> Generator[Path]:
    """Make a folder for Unix sockets: ``tmp_path`` is often too long, as a path has 108 octets at most (unix(7))."""
    path = Path(tempfile.mkdtemp(prefix="fw-"))
    yield path
    shutil.rmtree(path)
