"""``DatabaseOutput``: records in SQLite, where ``python -m servers.syslog query`` finds them.

One transaction for all records that came together, and a full-text index over the messages. Readers see no half of one,
and hold nobody up (https://www.sqlite.org/wal.html).
"""

from __future__ import annotations

import contextlib
import errno
import json
import sqlite3
from collections.abc import Generator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from servers.syslog.outputs import Place
from servers.syslog.record import NO_DATA, Peer, Record

__all__ = ["DatabaseOutput", "microseconds", "record_of"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    id INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,      -- when it was sent, or else received: microseconds since 1970
    timestamp TEXT,             -- when it was sent, with the zone in which it said so
    received TEXT NOT NULL,
    facility INTEGER NOT NULL,
    severity INTEGER NOT NULL,
    hostname TEXT, program TEXT, procid TEXT, msgid TEXT,
    data TEXT,                  -- {"id": [["name", "value"], ...], ...}
    message TEXT NOT NULL,      -- with \\xff for what is no UTF-8
    octets BLOB,                -- the message, if some of it is none
    pid INTEGER, uid INTEGER, gid INTEGER, peer TEXT,
    truncated INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS by_time ON records (time);
CREATE INDEX IF NOT EXISTS by_program ON records (program, time);
CREATE VIRTUAL TABLE IF NOT EXISTS texts USING fts5 (message, content='records', content_rowid='id');
CREATE TRIGGER IF NOT EXISTS indexed AFTER INSERT ON records BEGIN
    INSERT INTO texts (rowid, message) VALUES (new.id, new.message);
END;
CREATE TRIGGER IF NOT EXISTS forgotten AFTER DELETE ON records BEGIN
    INSERT INTO texts (texts, rowid, message) VALUES ('delete', old.id, old.message);
END;
"""
_INSERT = f"INSERT INTO records VALUES (NULL{', ?' * 17})"  # noqa: S608 -- no text of others
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# Seconds to wait for another program that writes to the database; then the queue takes over.
_PATIENCE = 0.5


class DatabaseOutput:
    """Writes to a database.

    Args:
        path: of its file.
        safe: whether a transaction outlives the machine's end; the file is whole in any case.
        keep: days after which records are forgotten; 0: never.

    Raises:
        OSError: it cannot be opened, or is none of these.
    """

    prompt = True

    def __init__(self, path: str, *, safe: bool, keep: int = 0) -> None:
        self._path = path
        self._safe = safe
        self._keep = keep
        self._rest: list[tuple[Any, ...]] = []
        self._connection = self._open()

    def _open(self) -> sqlite3.Connection:
        with _as_os_errors(self._path):
            # Opened by one thread, used by another, and never by two.
            connection = sqlite3.connect(
                self._path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
            )
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {'FULL' if self._safe else 'NORMAL'}")
            connection.executescript(_SCHEMA)
            return connection

    def write(self, records: Sequence[Record]) -> None:
        """Write all in one transaction."""
        self._rest += map(_row, records)
        if not self._rest:
            return
        with _as_os_errors(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany(_INSERT, self._rest)
                if self._keep:
                    # A few of them each time, so that nobody waits for long: more than come in.
                    oldest = (
                        microseconds(records[-1].received if records else datetime.now(UTC))
                        - self._keep * 86400_000_000
                    )
                    self._connection.execute(
                        "DELETE FROM records WHERE id IN (SELECT id FROM records WHERE time < ? LIMIT ?)",
                        (oldest, 2 * len(self._rest)),
                    )
                self._connection.execute("COMMIT")
            except BaseException:
                # Some errors have rolled back already: https://www.sqlite.org/lang_transaction.html
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        self._rest.clear()

    def place(self) -> Place:
        """Return the number of the last record."""
        with _as_os_errors(self._path):
            ((last,),) = self._connection.execute("SELECT coalesce(max(id), 0) FROM records")
        return 0, last

    def since(self, place: Place) -> int:
        """Count the records from there on."""
        with _as_os_errors(self._path):
            ((count,),) = self._connection.execute("SELECT count(*) FROM records WHERE id > ?", place[1:])
        return int(count)

    def reopen(self) -> None:
        """Open the database anew."""
        connection = self._open()
        self._connection.close()
        self._connection = connection

    def close(self) -> None:
        """Close the database, and bring all of it into the one file."""
        with _as_os_errors(self._path):
            self._connection.close()


def microseconds(moment: datetime) -> int:
    """Return a moment as the database has it."""
    return (moment - _EPOCH) // _MICROSECOND


def _row(record: Record) -> tuple[Any, ...]:
    peer, message, octets = record.peer, record.message, None
    if not message.isascii():
        octets = message.encode("utf-8", "surrogateescape")
        message = octets.decode("utf-8", "backslashreplace")
    return (
        microseconds(record.timestamp or record.received),
        record.timestamp and record.timestamp.isoformat(),
        record.received.isoformat(),
        record.facility,
        record.severity,
        record.hostname,
        record.program,
        record.procid,
        record.msgid,
        json.dumps(dict(record.data)) if record.data else None,
        message,
        None if message == record.message else octets,
        *peer,
        record.truncated,
    )


def record_of(row: Sequence[Any]) -> Record:
    """Return the record that a row of ``records`` was made of."""
    (
        _,
        _,
        timestamp,
        received,
        facility,
        severity,
        hostname,
        program,
        procid,
        msgid,
        data,
        message,
        octets,
    ) = row[:13]
    return Record(
        facility,
        severity,
        timestamp and datetime.fromisoformat(timestamp),
        datetime.fromisoformat(received),
        hostname,
        program,
        procid,
        msgid,
        {name: tuple((each, value) for each, value in values) for name, values in json.loads(data).items()}
        if data
        else NO_DATA,
        message if octets is None else octets.decode("utf-8", "surrogateescape"),
        Peer(*row[13:17]),
        bool(row[17]),
    )


@contextlib.contextmanager
def _as_os_errors(path: str) -> Generator[None]:
    """Tell of what SQLite cannot do as of what a file cannot: it is tried again, and said."""
    try:
        yield
    except sqlite3.Error as error:
        raise OSError(errno.EIO, str(error), path) from error
