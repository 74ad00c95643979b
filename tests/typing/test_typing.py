"""What the type checkers must accept and what they must refuse, line by line."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CASES = Path(__file__).parent / "cases"


def refused_by_mypy(case: Path, folder: Path) -> set[int]:
    """Return the lines of ``case`` that mypy reports."""
    # Unmarked lines of the configuration (unreachable code and the like) do not matter here: strict does.
    command = [sys.executable, "-m", "mypy", "--config-file=", "--strict", "--python-version=3.11"]
    command += [f"--cache-dir={folder}", "--no-error-summary", "--hide-error-context", str(case)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    return {int(line) for line in re.findall(rf"{case.name}:(\d+): error", done.stdout)}


def refused_by_pyright(case: Path, folder: Path) -> set[int]:
    """Return the lines of ``case`` that pyright reports."""
    # A project of its own: that of the checkout leaves the cases out.
    project = {
        "include": [case.name],
        "extraPaths": [str(ROOT)],
        "typeCheckingMode": "strict",
        "pythonVersion": "3.11",
        # The bare classes are the subject, and tests need not use what they make.
        "reportUnusedExpression": False,
        "reportUnknownMemberType": False,
        "reportUnknownVariableType": False,
        "reportUnknownLambdaType": False,
        "reportUnknownArgumentType": False,
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(project))
    shutil.copy(case, folder)
    command = [sys.executable, "-m", "pyright", "--outputjson", "--project", str(folder)]
    command += ["--pythonpath", sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)["generalDiagnostics"]
    return {item["range"]["start"]["line"] + 1 for item in found if item["severity"] == "error"}


CHECKERS = {"mypy": refused_by_mypy, "pyright": refused_by_pyright}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("checker", CHECKERS)
@pytest.mark.parametrize("name", ["good", "bad"])
def test_exactly_the_marked_lines_are_refused(name: str, checker: str, tmp_path: Path) -> None:
    """A strict type checker reports each line that is marked, and no other."""
    case = CASES / f"{name}.py"
    marked = {number for number, line in enumerate(case.read_text().splitlines(), 1) if line.endswith("# E")}
    assert CHECKERS[checker](case, tmp_path) == marked
    assert (name == "bad") == bool(marked)
