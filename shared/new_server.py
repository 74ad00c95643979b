"""``make new-server NAME=weather FROM=keyvalue``: a server of one's own, begun as a copy of another.

What is copied is the server's folder, and what bears its name among the tests, the benchmarks and the units. Style follows
the names (the order of imports, the breaks of lines), so ruff goes over the copy. All of that happens in a folder beside:
the checkout changes when the copy is whole, and not at all where anything fails.
"""

from __future__ import annotations

import builtins
import keyword
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tokenize import TokenError

from shared.log import escape
from shared.renaming import Renaming, identifiers

__all__ = ["NewServerError", "main", "new_server"]

_FOLDERS = ("servers", "tests/servers")
_FILES = ("tests/real_clients", "tests/fuzz", "benchmarks", "deploy")
"""In these, the files that have the name as one word of theirs."""
_RESERVED = {"benchmarks", "demo", "deploy", "docs", "framework", "new", "servers", "shared", "test", "tests"}


class NewServerError(Exception):
    """There can be no such copy; the message is a line that says why, and what to do."""


def new_server(root: Path, name: str, source: str) -> list[Path]:
    """Copy a server under another name.

    Args:
        root: the checkout.
        name: what the copy is to be called.
        source: what is copied.

    Returns:
        The paths of the new files, from ``root``.

    Raises:
        NewServerError: there can be no such copy. Nothing has changed.
        OSError: it cannot be written. Nothing has changed.
    """
    _check(root, name, source)
    renaming = Renaming(source, name)
    copies = {path: Path(renaming.of(str(path))) for path in _files(root, source)}
    _check_clashes(root, copies, renaming)
    (root / ".cache").mkdir(exist_ok=True)
    # In the checkout, since only within one file system files move in one step.
    with tempfile.TemporaryDirectory(prefix="new-server-", dir=root / ".cache") as temporary:
        staged = Path(temporary)
        for path, copy in copies.items():
            (staged / copy).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / path, staged / copy)
            _rewrite(staged / copy, renaming)
        for register in (_register_target, _register_readme):
            register(root, staged, renaming)
        _tidy(root, staged)
        _move(staged, root, [*copies.values(), Path("Makefile"), Path("README.md")])
    return [*copies.values()]


def _check(root: Path, name: str, source: str) -> None:
    siblings = sorted(path.parent.name for path in root.glob("servers/*/__main__.py"))
    if not name or not source:
        raise NewServerError("say what to make of what: make new-server NAME=weather FROM=keyvalue")
    if source not in siblings:
        raise NewServerError(f"FROM={source}: there is no such server; there are {', '.join(siblings)}")
    if not re.fullmatch("[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise NewServerError(
            f"NAME={name}: take small letters of ASCII, digits and single underscores, such as weather_2"
        )
    if (
        keyword.iskeyword(name)
        or name in dir(builtins)
        or name in sys.stdlib_module_names
        or name in _RESERVED
    ):
        raise NewServerError(f"NAME={name} is reserved, by Python or by this repository: choose another")
    for folder in _FOLDERS:
        if (root / folder / name).exists() or (root / folder / f"{name}.py").exists():
            raise NewServerError(f"NAME={name} is taken, by {folder}/{name}: choose another")


def _files(root: Path, source: str) -> Iterator[Path]:
    word = re.compile(rf"(?:.*_)?{source}(?:_.*)?\.\w+")
    for folder in _FOLDERS:
        yield from (
            path.relative_to(root) for path in sorted((root / folder / source).rglob("*")) if _is_source(path)
        )
    for folder in _FILES:
        for path in sorted((root / folder).glob("*")):
            if path.is_file() and word.fullmatch(path.name):
                yield path.relative_to(root)


def _is_source(path: Path) -> bool:
    return path.is_file() and path.suffix != ".pyc"


def _check_clashes(root: Path, copies: dict[Path, Path], renaming: Renaming) -> None:
    """See that no two things come to have one name."""
    for copy in copies.values():
        if (root / copy).exists() or [*copies.values()].count(copy) > 1:
            raise NewServerError(f"NAME={renaming.new} is taken, by {copy}: choose another")
    for path in (path for path in copies if path.suffix == ".py"):
        try:
            names = identifiers((root / path).read_text())
        except (SyntaxError, TokenError) as error:
            raise NewServerError(f"{path} cannot be read as Python: mend it first") from error
        for each in sorted(names & {renaming.of(name) for name in names if renaming.of(name) != name}):
            raise NewServerError(f"NAME={renaming.new} is taken: {path} has its own {each}: choose another")


def _rewrite(path: Path, renaming: Renaming) -> None:
    try:
        text = path.read_text()
    except UnicodeDecodeError:
        return
    text = renaming.of(text)
    if path.name == "README.md":
        _, _, rest = text.partition("\n")
        origin = (
            f"Begun as a copy of [{renaming.old}](../{renaming.old}/README.md), of which all this was said."
        )
        text = f"# {renaming.words.capitalize()} server\n\n> {origin}\n{rest}"
    path.write_text(text)


def _register_target(root: Path, staged: Path, renaming: Renaming) -> None:
    """Give the copy its target, and its line in ``make help``."""
    old, new = f"run-{renaming.old}", f"run-{renaming.new}"
    lines: list[str] = []
    for line in (root / "Makefile").read_text().splitlines():
        if line.startswith(f"{old}: ## "):
            lines += [line, f"{new}: ## Run the {renaming.words} server"]
        else:
            lines.append(re.sub(rf"(?<![\w-]){old}(?![\w-])", f"{old} {new}", line))
    (staged / "Makefile").write_text("\n".join(lines) + "\n")


def _register_readme(root: Path, staged: Path, renaming: Renaming) -> None:
    """Give the copy its line in the README, after that of the other."""
    lines: list[str] = []
    for line in (root / "README.md").read_text().splitlines():
        lines.append(line)
        if re.match(rf"make run-{renaming.old} +#", line):
            start = f"make run-{renaming.new}"
            lines.append(
                f"{start:<{line.index('#') - 1}} # the {renaming.words} server, begun as a copy of {renaming.old}"
            )
    (staged / "README.md").write_text("\n".join(lines) + "\n")


def _tidy(root: Path, staged: Path) -> None:
    """Put what follows from names in order: which import comes first, where a line breaks."""
    shutil.copy(root / "pyproject.toml", staged)
    for arguments in (["check", "--fix-only"], ["format"]):
        ran = subprocess.run(  # noqa: S603 -- no word of it comes from elsewhere
            [
                sys.executable,
                "-m",
                "ruff",
                *arguments,
                "--quiet",
                "--no-cache",
                "--config",
                "pyproject.toml",
                ".",
            ],
            cwd=staged,
            capture_output=True,
            text=True,
            check=False,
        )
        if ran.returncode:
            raise NewServerError(f"ruff does not like the copy: {' '.join(ran.stderr.split())}")


def _move(staged: Path, root: Path, paths: list[Path]) -> None:
    """Move files into the checkout; if one cannot be, move all back."""
    with ExitStack() as back:
        for path in paths:
            target = root / path
            for folder in reversed([each for each in target.parents if not each.exists()]):
                folder.mkdir()
                back.callback(folder.rmdir)
            if target.exists():
                back.callback(target.write_bytes, target.read_bytes())
            else:
                back.callback(target.unlink, missing_ok=True)
            (staged / path).replace(target)
        back.pop_all()


def main() -> int:
    """Copy as the arguments say, NAME and FROM; return the exit status."""
    name, source = (*sys.argv[1:3], "", "")[:2]
    try:
        made = new_server(Path.cwd(), name, source)
    except (NewServerError, OSError) as error:
        print(escape(str(error)), file=sys.stderr)  # noqa: T201 -- for whoever called
        return 1
    print(  # noqa: T201 -- likewise
        f"servers/{name} is a copy of servers/{source}: {len(made)} files, with tests. Try\n"
        f"    make run-{name}\n"
        f"    make test ARGS=tests/servers/{name}\n"
        f"    make check"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
