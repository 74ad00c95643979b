"""One request on each transport under each model, on the original and on the framework: nothing may differ."""

import socketserver
from pathlib import Path
from typing import Any

import pytest

import framework
from tests.compat.scene import GREETING, MODELS, STEPS, TRANSPORTS, play

pytestmark = [
    pytest.mark.parametrize("transport", TRANSPORTS),
    pytest.mark.parametrize("model", MODELS),
    # Since 3.12 fork() warns where other threads run, and some programs that run tests have some.
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]

FAULTY = (
    *STEPS,
    "get_request",
    "verify_request",
    "process_request",
    "finish_request",
    "shutdown_request",
    "close_request",
)


def both(transport: str, model: str, folder: Path, **script: Any) -> dict[str, Any]:
    """Play on both, and return what both came to."""
    original = play(socketserver, transport, model, folder / "original", **script)
    ours = play(framework, transport, model, folder / "ours", **script)
    assert ours == original
    return ours


def test_served(transport: str, model: str, tmp_path: Path) -> None:
    """A request runs through the same hooks in the same places, and is answered."""
    played = both(transport, model, tmp_path)
    assert played["reply"] == repr(GREETING)
    assert played["stderr"] == []


def test_refused(transport: str, model: str, tmp_path: Path) -> None:
    """A request that verify_request() refuses is closed, and nobody is told."""
    played = both(transport, model, tmp_path, refuse=True)
    assert played["stderr"] == []
    assert "process_request" not in str(played["trace"])


@pytest.mark.parametrize("error", [ValueError("a fault"), OSError("a fault"), SystemExit(3)], ids=repr)
@pytest.mark.parametrize("faulty", FAULTY)
def test_fault(transport: str, model: str, faulty: str, error: BaseException, tmp_path: Path) -> None:
    """An exception in any hook or step ends up in the same place, and so does the request."""
    both(transport, model, tmp_path, faults={faulty: error})


@pytest.mark.parametrize("error", [ValueError("a fault"), SystemExit(3)], ids=repr)
def test_handle_error_fault(transport: str, model: str, error: BaseException, tmp_path: Path) -> None:
    """What handle_error() raises about a handler's error ends up in the same place."""
    played = both(transport, model, tmp_path, faults={"handle": LookupError("first"), "handle_error": error})
    assert "handle_error raised" in str(played["trace"])
