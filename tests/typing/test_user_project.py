"""A typed project of somebody else's, on the wheel alone: checked, and run, without the checkout in sight."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = Path(__file__).parent / "cases" / "project"

pytestmark = pytest.mark.timeout(240)


@dataclass(frozen=True)
class Project:
    """The project in a folder of its own, beside a Python that has the wheel and nothing else."""

    folder: Path
    python: Path

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in its folder, with nothing of this process's path."""
        environ = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MYPY"))
        }
        return subprocess.run(
            command, cwd=self.folder, env=environ, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Build the wheel, without a network, and install it beside a copy of the project."""
    folder = tmp_path_factory.mktemp("user")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-index"]
    subprocess.run([*install, str(wheel)], check=True, stdout=subprocess.DEVNULL)
    shutil.copytree(
        PROJECT / "tally", folder / "project" / "tally", ignore=shutil.ignore_patterns("__pycache__")
    )
    return Project(folder / "project", python)


def test_it_is_the_installed_package(project: Project) -> None:
    """The package needs nothing beside it, is marked as typed, and does not come from the checkout."""
    code = "import framework, pathlib; print(pathlib.Path(framework.__file__).with_name('py.typed').resolve(strict=True))"
    done = project.run(str(project.python), "-c", code)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(project.python.parents[1].resolve())


def test_it_runs(project: Project) -> None:
    """The project's own checks, by the testing kit, hold; warnings are errors."""
    done = project.run(str(project.python), "-W", "error", "-m", "tally", "check")
    assert done.returncode == 0, done.stderr


def test_greenlets_are_an_extra(project: Project) -> None:
    """What needs the extra says so where it is imported, and nothing else does."""
    done = project.run(str(project.python), "-c", "import framework.greenlets")
    assert "socketserver-framework[greenlets]" in done.stderr


def test_mypy(project: Project) -> None:
    """``mypy --strict`` has nothing to say, and sees types rather than ``Any``."""
    strict = ["--config-file=", "--strict", "--python-version=3.11", f"--python-executable={project.python}"]
    done = project.run(sys.executable, "-m", "mypy", *strict, "--cache-dir=cache", "-p", "tally")
    assert done.returncode == 0, done.stdout + done.stderr


def test_pyright(project: Project) -> None:
    """Pyright in its strict mode has nothing to say."""
    settings = {"include": ["tally"], "typeCheckingMode": "strict", "pythonVersion": "3.11"}
    (project.folder / "pyrightconfig.json").write_text(json.dumps(settings))
    done = project.run(sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", str(project.python))
    found = json.loads(done.stdout)
    assert found["generalDiagnostics"] == []
    assert found["summary"]["filesAnalyzed"] == 6


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_a_mistake_is_seen(project: Project, checker: str) -> None:
    """A handler that asks its server for what that has not is refused: the checkers did look."""
    wrong = project.folder / "wrong.py"
    wrong.write_text(
        "from framework import StreamRequestHandler\n"
        "from tally.servers import Tally\n"
        "class Wrong(StreamRequestHandler[Tally]):\n"
        "    def handle(self) -> None:\n"
        "        self.server.count\n"
    )
    python = {"mypy": "--python-executable", "pyright": "--pythonpath"}[checker]
    done = project.run(sys.executable, "-m", checker, python, str(project.python), str(wrong))
    wrong.unlink()
    assert done.returncode == 1
    assert "count" in done.stdout
