"""A copy of each server stands on its own feet, and where there can be none, nothing changes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shared.new_server import NewServerError, main, new_server
from shared.renaming import Renaming

ROOT = Path(__file__).parents[2]
SIBLINGS = ("chat", "keyvalue", "resolver", "syslog")
PARTS = (
    "Makefile",
    "README.md",
    "pyproject.toml",
    "benchmarks",
    "deploy",
    "framework",
    "servers",
    "shared",
    "tests",
)


def copy_to(folder: Path) -> Path:
    """Copy this checkout, without a version control."""
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of this checkout, and hide git."""
    monkeypatch.setenv("PATH", "")
    return copy_to(tmp_path)


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy for whatever is to change nothing."""
    return copy_to(tmp_path_factory.mktemp("checkout"))


def contents(folder: Path) -> dict[str, bytes]:
    """Return what is in a folder, but for caches."""
    files = (path for path in folder.rglob("*") if path.is_file() and ".cache" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.suffix != ".pyc"}


def run(checkout: Path, *arguments: str) -> str:
    """Run a module of Python's in the checkout, which has to succeed; return what it says."""
    ran = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=checkout, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.parametrize("source", SIBLINGS)
def test_a_copy_of_each(checkout: Path, source: str) -> None:
    """The copy is in good style, passes tests of its own, runs as a program, and has its variables and its target."""
    before = contents(checkout)
    made = {str(path) for path in new_server(checkout, "barometer", source)}
    after = contents(checkout)
    assert after.keys() - before.keys() == made
    assert {name for name in before if before[name] != after[name]} == {"Makefile", "README.md"}
    assert {"servers/barometer/README.md", "servers/barometer/server.py", "benchmarks/barometer.py"} <= made
    assert {each for each in made if source in each} == set()

    programs = [each for each in made if each.endswith(".py")]
    run(checkout, "ruff", "check", "--no-cache", *programs)
    run(checkout, "ruff", "format", "--check", "--no-cache", *programs)
    run(checkout, "pytest", "-q", "tests/servers/barometer/test_protocol.py")
    assert "BAROMETER_BIND" in run(checkout, "servers.barometer", "--help")
    makefile = after["Makefile"].decode()
    assert "\nrun-barometer: ## Run the barometer server\n" in makefile
    assert len(re.findall(r"\brun-barometer\b", makefile)) == 3
    assert b"\nmake run-barometer " in after["README.md"]


def test_a_copy_of_a_copy(checkout: Path) -> None:
    """What was copied can be copied, and a name of several words is one in prose and in classes."""
    new_server(checkout, "barometer", "keyvalue")
    new_server(checkout, "tide_table", "barometer")
    new_server(checkout, "sea", "tide_table")
    assert "class TideTableServer(" in (checkout / "servers/tide_table/server.py").read_text()
    assert (checkout / "servers/tide_table/README.md").read_text().startswith("# Tide table server\n")
    assert "class SeaServer(" in (checkout / "servers/sea/server.py").read_text()
    run(checkout, "servers.sea", "--check-config")


@pytest.mark.parametrize(
    ("name", "source", "why"),
    [
        ("", "keyvalue", "make new-server NAME=weather FROM=keyvalue"),
        ("weather", "", "make new-server NAME=weather FROM=keyvalue"),
        (
            "weather",
            "../shared",
            "FROM=../shared: there is no such server; there are chat, ",
        ),
        ("resolver", "keyvalue", "NAME=resolver is taken, by servers/resolver"),
        ("load", "chat", "NAME=load is taken, by benchmarks/load.py"),
        ("client", "resolver", "has its own client"),
        ("user", "chat", "servers/user/user.py"),
        ("class", "keyvalue", "is reserved"),
        ("json", "keyvalue", "is reserved"),
        ("print", "keyvalue", "is reserved"),
        ("test", "keyvalue", "is reserved"),
        ("framework", "keyvalue", "is reserved"),
        ("shared", "keyvalue", "is reserved"),
        ("Weather", "keyvalue", "take small letters"),
        ("9lives", "keyvalue", "take small letters"),
        ("my-weather", "keyvalue", "take small letters"),
        ("we/ather", "keyvalue", "take small letters"),
        ("..", "keyvalue", "take small letters"),
        ("wetter\x1b[2J\n", "keyvalue", r"wetter\x1b[2J\n: take small letters"),
        ("größe", "keyvalue", "take small letters"),
    ],
)
def test_no_copy(
    untouched: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    source: str,
    why: str,
) -> None:
    """Where a copy cannot be had, one line says why, and nothing is written."""
    before = contents(untouched)
    monkeypatch.chdir(untouched)
    monkeypatch.setattr(sys, "argv", ["new_server", name, source])
    status = main()
    said = capsys.readouterr()
    assert (status, said.out) == (1, "")
    assert said.err.endswith("\n")
    assert said.err.count("\n") == 1
    assert why in said.err
    assert contents(untouched) == before


@pytest.mark.parametrize("at", [0, 20, -2, -1])
def test_nothing_half_done(checkout: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Whichever file cannot be moved into place, all is as it was before."""
    before = contents(checkout)
    folders = {path for path in checkout.rglob("*") if path.is_dir()}
    moved: list[Path] = []
    replace = Path.replace
    last = sum(1 for each in before if "keyvalue" in each) + 2

    def fail(self: Path, target: Path) -> Path:
        if len(moved) == at % last:
            raise OSError(28, "No space left on device")
        moved.append(target)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        new_server(checkout, "barometer", "keyvalue")
    assert contents(checkout) == before
    assert {path for path in checkout.rglob("*") if path.is_dir()} - folders <= {checkout / ".cache"}


def test_a_copy_that_ruff_cannot_read(checkout: Path) -> None:
    """A server that is no Python is not copied, and one line says so."""
    (checkout / "servers/keyvalue/handler.py").write_text("def broken(:\n")
    before = contents(checkout)
    with pytest.raises(NewServerError, match=r"\A[^\n]+\Z"):
        new_server(checkout, "barometer", "keyvalue")
    assert contents(checkout) == before


@pytest.mark.parametrize(
    ("old", "text", "renamed"),
    [
        (
            "keyvalue",
            "KEYVALUE_PORT ThreadingKeyValueServer keyvalue.sock",
            "SEA_PORT ThreadingSeaServer sea.sock",
        ),
        ("keyvalue", "The key-value store, a key-value store", "The sea server, a sea server"),
        (
            "chat",
            "chathistory CHATHISTORY WeeChat TLSChatServer chat-0.1",
            "chathistory CHATHISTORY WeeChat TLSSeaServer sea-0.1",
        ),
        (
            "syslog",
            "rsyslogd SysLogHandler syslog(3) syslog-ng \\nsyslog_received",
            "rsyslogd SysLogHandler syslog(3) syslog-ng \\nsea_received",
        ),
        ("resolver", "``resolver``      from a packet", "``sea``           from a packet"),
        ("resolver", r"b'\x08resolver', b'\nresolver'", r"b'\x03sea', b'\nsea'"),
        ("resolver", "make run-resolver  # DNS", "make run-sea       # DNS"),
    ],
)
def test_words(old: str, text: str, renamed: str) -> None:
    """Each form of the name becomes that of the new one, names of others stay, and so do columns."""
    assert Renaming(old, "sea").of(text) == renamed
