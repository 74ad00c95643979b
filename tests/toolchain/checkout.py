"""A copy of the Makefile and requirements/venv.sh, in a world where Python, pip and the network are fakes."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# All that the Makefile and venv.sh take from PATH.
PROGRAMS = ("awk", "cmp", "cp", "dirname", "flock", "grep", "mkdir", "rm", "sh", "tail")

# Does what venv.sh and the Makefile ask of a Python, and notes in `calls` whatever is not a mere question.
FAKE_PYTHON = """\
#!/bin/sh
[ "$1" = -c ] || echo "{version} $*" >>calls
case "$1 $2" in
-c*) echo {number}; exit {status} ;;
'-m venv') mkdir -p "$4/bin"; cp "$0" "$4/bin/python" ;;
'-m ensurepip') {ensurepip}; >.venv/bin/pip ;;
'-m pip') {pip} ;;
'-m servers.chat') shift 2; echo "chat $*" ;;
esac
"""

OFFLINE = (
    "echo \"WARNING: Retrying after connection broken by 'NewConnectionError'\"; echo 'ERROR: No'; exit 1"
)
DISK_FULL = (
    "echo 'Installing collected packages: a'; echo 'ERROR: [Errno 28] No space left on device'; exit 1"
)


def installed(program: str) -> str:
    """Where the program is; skips the test if it is not."""
    return shutil.which(program) or pytest.skip(f"{program} is not installed")


@dataclass
class Ran:
    """What a run of make ended with."""

    status: int
    output: str
    errors: list[str]

    @property
    def complaint(self) -> str:
        """The one line that says what is wrong: neither progress, nor make's own line about the exit status."""
        (line,) = (line for line in self.errors if not line.endswith("...") and not line.startswith("make: "))
        return line


class Checkout:
    """The copy, in a folder with a space in its name, and its PATH, which has no Python to begin with."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a checkout"
        self.path = folder / "path"
        for name in ("Makefile", "requirements/venv.sh", "servers/chat/__main__.py"):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).exists():
                shutil.copy(ROOT / name, self.root / name)
        (self.root / "servers/chat/__main__.py").touch()
        for name in ("servers", "dev", "docs", "bench"):
            self.pin(name, "1")
        self.path.mkdir()
        for name in PROGRAMS:
            (self.path / name).symlink_to(installed(name))

    def pin(self, name: str, version: str) -> None:
        """Pins something in requirements/NAME.txt."""
        (self.root / f"requirements/{name}.txt").write_text(f"{name}-needs=={version}\n")

    def python(
        self, name: str, version: str, *, status: int = 0, pip: str = ":", ensurepip: str = ":"
    ) -> Path:
        """Puts a Python on PATH; status is that of importing venv, pip and ensurepip are what these do, in sh."""
        major, minor = version.split(".")
        number = int(major) * 100 + int(minor)
        text = FAKE_PYTHON.format(version=version, number=number, status=status, pip=pip, ensurepip=ensurepip)
        return self.program(name, text)

    def program(self, name: str, text: str) -> Path:
        """Puts a program on PATH."""
        file = self.path / name
        file.write_text(text)
        file.chmod(0o755)
        return file

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts make in a process group of its own."""
        return subprocess.Popen(
            [installed("make"), *arguments],
            cwd=self.root,
            env={"PATH": f"{self.root}/.venv/bin:{self.path}", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def make(self, *arguments: str) -> Ran:
        """Runs make to its end."""
        with self.start(*arguments) as process:
            output, errors = process.communicate()
        return Ran(process.returncode, output, errors.splitlines())

    def calls(self) -> list[str]:
        """What the Pythons were run for since this was last asked."""
        file = self.root / "calls"
        calls = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return calls

    def gate(self, name: str) -> Path:
        """A named pipe in the checkout: each side waits for the other."""
        file = self.root / name
        os.mkfifo(file)
        return file
