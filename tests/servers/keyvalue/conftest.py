"""Key-value stores that run, under greenlets and under threads, and clients that are connected to them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from framework import at
from framework.pytest_plugin import fake_clock, socket_folder
from framework.testing import FakeClock, running
from servers.keyvalue.commands.table import without
from servers.keyvalue.engine import Engine
from servers.keyvalue.server import KeyValueMixIn, KeyValueServer, ThreadingKeyValueServer
from servers.keyvalue.settings import Settings
from servers.keyvalue.stores.opening import open_store
from tests.servers.keyvalue.wire import Wire

__all__ = ["fake_clock", "socket_folder"]

MODELS = {"greenlets": KeyValueServer, "threads": ThreadingKeyValueServer}


@dataclass
class Served:
    """A store that runs."""

    server: KeyValueMixIn
    engine: Engine
    path: Path
    stack: ExitStack

    def connect(self) -> Wire:
        """Connect a client, which is closed when the test ends."""
        return self.stack.enter_context(Wire(self.path))


Serve = Callable[..., Served]


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> type[KeyValueMixIn]:
    """One concurrency model after the other."""
    return MODELS[request.param]


@pytest.fixture
def serve(socket_folder: Path, fake_clock: FakeClock, request: pytest.FixtureRequest) -> Iterator[Serve]:
    """Start servers with settings of the test's choice."""
    with ExitStack() as stack:
        made = 0

        def start(**changes: Any) -> Served:
            nonlocal made
            made += 1
            path = socket_folder / f"kv{made}.sock"
            settings = replace(Settings(), bind=(f"unix://{path}",), **changes)
            engine = Engine(
                open_store(settings.store),
                settings.parameters(),
                settings.databases,
                without(settings.disable),
                clock=fake_clock,
            )
            has_model = "model" in request.fixturenames
            make: Any = request.getfixturevalue("model") if has_model else KeyValueServer
            server = stack.enter_context(running(make(at(settings.bind[0]), engine, settings)))
            # Closed before their server, which would wait for them otherwise.
            return Served(server, engine, path, stack.enter_context(ExitStack()))

        yield start


@pytest.fixture
def served(serve: Serve) -> Served:
    """Serve with the settings that everybody gets."""
    return serve()


@pytest.fixture
def client(served: Served) -> Wire:
    """Connect a client to that server."""
    return served.connect()
