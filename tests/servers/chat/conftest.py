"""A chat server that runs, and clients that are connected to it."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from framework.testing import running
from servers.chat.server import ChatServer
from servers.chat.settings import Settings
from tests.servers.chat.irc import Irc

NOW = 1_000_000_000.0

Serve = Callable[..., ChatServer]
Connect = Callable[..., Irc]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a new folder."""
    with tempfile.TemporaryDirectory(prefix="chat-") as path:
        yield Path(path)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers with settings of the test's choice."""
    with ExitStack() as stack:

        def start(**changes: Any) -> ChatServer:
            # A test's clients are in haste, and all at one address, which they know.
            settings = replace(Settings(port=0, show_addresses=True, flood_rate=0), **changes)
            return stack.enter_context(running(ChatServer(settings, clock=lambda: NOW)))

        yield start


@pytest.fixture
def server(serve: Serve) -> ChatServer:
    """Serve with the settings that everybody gets."""
    return serve()


@pytest.fixture
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Connect clients, to the server that the test has started or else to the usual one."""
    with ExitStack() as stack:

        def start(nick: str = "", *, to: ChatServer | None = None, receive_buffer: int | None = None) -> Irc:
            target: ChatServer = to or request.getfixturevalue("server")
            return stack.enter_context(Irc(target.server_address, nick, receive_buffer=receive_buffer))

        yield start
