"""``check``: what is in a store's folder, and whether it is whole; ``compact``: make its next snapshot."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from servers.keyvalue.compaction import compact
from servers.keyvalue.stores.files import Folder, StoreError
from servers.keyvalue.stores.records import DamagedError, File

__all__ = ["TASKS", "check"]


def check(arguments: Sequence[str]) -> int:
    """Look through a folder without changing it; with ``--cut-at``, give up what lies behind a place.

    Returns:
        The exit status: 0 if a server would start, 1 if not.
    """
    parser = argparse.ArgumentParser(prog="python -m servers.keyvalue check", description=check.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--cut-at",
        type=int,
        metavar="OCTET",
        help="cut the damaged log there; what is cut off, and later logs, are kept under other names",
    )
    options = parser.parse_args(arguments)
    if not options.folder.is_dir():
        return _fail(f"{options.folder} is no folder: name that of a store")
    try:
        folder = Folder(options.folder)
        with contextlib.closing(folder):
            folder.lock()
            return _check(folder, options.cut_at)
    except StoreError as error:
        return _fail(str(error))


def _check(folder: Folder, cut_at: int | None) -> int:
    try:
        effects = sum(1 for _ in folder.effects())
    except DamagedError as error:
        if cut_at is not None:
            return _cut(folder, error, cut_at)
        fix = (
            f"bring the folder back from a copy, or give up what lies behind: --cut-at {error.start}"
            if error.path.endswith(".log") and error.start
            else "bring the file back from a copy"
        )
        return _fail(f"{error}\n{fix}")
    for path in sorted(folder.path.glob("*.[ls][on]*")):
        _describe(path)
    _say(f"{effects} effects: a server would start")
    return 0


def _describe(path: Path) -> None:
    file = File(str(path), path.read_bytes())
    records = sum(1 for _ in file.records())
    torn = file.torn
    end = f", {torn} octets at {file.end} never finished, to be cut at the next start" if torn else ""
    _say(f"{path}: {records} records up to {file.end}{end}")


def _cut(folder: Folder, error: DamagedError, at: int) -> int:
    damaged = Path(error.path)
    if damaged.suffix != ".log" or at != error.start:
        return _fail(f"{error}\n--cut-at takes the place where a log is damaged: {error.start}")
    kept = damaged.with_name(f"{damaged.name}.cut-{at}")
    shutil.copy2(damaged, kept)
    with damaged.open("r+b") as file:
        file.truncate(at)
    for number in folder.numbers("log"):
        if number > int(damaged.stem):
            later = folder.log(number)
            later.rename(later.with_name(f"{later.name}.cut"))
    folder.sync()
    _say(f"{damaged} ends at {at} now; what was there before is in {kept}")
    return 0


def _compact(arguments: Sequence[str]) -> int:
    folder, number = arguments
    try:
        compact(Path(folder), int(number))
    except (DamagedError, StoreError, OSError) as error:
        return _fail(f"no snapshot was made: {error}")
    return 0


TASKS: dict[str, Callable[[Sequence[str]], int]] = {"check": check, "compact": _compact}


def _say(line: str) -> None:
    print(line)  # noqa: T201 -- the answer that was asked for


def _fail(why: str) -> int:
    print(why, file=sys.stderr)  # noqa: T201 -- for whoever started the program
    return 1
