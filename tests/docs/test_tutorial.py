"""The tutorial's steps, applied to a copy of the checkout in the order of the page: files, changes, commands."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/tutorial.md").read_text()
STEP = re.compile(
    r'^```(?:\{\.\w+ title="(?P<file>[^"]+)"\}|(?P<kind>sh|diff|console))\n(?P<text>.*?)^```$',
    re.MULTILINE | re.DOTALL,
)
PATIENCE = 60


def change(checkout: Path, diff: str) -> None:
    """Apply the hunks of a diff of one file, each where its old lines are, which is one place."""
    old, new, *hunks = re.split(r"(?m)^(?:---|\+\+\+|@@) .*\n", diff)[1:]
    assert (old, new) == ("", "")
    found = re.match(r"--- a/(\S+)\n\+\+\+ b/(\S+)\n", diff)
    assert found is not None
    assert found[1] == found[2]
    path = checkout / found[1]
    text = path.read_text()
    for hunk in hunks:
        lines = hunk.splitlines(keepends=True)
        assert {line[0] for line in lines} <= {" ", "-", "+"}
        before, after = ("".join(line[1:] for line in lines if line[0] != sign) for sign in "+-")
        assert text.count(before) == 1, f"{path.name} does not have this once:\n{before}"
        text = text.replace(before, after)
    path.write_text(text)


def run(checkout: Path, *command: str) -> str:
    """Run a program in the checkout, which has to succeed; return what it says."""
    ran = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert ran.returncode == 0, f"{command}\n{ran.stdout}{ran.stderr}"
    return ran.stdout


def obey(checkout: Path, line: str) -> None:
    """Do what a line says, with this Python in the place of ``.venv``; the end has what runs until it is ended."""
    here = (sys.executable, "-m")
    match shlex.split(line):
        case ["make", "new-server", name, source]:
            run(
                checkout, *here, "shared.new_server", name.removeprefix("NAME="), source.removeprefix("FROM=")
            )
        case ["make", "test", arguments]:
            run(checkout, *here, "pytest", "-q", *arguments.removeprefix("ARGS=").split())
        case ["make", "check"]:
            run(checkout, *here, "ruff", "check", "--no-cache")
            run(checkout, *here, "ruff", "format", "--check", "--no-cache")
            # Only what is new: the rest is checked where it is from.
            run(checkout, *here, "mypy", "servers/weather", "tests/servers/weather")
        case ["make", "run-weather"]:
            assert "\nrun-weather: " in (checkout / "Makefile").read_text()
        case ["find" | "mkdir", *_]:
            run(checkout, "sh", "-c", line)
        case _:
            raise AssertionError(f"nobody knows what to do about {line!r}")


def converse(checkout: Path, session: str) -> None:
    """Run the server, and see that each command prints what the page shows."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    arguments = ("-m", "servers.weather", "--bind", "tcp://127.0.0.1:0")
    with subprocess.Popen(
        [sys.executable, *arguments], cwd=checkout, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            banner = server.stdout.readline() + server.stdout.readline()
            found = re.search(r"^    curl gopher://127\.0\.0\.1:(\d+)/1/$", banner, re.MULTILINE)
            assert found is not None, banner
            for command, shown in re.findall(
                r"^\$ (.*)\n((?:[^$].*\n)*)", session.replace("7070", found[1]), re.MULTILINE
            ):
                assert run(checkout, *shlex.split(command)[:1], "-s", *shlex.split(command)[1:]) == shown
            server.send_signal(signal.SIGTERM)
            assert server.wait(PATIENCE) == 0
        finally:
            server.kill()


@pytest.mark.timeout(300)
def test_steps(tmp_path: Path) -> None:
    """Every step of the page works on what the steps before have left."""
    for name in ("benchmarks", "deploy", "framework", "servers", "shared", "tests"):
        shutil.copytree(
            ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*weather*")
        )
    for name in ("Makefile", "README.md", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    # What `make check` knows of the rest, if it has run here.
    if (known := ROOT / ".cache/mypy").is_dir():
        shutil.copytree(known, tmp_path / ".cache/mypy")
    steps = [*STEP.finditer(PAGE)]
    assert len(steps) == PAGE.count("\n```") // 2
    for step in steps:
        text = step["text"]
        if step["file"]:
            path = tmp_path / step["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        elif step["kind"] == "diff":
            change(tmp_path, text)
        elif step["kind"] == "console":
            converse(tmp_path, text)
        else:
            for line in text.splitlines():
                obey(tmp_path, line)
