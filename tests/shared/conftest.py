"""A program's settings of every kind, and a file to put them in."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

Write = Callable[[str], str]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what the machine may have set."""
    for name in list(os.environ):
        if name.startswith("TEST_"):
            monkeypatch.delenv(name)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file of TOML, and return its path."""

    def written(text: str) -> str:
        path = tmp_path / "test.toml"
        path.write_text(text)
        return str(path)

    return written
