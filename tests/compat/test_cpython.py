"""CPython's own tests of the module and of what is built on it, on the original and on the framework."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent

# Longest first: they decide how long the whole takes.
MODULES = (
    "test_xmlrpc",
    "test_logging",
    "test_imaplib",
    "test_docxmlrpc",
    "test_urllib2_localnet",
    "test_httpservers",
    "test_socketserver",
    "test_wsgiref",
)

CURRENT = f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True)
class Run:
    """What one module's tests came to."""

    module: str
    outcomes: dict[str, str]
    details: dict[str, str]


def interpreter(version: str) -> str:
    """Find a Python of that version that runs and has its tests; skip where there is none."""
    if version == CURRENT:
        found = [Path(sys.executable)]
    else:
        name = f"python{version}"
        pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
        found = [Path(folder) / name for folder in os.get_exec_path()]
        found += sorted(pyenv.glob(f"versions/*/bin/{name}"))
    # A shim on PATH may exist and not run; a distribution may have left the tests out.
    running = [file for file in found if file.exists() and succeeds(file, "pass")]
    if not running:
        pytest.skip(f"no Python {version} here")
    tested = [file for file in running if succeeds(file, "import test.test_socketserver")]
    return str(tested[0]) if tested else pytest.skip(f"Python {version} is here without its tests")


def succeeds(python: Path, code: str) -> bool:
    """Tell whether the code runs there."""
    return subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0


def run(python: str, which: str, module: str, folder: Path) -> Run:
    """Run one module's tests in a process and a folder of their own."""
    folder.mkdir(parents=True)
    command = [python, "-P", str(FOLDER / "launch.py"), which, str(FOLDER / "cpython.py"), module]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stderr
    # Tests print too; the report comes last.
    return Run(**json.loads(ended.stdout.splitlines()[-1]))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_suite(version: str, tmp_path: Path) -> None:
    """Each of CPython's tests that passes on the original passes on the framework, and none is left out."""
    python = interpreter(version)
    with ThreadPoolExecutor(2) as pool:
        runs = {
            (which, module): pool.submit(run, python, which, module, tmp_path / which / module)
            for module in MODULES
            for which in ("original", "ours")
        }
    for module in MODULES:
        original, ours = runs["original", module].result(), runs["ours", module].result()
        assert (original.module, ours.module) == ("socketserver", "framework")
        passed = {test for test, outcome in original.outcomes.items() if outcome == "passed"}
        broken = {test for test in passed if ours.outcomes.get(test) != "passed"}
        assert not broken, "\n".join(ours.details.get(test, test) for test in sorted(broken))
        # A class or a module whose set-up fails has an outcome of its own.
        assert ours.outcomes.keys() == original.outcomes.keys()
        assert len(passed) > 5
