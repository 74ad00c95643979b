"""Fixtures of the framework's tests: one transport and one model at a time."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from framework.pytest_plugin import connect, fake_clock, recorder, serve
from tests.framework.program import Program
from tests.framework.spec import MODELS, TRANSPORTS, Transport, has_ipv6

# Fixtures of the plugin, which those have by itself who have the package installed.
__all__ = ["connect", "fake_clock", "recorder", "serve"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes ``transport`` or ``model`` over all of them, or those its module names."""
    transports: list[Transport] = getattr(metafunc.module, "SPEC_TRANSPORTS", TRANSPORTS)
    wanted = {"model", "transport"} & set(metafunc.fixturenames)
    if wanted == {"model", "transport"}:
        one = metafunc.function.__name__.startswith("test_handle_request")
        models = [model for model in MODELS if model.takes_one or not one]
        pairs = [(model, each) for model in models for each in transports if model.carries(each)]
        names = [f"{model.name}-{transport.name}" for model, transport in pairs]
        metafunc.parametrize(("model", "transport"), pairs, ids=names)
    elif wanted:
        values = MODELS if wanted == {"model"} else transports
        metafunc.parametrize(wanted.pop(), values, ids=[value.name for value in values])


@pytest.fixture(autouse=True)
def needs_ipv6(request: pytest.FixtureRequest) -> None:
    """Skip what needs IPv6 where the machine has none."""
    transport = request.node.callspec.params.get("transport") if hasattr(request.node, "callspec") else None
    if isinstance(transport, Transport) and ":" in transport.host and not has_ipv6():
        pytest.skip("::1 cannot be bound on this machine")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A new folder whose name leaves room for a socket in it: a path has 108 octets at most (unix(7))."""
    path = Path(tempfile.mkdtemp(prefix="fw-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def program(folder: Path) -> Iterator[Program]:
    """The program that ``serve()`` runs in, not started yet."""
    made = Program(folder)
    yield made
    made.close()


@pytest.fixture
def log_on_stderr() -> Iterator[None]:
    """Log to descriptor 2, which other processes share: what they collect in memory is not seen here."""
    with open(2, "w", closefd=False) as stderr:
        handler = logging.StreamHandler(stderr)
        logging.getLogger("framework").addHandler(handler)
        yield
        logging.getLogger("framework").removeHandler(handler)
