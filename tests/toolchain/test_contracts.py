import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.toolchain.checkout import ROOT

LINT = "from importlinter.cli import lint_imports_command; lint_imports_command(['--no-cache'])"

PACKAGES = ("framework", "shared", "servers")
# Two servers, and what the contracts name besides, whether or not the checkout has them yet.
MODULES = (
    *(f"{package}/__init__.py" for package in PACKAGES),
    "framework/greenlets.py",
    "servers/chat/__init__.py",
    "servers/chat/network.py",
    "servers/chat/protocol.py",
    "servers/sibling/__init__.py",
    "shared/logs.py",
)


def lint(folder: Path, file: str, line: str) -> str:
    """What import-linter says of this checkout with all its modules empty, but for one line in one of them."""
    real = (path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    for path in {Path(module) for module in MODULES} | set(real):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    (folder / file).write_text(f"{line}\n")
    (folder / "tests/toolchain").mkdir(parents=True)
    shutil.copy(ROOT / "tests/toolchain/contract.py", folder / "tests/toolchain")
    shutil.copy(ROOT / "pyproject.toml", folder)
    return subprocess.run(
        [sys.executable, "-c", LINT], cwd=folder, capture_output=True, text=True, check=False
    ).stdout


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("shared/logs.py", "import framework"),
        ("framework/server.py", "import selectors"),
        ("framework/greenlets.py", "import greenlet"),
        (
            "framework/server.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING: import typing_extensions",
        ),
        ("servers/chat/protocol.py", "import re"),
    ],
)
def test_kept(tmp_path: Path, file: str, line: str) -> None:
    """An import that the contracts allow passes."""
    assert "0 broken" in lint(tmp_path, file, line)


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("framework/server.py", "import shared.logs", "Imports point one way"),
        ("shared/logs.py", "import servers.chat", "Imports point one way"),
        ("framework/server.py", "import greenlet", "The framework needs the standard library only"),
        ("servers/sibling/__init__.py", "import servers.chat", "The servers are independent of each other"),
        ("servers/chat/protocol.py", "import socket", "Protocols and the rules behind them"),
        ("servers/chat/network.py", "from time import monotonic", "Protocols and the rules behind them"),
    ],
)
def test_broken(tmp_path: Path, file: str, line: str, contract: str) -> None:
    """An import that a contract rules out breaks it."""
    broken = [said for said in lint(tmp_path, file, line).splitlines() if said.endswith("BROKEN")]
    assert any(said.startswith(contract) for said in broken)
