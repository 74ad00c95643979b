"""``python -m servers.syslog query``: what the database holds, by time, program, severity, user and text."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import socket
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from servers.syslog.formats import FormatError, json_format, line_format
from servers.syslog.outputs.database import microseconds, record_of
from servers.syslog.record import SEVERITIES

__all__ = ["main"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
# How often to look for more, in seconds.
_INTERVAL = 0.2
# Red and bold for what is an alarm, red for errors, yellow for warnings, faint for debugging (ECMA-48, SGR).
_COLOURS = ("\x1b[1;31m",) * 3 + ("\x1b[31m", "\x1b[33m", "", "", "\x1b[2m")
_PLAIN = "\x1b[m"


def main(arguments: Sequence[str], sleep: Callable[[float], None] = time.sleep) -> int:
    """Run the command, and return its exit status: 0, or 1 if nothing was found, as grep(1) has it."""
    options = _parser().parse_args(arguments)
    # Whoever reads may have had enough: head(1) ends, and so does this.
    with contextlib.suppress(BrokenPipeError):
        try:
            return 0 if _show(options, sleep) else 1
        except sqlite3.Error as error:
            fix = "name the file that --database wrote"
            print(f"query: {options.database}: {error}: {fix}", file=sys.stderr)  # noqa: T201
            return 2
        except KeyboardInterrupt:
            return 130
    # The interpreter would complain about what it cannot write at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="syslog query", description=__doc__, allow_abbrev=False)
    parser.add_argument("database", help="file that the sink writes by --database")
    parser.add_argument(
        "--since", type=_moment, metavar="TIME", help="2026-11-22, 2026-11-22T15:30, or 90m ago: 90m"
    )
    parser.add_argument("--until", type=_moment, metavar="TIME", help="likewise")
    parser.add_argument("--program", action="append", metavar="NAME", help="may be given again, as may --uid")
    parser.add_argument("--uid", action="append", type=int, metavar="NUMBER", help="of the sender")
    parser.add_argument("--severity", choices=SEVERITIES, help="this one and worse")
    parser.add_argument(
        "--text", metavar="WORDS", help='words of the message; also "a phrase", pre*, AND, OR and NOT'
    )
    parser.add_argument("--last", type=int, metavar="N", help="only the last N")
    parser.add_argument("--follow", action="store_true", help="go on with what comes")
    parser.add_argument("--json", action="store_true", help="an object a line")
    parser.add_argument("--format", default="full", help="full, bsd, rfc3339, rfc5424 or a template")
    parser.add_argument("--colour", choices=["auto", "always", "never"], default="auto")
    return parser


def _show(options: argparse.Namespace, sleep: Callable[[float], None]) -> bool:
    host = socket.gethostname()
    try:
        line = json_format(host) if options.json else line_format(options.format, host)
    except FormatError as error:
        sys.exit(f"query: --format: {error}")
    coloured = not options.json and (
        options.colour == "always" or (options.colour == "auto" and sys.stdout.isatty())
    )
    found = False
    for row in _rows(options, sleep):
        record = record_of(row)
        text = line(record)
        colour = _COLOURS[record.severity] if coloured else ""
        sys.stdout.buffer.write(f"{colour}{text}{colour and _PLAIN}\n".encode())
        if options.follow:
            sys.stdout.buffer.flush()
        found = True
    sys.stdout.buffer.flush()
    return found


def _rows(options: argparse.Namespace, sleep: Callable[[float], None]) -> Iterator[Sequence[Any]]:
    """Return the rows that are asked for, in the order in which they came; with ``--follow``, it never ends."""
    # Read-only, and none is made where there is none.
    uri = f"{Path(options.database).absolute().as_uri()}?mode=ro"
    with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
        where, values = _where(options, connection)
        rows = f"SELECT * FROM records WHERE id > ? AND {where} ORDER BY id"  # noqa: S608 -- no text of users
        first = rows
        if options.last is not None:
            first = f"SELECT * FROM ({rows} DESC LIMIT {options.last}) ORDER BY id"  # noqa: S608
        last = 0
        for row in connection.execute(first, (last, *values)):
            last = row[0]
            yield row
        while options.follow:
            sleep(_INTERVAL)
            for row in connection.execute(rows, (last, *values)):
                last = row[0]
                yield row


def _where(options: argparse.Namespace, connection: sqlite3.Connection) -> tuple[str, list[Any]]:
    """Return the condition that the options make, and the values in it."""
    conditions, values = ["TRUE"], list[Any]()

    def add(condition: str, *more: Any) -> None:
        conditions.append(condition)
        values.extend(more)

    if options.since is not None:
        add("time >= ?", options.since)
    if options.until is not None:
        add("time < ?", options.until)
    if options.severity is not None:
        add("severity <= ?", SEVERITIES.index(options.severity))
    if options.program:
        add(f"program IN ({', '.join('?' * len(options.program))})", *options.program)
    if options.uid:
        add(f"uid IN ({', '.join('?' * len(options.uid))})", *options.uid)
    if options.text is not None:
        add("id IN (SELECT rowid FROM texts WHERE texts MATCH ?)", _words(options.text, connection))
    return " AND ".join(conditions), values


def _words(text: str, connection: sqlite3.Connection) -> str:
    """Return what to ask the index for: ``text`` itself, or else the words in it, whatever they are made of."""
    try:
        connection.execute("SELECT 1 FROM texts WHERE texts MATCH ? LIMIT 1", (text,)).fetchall()
    except sqlite3.OperationalError:
        # In quotes nothing has a meaning of its own: https://www.sqlite.org/fts5.html, section 3.
        return " ".join('"' + word.replace('"', "") + '"' for word in text.split())
    return text


def _moment(text: str) -> int:
    """Read a time of the command line."""
    ago = re.fullmatch(r"([0-9]{1,9})([smhdw])", text)
    if ago is not None:
        return microseconds(datetime.now(UTC) - timedelta(seconds=int(ago[1]) * _UNITS[ago[2]]))
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write 2026-11-22T15:30 or 90m") from error
    return microseconds(found.astimezone() if found.tzinfo is None else found)
