"""A resolver that runs, and clients that ask it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.servers.resolver.client import Running

Serve = Callable[..., Running]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A new folder."""
    path = Path(tempfile.mkdtemp(prefix="dns-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Run resolvers until the test ends."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(Running(**settings))
