"""Every block of Python in the README and the pages runs as it stands.

A block with a title is a file: it is written into an empty folder under that name. A file called ``test_*.py`` is run
by pytest, and one that ends in ``serve(...)`` as a program, until SIGTERM ends it well. The other blocks of a page are
one program, which runs in that folder. A block that shows one of the examples is tested with these.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# The tutorial builds a server up, step by step: test_tutorial.py takes the steps.
PAGES = sorted(set((ROOT / "docs").glob("*.md")) - {ROOT / "docs/tutorial.md"})
BLOCK = re.compile(r"^```python(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
EXAMPLE = re.compile(r"^```{\.python title=\"(\w+)\.py\"}\n--8<-- \"\1\.py\"\n```$", re.MULTILINE)
PATIENCE = 20.0


def files_of(page: str) -> dict[str, str]:
    """Return the titled blocks of a page, by title."""
    return {title: code for title, code in BLOCK.findall(page) if title}


def program_of(page: str) -> str:
    """Return the other blocks, each in its lines of the page, so that a traceback tells where it was written."""
    lines = [""] * page.count("\n")
    for block in BLOCK.finditer(page):
        if block[1] is None:
            first = page.count("\n", 0, block.start(2))
            code = block[2].splitlines()
            lines[first : first + len(code)] = code
    return "\n".join(lines)


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Write files, with ports that nobody has taken on this machine: everything else is as pasted."""
    for name, code in files.items():
        (folder / name).write_text(re.sub(r"(://[^\s/]+):\d+", r"\1:0", code), "utf-8")


def run(folder: Path, *arguments: str) -> None:
    """Run Python to its end, which must be a good one."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{folder}"}
    command = [sys.executable, "-W", "error", *arguments]
    run = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.fixture(params=PAGES, ids=lambda path: path.name)
def page(request: pytest.FixtureRequest) -> str:
    """Return the text of each page."""
    path: Path = request.param
    return path.read_text("utf-8")


@pytest.fixture
def blocks(page: str) -> str:
    """Return the text of each page without the examples that it shows."""
    return EXAMPLE.sub(lambda shown: "\n" * shown[0].count("\n"), page)


def test_no_block_is_left_out(page: str, blocks: str) -> None:
    """Whatever is fenced as Python is found, nothing is fenced by another name of it, and each example has its test."""
    fences = re.findall(r"^ *```+ *\{?\.?(python|py|python3|pycon|py3)\b", blocks, re.MULTILINE)
    assert fences == ["python"] * len(BLOCK.findall(blocks))
    tests = (Path(__file__).parent / "test_examples.py").read_text("utf-8")
    assert [name for name in EXAMPLE.findall(page) if name not in tests] == []


def test_blocks_run(blocks: str, tmp_path: Path) -> None:
    """The blocks of a page run in their order."""
    write(tmp_path, files_of(blocks))
    code = program_of(blocks)
    if code.strip():
        (tmp_path / "page.py").write_text(code, "utf-8")
        run(tmp_path, "page.py")


def test_tests_pass(blocks: str, tmp_path: Path) -> None:
    """The tests that a page shows pass."""
    files = files_of(blocks)
    write(tmp_path, files)
    tests = [name for name in files if name.startswith("test_")]
    if tests:
        plugin = [
            "-p",
            "framework.pytest_plugin",
        ]  # which is there without being named once the package is installed
        run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin, *tests)


def test_programs_serve(blocks: str, tmp_path: Path) -> None:
    """The programs that a page shows come to serve, and end well by SIGTERM."""
    files = files_of(blocks)
    write(tmp_path, files)
    for name, code in files.items():
        if "serve(" not in code or name.startswith("test_"):
            continue
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.settimeout(PATIENCE)
            manager.bind("")  # a name that the system picks
            told = "@" + manager.getsockname()[1:].decode()
            environment = os.environ | {"PYTHONPATH": str(ROOT), "NOTIFY_SOCKET": told}
            with subprocess.Popen([sys.executable, name], cwd=tmp_path, env=environment) as process:
                try:
                    assert b"READY=1" in manager.recv(4096)
                    process.send_signal(signal.SIGTERM)
                    assert process.wait(PATIENCE) == 0
                finally:
                    process.kill()
