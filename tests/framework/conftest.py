"""Fixtures of the framework's tests: one transport and one model at a time."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.framework.spec import MODELS, TRANSPORTS, Transport, has_ipv6


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes ``transport`` or ``model`` over all of them, or those its module names."""
    if "transport" in metafunc.fixturenames:
        transports: list[Transport] = getattr(metafunc.module, "SPEC_TRANSPORTS", TRANSPORTS)
        metafunc.parametrize("transport", transports, ids=lambda transport: transport.name)
    if "model" in metafunc.fixturenames:
        one = metafunc.function.__name__.startswith("test_handle_request")
        models = [model for model in MODELS if model.takes_one or not one]
        metafunc.parametrize("model", models, ids=lambda model: model.name)


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
def log_on_stderr() -> Iterator[None]:
    """Log to descriptor 2, which other processes share: what they collect in memory is not seen here."""
    with open(2, "w", closefd=False) as stderr:
        handler = logging.StreamHandler(stderr)
        logging.getLogger("framework").addHandler(handler)
        yield
        logging.getLogger("framework").removeHandler(handler)
